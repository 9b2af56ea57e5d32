"""What the command line tells a person instead of a traceback."""


class UserError(ValueError):
    """Something the user can put right; the command line prints its text and exits with 2."""
