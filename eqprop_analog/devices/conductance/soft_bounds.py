"""Pulses that move a conductance the less, the nearer it is to the bound that it is driven to."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.conductance.pulses import Counting, approach, balance, check, settle, whole

Array = np.ndarray


@dataclass(frozen=True)
class SoftBounds:
    """One pulse up: G ← G + α₊ (G_max - G);   one pulse down: G ← G - α₋ (G - G_min).

    n pulses leave (1 - α)ⁿ of the distance to the bound. Source: Fusi & Abbott 2007, Nature Neuroscience 10, 485 (soft
    bounds); Frascaroli et al. 2018, Scientific Reports 8, 7178 (measured on HfO2).
    """

    up: float
    """α₊, 0 < α₊ < 1."""
    down: float
    """α₋, 0 < α₋ < 1."""
    counting: Counting = "stochastic"
    cycle_noise: float = 0.0
    """σ of one pulse's cycle-to-cycle noise, of the window's width."""

    def __post_init__(self) -> None:
        """Raise ValueError for what is no pulse law."""
        if not (0 < self.up < 1 and 0 < self.down < 1):
            raise ValueError(f"up and down must lie between 0 and 1, got {self.up} and {self.down}")
        check(self.counting, self.cycle_noise)

    @property
    def rates(self) -> tuple[float, float]:
        """-ln(1 - α) up and down, a pulse."""
        return float(-np.log1p(-self.up)), float(-np.log1p(-self.down))

    def symmetric_point(self, lowest: float, highest: float) -> float:
        """Where up and down pulses cancel, siemens: (α₊ G_max + α₋ G_min)/(α₊ + α₋)."""
        return balance(highest, lowest, self.rates)

    def count(self, change: Float[Array, "..."], span: float, random: np.random.Generator) -> Float[Array, "..."]:
        """Number n = change/(α span), in place: right where a pulse moves the farthest, at the opposite bound."""
        change *= np.where(
            change > 0, change.dtype.type(1 / (self.up * span)), change.dtype.type(1 / (self.down * span))
        )
        return whole(change, self.counting, random)

    def apply(
        self,
        conductance: Float[Array, "..."],
        pulses: Float[Array, "..."],
        lowest: Float[Array, "..."],
        highest: Float[Array, "..."],
        random: np.random.Generator,
    ) -> Float[Array, "..."]:
        """``conductance`` (S) after ``pulses``, in place."""
        approach(conductance, pulses, highest, lowest, self.rates)
        return settle(conductance, pulses, lowest, highest, self.cycle_noise, random)
