"""What the command line tells a person instead of a traceback."""

from eqprop_analog.text import printable


class _SentenceError(Exception):
    """Text that may quote files and other programs; no terminal obeys what it quotes."""

    def __init__(self, text: object = "") -> None:
        super().__init__(printable(text))


class UserError(_SentenceError, ValueError):
    """Something the user can put right; the command line prints its text and exits with 2."""


class NotMetError(_SentenceError):
    """What was asked for is done, but does not keep a stated bound; the command line prints its text and exits with 3."""
