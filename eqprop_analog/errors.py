"""Errors that the command line prints without a traceback."""

import re

from eqprop_analog.text import printable


class _SentenceError(Exception):
    """An error whose text may quote files and other programs, with control characters escaped."""

    def __init__(self, text: object = "") -> None:
        super().__init__(printable(text))


class UserError(_SentenceError, ValueError):
    """An error that the user can correct; the command line prints its text in one line and exits with code 2.

    >>> import eqprop_analog as ea
    >>> ea.ResistiveNetwork.dense([4, -1, 2])
    Traceback (most recent call last):
    ...
    eqprop_analog.errors.UserError: ...
    """

    def __init__(self, text: object = "") -> None:
        super().__init__(re.sub(r"\s*\n\s*", " ", str(text)))  # a quoted array has several lines


class NotMetError(_SentenceError):
    """A result that misses a stated bound; the command line prints its text and exits with code 3."""
