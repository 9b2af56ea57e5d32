"""Conductance after pulses as a table, for measured curves that no formula fits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eqprop_analog.devices.conductance.pulses import Counting, PulseLaw
from eqprop_analog.devices.conductance.window import Values
from eqprop_analog.devices.law import require_finite, require_positive
from eqprop_analog.errors import UserError

Array = np.ndarray


@dataclass(frozen=True)
class TablePulses(PulseLaw):
    """G(p) = G_min + (G_max - G_min) g(p), g by linear interpolation of a table; p is the position on the curve.

    A pulse up moves p along ``up`` by 1, a pulse down along ``down``. A curve has equally spaced points from the first
    pulse to the last; it begins at one end of the window and ends at the other.
    """

    up: tuple[float, ...]
    """g during potentiation, rising from 0 to 1, dimensionless."""
    down: tuple[float, ...]
    """g during depression, falling from 1 to 0, dimensionless."""
    pulses_up: float = 100
    """P₊, number of pulses from the first point of `up` to the last."""
    pulses_down: float = 100
    """P₋, number of pulses from the first point of `down` to the last."""
    counting: Counting = "stochastic"
    cycle_noise: float = 0.0

    def __post_init__(self) -> None:
        """Raise UserError unless the curves lead from one end of the window to the other."""
        require_positive(pulses_up=self.pulses_up, pulses_down=self.pulses_down)
        for name, ends in (("up", (0, 1)), ("down", (1, 0))):
            object.__setattr__(self, name, _curve(name, getattr(self, name), ends))
        super().__post_init__()

    @property
    def curves(self) -> tuple[Array, Array]:
        """Points of ``up``, and those of ``down`` in reverse, as fractions of the window; both increase."""
        return np.array(self.up), np.array(self.down)[::-1]

    def worth(self, span: float) -> tuple[float, float]:
        """P/span: correct on average over the window."""
        return self.pulses_up / span, self.pulses_down / span

    def move(self, conductance: Values, pulses: Values, lowest: Values, highest: Values) -> None:
        """Move the devices along the curves."""
        place = (conductance - lowest) / np.where(highest > lowest, highest - lowest, 1)
        up, down = self.curves
        for curve, count, towards in ((up, self.pulses_up, np.maximum), (down, self.pulses_down, np.minimum)):
            points = np.arange(len(curve)) * (count / (len(curve) - 1))
            moved = np.interp(np.interp(place, curve, points) + towards(pulses, 0), points, curve)
            step = towards((moved - place) * (highest - lowest), 0)  # rounding must not reverse a move
            conductance += np.where(towards(pulses, 0) != 0, step, 0).astype(conductance.dtype)


def _curve(name: str, values: Any, ends: tuple[int, int]) -> tuple[float, ...]:
    """Return ``values`` as numbers that lead monotonically from one of ``ends`` to the other."""
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) < 2:
        raise UserError(
            f"{name}: expected a list of at least two numbers from {ends[0]} to {ends[1]}, got {values!r:.60}"
        )
    for value in values:
        require_finite(**{name: value})
    steps = np.diff(values) * (ends[1] - ends[0])
    if (values[0], values[-1]) != ends or (steps <= 0).any():
        where = int(np.argmin(steps))
        raise UserError(
            f"{name}: expected numbers from {ends[0]} to {ends[1]} (fractions of the window) in strictly monotonic "
            f"order, got {values[0]:g} to {values[-1]:g} with {values[where]:g} followed by {values[where + 1]:g}"
        )
    return tuple(float(value) for value in values)
