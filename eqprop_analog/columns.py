"""Tables in CSV files from any program: cells, names and units of columns; every error names the file and the line."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.csv_text import SPREADSHEET_ERROR, Cells, cells_of, read_cells
from eqprop_analog.errors import UserError
from eqprop_analog.quantities import UNITS, quantity
from eqprop_analog.text import in_one_line, suggestion

Array = np.ndarray

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "?"})
INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
COMMA_NUMBER = re.compile(r"[+-]?(?:\d+,\d*|,\d+)(?:[eE][+-]?\d+)?", re.ASCII)
GROUPED = re.compile(r"[+-]?\d{1,3}(?:([.,' ])\d{3})(?:\1\d{3})*(?:[.,]\d*)?", re.ASCII)
"""Pattern of a number with separators of thousands."""
IN_BRACKETS = re.compile(r"(?P<name>.*?)\s*[(\[]\s*(?P<unit>[^()\[\]]*?)\s*[)\]]", re.DOTALL)
LONGEST = 40
"""Largest number of characters of a cell or a name that a message quotes."""


def quoted(text: object) -> str:
    """Quote text of a file in one line, cut after LONGEST characters."""
    shown = in_one_line(text)
    return f'"{shown}"' if len(shown) <= LONGEST else f'"{shown[: LONGEST - 3]}..."'


@dataclass(eq=False)
class Table:
    """The cells of a CSV file without empty lines and comments."""

    path: Path
    names: tuple[str, ...]
    """Names of the columns in the header; numbers from 1 if there is no header."""
    header: int
    """Line of the header; 0 if there is none."""
    lines: Sequence[int]
    """Line in which each row begins."""
    rows: Sequence[Sequence[str]]
    delimiter: str
    notes: list[str]
    """Decisions made while reading, and omitted lines, in sentences."""
    _marks: dict[str, int] = field(default_factory=dict)
    """The row in which a decimal point or comma was first found."""
    _checked: bool = False
    """Whether all rows are known to have the length of the header."""

    def refuse(self, what: str, row: int | None = None, column: int | None = None) -> UserError:
        """Return the error ``what`` in that row (None: the header) and, if given, that column."""
        where = f"{self.path}, line {self.header if row is None else self.lines[row]}"
        return UserError(f"{where}{'' if column is None else f', column {quoted(self.names[column])}'}: {what}")

    def texts(self, column: int) -> list[str]:
        """Return the cells of a column.

        Raises UserError for the first row that has more or fewer cells than the header.
        """
        if not self._checked:
            self._require_width()
        return [row[column] for row in self.rows]

    def _require_width(self) -> None:
        width = len(self.names)
        for row, cells in enumerate(self.rows):
            if len(cells) != width:
                first = "header" if self.header else "first line"
                many = len(cells) > width and self.delimiter == ","
                hint = "; if commas are decimal separators, separate columns by semicolons" if many else ""
                raise self.refuse(f"expected {width} columns, as in the {first}, got {len(cells)}{hint}", row)
        self._checked = True

    def is_number(self, cell: str) -> bool:
        """Return whether a cell holds only a number."""
        cell = cell.replace("−", "-")
        return bool(NUMBER.fullmatch(cell) or (self.delimiter != "," and COMMA_NUMBER.fullmatch(cell)))

    def numbers(
        self,
        column: int,
        kind: str = "",
        unit: str = "",
        advice: str = "fill it in, or leave out the line",
        *,
        blank: bool = False,
    ) -> tuple[Float[Array, " rows"], bool]:
        """Return a column's numbers in SI units, and whether their unit is written in the header or in every cell.

        ``kind``: the unit (a key of quantities.UNITS) that its cells may have; ``unit``: the unit in its header.
        ``advice`` ends the message about a cell that is not a number. With ``blank``, cells may be empty, and become
        NaN. Raises UserError, with the line, for a cell that is not a finite number.
        """
        cells = self.texts(column)
        joined = "\n".join(cells)
        if not unit and self._plain(joined, column):
            try:
                values = np.array(cells, float)
            except ValueError:
                values = np.full(len(cells), math.inf)
            if np.isfinite(values).all():
                return values, False
        values = np.full(len(cells), math.nan)
        with_unit: dict[bool, int] = {}  # the first row with a unit in its cell, and the first one without
        for row, cell in enumerate(cells):
            if cell or not blank:
                values[row], own = self._value(row, column, cell, kind, unit, advice)
                with_unit.setdefault(own, row)
        if len(with_unit) > 1:
            row = with_unit[False]
            raise self.refuse(
                f"a number without a unit, {quoted(cells[row])}, while line {self.lines[with_unit[True]]} has one; "
                "write the unit into the column's name in the header",
                row,
                column,
            )
        return values, bool(unit) or False not in with_unit

    def _plain(self, joined: str, column: int) -> bool:
        """Return whether cells consist only of characters of numbers with decimal points, which NumPy reads correctly."""
        if re.fullmatch(r"[0-9eE+\-.\n]*", joined) is None:
            return False
        if "." in joined:
            self._marked(".", joined[: joined.index(".")].count("\n"), column)
        return True

    def _marked(self, mark: str, row: int, column: int) -> None:
        """Raise UserError if a file has both decimal points and decimal commas."""
        first = self._marks.setdefault(mark, row)
        if len(self._marks) > 1:
            other = self._marks["," if mark == "." else "."]
            names = {".": "a decimal point", ",": "a decimal comma"}
            there = names.pop(mark)
            raise self.refuse(
                f"{there} in {quoted(self.rows[row][column])}, while line {self.lines[other]} has "
                f"{next(iter(names.values()))}; write all numbers in the same way",
                row,
                column,
            )
        if mark == "," and first == row and not any("decimal commas" in note for note in self.notes):
            cell = self.rows[row][column]
            self.notes.append(
                f"decimal commas: {quoted(cell)} in line {self.lines[row]} is read as {cell.replace(',', '.')}"
            )

    def _value(self, row: int, column: int, cell: str, kind: str, unit: str, advice: str) -> tuple[float, bool]:
        """Return a cell's number in SI units, and whether the cell itself has a unit."""
        text = cell.replace("−", "-")
        number, suffix = self._split(text)
        for mark in ".,":
            if mark in number:
                self._marked(mark, row, column)
        number = number.replace(",", ".")
        own = bool(suffix and kind and not unit)
        if not number or (suffix and not own):
            raise self.refuse(f"{self._strange(text, bool(number))}; {advice}", row, column)
        if not math.isfinite(float(number)):
            raise self.refuse(f"{quoted(cell)} is beyond the largest number", row, column)
        try:
            return float(quantity(f"{number} {suffix or unit}", kind) if suffix or unit else number), own
        except UserError as error:
            raise self.refuse(str(error), row, column) from error

    def _split(self, text: str) -> tuple[str, str]:
        """Split a cell into (number, following text); no number if the cell does not begin with an unambiguous one."""
        patterns = (COMMA_NUMBER, NUMBER) if self.delimiter != "," else (NUMBER,)
        found = max((match for each in patterns if (match := each.match(text))), key=lambda m: m.end(), default=None)
        if found is None or text[found.end() : found.end() + 1] in tuple(".,'0123456789"):
            return "", ""
        return found[0], text[found.end() :].strip()

    def _strange(self, text: str, number: bool) -> str:
        """Describe what is wrong with a cell that is not a number."""
        shown = quoted(text)
        finite = "expected a finite number"
        known = (
            (not text, "a value is missing (the cell is empty)"),
            (
                text.lower() in MISSING or SPREADSHEET_ERROR.fullmatch(text),
                f"a value is missing: {finite}, got {shown}",
            ),
            (INFINITE.fullmatch(text), f"{finite}, got {shown}"),
            (COMMA_NUMBER.fullmatch(text), f"expected a number with a decimal point, got {shown} with a decimal comma"),
            (GROUPED.fullmatch(text), f"expected a number without separators of thousands, got {shown}"),
            (
                number,
                f"expected only a number, got {shown}; write the unit into the column's name in the header",
            ),
        )
        return next((what for applies, what in known if applies), f"expected a number, got {shown}")


def read_table(path: Path, expected: str, row: str = "row of values", *, nameless: bool = False) -> Table:
    """Read the table in a CSV file: a line with names of columns, and rows with the same number of cells.

    Columns are separated by commas, semicolons or tabs; cells may be quoted. Empty lines, and comments that begin with
    # or %, are left out; a comment directly above numbers is their header if it has the same number of cells. The text
    is UTF-8 or UTF-16; a header may be Latin-1, in which older instruments write µ. ``expected``: the expected content,
    in words; ``row``: the name of a row; ``nameless``: whether columns may lack names. Raises UserError, with the line.
    """
    found = read_cells(path)
    if not found.rows:
        raise UserError(f"{path}: the file is empty; expected {expected}")
    lines, rows = zip(*found.rows, strict=True)
    table = Table(path, (), 0, lines, rows, found.delimiter, list(found.notes))
    _name(table, found, expected, row, nameless)
    return table


def _name(table: Table, found: Cells, expected: str, row: str, nameless: bool) -> None:
    """Find the names of the columns, in the first row or in the comment above it; cut off empty columns at the right."""
    first = list(table.rows[0])
    above = found.comments.get(table.lines[0] - 1, "").lstrip("#% ")
    cells = cells_of(above, table.delimiter) if above else []
    if any(map(table.is_number, first)) and len(cells) == len(first) and not any(map(table.is_number, cells)):
        table.header = table.lines[0] - 1
        table.notes.append(f"the comment in line {table.header} is used as the names of the columns")
    elif not all(map(table.is_number, filter(None, first))):
        table.header, cells = table.lines[0], first
        table.lines, table.rows = table.lines[1:], table.rows[1:]
        if number := next(filter(table.is_number, first), None):
            table.notes.append(
                f"line {table.header} is used as the names of the columns, although it contains the number "
                f"{quoted(number)}; if it is a row of values, write a line of names above it"
            )
    elif nameless:
        cells = [str(k) for k in range(1, len(first) + 1)]
    else:
        raise table.refuse(f"expected {expected}, got only numbers", 0)
    if not table.rows:
        raise UserError(f"{table.path}: there is no {row} below the header in line {table.header}")
    width = len(cells)
    if width == 1 and len(table.rows[-1]) > 1:
        table.names = tuple(cells)
        raise table.refuse(
            f"{quoted(cells[0])} stands where the names of {len(table.rows[-1])} columns are expected; begin what stands above "
            "them with #, or leave it out"
        )
    while width > 1 and not cells[width - 1] and not any(any(each[width - 1 :]) for each in table.rows):
        width -= 1
    table.names = tuple(cells[:width])
    table.rows = [each if len(each) == width or any(each[width:]) else each[:width] for each in table.rows]


def unit_in(name: str) -> tuple[str, str]:
    """Split a column's name and its unit, as in "I (uA)", "I [uA]", "I/uA", "I_uA" and "I uA"; "mV" alone is both.

    The unit may be any text in brackets and after a slash; otherwise it must be a unit of quantities.UNITS.
    """
    name = name.strip()
    if found := IN_BRACKETS.fullmatch(name):
        return found["name"], found["unit"]
    stem, slash, unit = name.rpartition("/")
    if slash and stem:
        return stem.strip(), unit.strip()
    stem, unit = [*re.split(r"[\s_]+(?=[^\s_]+$)", name, maxsplit=1), ""][:2]
    if unit and unit_of(unit):
        return stem, unit
    return name, name if unit_of(name) else ""


def unit_of(text: str) -> tuple[str, float] | None:
    """Return the unit (V, A, ...) and the factor to it of a text such as "uA"; None for any other text."""
    try:
        value = quantity(f"1{text.strip()}", *UNITS)
    except UserError:
        return None
    return (value.unit, float(value)) if value.unit else None


def require_unit(table: Table, column: int, unit: str, kind: str) -> None:
    """Raise UserError unless the unit in that column's header is one of ``kind``."""
    if not kind:
        raise table.refuse(f"a plain number has no unit, got {quoted(unit)}", None, column)
    found = unit_of(unit)
    if not found or found[0] != kind:
        what = f", which is in {UNITS[found[0]][0]}" if found else ""
        got = f"got {quoted(unit)}" if unit else "got none"
        raise table.refuse(
            f"unit: expected {UNITS[kind][0]} ({kind}), with or without prefix, such as u{kind}, {got}{what}",
            None,
            column,
        )


@dataclass(frozen=True)
class Columns:
    """The requested columns by name, one value per row."""

    table: Table
    lines: Int[Array, " rows"]
    numbers: Mapping[str, Float[Array, " rows"]]
    """Numbers in SI units."""
    texts: Mapping[str, Sequence[str]]
    unit_given: Mapping[str, bool]
    """For every column, whether the header or its cells state a unit; otherwise the numbers are in SI units."""
    ignored: tuple[str, ...]
    """Headers of columns that were not requested."""

    def refuse(self, row: int, what: str) -> UserError:
        """Return the error ``what`` of a row, with file and line."""
        return self.table.refuse(what, row)


def read_columns(
    path: Path, wanted: Mapping[str, str | None], optional: Sequence[str] = (), blank: Sequence[str] = ()
) -> Columns:
    """Read the columns ``wanted`` of a CSV file with a header; see read_table.

    ``wanted``: the unit by name (a key of quantities.UNITS), "" for pure numbers, None for text. Columns in ``optional`` may
    be missing, and numbers in columns of ``blank`` may be left out, which is NaN. Raises UserError, with the line, for
    missing and repeated columns, units of another kind, and values that are not finite numbers.
    """
    table = read_table(path, f"a header with the columns {', '.join(wanted)}")
    places: dict[str, int] = {}
    units: dict[str, str] = {}
    for column, header in enumerate(table.names):
        name, unit = unit_in(header)
        name = name.lower()
        if name not in wanted:
            continue
        if name in places:
            raise table.refuse(f'there are two columns "{name}"; keep one')
        places[name], units[name] = column, unit
        if unit and (kind := wanted[name]) is not None:
            require_unit(table, column, unit, kind)
    ignored = tuple(in_one_line(name) for column, name in enumerate(table.names) if column not in places.values())
    missing = [name for name in wanted if name not in places and name not in optional]
    if missing:
        may = f" (optional: {', '.join(optional)})" if optional else ""
        raise table.refuse(
            f'there is no column "{missing[0]}"; expected {", ".join(wanted)}{may}, got '
            f"{', '.join(map(in_one_line, table.names)):.200}{suggestion(missing[0], ignored)}"
        )
    found = {
        name: table.numbers(column, kind, units[name], blank=name in blank)
        for name, column in places.items()
        if (kind := wanted[name]) is not None
    }
    return Columns(
        table,
        np.array(table.lines),
        {name: values for name, (values, _) in found.items()},
        {name: table.texts(column) for name, column in places.items() if wanted[name] is None},
        {name: given for name, (_, given) in found.items() if wanted[name]},
        ignored,
    )
