"""Comparison of two dynamics of a Hopfield network: whether they reach the same minimum of its non-convex energy."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.readouts import decided_otherwise
from eqprop_analog.networks.hopfield.network import HopfieldNetwork

Array = np.ndarray

SAME = 1e-3
"""Largest difference of states of the same minimum, volts."""


@dataclass(frozen=True)
class Minima:
    """Two free phases of the same samples, compared."""

    good: Bool[Array, " batch"]
    """Samples for which both phases converged, or were deliberately truncated."""
    distance: Float[Array, " batch"]
    """Largest difference of a node's state, volts."""
    energy: Float[Array, " batch"]
    """E of the second minus that of the first, volts squared."""
    same_prediction: Bool[Array, " batch"]
    """Whether both predict the same class, except for ties within SAME."""

    @property
    def same(self) -> Bool[Array, " batch"]:
        """Which good samples are in the same minimum."""
        return self.good & (self.distance <= SAME)


def compare_minima(network: HopfieldNetwork, inputs: ArrayLike, one: Equilibrium, other: Equilibrium) -> Minima:
    """Compare free phases of the same ``inputs`` (batch, inputs) of a network with tied weights.

    Raises UserError for other inputs.
    """
    batch = network.check_inputs(inputs)
    distance = np.max([np.abs(a - b).max(axis=1) for a, b in zip(one.voltages, other.voltages, strict=True)], axis=0)
    read = [network.readout(phase.outputs) for phase in (one, other)]
    return Minima(
        one.good & other.good,
        distance,
        network.energy(batch, other.voltages) - network.energy(batch, one.voltages),
        ~decided_otherwise(read[0], read[1], SAME * network.readout_reach),
    )
