"""How often two ways to a Hopfield network's equilibrium end in the same minimum of its energy, which is not convex."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from eqprop_analog.equilibrium import Status
from eqprop_analog.models import HopfieldNetwork
from eqprop_analog.solvers.relaxation import Relaxation

Array = np.ndarray

SAME = 1e-3
"""States that nowhere differ by more are of one minimum, volts."""


@dataclass(frozen=True)
class Minima:
    """Two free phases of the same samples, compared."""

    converged: Bool[Array, " batch"]
    """Where both have."""
    distance: Float[Array, " batch"]
    """Largest difference of a node's state, volts."""
    energy: Float[Array, " batch"]
    """E of the second less that of the first, volts squared."""
    same_prediction: Bool[Array, " batch"]

    @property
    def same(self) -> float:
        """Fraction of the converged samples that are in one minimum; NaN without any."""
        return float((self.distance[self.converged] <= SAME).mean()) if self.converged.any() else float("nan")


def compare_minima(network: HopfieldNetwork, inputs: ArrayLike, first: Relaxation, second: Relaxation) -> Minima:
    """The free phases that ``first`` and ``second`` reach from 0 V. Raises UserError for inputs that do not fit."""
    one, other = first.solve(network, inputs), second.solve(network, inputs)
    distance = np.max([np.abs(a - b).max(axis=1) for a, b in zip(one.voltages, other.voltages, strict=True)], axis=0)
    batch = network.check_inputs(inputs)
    read = [network.readout(phase.outputs).argmax(axis=1) for phase in (one, other)]
    return Minima(
        np.asarray((one.status == Status.CONVERGED) & (other.status == Status.CONVERGED), bool),
        distance,
        network.energy(batch, other.voltages) - network.energy(batch, one.voltages),
        read[0] == read[1],
    )
