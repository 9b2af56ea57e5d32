"""The fitted parameters of each pulse law, on unbounded scales, and their initial values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.integrate import cumulative_trapezoid
from scipy.special import expit, logit

from eqprop_analog.devices.conductance.exponential_pulses import ExponentialPulses
from eqprop_analog.devices.conductance.linear_pulses import LinearPulses
from eqprop_analog.devices.conductance.pulses import PulseLaw
from eqprop_analog.devices.conductance.soft_bounds import SoftBounds
from eqprop_analog.devices.conductance.table_pulses import TablePulses

Array = np.ndarray
Vector = Float[Array, " parameters"]

KNOTS = 6
"""Number of positions in the window at which a table's step is fitted."""
POINTS = 33
"""Number of points of a table."""
LINE = 200
"""Number of points on which a table's curve is integrated."""
STEEPEST = 50.0
"""Largest |ν| of a fit; above it, the curve is a step."""
FLATTEST = 1e-4
"""Smallest |ν|, which is linear in practice."""


@dataclass(frozen=True)
class Steps:
    """Initial steps of a pulse: change relative to the window at some positions in it, up and down (both positive)."""

    places: Float[Array, " some"]
    up: Float[Array, " some"]
    down: Float[Array, " some"]
    line_up: tuple[float, float]
    """(a, b) of the straight line a - b g through all steps up at places g."""
    line_down: tuple[float, float]
    """(a, b) of a - b (1 - g) through those down."""


@dataclass(frozen=True)
class Form:
    """How one law is fitted."""

    made: Callable[[Vector], PulseLaw]
    begin: Callable[[Steps], Vector]
    named: Mapping[str, Callable[[Vector], float]]
    """The parameters in a specification, by their key."""
    beyond: float = 0.0
    """Initial distance of the window's ends outside the extreme readings, relative to the range, if curves never reach them."""


def _linear(x: Vector) -> PulseLaw:
    return LinearPulses(float(np.exp(x[0])), "stochastic")


def _soft(x: Vector) -> PulseLaw:
    up, down = np.clip(expit(x), 1e-9, 1 - 1e-9).tolist()
    return SoftBounds(up, down, "stochastic")


def _exponential(x: Vector) -> PulseLaw:
    up, down = (float(np.copysign(np.clip(abs(nu), FLATTEST, STEEPEST), nu)) for nu in x[:2])
    pulses_up, pulses_down = np.exp(x[2:]).tolist()
    return ExponentialPulses(up, down, pulses_up, pulses_down, "stochastic")


def _table(x: Vector) -> PulseLaw:
    up, down = x[:KNOTS], x[KNOTS:]
    (rise, pulses_up), (fall, pulses_down) = _curve(up), _curve(down[::-1])
    return TablePulses(rise, tuple(1 - g for g in fall), pulses_up, pulses_down, "stochastic")


def _curve(logarithms: Vector) -> tuple[tuple[float, ...], float]:
    """(g at equally spaced numbers of pulses, number of pulses from 0 to 1); ln of the steps at equally spaced places."""
    line = np.linspace(0, 1, LINE)
    step = np.interp(line, np.linspace(0, 1, len(logarithms)), np.exp(np.clip(logarithms, -25, 5)))
    pulses = cumulative_trapezoid(1 / step, line, initial=0)
    g = np.interp(np.linspace(0, pulses[-1], POINTS), pulses, line)
    g = np.maximum.accumulate(g + np.arange(POINTS) * 1e-12)  # every point above the previous one
    return (0.0, *(g[1:-1] / g[-1]).tolist(), 1.0), float(pulses[-1])


def _begin_linear(steps: Steps) -> Vector:
    return np.log([1 / max(np.mean([steps.up.mean(), steps.down.mean()]), 1e-7)])


def _begin_soft(steps: Steps) -> Vector:
    up = steps.up.mean() / (1 - steps.places).mean()
    down = steps.down.mean() / steps.places.mean()
    return logit(np.clip([up, down], 1e-6, 0.9))


def _begin_exponential(steps: Steps) -> Vector:
    lines = [_bent(*steps.line_up), _bent(*steps.line_down)]
    return np.array([nu for nu, _ in lines] + [np.log(pulses) for _, pulses in lines])


def _bent(a: float, b: float) -> tuple[float, float]:
    """Return (ν, P) of the steps a - b g of one pulse."""
    a = max(a, 1e-6)
    b = float(np.clip(b, -5 * a, 0.98 * a))
    if abs(b) < 1e-3 * a:
        b = 1e-3 * a
    return -np.log1p(-b / a), np.log1p(-b / a) / np.log1p(-min(b, 0.99))


def _begin_table(steps: Steps) -> Vector:
    knots = np.linspace(0, 1, KNOTS)
    smallest = 1e-3 * max(steps.up.max(), steps.down.max(), 1e-9)
    return np.log(
        [np.maximum(np.interp(knots, steps.places, each), smallest) for each in (steps.up, steps.down)]
    ).ravel()


def _of(key: str, made: Callable[[Vector], Any]) -> Callable[[Vector], float]:
    return lambda x: float(getattr(made(x), key))


FORMS: Mapping[str, Form] = {
    "linear": Form(_linear, _begin_linear, {"pulses": _of("pulses", _linear)}),
    "soft-bounds": Form(_soft, _begin_soft, {key: _of(key, _soft) for key in ("up", "down")}, 0.04),
    "exponential": Form(
        _exponential,
        _begin_exponential,
        {key: _of(key, _exponential) for key in ("up", "down", "pulses_up", "pulses_down")},
    ),
    "table": Form(_table, _begin_table, {key: _of(key, _table) for key in ("pulses_up", "pulses_down")}),
}
"""Forms by the law's name in specifications."""
