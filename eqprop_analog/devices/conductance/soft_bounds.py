"""Pulses whose effect decreases as the conductance approaches the bound."""

from dataclasses import dataclass

import numpy as np

from eqprop_analog.devices.conductance.pulses import Counting, PulseLaw, approach
from eqprop_analog.devices.conductance.window import Values
from eqprop_analog.devices.law import require_finite
from eqprop_analog.errors import UserError


@dataclass(frozen=True)
class SoftBounds(PulseLaw):
    """One pulse up: G ← G + α₊ (G_max - G);   one pulse down: G ← G - α₋ (G - G_min).

    n pulses leave (1 - α)ⁿ of the distance to the bound. Source: Fusi & Abbott 2007, Nature Neuroscience 10, 485 (soft
    bounds); Frascaroli et al. 2018, Scientific Reports 8, 7178 (measured on HfO2).
    """

    up: float
    """α₊, the fraction of the distance to G_max covered by one pulse up; 0 < α₊ < 1."""
    down: float
    """α₋, the fraction of the distance to G_min covered by one pulse down; 0 < α₋ < 1."""
    counting: Counting = "stochastic"
    cycle_noise: float = 0.0

    def __post_init__(self) -> None:
        """Raise UserError for invalid parameters."""
        require_finite(up=self.up, down=self.down)
        if not (0 < self.up < 1 and 0 < self.down < 1):
            raise UserError(f"up and down must lie between 0 and 1, got {self.up} and {self.down}")
        super().__post_init__()

    @property
    def rates(self) -> tuple[float, float]:
        """-ln(1 - α) up and down, per pulse."""
        return float(-np.log1p(-self.up)), float(-np.log1p(-self.down))

    def worth(self, span: float) -> tuple[float, float]:
        """1/(α span): correct at the opposite bound, where the effect of a pulse is largest."""
        return 1 / (self.up * span), 1 / (self.down * span)

    def move(self, conductance: Values, pulses: Values, lowest: Values, highest: Values) -> None:
        """Move the devices by a fraction of their distance to the bound."""
        approach(conductance, pulses, highest, lowest, self.rates)
