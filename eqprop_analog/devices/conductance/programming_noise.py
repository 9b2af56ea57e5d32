"""The error of a write, resampled at every write."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from eqprop_analog.devices.conductance.window import Values
from eqprop_analog.devices.law import require_finite
from eqprop_analog.errors import UserError


class ProgrammingNoise(Protocol):
    """Conductance after a write with target G, for a standard normal ξ; it may leave the window, to which the device clips it."""

    def written(self, conductance: Values, normal: Values) -> Values:
        """Return the conductance (S) after a write with target ``conductance`` (S); ``normal`` has the same shape."""
        ...


@dataclass(frozen=True)
class GaussianNoise:
    """G + σ(G) ξ,   σ(G) = max(c₀ + c₁ G + c₂ G², 0).

    Source of the form: Joshi et al. 2020, Nature Communications 11, 2473 (phase-change memory, c₂ < 0); Falcone et al.
    2025, arXiv 2502.04524 (CMO/HfOx, c₂ = 0). It is the remaining error of write-and-verify.
    """

    absolute: float = 0.0
    """c₀ of σ(G) = c₀ + c₁ G + c₂ G², the standard deviation of one write, siemens."""
    relative: float = 0.0
    """c₁ of σ(G), dimensionless."""
    curvature: float = 0.0
    """c₂ of σ(G), 1/siemens."""

    def __post_init__(self) -> None:
        """Raise UserError unless the coefficients are finite numbers."""
        require_finite(absolute=self.absolute, relative=self.relative, curvature=self.curvature)

    def sigma(self, conductance: Values) -> Values:
        """σ(G), siemens."""
        return np.maximum(self.absolute + conductance * (self.relative + self.curvature * conductance), 0)

    def written(self, conductance: Values, normal: Values) -> Values:
        """G + σ(G) ξ, siemens."""
        return conductance + self.sigma(conductance) * normal


@dataclass(frozen=True)
class LogNormalNoise:
    """G exp(σ ξ): median G, never negative.

    Source: Liu et al. 2015, "Vortex: variation-aware training for memristor X-bar", DAC (r → r exp θ, θ normal).
    """

    sigma: float = 0.0
    """σ of ln G, dimensionless; for small values the relative error."""

    def __post_init__(self) -> None:
        """Raise UserError for a negative σ."""
        require_finite(sigma=self.sigma)
        if self.sigma < 0:
            raise UserError(f"sigma must not be negative, got {self.sigma}")

    def written(self, conductance: Values, normal: Values) -> Values:
        """G exp(σ ξ), siemens."""
        return conductance * np.exp(self.sigma * normal)
