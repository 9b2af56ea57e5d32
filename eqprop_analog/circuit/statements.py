"""The statements of a netlist, read as text: nothing in it is run, and no file that it names is opened."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from eqprop_analog.errors import UserError

NUMBER = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:e([+-]?[0-9]{1,5}))?(meg|mil|[tgkmunpf])?[a-z]*", re.ASCII)
EXPONENTS = {"t": 12, "g": 9, "meg": 6, "k": 3, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15}
"""SPICE's suffixes: m is milli, meg is 1e6; letters behind them are units and say nothing."""
MIL = 25.4e-6
INLINE = re.compile(r";|(?:^|\s)\$\s")
SHOWN = 60
"""Characters of a line in a message."""


@dataclass(frozen=True)
class Statement:
    """One statement in lower case, lines that continue it joined."""

    file: str
    number: int
    """Of its first line, from 1."""
    text: str

    @property
    def words(self) -> list[str]:
        """Separated by blanks, ``a = b`` as ``a=b``; ``params:`` says nothing and is left out."""
        joined = " ".join(self.text.split()).replace(" =", "=").replace("= ", "=")
        return [word for word in joined.split() if word != "params:"]

    def refuse(self, why: str) -> NoReturn:
        """Raise UserError naming file, line number and line."""
        shown = self.text if len(self.text) <= SHOWN else self.text[:SHOWN] + " ..."
        raise UserError(f"{self.file}, line {self.number}: {why}: {shown!r}")

    def value(self, word: str) -> float:
        """The number that a word says. Raises UserError."""
        found = NUMBER.fullmatch(word)
        if found is None:
            self.refuse(f'expected a number such as 2.5e6 or 2.5meg, got "{word[:SHOWN]}"'.replace("\n", " "))
        mantissa, exponent, suffix = found.groups()
        power = int(exponent or 0) + EXPONENTS.get(suffix, 0)
        number = float(f"{mantissa}e{power}") * (MIL if suffix == "mil" else 1)
        if abs(number) == float("inf"):
            self.refuse("expected a finite number")
        return number

    def settings(self, words: Sequence[str]) -> dict[str, float]:
        """``key=number`` words by key. Raises UserError."""
        given: dict[str, float] = {}
        for word in words:
            key, equals, number = word.partition("=")
            if not equals or not key or key in given:
                self.refuse(f'expected key=number once for every key, got "{word[:SHOWN]}"')
            given[key] = self.value(number)
        return given


@dataclass
class Source:
    """A netlist taken apart."""

    file: str
    title: str
    comments: list[Statement] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    """Everything else outside of the blocks."""
    blocks: list[tuple[Statement, list[Statement]]] = field(default_factory=list)
    """``.subckt`` and ``.control`` with what stands between them and their ends."""


def read_source(path: Path) -> Source:
    """The file's statements. Raises UserError for what is no text, for a block that never ends, for text behind ``.end``."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such netlist") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable netlist ({error})") from error
    return source_of(text, str(path))


def source_of(text: str, file: str) -> Source:
    """``read_source`` of a text that has been read."""
    lines = text.split("\n")
    source = Source(file, lines[0])
    closing = {".subckt": ".ends", ".control": ".endc"}
    block: list[Statement] | None = None
    for statement in _statements(lines, source):
        first = statement.text.split(None, 1)[0]
        if block is not None:
            opening = source.blocks[-1][0]
            if first == closing[opening.text.split(None, 1)[0]]:
                block = None
            else:
                block.append(statement)
        elif first in closing:
            block = []
            source.blocks.append((statement, block))
        elif source.statements and source.statements[-1].text == ".end":
            statement.refuse("text behind .end")
        else:
            source.statements.append(statement)
    if block is not None:
        source.blocks[-1][0].refuse("this block has no end")
    return source


def _statements(lines: Sequence[str], source: Source) -> Iterator[Statement]:
    """All but the title, comments and empty lines; comments go into ``source``."""
    first, parts = 0, [""]
    for number, line in enumerate(lines[1:], start=2):
        if line.startswith("*"):
            source.comments.append(Statement(source.file, number, line[1:].strip()))
            continue
        stripped = INLINE.split(line, maxsplit=1)[0].strip() if "$" in line or ";" in line else line.strip()
        if not stripped:
            continue
        if stripped[0] != "+":
            if first:
                yield Statement(source.file, first, " ".join(parts).lower())
            first, parts = number, [stripped]
        elif first:
            parts.append(stripped[1:])
        else:
            Statement(source.file, number, stripped).refuse("continues no line")
    if first:
        yield Statement(source.file, first, " ".join(parts).lower())
