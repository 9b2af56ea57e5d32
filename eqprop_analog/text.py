"""Text from files and from users, made harmless: for the terminal, and for names in netlists."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any
from unicodedata import category

NAME = re.compile(r"[a-z0-9_]+")
"""What a net, and whatever else a file may name in a netlist, is called. SPICE does not distinguish upper and lower case."""
GROUND = frozenset({"0", "gnd"})
"""Names by which ngspice knows ground."""
LONGEST = 4000
"""Characters of a message: more than any that we write, and about what the longest path has."""
_SHOWN = {"Zs", "Zl", "Zp"}
"""Categories of Unicode that str.isprintable leaves out and a terminal shows as space."""


def printable(text: Any) -> str:
    r"""``text`` with every character escaped that a terminal would obey instead of showing it (``\x1b``, ``\u202e``).

    Line breaks and tabs stay. For whatever a person is shown, wherever it came from.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in "\n\t" or category(one) in _SHOWN else _escaped(one) for one in text
    )


def in_one_line(text: Any) -> str:
    """``printable``, and line breaks and tabs escaped too: for a comment, a heading or a name in a sentence."""
    return (
        printable(text)
        .replace("\n", "\\n")
        .replace("\t", "\\t")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def sentence(text: Any) -> str:
    """``in_one_line``, with the middle left out of what is longer than anybody reads: for a message that quotes a file."""
    text = in_one_line(text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


def shell_word(path: Any) -> str:
    """A path as it stands in a command line to copy: quoted where a shell would read it otherwise, and never an option."""
    return shlex.quote(f"./{path}" if str(path).startswith("-") else str(path))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def unsuitable_name(names: Iterable[Any]) -> str | None:
    """Why the first of ``names`` that is no name for a net is none, or that two are the same; None if all will do."""
    names = list(names)
    for name in names:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            return f"{in_one_line(repr(name))[:80]} is not made of the characters a-z, 0-9 and _"
        if name in GROUND:
            return f'"{name}" is what SPICE calls ground'
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    return None if twice is None else f'"{twice}" is there twice'


def suggestion(given: object, known: Iterable[str]) -> str:
    """What to add to an error, such as "; did you mean mnist-100?", where one of ``known`` is close to what was typed."""
    names = list(known)
    lowered = {name.lower().replace("_", "-"): name for name in names}
    near = get_close_matches(str(given).lower().replace("_", "-"), list(lowered), 1, 0.6)
    return f"; did you mean {lowered[near[0]]}?" if near else ""
