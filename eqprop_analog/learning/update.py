"""The update of conductances and bias currents from a gradient."""

from dataclasses import dataclass

import numpy as np

from eqprop_analog.learning.contrast import Gradient
from eqprop_analog.models import ResistiveNetwork


@dataclass(frozen=True)
class Rates:
    """Learning rates of each layer."""

    conductances: tuple[float, ...]
    """η_G, S²/V²."""
    biases: tuple[float, ...]
    """η_b, A²/V²."""

    def scaled(self, factor: float) -> "Rates":
        """All rates times ``factor``."""
        return Rates(tuple(factor * rate for rate in self.conductances), tuple(factor * rate for rate in self.biases))


def descend(network: ResistiveNetwork, gradient: Gradient, rates: Rates) -> None:
    """G ← clip(G - η_G dC/dG, G_min, G_max), b ← b - η_b dC/db, in place; ``gradient`` is used up."""
    low, high = network.conductance_window
    for matrix, slope, rate in zip(network.conductances, gradient.conductances, rates.conductances, strict=True):
        np.multiply(slope, rate, out=slope)
        np.subtract(matrix, slope, out=matrix)
        np.clip(matrix, low, high, out=matrix)
    for bias, slope, rate in zip(network.biases, gradient.biases, rates.biases, strict=True):
        np.subtract(bias, rate * slope, out=bias)
