"""Conversion of a wanted change of a conductance to pulses, and their effect, according to a pulse law."""

from abc import ABC, abstractmethod
from typing import Literal, get_args

import numpy as np

from eqprop_analog.devices.conductance.window import Values, confine
from eqprop_analog.devices.law import require_finite
from eqprop_analog.errors import UserError

Array = np.ndarray
Counting = Literal["exact", "stochastic", "truncated"]
"""Conversion of a wanted change to pulses: a real number of them (their width is modulated), an integer by stochastic rounding
(correct on average), or an integer rounded towards zero."""


class PulseLaw(ABC):
    """G ← G + ΔG(G, n) for n pulses: a positive number potentiates (increases G), a negative one depresses."""

    counting: Counting
    """Conversion of a wanted change to pulses: "exact" (a real number of them), "stochastic" (an integer, correct on average) or
    "truncated" (an integer, rounded towards zero)."""
    cycle_noise: float
    """σ of the noise that one pulse adds to the conductance, as a fraction of the window's width; √n σ for n pulses
    (Chen, Peng & Yu 2018)."""

    def __post_init__(self) -> None:
        """Raise UserError for an unknown counting or a negative noise."""
        if self.counting not in get_args(Counting):
            raise UserError(f'counting "{self.counting}" is unknown; there are {", ".join(get_args(Counting))}')
        require_finite(cycle_noise=self.cycle_noise)
        if self.cycle_noise < 0:
            raise UserError(f"cycle_noise must not be negative, got {self.cycle_noise}")

    @abstractmethod
    def worth(self, span: float) -> tuple[float, float]:
        """Numbers of pulses up and down for a wanted change of 1 S, for a nominal window of width ``span`` (S)."""

    @abstractmethod
    def move(self, conductance: Values, pulses: Values, lowest: Values, highest: Values) -> None:
        """Add the effect of ``pulses`` between ``lowest`` and ``highest`` (S) to ``conductance`` (S), without noise."""

    def count(self, change: Values, span: float, random: np.random.Generator) -> Values:
        """Convert a wanted change (S) to a signed number of pulses, in place, for a nominal window of width ``span`` (S)."""
        up, down = self.worth(span)
        if up == down:
            change *= up
        else:
            (np.maximum if up > down else np.minimum)(change * up, change * down, out=change)
        if self.counting == "stochastic":
            change += random.random(change.shape, change.dtype)
            np.floor(change, out=change)
        elif self.counting == "truncated":
            np.trunc(change, out=change)
        return change

    def apply(
        self, conductance: Values, pulses: Values, lowest: Values, highest: Values, random: np.random.Generator
    ) -> Values:
        """Apply ``pulses`` to ``conductance`` (S), in place, within each device's own window (S).

        Noise is drawn only if there is cycle noise, and only for devices that get a pulse.
        """
        self.move(conductance, pulses, lowest, highest)
        if self.cycle_noise:
            noise = np.abs(pulses)
            np.sqrt(noise, out=noise)
            noise *= self.cycle_noise * (highest - lowest)
            noise *= _normal(pulses != 0, pulses.dtype, random)
            conductance += noise
        return confine(conductance, lowest, highest)


def _normal(where: Array, dtype: np.dtype, random: np.random.Generator) -> Array:
    """Draw standard normal variates where needed, zeros elsewhere, because drawing takes most of the time."""
    normal = np.zeros(where.shape, dtype)
    normal[where] = random.standard_normal(np.count_nonzero(where), dtype)
    return normal


def approach(conductance: Values, pulses: Values, upper: Values, lower: Values, rates: tuple[float, float]) -> None:
    """G ← G + (B - G)(1 - exp(-r |pulses|)), in place.

    B is ``upper`` (S) and r the first of ``rates`` for pulses above zero, else ``lower`` and the second.
    """
    with np.errstate(over="ignore"):  # a negative rate diverges, up to the edge of the window
        rise = np.expm1(np.maximum(pulses, 0) * -rates[0])
        fall = np.expm1(np.minimum(pulses, 0) * rates[1])
        rise *= conductance - upper
        fall *= conductance - lower
    conductance += rise  # one of the two is zero: this avoids a branch, which takes NumPy several times longer
    conductance += fall
