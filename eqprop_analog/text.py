"""Sanitizing of text from files and users, for the terminal and for names in netlists."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any
from unicodedata import category

NAME = re.compile(r"[a-z0-9_]+")
"""Pattern of names of nets and other objects in a netlist. SPICE does not distinguish upper and lower case."""
GROUND = frozenset({"0", "gnd"})
"""Names of ground in ngspice."""
LONGEST = 4000
"""Largest number of characters of a message: more than any of ours, and about the length of the longest path."""
_SHOWN = {"Zs", "Zl", "Zp"}
"""Unicode categories that are not str.isprintable but that a terminal shows as space."""


def printable(text: Any) -> str:
    r"""Return ``text`` with every character escaped that a terminal would interpret instead of showing it (``\x1b``, ``\u202e``).

    Line breaks and tabs are kept. It is used for all text from outside that is shown to a user.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in "\n\t" or category(one) in _SHOWN else _escaped(one) for one in text
    )


def in_one_line(text: Any) -> str:
    """Return ``printable`` text with line breaks and tabs escaped, too: for a comment, a heading or a name in a sentence."""
    return (
        printable(text)
        .replace("\n", "\\n")
        .replace("\t", "\\t")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def sentence(text: Any) -> str:
    """Return ``in_one_line`` text without the middle of very long text, for a message that quotes a file."""
    text = in_one_line(text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


def shell_word(path: Any) -> str:
    """Return a path for a command line to copy: quoted if a shell requires it, and never mistaken for an option."""
    return shlex.quote(f"./{path}" if str(path).startswith("-") else str(path))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def unsuitable_name(names: Iterable[Any]) -> str | None:
    """Return why one of ``names`` is not a valid name of a net, or that two are equal; None if all are valid."""
    names = list(names)
    for name in names:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            return f"{in_one_line(repr(name))[:80]} must consist of the characters a-z, 0-9 and _"
        if name in GROUND:
            return f'"{name}" is the name of ground in SPICE'
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    return None if twice is None else f'"{twice}" occurs twice'


def suggestion(given: object, known: Iterable[str]) -> str:
    """Return a suggestion for an error, such as "; did you mean mnist-100?", if one of ``known`` is close to the typed text."""
    names = list(known)
    lowered = {name.lower().replace("_", "-"): name for name in names}
    near = get_close_matches(str(given).lower().replace("_", "-"), list(lowered), 1, 0.6)
    return f"; did you mean {lowered[near[0]]}?" if near else ""
