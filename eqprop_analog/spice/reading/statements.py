"""The statements of a netlist, read as ngspice reads its text: nothing is executed, and no file that it names is opened."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from eqprop_analog.errors import UserError
from eqprop_analog.spice.reading.expressions import Parameters, number

BLANKS = str.maketrans(
    {chr(c): " " if c < 14 else "\ufffd" for c in range(1, 0x3001) if chr(c).isspace() and c not in (10, 32)}
)
"""Characters that are blanks for ngspice; other Unicode blanks are letters."""
ODD = re.compile(r"[^ -~]")
LOWER = {ord("A") + k: ord("a") + k for k in range(26)}
INLINE = re.compile(r";|//|(?:^|[\s,])\$")
"""Beginning of a comment within a line."""
IN_CONTROL = re.compile(r";|(?:^|\s)\$\s")
"""The same in a ``.control`` block, where $name is a variable."""
INNER = re.compile(r"(\{[^{}]*\}|'[^']*')")
"""Pattern of an expression, which is one word."""
ASSIGNMENT = re.compile(r"(?<![a-z0-9_])([a-z_][a-z0-9_]{0,99}) ?= ?")
PARAMETERS = (".param", ".params")
CLOSING = {".subckt": ".ends", ".control": ".endc"}
SHOWN = 60
"""Largest number of characters of a line in a message."""
NONE = Parameters({})
SEPARATORS = str.maketrans(dict.fromkeys("(),=", " "))
BRACKETS = str.maketrans(dict.fromkeys("()", " "))
LISTS = str.maketrans(dict.fromkeys("(),", " "))


@dataclass(frozen=True)
class Statement:
    """One statement in lower case, with its continuation lines joined."""

    file: str
    number: int
    """Number of its first line, from 1."""
    text: str
    parameters: Parameters = field(default=NONE, repr=False, compare=False)
    """Parameters of the netlist."""

    @property
    def words(self) -> list[str]:
        """Separated by blanks, ``a = b`` as ``a=b``; ``params:`` has no effect and is left out."""
        return self._joined_words({})

    @property
    def terms(self) -> list[str]:
        """Words of an R, V or I device: brackets, commas and ``=`` are separators, too, and net ``gnd`` is ``0``."""
        words = self._without(SEPARATORS).split()
        return [*words[:1], *("0" if word == "gnd" else word for word in words[1:3]), *words[3:]]

    @property
    def pins(self) -> list[str]:
        """Words of an X device: brackets are separators, too."""
        return self._joined_words(BRACKETS)

    @property
    def parts(self) -> list[str]:
        """Words of any line of a subcircuit: brackets and commas are separators, too, and ``gnd`` is ``0``."""
        return ["0" if word == "gnd" else word for word in self._joined_words(LISTS)]

    def _joined_words(self, separators: Mapping[int, str]) -> list[str]:
        """Return the words without ``separators``, with ``a = b`` as ``a=b``, and without ``params:``."""
        joined = " ".join(self._without(separators).split()).replace(" =", "=").replace("= ", "=")
        return [word for word in joined.split() if word != "params:"]

    def _without(self, separators: Mapping[int, str]) -> str:
        """Return the text with blanks instead of ``separators``, except in expressions."""
        if "{" not in self.text and "'" not in self.text:
            return self.text.translate(separators)
        parts = INNER.split(self._joined())
        return "".join(part if k % 2 else part.translate(separators) for k, part in enumerate(parts))

    def _joined(self) -> str:
        """Return the text without blanks in expressions."""
        if "{" not in self.text and "'" not in self.text:
            return self.text
        return INNER.sub(lambda found: found[0].replace(" ", ""), self.text)

    def refuse(self, why: str) -> NoReturn:
        """Raise UserError, which names file, line number and line."""
        shown = self.text if len(self.text) <= SHOWN else self.text[:SHOWN] + " ..."
        raise UserError(f"{self.file}, line {self.number}: {why}: {shown!r}")

    def value(self, word: str) -> float:
        """Return the value of a word: a number, an expression, or the name of a parameter. Raises UserError."""
        try:
            value = number(word)
            if value is None:
                if word[:1] not in ("{", "'") and word not in self.parameters:
                    raise ValueError("it is neither a number nor the name of a .param")
                value = self.parameters.evaluated(word)
        except ValueError as error:
            shown = f'expected a number such as 2.5e6 or 2.5meg, got "{word[:SHOWN]}"'.replace("\n", " ")
            self.refuse(f"{shown} ({error})".replace("\n", " "))
        if abs(value) == float("inf"):
            self.refuse("expected a finite number")
        return value

    def require_parameter(self, name: str) -> None:
        """Refuse the statement if the parameter that it assigns is not understood."""
        try:
            self.parameters[name]
        except ValueError as error:
            self.refuse(f".param {name[:SHOWN]} is not understood ({error})".replace("\n", " "))

    def settings(self, words: Sequence[str]) -> dict[str, float]:
        """``key=number`` words by key. Raises UserError."""
        given: dict[str, float] = {}
        for word in words:
            key, equals, value = word.partition("=")
            if not equals or not key or key in given:
                self.refuse(f'expected key=number once for every key, got "{word[:SHOWN]}"')
            given[key] = self.value(value)
        return given


@dataclass
class Source:
    """A netlist split into its parts."""

    file: str
    title: str
    comments: list[Statement] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    """All other statements outside the blocks and ``.param``."""
    blocks: list[tuple[Statement, list[Statement]]] = field(default_factory=list)
    """``.subckt`` and ``.control`` blocks with their content."""
    parameters: Parameters = NONE


def read_source(path: Path) -> Source:
    """Return the file's statements. Raises UserError for binary data, for a block without an end, and for text after ``.end``.

    The text is UTF-8, with or without a byte order mark, or else Latin-1; ngspice accepts both.
    """
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such netlist") from error
    except OSError as error:
        raise UserError(f"{path}: not a readable netlist ({error})") from error
    if b"\0" in raw:
        raise UserError(f"{path}: not a readable netlist (it contains zero bytes; expected text in UTF-8 or Latin-1)")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return source_of(text, str(path))


def source_of(text: str, file: str) -> Source:
    """Do the same as ``read_source`` for a text that is already read."""
    lines = text.split("\n")
    source = Source(file, lines[0])
    assigned: dict[str, str] = {}
    owners: dict[str, Statement] = {}
    source.parameters = Parameters(assigned)
    block: list[Statement] | None = None
    for statement in _statements(lines, source):
        first = statement.text.split(None, 1)[0]
        if block is not None:
            opening = source.blocks[-1][0]
            if first == CLOSING[opening.text.split(None, 1)[0]]:
                block = None
            else:
                block.append(statement)
        elif first in CLOSING:
            block = []
            source.blocks.append((statement, block))
        elif source.statements and source.statements[-1].text == ".end" != statement.text:
            statement.refuse("there is text after .end, which ngspice also reads; put it before .end, or leave it out")
        elif first in PARAMETERS:
            for name, expression in _assignments(statement):
                assigned[name], owners[name] = expression, statement
        else:
            source.statements.append(statement)
    if block is not None:
        source.blocks[-1][0].refuse("this block has no end")
    for name, owner in owners.items():
        owner.require_parameter(name)
    return source


def _assignments(statement: Statement) -> Iterator[tuple[str, str]]:
    """Return (name, expression) of each parameter of a ``.param`` line. Raises UserError for anything else."""
    text = " ".join(statement.text.split()[1:])
    found = list(ASSIGNMENT.finditer(text))
    if not found or found[0].start():
        statement.refuse("expected .param name=value")
    for each, following in zip(found, [*found[1:], None], strict=True):
        expression = text[each.end() : following.start() if following else None].strip(" ")
        if not expression or expression.endswith(","):
            statement.refuse(f"expected a value of .param {each[1][:SHOWN]}, and no commas")
        yield each[1], expression


def _statements(lines: Sequence[str], source: Source) -> Iterator[Statement]:
    """Return all statements except title, comments and empty lines; comments are stored in ``source``."""
    first, parts, control = 0, [""], False
    for line_number, line in enumerate(lines[1:], start=2):
        stripped = (line.translate(BLANKS) if ODD.search(line) else line).strip(" ")
        if stripped.startswith("*"):
            source.comments.append(Statement(source.file, line_number, stripped[1:].strip(" ")))
            continue
        if "$" in stripped or ";" in stripped or "//" in stripped:
            stripped = (IN_CONTROL if control else INLINE).split(stripped, maxsplit=1)[0].strip(" ")
        if not stripped:
            continue
        if stripped[0] != "+":
            if first:
                yield Statement(source.file, first, " ".join(parts), source.parameters)
            lowered = stripped.translate(LOWER)
            control = not lowered.startswith(".endc") and (control or lowered.startswith(".control"))
            first, parts = line_number, [lowered]
        elif first:
            parts.append(stripped[1:].translate(LOWER))
        else:
            Statement(source.file, line_number, stripped).refuse("there is no line to continue")
    if first:
        yield Statement(source.file, first, " ".join(parts), source.parameters)
