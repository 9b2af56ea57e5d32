"""A current-voltage curve from a CSV file: columns are found by the units in their headers, and errors name the line."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.columns import Table, quoted, read_table, require_unit, unit_in, unit_of
from eqprop_analog.errors import UserError
from eqprop_analog.incoming import real_number
from eqprop_analog.quantities import UNITS

Array = np.ndarray

FEWEST = 5
"""Smallest number of points of a curve."""
LARGEST_MAGNITUDE = {"V": 1e6, "A": 1e6}
"""Largest magnitude of a measured value, in its SI unit."""
QUANTITIES = {"V": "voltage", "A": "current"}
NAMES = {"V": ("v", "u", "voltage", "bias"), "A": ("i", "current", "id", "i_d")}
"""Names of columns whose quantity is unambiguous."""
MOST_LISTED = 12
"""Largest number of columns that a message lists."""


@dataclass(frozen=True)
class Noise:
    """Measurement error of a current: ``absolute`` + ``relative``·|I|."""

    absolute: float = 0.0
    """Amperes."""
    relative: float = 0.0
    """Fraction of the current."""

    def __post_init__(self) -> None:
        """Raise UserError for values that are not a noise."""
        for name, high in (("absolute", 1.0), ("relative", 0.5)):
            value = real_number(getattr(self, name), f"{name} noise")
            if not 0 <= value <= high:
                raise UserError(f"{name} noise: expected 0 to {high:g}, got {value:g}")

    def of(self, current: Float[Array, "..."]) -> Float[Array, "..."]:
        """Noise of each current, amperes."""
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
    """Line of each point in the file; 0 if the curve is not from a file."""
    source: str
    """Name of the file or other source of the curve."""
    notes: tuple[str, ...] = ()
    """Decisions made while reading the file, in sentences."""

    def at(self, point: int) -> str:
        """Describe the location of a point, for messages."""
        line = int(self.lines[point])
        return f"{self.source}, line {line}" if line else f"{self.source}, point {point}"


def read_curve(path: Path, voltage: str = "", current: str = "") -> Curve:
    """Read a curve from a CSV file: a header with a unit in each column's name, such as ``V (mV), I (uA)``, then numbers.

    ``voltage``, ``current`` are the columns' names; by default the only column in volts and the only one in amperes.
    See columns.read_table for the format of the file. Raises UserError with the line number.
    """
    table = read_table(path, "a header such as V (V),I (A), and a line for each point", "point")
    columns = {kind: _column(table, kind, name) for kind, name in (("V", voltage), ("A", current))}
    if columns["V"][0] == columns["A"][0]:
        raise table.refuse("voltage and current are the same column; name two")
    if len(table.rows) < FEWEST:
        raise UserError(f"{path}: expected {FEWEST} points or more, got {len(table.rows)}")
    values = {kind: _values(table, kind, *column) for kind, column in columns.items()}
    return Curve(values["V"], values["A"], np.array(table.lines), path.name, tuple(table.notes))


def _column(table: Table, kind: str, wanted: str) -> tuple[int, str]:
    """Return the index of a quantity's column, and its unit as written."""
    what, example = QUANTITIES[kind], {"V": "V (mV)", "A": "I (uA)"}[kind]
    parts = [unit_in(name) for name in table.names]
    listed = ", ".join(map(quoted, table.names[:MOST_LISTED])) + (" ..." if len(parts) > MOST_LISTED else "")
    if wanted:
        places = [k for k, (name, _) in enumerate(parts) if wanted in (name, table.names[k])]
        if len(places) != 1:
            raise table.refuse(f'{len(places)} columns are called "{wanted}"; there are {listed}')
        require_unit(table, places[0], parts[places[0]][1], kind)
    else:
        places = [k for k, (_, unit) in enumerate(parts) if (unit_of(unit) or ("",))[0] == kind]
        if len(places) > 1:
            raise table.refuse(
                f"{len(places)} columns are in {UNITS[kind][0]}; select the {what} by --{what}-column; there are "
                f"{listed}"
            )
    if not places:
        raise table.refuse(
            f"expected a header with the {what} in {UNITS[kind][0]} and its unit, such as {example}, got {listed}"
        )
    name, unit = parts[places[0]]
    other = "A" if kind == "V" else "V"
    if name.lower() in NAMES[other]:
        raise table.refuse(
            f'column "{name}" is named a {QUANTITIES[other]}, but its unit {unit} measures {UNITS[kind][0]}; '
            "correct the header"
        )
    return places[0], unit


def _values(table: Table, kind: str, column: int, unit: str) -> Float[Array, " points"]:
    """Return a column in its SI unit. Raises UserError for values that no device can have."""
    values, _ = table.numbers(column, kind, unit, "leave the line out, or measure the point again")
    beyond = np.abs(values) > LARGEST_MAGNITUDE[kind]
    if beyond.any():
        row = int(np.argmax(beyond))
        raise table.refuse(
            f"{QUANTITIES[kind]}: {values[row]:g} {kind} is out of range for a device; is the unit in the header right?",
            row,
            column,
        )
    return values


@dataclass(frozen=True, eq=False)
class Ordered:
    """A curve of ascending, distinct voltages with a nondecreasing current."""

    voltage: Float[Array, " points"]
    current: Float[Array, " points"]
    measured: Float[Array, " points"]
    """Before the isotonic fit, amperes; points at the same voltage are averaged."""
    notes: tuple[str, ...] = ()
    """The changes that were made, in sentences."""


def ordered(curve: Curve, noise: Noise) -> Ordered:
    """Make ``curve`` monotone within ``noise``. Raises UserError, with the lines, if it is non-monotone beyond the noise.

    Points at the same voltage are averaged. Where the current falls, the curve is replaced by the nearest nondecreasing
    one (isotonic regression, weighted by the noise).
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
        f"{count} of {len(voltage)} points were not monotone and were changed by up to {moved.max():.3g} A, within "
        f"the stated noise ({noise})"
    )
    return Ordered(voltage, fitted, measured, (*notes, note))


def _not_monotone(curve: Curve, noise: Noise, beyond: Float[Array, " points"]) -> str:
    """Describe where the current falls most, and what could be done."""
    falls = np.diff(curve.current)
    allowed = np.maximum(noise.of(curve.current[1:]) + noise.of(curve.current[:-1]), np.finfo(float).tiny)
    k = int(np.argmin(falls / allowed))
    one, other = curve.at(k), curve.at(k + 1)
    return (
        f"{other}: the current falls from {curve.current[k]:.4g} A at {curve.voltage[k]:.4g} V ({one}) to "
        f"{curve.current[k + 1]:.4g} A at {curve.voltage[k + 1]:.4g} V, by more than the stated noise ({noise}; it "
        "would have to "
        f"be larger by {beyond.max():.2g} A). A law's current must not fall with the voltage; state the noise of the "
        f"measurement by --noise and --relative-noise, or take a device without a negative resistance"
    )


def _merged(curve: Curve, noise: Noise) -> tuple[Curve, tuple[str, ...]]:
    """Sort by voltage and average points at the same voltage.

    Raises UserError if they differ by more than the noise.
    """
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
    """Describe two points at the same voltage with different currents: hysteresis, if the file is a sweep up and down."""
    one, other = sorted((one, other))
    swept = not any({one, other} <= set(branch.tolist()) for branch in branches(curve.voltage))
    what = "hysteresis: on the upward and on the downward branch" if swept else "duplicate point:"
    advice = "keep one branch of the sweep, measure more slowly" if swept else "leave out one of the two points"
    return (
        f"{curve.at(other)}: {what} the current at {curve.voltage[one]:.4g} V is {curve.current[one]:.4g} A "
        f"({curve.at(one)}) and {curve.current[other]:.4g} A, which differ by more than the stated noise ({noise}); "
        f"{advice}, or state the noise by --noise and --relative-noise"
    )


def branches(voltage: Float[Array, " points"]) -> list[Int[Array, " some"]]:
    """Split a sweep into branches where the voltage reverses; one piece if it reverses too often for a sweep.

    If the last voltage before a reversal is measured twice, the second point belongs to the next branch.
    """
    steps = np.sign(np.diff(voltage))
    places = np.flatnonzero(steps)
    turns = [j + 2 for k, j in zip(places[1:], places[:-1], strict=True) if steps[k] != steps[j]]
    swept = len(turns) <= max(3, len(voltage) // 4)
    return np.split(np.arange(len(voltage)), turns if swept else [])


def figures(values: Array) -> list[Any]:
    """Convert an array to plain numbers for a file."""
    return np.asarray(values, float).tolist()
