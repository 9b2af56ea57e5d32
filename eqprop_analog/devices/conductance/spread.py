"""Device-to-device variation, which is the same at every write."""

from dataclasses import dataclass

import numpy as np

from eqprop_analog.devices.conductance.window import Values, Window
from eqprop_analog.devices.law import require_finite
from eqprop_analog.errors import UserError


@dataclass(frozen=True)
class Spread:
    """G → f G,   one pulse → f pulses,   ln f = σ_f ξ;   a device's own window G_min (1 + σ_w η), G_max (1 + σ_w ζ).

    ξ, η and ζ are standard normal, drawn once for each chip. Sources: the factor, Liu et al. 2015 (DAC, "Vortex"), for open-loop
    writing (write-and-verify leaves no factor, only programming noise); the window, Chen, Peng & Yu 2018
    (NeuroSim, IEEE TCAD 37, 3067), variation of the conductance range.
    """

    factor: float = 0.0
    """σ_f, device-to-device standard deviation of ln(effect of a write or a pulse over its nominal effect), dimensionless; 0.3
    is a spread of 30 %."""
    window: float = 0.0
    """σ_w, device-to-device standard deviation of each end of the window, relative to that end, dimensionless."""

    def __post_init__(self) -> None:
        """Raise UserError for a negative spread."""
        require_finite(factor=self.factor, window=self.window)
        for name in ("factor", "window"):
            if getattr(self, name) < 0:
                raise UserError(f"spread of {name} must not be negative, got {getattr(self, name)}")

    def factors(self, normal: Values) -> Values:
        """Return factors f of devices with these ξ, dimensionless."""
        return np.exp(self.factor * normal)

    def windows(self, window: Window, low: Values, high: Values) -> tuple[Values, Values]:
        """Return (G_min, G_max) of devices with these η and ζ, siemens: G_min not below 0, G_max not below G_min."""
        lowest = np.maximum(window.lowest * (1 + self.window * low), 0)
        return lowest, np.maximum(window.highest * (1 + self.window * high), lowest)
