"""How often two ways to a Hopfield network's equilibrium end in the same minimum of its energy, which is not convex."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.readouts import decided_otherwise
from eqprop_analog.networks.hopfield.network import HopfieldNetwork

Array = np.ndarray

SAME = 1e-3
"""States that nowhere differ by more are of one minimum, volts."""


@dataclass(frozen=True)
class Minima:
    """Two free phases of the same samples, compared."""

    good: Bool[Array, " batch"]
    """Where both have converged, or were truncated on purpose."""
    distance: Float[Array, " batch"]
    """Largest difference of a node's state, volts."""
    energy: Float[Array, " batch"]
    """E of the second less that of the first, volts squared."""
    same_prediction: Bool[Array, " batch"]
    """Whether both predict the same class, ties within SAME apart."""

    @property
    def same(self) -> Bool[Array, " batch"]:
        """Which good samples are in one minimum."""
        return self.good & (self.distance <= SAME)


def compare_minima(network: HopfieldNetwork, inputs: ArrayLike, one: Equilibrium, other: Equilibrium) -> Minima:
    """Free phases of the same ``inputs`` (batch, inputs), of a network of tied weights. Raises UserError for other inputs."""
    batch = network.check_inputs(inputs)
    distance = np.max([np.abs(a - b).max(axis=1) for a, b in zip(one.voltages, other.voltages, strict=True)], axis=0)
    read = [network.readout(phase.outputs) for phase in (one, other)]
    return Minima(
        one.good & other.good,
        distance,
        network.energy(batch, other.voltages) - network.energy(batch, one.voltages),
        ~decided_otherwise(read[0], read[1], SAME * network.readout_reach),
    )
