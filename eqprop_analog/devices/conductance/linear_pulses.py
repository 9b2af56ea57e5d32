"""Pulses of one size everywhere in the window."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.conductance.pulses import Counting, check, settle, whole
from eqprop_analog.devices.law import require_positive

Array = np.ndarray


@dataclass(frozen=True)
class LinearPulses:
    """G ← G + n (G_max - G_min)/P for n pulses, kept in the window."""

    pulses: float = 1000
    """P from one end of the window to the other."""
    counting: Counting = "exact"
    cycle_noise: float = 0.0
    """σ of one pulse's cycle-to-cycle noise, of the window's width."""

    def __post_init__(self) -> None:
        """Raise ValueError for what is no pulse law."""
        require_positive(pulses=self.pulses)
        check(self.counting, self.cycle_noise)

    def count(self, change: Float[Array, "..."], span: float, random: np.random.Generator) -> Float[Array, "..."]:
        """Number n = P·change/span, in place."""
        change *= change.dtype.type(self.pulses / span)
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
        conductance += pulses * ((highest - lowest) / self.pulses).astype(pulses.dtype)
        return settle(conductance, pulses, lowest, highest, self.cycle_noise, random)
