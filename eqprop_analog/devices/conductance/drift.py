"""What retention does to a conductance after it was programmed."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from eqprop_analog.devices.conductance.window import Values
from eqprop_analog.devices.law import require_finite, require_positive
from eqprop_analog.errors import UserError


class Drift(Protocol):
    """Conductance some time after its write, for a standard normal ξ that belongs to the device."""

    def after(self, seconds: float, conductance: Values, normal: Values) -> Values:
        """Conductances (S) ``seconds`` after they were programmed to ``conductance`` (S), never negative."""
        ...


@dataclass(frozen=True)
class PowerLawDrift:
    """G(t) = G(t₀) (t/t₀)^-ν for t > t₀,   ν = max(ν̄ + σ_ν ξ, 0).

    Source: structural relaxation of phase-change memory: Ielmini, Lacaita & Mantegazza 2007, IEEE Trans. Electron Devices
    54, 308; Le Gallo et al. 2018, Advanced Electronic Materials 4, 1700627.
    """

    exponent: float
    """ν̄ of G(t) = G(t₀) (t/t₀)^-ν, mean over devices, dimensionless."""
    spread: float = 0.0
    """σ_ν from device to device, dimensionless."""
    reference: float = 1.0
    """t₀, seconds after the write; until then nothing is said to drift."""

    def __post_init__(self) -> None:
        """Raise UserError for a negative exponent or spread, or no reference time."""
        require_finite(exponent=self.exponent, spread=self.spread)
        require_positive(reference=self.reference)
        if self.exponent < 0 or self.spread < 0:
            raise UserError(f"exponent and spread must not be negative, got {self.exponent} and {self.spread}")

    def after(self, seconds: float, conductance: Values, normal: Values) -> Values:
        """G(t), siemens."""
        return decayed(conductance, np.maximum(self.exponent + self.spread * normal, 0), seconds / self.reference)


def decayed(conductance: Values, exponent: Values, ratio: float) -> Values:
    """G·ratio^-ν, siemens, in the dtype of G; G itself for a ratio of times up to 1."""
    return (conductance * np.exp(-exponent * np.log(max(ratio, 1.0)))).astype(conductance.dtype)
