"""What the command line tells a person instead of a traceback."""

import re

from eqprop_analog.text import printable


class _SentenceError(Exception):
    """Text that may quote files and other programs; no terminal obeys what it quotes."""

    def __init__(self, text: object = "") -> None:
        super().__init__(printable(text))


class UserError(_SentenceError, ValueError):
    """Something the user can put right; the command line prints its text, one line, and exits with 2."""

    def __init__(self, text: object = "") -> None:
        super().__init__(re.sub(r"\s*\n\s*", " ", str(text)))  # an array that is quoted has several lines


class NotMetError(_SentenceError):
    """What was asked for is done, but does not keep a stated bound; the command line prints its text and exits with 3."""
