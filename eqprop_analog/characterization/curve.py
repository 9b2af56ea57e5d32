"""A current-voltage curve from a CSV file: columns by the units in their headers, every fault with its line."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.errors import UserError
from eqprop_analog.incoming import real_number
from eqprop_analog.quantities import UNITS, quantity
from eqprop_analog.text import in_one_line

Array = np.ndarray

LARGEST_FILE = 2**26
"""Bytes."""
FEWEST = 5
"""Points of a curve."""
LARGEST_MAGNITUDE = {"V": 1e6, "A": 1e6}
"""That a measured value may have."""
QUANTITIES = {"V": "voltage", "A": "current"}
DELIMITERS = ("\t", ";", ",")
IN_BRACKETS = re.compile(r"[(\[]\s*([^()\[\]]*?)\s*[)\]]\s*$")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Noise:
    """What a measured current may be wrong by: ``absolute`` + ``relative``·|I|."""

    absolute: float = 0.0
    """Amperes."""
    relative: float = 0.0
    """Fraction of the current."""

    def __post_init__(self) -> None:
        """Raise UserError for what is no noise."""
        for name, high in (("absolute", 1.0), ("relative", 0.5)):
            value = real_number(getattr(self, name), f"{name} noise")
            if not 0 <= value <= high:
                raise UserError(f"{name} noise: expected 0 to {high:g}, got {value:g}")

    def of(self, current: Float[Array, "..."]) -> Float[Array, "..."]:
        """Amperes, of each current."""
        return np.asarray(self.absolute + self.relative * np.abs(current))

    def __str__(self) -> str:
        return f"{self.absolute:g} A + {100 * self.relative:g} %"


@dataclass(frozen=True, eq=False)
class Curve:
    """Points of a current-voltage curve, in the order of the file."""

    voltage: Float[Array, " points"]
    """Across the device, from anode to cathode, volts."""
    current: Float[Array, " points"]
    """From anode to cathode, amperes."""
    lines: Int[Array, " points"]
    """Of the file; 0 where it is no file's."""
    source: str
    """Name of the file, or what else the curve comes from."""

    def at(self, point: int) -> str:
        """Where a point is, for messages."""
        line = int(self.lines[point])
        return f"{self.source} line {line}" if line else f"{self.source}, point {point}"


def read_curve(path: Path, voltage: str = "", current: str = "") -> Curve:
    """The curve in a CSV file: a header with a unit in each column's name, such as ``V (mV), I (uA)``, then numbers.

    ``voltage``, ``current``: the columns' names; by default the one column in volts and the one in amperes. Columns are
    separated by commas, semicolons or tabs; lines that begin with # or % are comments. Raises UserError with the line.
    """
    rows = list(_rows(path))
    if not rows:
        raise UserError(f"{path}: holds no data; expected a header such as V (V),I (A) and a line for each point")
    number, header = rows[0]
    columns = {kind: _column(path, number, header, kind, name) for kind, name in (("V", voltage), ("A", current))}
    if columns["V"][0] == columns["A"][0]:
        raise UserError(f"{path} line {number}: voltage and current are the same column; name two")
    if len(rows) - 1 < FEWEST:
        raise UserError(f"{path}: expected {FEWEST} points or more, got {len(rows) - 1}")
    values = {
        kind: [_value(path, row, column, kind, len(header)) for row in rows[1:]] for kind, column in columns.items()
    }
    lines = np.array([line for line, _ in rows[1:]])
    return Curve(np.array(values["V"]), np.array(values["A"]), lines, path.name)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of every line that is no comment."""
    text = _text(path)
    lines = [
        (n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip() and line.strip()[0] not in "#%"
    ]
    if not lines:
        return
    delimiter = next((each for each in DELIMITERS if each in lines[0][1]), ",")
    for number, line in lines:
        try:
            (cells,) = csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True)
        except csv.Error as error:
            raise UserError(f"{path} line {number}: not a line of a CSV file ({in_one_line(error)})") from error
        yield number, [cell.strip() for cell in cells]


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(content) > LARGEST_FILE or b"\0" in content:
        why = "it is larger than 64 MiB" if len(content) > LARGEST_FILE else "it holds binary data"
        raise UserError(f"{path}: not a CSV file of a curve ({why}); export the measurement as text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")  # µ of many instruments


def unit_of(header: str) -> tuple[str, float] | None:
    """Unit (V, A, ...) and factor to it that a column's name ends in: "I (uA)", "V [mV]", "I/mA", "id_uA", "V mV", "mV"."""
    bracketed = IN_BRACKETS.search(header)
    found = [bracketed[1]] if bracketed else [header.rpartition("/")[2], *re.split(r"[\s_]+", header)[-1:], header]
    for text in found:
        try:
            value = quantity(f"1{text.strip()}", *UNITS)
        except UserError:
            continue
        if value.unit:
            return value.unit, float(value)
    return None


def _column(path: Path, line: int, header: Sequence[str], kind: str, wanted: str) -> tuple[int, float]:
    """Place of the column of a quantity, and the factor to its SI unit."""
    what, example = QUANTITIES[kind], {"V": "V (mV)", "A": "I (uA)"}[kind]
    units = [unit_of(name) for name in header]
    listed = ", ".join(f'"{name}"' for name in header)
    if wanted:
        places = [k for k, name in enumerate(header) if wanted in (name, re.split(r"[\s(\[/]", name)[0])]
        if len(places) != 1:
            raise UserError(f'{path} line {line}: {len(places)} columns are called "{wanted}"; there are {listed}')
    else:
        places = [k for k, unit in enumerate(units) if unit and unit[0] == kind]
        if len(places) > 1:
            raise UserError(
                f"{path} line {line}: {len(places)} columns are in {UNITS[kind][0]}; say which is the {what} by "
                f"--{what}-column; there are {listed}"
            )
    unit = units[places[0]] if places else None
    if unit is None or unit[0] != kind:
        raise UserError(
            f"{path} line {line}: expected a header with the {what} in {UNITS[kind][0]} and its unit, such as {example}, got "
            f"{listed:.200}"
        )
    return places[0], unit[1]


def _value(path: Path, row: tuple[int, list[str]], column: tuple[int, float], kind: str, width: int) -> float:
    """A cell as a number in the SI unit."""
    (line, cells), (place, factor) = row, column
    what = QUANTITIES[kind]
    if len(cells) != width:
        raise UserError(f"{path} line {line}: expected {width} columns, as the header has, got {len(cells)}")
    cell = cells[place]
    text = cell.replace(",", ".") if DECIMAL_COMMA.fullmatch(cell) else cell
    try:
        value = float(text) * factor
    except ValueError as error:
        raise UserError(
            f"{path} line {line}: {what}: expected a number, got {cell!r:.40}; the unit belongs into the header"
        ) from error
    if not np.isfinite(value):
        raise UserError(f"{path} line {line}: {what} is {cell}; leave the line out, or measure the point again")
    if abs(value) > LARGEST_MAGNITUDE[kind]:
        raise UserError(
            f"{path} line {line}: {what} is {value:g} {kind}, which no such device has; is the unit in the header right?"
        )
    return value


@dataclass(frozen=True, eq=False)
class Ordered:
    """A curve by ascending voltage, each voltage once, its current nondecreasing."""

    voltage: Float[Array, " points"]
    current: Float[Array, " points"]
    measured: Float[Array, " points"]
    """Before the isotonic fit, amperes; points at one voltage are averaged."""
    notes: tuple[str, ...] = ()
    """What was changed, in sentences."""


def ordered(curve: Curve, noise: Noise) -> Ordered:
    """``curve`` made monotone within ``noise``. Raises UserError, with the lines, for what is not monotone beyond it.

    Points of one voltage are averaged; where the current falls, the nearest nondecreasing curve takes its place (isotonic
    regression, weights by the noise).
    """
    merged, notes = _merged(curve, noise)
    voltage, measured = merged.voltage, merged.current
    if len(voltage) < FEWEST:
        raise UserError(f"{curve.source}: expected {FEWEST} voltages or more, got {len(voltage)}")
    if (np.diff(measured) >= 0).all():
        return Ordered(voltage, measured, measured, notes)
    from scipy.optimize import isotonic_regression

    sigma = noise.of(measured)
    weights = 1 / np.maximum(sigma, 1e-12 * max(sigma.max(), np.abs(measured).max())) ** 2
    fitted = np.asarray(isotonic_regression(measured, weights=weights).x)
    moved = np.abs(fitted - measured)
    if (moved > sigma).any():
        raise UserError(_not_monotone(merged, noise, moved - sigma))
    count = int(np.count_nonzero(moved > 0))
    note = (
        f"{count} of {len(voltage)} points were not monotone and were moved by up to {moved.max():.3g} A, within the stated "
        f"noise ({noise})"
    )
    return Ordered(voltage, fitted, measured, (*notes, note))


def _not_monotone(curve: Curve, noise: Noise, beyond: Float[Array, " points"]) -> str:
    """Where the current falls by most, and what could be done."""
    falls = np.diff(curve.current)
    allowed = np.maximum(noise.of(curve.current[1:]) + noise.of(curve.current[:-1]), np.finfo(float).tiny)
    k = int(np.argmin(falls / allowed))
    one, other = curve.at(k), curve.at(k + 1)
    return (
        f"{other}: the current falls from {curve.current[k]:.4g} A at {curve.voltage[k]:.4g} V ({one}) to "
        f"{curve.current[k + 1]:.4g} A at {curve.voltage[k + 1]:.4g} V, by more than the stated noise ({noise}; it would have to "
        f"be larger by {beyond.max():.2g} A). A law's current must not fall with the voltage; state the noise of the "
        f"measurement by --noise and --relative-noise, or take a device without a negative resistance"
    )


def _merged(curve: Curve, noise: Noise) -> tuple[Curve, tuple[str, ...]]:
    """Sorted by voltage, points of one voltage averaged. UserError where they differ by more than the noise."""
    order = np.argsort(curve.voltage, kind="stable")
    voltage, current = curve.voltage[order], curve.current[order]
    unique, first, counts = np.unique(voltage, return_index=True, return_counts=True)
    if len(unique) == len(voltage):
        return replace(curve, voltage=voltage, current=current, lines=curve.lines[order]), ()
    mean = np.add.reduceat(current, first) / counts
    apart = np.abs(current - np.repeat(mean, counts)) - noise.of(np.repeat(mean, counts))
    if (apart > 0).any():
        worst = int(np.argmax(apart))
        start = first[np.searchsorted(first, worst, side="right") - 1]
        group = np.arange(start, start + counts[np.searchsorted(first, worst, side="right") - 1])
        low, high = (int(order[group[pick(current[group])]]) for pick in (np.argmin, np.argmax))
        raise UserError(_contradiction(curve, noise, low, high))
    note = f"{len(voltage) - len(unique)} repeated voltages were averaged; their currents agree within the stated noise"
    return replace(curve, voltage=unique, current=mean, lines=curve.lines[order][first]), (note,)


def _contradiction(curve: Curve, noise: Noise, one: int, other: int) -> str:
    """Two points of one voltage with different currents: hysteresis where the file is a sweep up and down."""
    one, other = sorted((one, other))
    turns = _turns(curve.voltage)
    between = any(one <= turn <= other for turn in turns)
    swept = 0 < len(turns) <= max(3, len(curve.voltage) // 4) and between
    what = "hysteresis: on the way up and on the way down" if swept else "duplicate: at the same voltage"
    advice = "keep one branch of the sweep, measure more slowly" if swept else "leave one of the two out"
    return (
        f"{curve.at(other)}: {what} the current at {curve.voltage[one]:.4g} V is {curve.current[one]:.4g} A ({curve.at(one)}) "
        f"and {curve.current[other]:.4g} A, which differ by more than the stated noise ({noise}); {advice}, or state the noise "
        f"by --noise and --relative-noise"
    )


def _turns(voltage: Float[Array, " points"]) -> list[int]:
    """Points at which a sweep turns round."""
    steps = np.sign(np.diff(voltage))
    places = np.flatnonzero(steps)
    return [int(k) for k, j in zip(places[1:], places[:-1], strict=True) if steps[k] != steps[j]]


def figures(values: Array) -> list[Any]:
    """An array as numbers for a file."""
    return np.asarray(values, float).tolist()
