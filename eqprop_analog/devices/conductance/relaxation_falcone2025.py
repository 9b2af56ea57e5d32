"""Relaxation of a filamentary oxide memory, logarithmic in time."""

from dataclasses import dataclass

import numpy as np

from eqprop_analog.devices.conductance.window import Values
from eqprop_analog.devices.law import require_finite
from eqprop_analog.errors import UserError


@dataclass(frozen=True)
class Falcone2025Relaxation:
    """G(t) = G(0) - m ln(t/1 s) + (s₀ + s₁ ln(t/1 s)) ξ for t >= 1 s, never negative.

    The relaxation within the first second, s₀, is not resolved in time: there is no change before 1 s. ξ is fixed for
    each device; the source gives the distribution over devices at each time, but not the correlation between times.
    Source: Falcone et al. 2025, arXiv 2502.04524 (CMO/HfOx, 8 ... 90 µS, fitted around 50 µS and found independent of
    the state); coefficients as in IBM's aihwkit.
    """

    fall: float = 0.089e-6
    """m, mean decrease of the conductance for every factor e of time, siemens."""
    initial: float = 0.4118e-6
    """s₀, standard deviation over devices 1 s after the write, siemens."""
    widening: float = 0.042e-6
    """s₁, increase of that standard deviation for every factor e of time, siemens."""

    def __post_init__(self) -> None:
        """Raise UserError for a negative coefficient."""
        require_finite(fall=self.fall, initial=self.initial, widening=self.widening)
        if not min(self.fall, self.initial, self.widening) >= 0:
            raise UserError(f"fall, initial and widening must not be negative, got {self}")

    def after(self, seconds: float, conductance: Values, normal: Values) -> Values:
        """G(t), siemens."""
        if seconds < 1:
            return conductance.copy()
        decades = np.log(seconds)
        moved = conductance - self.fall * decades + (self.initial + self.widening * decades) * normal
        return np.maximum(moved, 0).astype(conductance.dtype)
