"""Drift of a conductance after programming."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from eqprop_analog.devices.conductance.window import Values
from eqprop_analog.devices.law import require_finite, require_positive
from eqprop_analog.errors import UserError


class Drift(Protocol):
    """G(t), the conductance a time t after its write, for a standard normal ξ that is fixed for each device."""

    def after(self, seconds: float, conductance: Values, normal: Values) -> Values:
        """Return the conductances (S) ``seconds`` after programming to ``conductance`` (S), never negative."""
        ...


@dataclass(frozen=True)
class PowerLawDrift:
    """G(t) = G(t₀) (t/t₀)^-ν for t > t₀,   ν = max(ν̄ + σ_ν ξ, 0).

    Source: structural relaxation of phase-change memory: Ielmini, Lacaita & Mantegazza 2007, IEEE Trans. Electron
    Devices 54, 308; Le Gallo et al. 2018, Advanced Electronic Materials 4, 1700627.
    """

    exponent: float
    """ν̄ of G(t) = G(t₀) (t/t₀)^-ν, mean over devices, dimensionless."""
    spread: float = 0.0
    """σ_ν, device-to-device standard deviation of the exponent, dimensionless."""
    reference: float = 1.0
    """t₀, seconds after the write; there is no drift before."""

    def __post_init__(self) -> None:
        """Raise UserError for a negative exponent or spread, or an invalid reference time."""
        require_finite(exponent=self.exponent, spread=self.spread)
        require_positive(reference=self.reference)
        if self.exponent < 0 or self.spread < 0:
            raise UserError(f"exponent and spread must not be negative, got {self.exponent} and {self.spread}")

    def after(self, seconds: float, conductance: Values, normal: Values) -> Values:
        """G(t), siemens."""
        return decayed(conductance, np.maximum(self.exponent + self.spread * normal, 0), seconds / self.reference)


def decayed(conductance: Values, exponent: Values, ratio: float) -> Values:
    """G·ratio^-ν, siemens, in the dtype of G; G for ratios of times up to 1."""
    return (conductance * np.exp(-exponent * np.log(max(ratio, 1.0)))).astype(conductance.dtype)
