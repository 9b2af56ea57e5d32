"""A technology from readings between pulses: all laws are fitted, one is selected, and each number gets its uncertainty."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Bool

from eqprop_analog.devices.conductance.fitting.estimate import (
    LAST,
    LEAST_SPREAD,
    Estimate,
    cycle_noise,
    ends,
    estimated,
    reading_noise,
)
from eqprop_analog.devices.conductance.fitting.forms import FORMS, Form, Steps
from eqprop_analog.devices.conductance.fitting.levels import Levels, levels_of
from eqprop_analog.devices.conductance.fitting.likelihood import RESOLUTION, filtered
from eqprop_analog.devices.conductance.fitting.readings import Readings
from eqprop_analog.devices.conductance.spread import Spread
from eqprop_analog.devices.conductance.stuck import StuckCells
from eqprop_analog.devices.conductance.technology import Technology
from eqprop_analog.devices.conductance.window import Window
from eqprop_analog.errors import UserError

Array = np.ndarray

DIFFERENCE = 2.0
"""Difference of the Bayesian information criterion by which a law with more parameters must be better."""
CRITERION = f"the smallest Bayesian information criterion (more parameters must gain at least {DIFFERENCE:g})"
FORMULAS = tuple(name for name in FORMS if name != "table")
"""Laws that are fitted by default; a table is fitted, too, if the best of them deviates from the steps by MISSED."""
MISSED = 3.5
"""Deviation of the best law, in standard errors, above which a table is fitted."""
OUTSIDE = 0.2
"""Fraction of the range of readings; an end of the window that may lie this far outside is not determined by the data."""
STUCK = 0.1
"""Fraction of the devices' median range of readings; a device with a smaller range is stuck."""
WIDENINGS = 2
ENOUGH = 1.15
"""Smallest factor by which a standard error is increased."""
MISFIT = 5.0
"""Largest deviation of a law from the mean of a tenth of the steps, in standard errors."""
BINS = 10


@dataclass(frozen=True)
class Quantity:
    """A fitted number."""

    key: str
    """Key in a specification, such as "conductance.pulses.up", or a description if there is no key."""
    value: float
    error: float | None
    """Standard error; None if the readings do not determine it."""
    unit: str
    note: str = ""


@dataclass(frozen=True, eq=False)
class TechnologyFit:
    """The result of a fit."""

    readings: Readings
    """Readings of the devices that are not stuck."""
    law: str
    estimate: Estimate
    compared: dict[str, tuple[float, int]]
    """Bayesian information criterion and number of parameters of every fitted law."""
    levels: Levels | None
    stuck: tuple[tuple[str, ...], tuple[str, ...]]
    """Names of devices that are stuck on, and stuck off."""
    window_seen: tuple[bool, bool]
    """Whether the data determine the lower and the upper end; otherwise it is the smallest or the largest reading."""
    misfit: float
    """Largest mean deviation of a tenth of the steps from the law, in standard errors."""

    @property
    def devices(self) -> int:
        """Number of all devices."""
        return len(self.readings.names) + sum(map(len, self.stuck))

    def quantities(self) -> list[Quantity]:
        """Return every fitted number with its uncertainty."""
        one, scale = self.estimate, self.estimate.scale
        found = []
        for number, key in enumerate(("lowest", "highest")):
            value, error = one.value(lambda x, number=number: ends(x, scale)[number])  # type: ignore[misc]
            if self.levels is not None:
                error = float(self.levels.errors[-number])
            seen = self.window_seen[number]
            reading = ("smallest", "largest")[number]
            note = "" if seen else f"not reached: this is the {reading} reading"
            found.append(Quantity(f"conductance.window.{key}", value, error if seen else None, "S", note))
        for key, function in one.form.named.items():
            value, error = one.value(lambda x, f=function: f(x[:-LAST]))  # type: ignore[misc]
            found.append(Quantity(f"conductance.pulses.{key}", value, error, ""))
        found.append(self._noise("conductance.pulses.cycle_noise", cycle_noise, ""))
        found.append(self._noise("noise of a single reading", partial(reading_noise, scale=scale), "S"))
        if len(self.readings.names) > 1:
            for number, key in enumerate(("factor", "window")):
                value, error = float(one.spreads[number]), float(one.spread_errors[number])
                note = "not distinguishable from none" if value <= 1.01 * LEAST_SPREAD else ""
                found.append(Quantity(f"conductance.spread.{key}", value, error, "", note))
        if self.readings.widths_vary:
            value, error = one.value(lambda x: float(x[-1]))
            found.append(Quantity("exponent of the pulse width", value, error, ""))
        if any(self.stuck):
            for key, names in zip(("on", "off"), self.stuck, strict=True):
                part = len(names) / self.devices
                error = float(np.sqrt(max(part * (1 - part), 1 / self.devices) / self.devices))
                found.append(Quantity(f"conductance.stuck.{key}", part, error, ""))
        return found

    def _noise(self, key: str, function: Callable[[Array], float], unit: str) -> Quantity:
        value, error = self.estimate.value(function)
        least = RESOLUTION * (self.estimate.scale[1] if unit else 1)
        if value < least:
            return Quantity(
                key, value, None, unit, f"indistinguishable from zero: below {least:.2g}{unit and ' '}{unit}"
            )
        return Quantity(key, value, error, unit)

    def technology(self) -> Technology:
        """Return the technology, rounded to the six digits of a file."""
        found = {each.key: float(f"{each.value:.6g}") for each in self.quantities()}

        def part(table: str) -> dict[str, float]:
            prefix = f"conductance.{table}."
            return {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}

        window = part("window")
        levels: int | tuple[float, ...] | None = None
        if self.levels is not None:
            means = [float(f"{level:.6g}") for level in self.levels.means]
            levels = len(means) if self.levels.equally_spaced else tuple(means)
        law = self.estimate.form.made(self.estimate.shared[:-LAST])
        exact = {"counting": "exact"} if self.readings.widths_vary else {}
        rounded = {key: value for key, value in part("pulses").items() if key != "cycle_noise"}
        if self.law == "table":
            rounded |= {key: tuple(round(g, 6) for g in getattr(law, key)) for key in ("up", "down")}  # type: ignore[misc]
        law = replace(law, **rounded, **exact, cycle_noise=part("pulses")["cycle_noise"])  # type: ignore[type-var]
        spread, stuck = part("spread"), part("stuck")
        return Technology(Window(**window, levels=levels), None, Spread(**spread), StuckCells(**stuck), None, law)


def fitted(readings: Readings, laws: Sequence[str] = ()) -> TechnologyFit:
    """Fit a technology to ``readings``, with the best of ``laws`` by CRITERION; () means FORMULAS, then a table.

    Raises UserError for readings without information.
    """
    found = _fitted(readings, laws or FORMULAS)
    if not laws and found.misfit > MISSED:
        table = _fitted(readings, ["table"])
        compared = found.compared | table.compared
        best = table if _chosen(compared) == "table" else found
        return replace(best, compared=compared)
    return found


def _fitted(readings: Readings, laws: Sequence[str]) -> TechnologyFit:
    moving, stuck = _moving(readings)
    kept = readings.of(moving)
    _require_polarities(kept)
    levels = levels_of(kept.every[0]) if len(kept.names) == 1 else None
    tried = {name: _window_held(FORMS[name], kept, levels) for name in laws}
    count = np.log(kept.count)
    compared = {name: (2 * one.loss + one.adjusted * count, one.adjusted) for name, (one, _) in tried.items()}
    compared = {name: figures for name, figures in compared.items() if np.isfinite(figures[0])}
    if not compared:
        raise UserError("no law can be fitted to these readings; check them, and the polarities of the pulses")
    law = _chosen(compared)
    estimate, seen = tried[law]
    estimate = _widened(estimate, kept)
    return TechnologyFit(kept, law, estimate, compared, levels, stuck, seen, _misfit(estimate, kept))


def _chosen(compared: dict[str, tuple[float, int]]) -> str:
    """Return the law with the fewest parameters that no law with more parameters clearly improves on."""
    best = None
    for name in sorted(compared, key=lambda each: compared[each][1]):
        if best is None or compared[name][0] < compared[best][0] - DIFFERENCE * (compared[name][1] > compared[best][1]):
            best = name
    assert best is not None  # noqa: S101 - there is at least one
    return best


def _moving(readings: Readings) -> tuple[Bool[Array, " devices"], tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return which devices are not stuck, and the names of those stuck at high and at low conductance."""
    values, device = readings.every
    own = [values[device == number] for number in range(len(readings.names))]
    ranges = np.array([np.ptp(each) if len(each) else 0.0 for each in own])
    middle = np.array([np.median(each) if len(each) else 0.0 for each in own])
    if not ranges.any():
        raise UserError(
            "the conductance of no device changes; check that the column holds the conductance after each pulse"
        )
    moving = ranges > STUCK * np.median(ranges[ranges > 0])
    half = np.median([0.5 * (each.min() + each.max()) for each, moves in zip(own, moving, strict=True) if moves])
    on = tuple(name for name, moves, g in zip(readings.names, moving, middle, strict=True) if not moves and g > half)
    off = tuple(name for name, moves, g in zip(readings.names, moving, middle, strict=True) if not moves and g <= half)
    return moving, (on, off)


def _require_polarities(readings: Readings) -> None:
    """Raise UserError if pulses up decrease the conductance, and pulses down increase it."""
    change = np.diff(readings.conductance, axis=1)[readings.there]
    sign = np.sign(readings.polarity[readings.there])
    if change[sign > 0].mean() < 0 < change[sign < 0].mean():
        raise UserError(
            "pulses up decrease the conductance, and pulses down increase it; +1 means a pulse that increases the "
            "conductance: exchange the signs in the column polarity"
        )


def _window_held(form: Form, readings: Readings, levels: Levels | None) -> tuple[Estimate, tuple[bool, bool]]:
    """Return the estimate, with undetermined ends of the window fixed at the outermost levels or the extreme readings."""
    shared, own = _begin(form, readings)
    prior = np.zeros(len(shared))
    prior[-LAST : 2 - LAST] = 1.0
    held = np.zeros(len(shared))
    held[-1] = not readings.widths_vary
    if levels is not None:
        lowest, scale = readings.conductance.min(), np.ptp(readings.conductance)
        shared[-LAST : 2 - LAST] = (levels.means[[0, -1]] - lowest) / scale
        held[-LAST : 2 - LAST] = 1
        return estimated(form, (shared, own), readings, held, np.zeros(len(shared))), (True, True)
    first = estimated(form, (shared, own), readings, held, prior)
    seen = (_end_seen(first, readings, 0), _end_seen(first, readings, 1))
    if all(seen):
        return first, seen
    x, again = first.shared.copy(), held.copy()
    for number, there in enumerate(seen):
        if not there:
            x[number - LAST], again[number - LAST] = shared[number - LAST], 1
    return estimated(form, (x, first.own), readings, again, prior * np.where(again, 0, 1)), seen


def _end_seen(estimate: Estimate, readings: Readings, end: int) -> bool:
    """Return whether the readings exclude a lower (0) or upper (1) end of the window that lies clearly farther outside.

    An end at 0 S is the lowest possible.
    """
    place = end - LAST
    x, held = estimate.shared.copy(), estimate.held.copy()
    x[place], held[place] = x[place] + (2 * end - 1) * OUTSIDE, 1
    if end == 0 and ends(estimate.shared, estimate.scale)[0] < OUTSIDE * estimate.scale[1]:
        return bool(np.sqrt(estimate.covariance[place, place]) < OUTSIDE)
    away = estimated(estimate.form, (x, estimate.own), readings, held, np.zeros(len(x)), estimate)
    return away.loss - estimate.loss > 2


def _widened(estimate: Estimate, readings: Readings) -> Estimate:
    """Return the fit with standard errors of the window's ends and of the noise corrected by the likelihood.

    Where a curve approaches an end of the window, -ln of the likelihood is not parabolic: two standard errors from the
    best value, with everything else refitted, it must have increased by 2.
    """
    for place in range(-LAST, -1):
        for _ in range(WIDENINGS):
            error = float(np.sqrt(estimate.covariance[place, place]))
            if estimate.held[place] or not 0 < error < 1:
                break
            factor = 1.0
            for side in (-2, 2):
                x, held = estimate.shared.copy(), estimate.held.copy()
                x[place], held[place] = x[place] + side * error, 1
                away = estimated(estimate.form, (x, estimate.own), readings, held, np.zeros(len(x)), estimate)
                factor = max(factor, np.sqrt(2 / np.clip(away.loss - estimate.loss, 0.1, None)))
            if factor < ENOUGH:
                break
            scaling = np.where(np.arange(len(estimate.shared)) == len(estimate.shared) + place, factor, 1.0)
            estimate = replace(estimate, covariance=estimate.covariance * np.outer(scaling, scaling))
    return estimate


def _begin(form: Form, readings: Readings) -> tuple[Array, Array]:
    """Return initial values (shared parameters, those of every device) from extreme readings and from steps."""
    values, device = readings.every
    scale, lowest = np.ptp(values), values.min()
    own = np.array([[each.min(), each.max()] for each in (values[device == k] for k in range(len(readings.names)))])
    low, high = own[readings.device].T[:, :, None]
    own = np.maximum(own + form.beyond * np.ptp(own, axis=1, keepdims=True) * np.array([-1, 1]), 0)
    middle = own.mean(axis=0)
    there = readings.there & (readings.polarity != 0)
    g = ((readings.conductance[:, :-1] - low) / (high - low))[there]
    pulses = np.abs(readings.polarity[there])
    change = (np.diff(readings.conductance, axis=1) / (high - low))[there] / pulses
    up = readings.polarity[there] > 0
    middles = (np.arange(BINS) + 0.5) / BINS
    smooth: list[Array] = []
    lines: list[tuple[float, float]] = []
    for chosen, sign in ((up, 1), (~up, -1)):
        place, step = g[chosen], sign * change[chosen]
        part = np.clip((place * BINS).astype(int), 0, BINS - 1)
        sums, counts = np.bincount(part, step, BINS), np.bincount(part, minlength=BINS)
        filled = counts > 0
        smooth.append(np.maximum(np.interp(middles, middles[filled], sums[filled] / counts[filled]), 1e-5))
        along = place if sign > 0 else 1 - place
        slope, constant = np.polyfit(along, step, 1) if np.ptp(along) > 0 else (0.0, step.mean())
        lines.append((float(constant), float(-slope)))
    law = form.begin(Steps(middles, smooth[0], smooth[1], lines[0], lines[1]))
    line = np.where(up, lines[0][0] - lines[0][1] * g, -(lines[1][0] - lines[1][1] * (1 - g)))
    sigma = max(1.5 * float(np.median(np.abs(change - line) * np.sqrt(pulses))), 1e-3)
    at_ends = (middle - lowest) / scale
    shared = np.concatenate([law, at_ends, [np.log(0.7 * sigma), np.log(0.5 * sigma), 1.0]])
    relative = own / np.where(middle > 0, middle, 1) - 1
    return shared, np.column_stack([np.zeros(len(own)), np.where(middle > 0, relative, 0)])


def _misfit(estimate: Estimate, readings: Readings) -> float:
    """Return the largest mean of the standardized innovations over a tenth of the window, in standard errors."""
    found = filtered(estimate.candidate(), readings)
    there = readings.there & (readings.polarity != 0)
    z = (found.missed / np.sqrt(found.variance))[there]
    g = ((readings.conductance[:, :-1] - estimate.scale[0]) / estimate.scale[1])[there]
    part = np.clip((g * BINS).astype(int), 0, BINS - 1) + BINS * (readings.polarity[there] > 0)
    sums, counts = np.bincount(part, z, 2 * BINS), np.bincount(part, minlength=2 * BINS)
    enough = counts >= 5
    return float(np.abs(sums[enough] / np.sqrt(counts[enough])).max(initial=0))
