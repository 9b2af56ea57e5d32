"""Drift of phase-change memory with a state-dependent exponent, as measured on a million devices."""

from dataclasses import dataclass

import numpy as np

from eqprop_analog.devices.conductance.drift import decayed
from eqprop_analog.devices.conductance.window import Values
from eqprop_analog.devices.law import require_positive


@dataclass(frozen=True)
class Joshi2020Drift:
    """G(t) = G(t₀) (t/t₀)^-ν for t > t₀,   ν = max(μ_ν(g) + σ_ν(g) ξ, 0),   g = G/G_max.

    μ_ν = -0.0155 ln g + 0.0244 within 0.049 ... 0.1 and σ_ν = -0.0125 ln g - 0.0059 within 0.008 ... 0.045.
    Source: Joshi et al. 2020, "Accurate deep neural network inference using computational phase-change memory", Nature
    Communications 11, 2473, with g of the programmed state; coefficients and t₀ as in IBM's aihwkit
    (PCMLikeNoiseModel).
    """

    highest: float = 25e-6
    """G_max, to which the states of the published fit are relative, siemens."""
    reference: float = 20.0
    """t₀, the first reading after the write, seconds."""

    def __post_init__(self) -> None:
        """Raise UserError unless both are positive."""
        require_positive(highest=self.highest, reference=self.reference)

    def statistics(self, conductance: Values) -> tuple[Values, Values]:
        """(μ_ν, σ_ν) of devices programmed to ``conductance`` (S), dimensionless."""
        with np.errstate(divide="ignore"):
            logarithm = np.log(conductance / self.highest)
        mean = np.clip(0.0244 - 0.0155 * logarithm, 0.049, 0.1)
        return mean, np.clip(-0.0059 - 0.0125 * logarithm, 0.008, 0.045)

    def after(self, seconds: float, conductance: Values, normal: Values) -> Values:
        """G(t), siemens."""
        mean, spread = self.statistics(conductance)
        return decayed(conductance, np.maximum(mean + spread * normal, 0), seconds / self.reference)
