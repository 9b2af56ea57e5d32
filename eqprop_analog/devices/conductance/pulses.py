"""From a wanted change of a conductance to pulses, and what they do: the parts that all pulse laws share."""

from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float

Array = np.ndarray
Counting = Literal["exact", "stochastic", "truncated"]
"""How a wanted change becomes pulses: any real number of them (their length is modulated), a whole number rounded up with
the probability of its fraction (right on average), or a whole number rounded towards zero."""
COUNTINGS: tuple[Counting, ...] = ("exact", "stochastic", "truncated")


class PulseLaw(Protocol):
    """How pulses change conductances. A positive number of pulses potentiates (raises G), a negative one depresses."""

    def count(self, change: Float[Array, "..."], span: float, random: np.random.Generator) -> Float[Array, "..."]:
        """The signed number of pulses for a wanted change (S), in place, where the nominal window is ``span`` (S) wide."""
        ...

    def apply(
        self,
        conductance: Float[Array, "..."],
        pulses: Float[Array, "..."],
        lowest: Float[Array, "..."],
        highest: Float[Array, "..."],
        random: np.random.Generator,
    ) -> Float[Array, "..."]:
        """``conductance`` (S) after ``pulses``, in place, within each device's own window (S)."""
        ...


def check(counting: Counting, cycle_noise: float) -> None:
    """Raise ValueError for a counting that there is not, or a negative noise."""
    if counting not in COUNTINGS:
        raise ValueError(f'counting "{counting}" is unknown; there are {", ".join(COUNTINGS)}')
    if not cycle_noise >= 0:
        raise ValueError(f"cycle_noise must not be negative, got {cycle_noise}")


def whole(pulses: Float[Array, "..."], counting: Counting, random: np.random.Generator) -> Float[Array, "..."]:
    """``pulses`` as they can be given, in place."""
    if counting == "stochastic":
        pulses += random.random(pulses.shape, pulses.dtype)
        np.floor(pulses, out=pulses)
    elif counting == "truncated":
        np.trunc(pulses, out=pulses)
    return pulses


def settle(
    conductance: Float[Array, "..."],
    pulses: Float[Array, "..."],
    lowest: Float[Array, "..."],
    highest: Float[Array, "..."],
    cycle_noise: float,
    random: np.random.Generator,
) -> Float[Array, "..."]:
    """Cycle-to-cycle noise of σ·(G_max - G_min)·√|pulses| (Chen, Peng & Yu 2018), then the window; in place."""
    if cycle_noise:
        normal = random.standard_normal(pulses.shape, pulses.dtype)
        conductance += cycle_noise * (highest - lowest) * np.sqrt(np.abs(pulses)) * normal
    return np.clip(conductance, lowest, highest, out=conductance, casting="same_kind")


def approach(
    conductance: Float[Array, "..."],
    pulses: Float[Array, "..."],
    upper: Float[Array, "..."],
    lower: Float[Array, "..."],
    rates: tuple[float, float],
) -> Float[Array, "..."]:
    """G ← G + (B - G)(1 - exp(-r |pulses|)), in place.

    B is ``upper`` (S) and r the first of ``rates`` for pulses above zero, else ``lower`` and the second.
    """
    rising = pulses > 0
    decay = np.where(rising, pulses.dtype.type(-rates[0]), pulses.dtype.type(rates[1]))
    decay *= pulses
    with np.errstate(over="ignore"):  # a rate below zero runs away, to the edge of the window
        np.expm1(decay, out=decay)
        decay *= conductance - np.where(rising, upper, lower)
    conductance += decay
    return conductance


def balance(upper: float, lower: float, rates: tuple[float, float]) -> float:
    """The conductance (S) at which one pulse up and one pulse down move by the same amount in ``approach``."""
    up, down = -np.expm1(-rates[0]), -np.expm1(-rates[1])
    return float((up * upper + down * lower) / (up + down))
