"""Tables of measurements in CSV files: named columns whose headers may carry a unit; errors name the line."""

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.errors import UserError
from eqprop_analog.quantities import UNITS, quantity
from eqprop_analog.text import in_one_line, suggestion

Array = np.ndarray

LARGEST_FILE = 2**28
"""Bytes."""
HEADER = re.compile(r"(?P<name>[^\[(/]+?)\s*(?:\[(?P<square>[^\]]*)\]|\((?P<round>[^)]*)\)|/\s*(?P<slash>.+))?")
"""A name alone, or with its unit: "current", "current (uA)", "current [uA]", "current/uA"."""
DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class Columns:
    """The columns that were asked for, a value a row, with the line of the file that every row stands in."""

    path: Path
    lines: Int[Array, " rows"]
    numbers: Mapping[str, Float[Array, " rows"]]
    """In SI units."""
    texts: Mapping[str, Sequence[str]]
    unit_given: Mapping[str, bool]
    """Of every column with a unit, whether the header or its cells carry it; without one the numbers are SI units."""
    ignored: tuple[str, ...]
    """Headers of columns that nobody asked for."""

    def refuse(self, row: int, what: str) -> UserError:
        """The error of a row: file, line, and ``what`` is wrong there."""
        return UserError(f"{self.path}, line {self.lines[row]}: {what}")


def read_columns(path: Path, wanted: Mapping[str, str | None], optional: Sequence[str] = ()) -> Columns:
    """The columns ``wanted`` of a CSV file with a header.

    ``wanted``: by name the unit (a key of quantities.UNITS), "" for numbers without unit, None for text. Those in
    ``optional`` may be missing. Columns are separated by commas, semicolons or tabs; lines that are empty or begin with # are
    left out. Raises UserError, with the line, for missing and repeated columns, units of another kind, rows of another length,
    and what is no finite number.
    """
    rows = rows_of(path)
    try:
        number, header = next(rows)
    except StopIteration:
        raise UserError(f"{path}: the file is empty; expected a header with {', '.join(wanted)}") from None
    places, units, ignored = _header(path, number, header, wanted, optional)
    lines: list[int] = []
    numbers: dict[str, list[float]] = {name: [] for name in places if wanted[name] is not None}
    texts: dict[str, list[str]] = {name: [] for name in places if wanted[name] is None}
    given = {name: bool(units[name]) for name in numbers if wanted[name]}
    for number, row in rows:
        if len(row) != len(header):
            raise UserError(f"{path}, line {number}: expected {len(header)} columns as in the header, got {len(row)}")
        lines.append(number)
        for name, place in places.items():
            cell = row[place].strip()
            if name in texts:
                texts[name].append(cell)
                continue
            value, with_unit = _value(path, number, name, cell, wanted[name] or "", units[name])
            numbers[name].append(value)
            if with_unit:
                given[name] = True
    if not lines:
        raise UserError(f"{path}: there is a header, but no row of values below it")
    arrays = {name: np.array(values, float) for name, values in numbers.items()}
    return Columns(path, np.array(lines), arrays, texts, given, ignored)


def rows_of(path: Path, *, utf8: bool = False) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every line that holds something; see read_columns. ``utf8``: refuse text that is not."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(content) > LARGEST_FILE:
        raise UserError(
            f"{path}: more than {LARGEST_FILE:,} bytes; leave out rows, or save arrays as .npz where these are taken"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if utf8:
            where, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
            raise UserError(f"{path}, line {where}: expected text in UTF-8, got the byte {byte:#04x}") from error
        text = content.decode("latin-1")  # µ as older instruments write it
    if "\0" in text:
        raise UserError(f"{path}: this is not a text file; export the table as CSV")
    kept = [
        (k, line) for k, line in enumerate(text.splitlines(), 1) if line.strip() and not line.lstrip().startswith("#")
    ]
    if not kept:
        return
    delimiter = max(DELIMITERS, key=kept[0][1].count)
    for number, line in kept:
        try:
            yield number, next(csv.reader(io.StringIO(line), delimiter=delimiter, strict=True))
        except csv.Error as error:
            raise UserError(f"{path}, line {number}: not a line of a CSV file ({error})") from error


def _header(
    path: Path, line: int, header: Sequence[str], wanted: Mapping[str, str | None], optional: Sequence[str]
) -> tuple[dict[str, int], dict[str, str], tuple[str, ...]]:
    """(place of every wanted column that is there, its unit as written, the other headers)."""
    places: dict[str, int] = {}
    units: dict[str, str] = {}
    ignored = []
    for place, cell in enumerate(header):
        found = HEADER.fullmatch(cell.strip())
        name, unit = (
            (found["name"].strip().lower(), next(filter(None, found.groups()[1:]), "").strip()) if found else ("", "")
        )
        stem, _, suffix = name.rpartition("_")
        if name not in wanted and stem in wanted:  # "conductance_uS"
            name, unit = stem, cell.strip()[-len(suffix) :]
        if name not in wanted:
            ignored.append(in_one_line(cell.strip()))
            continue
        if name in places:
            raise UserError(f'{path}, line {line}: there are two columns "{name}"; keep one')
        places[name], units[name] = place, unit
        if unit and (kind := wanted[name]) is not None:
            _scale(path, line, name, unit, kind)
    missing = [name for name in wanted if name not in places and name not in optional]
    if missing:
        near = suggestion(missing[0], ignored)
        may = f" (optional: {', '.join(optional)})" if optional else ""
        got = ", ".join(map(in_one_line, header))
        raise UserError(
            f'{path}, line {line}: there is no column "{missing[0]}"; expected {", ".join(wanted)}{may}, got {got}{near}'
        )
    return places, units, tuple(ignored)


def _scale(path: Path, line: int, name: str, unit: str, kind: str) -> None:
    """UserError unless ``unit`` is one of ``kind``."""
    if not kind:
        raise UserError(f'{path}, line {line}: column "{name}" is a plain number, got the unit {in_one_line(unit)!r}')
    try:
        found = quantity(f"1 {unit}", kind)
    except UserError as error:
        raise UserError(f'{path}, line {line}: unit of column "{name}": {error}') from error
    if not found.unit:
        raise UserError(
            f'{path}, line {line}: unit of column "{name}": expected {UNITS[kind][0]} with or without prefix, such as '
            f"u{kind}, got {in_one_line(unit)!r}"
        )


def _value(path: Path, line: int, name: str, cell: str, kind: str, unit: str) -> tuple[float, bool]:
    """(A cell's number in SI units, whether the cell itself carries a unit)."""
    problem = f'{path}, line {line}: column "{name}"'
    try:
        plain = float(cell)
    except ValueError:
        pass
    else:
        if not math.isfinite(plain):
            raise UserError(f"{problem}: expected a finite number, got {in_one_line(cell)!r:.40}; leave such rows out")
        return (float(quantity(f"{cell} {unit}", kind)) if unit else plain), False
    if not cell:
        raise UserError(f"{problem}: the cell is empty; fill it in, or leave the row out")
    if re.fullmatch(r"[+-]?\d+,\d+\D*", cell):
        raise UserError(f"{problem}: expected a number with a decimal point, got {in_one_line(cell)!r:.40}")
    if not kind:
        raise UserError(f"{problem}: expected a number, got {in_one_line(cell)!r:.40}")
    try:
        return float(quantity(cell, kind)), True
    except UserError as error:
        raise UserError(f"{problem}: {error}") from error
