"""What the command line tells a person instead of a traceback."""


class UserError(ValueError):
    """Something the user can put right; the command line prints its text and exits with 2."""


class NotMetError(Exception):
    """What was asked for is done, but does not keep a stated bound; the command line prints its text and exits with 3."""
