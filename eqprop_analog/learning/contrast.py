"""The learning signal: the difference of ∂E/∂θ between two phases."""

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.core.checks import check_pair
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.network import Network
from eqprop_analog.core.registry import family_of

Array = np.ndarray


def contrast(network: Network, inputs: ArrayLike, plus: Equilibrium, minus: Equilibrium) -> Any:
    """dC/dθ = 1/(β₊ - β₋)·⟨∂E/∂θ₊ - ∂E/∂θ₋⟩ of every parameter.

    A conductance: (γ_l/γ_L)/(β₊ - β₋) · ½⟨(Δv_ij)²₊ - (Δv_ij)²₋⟩; a bias current: -(γ_l/γ_L)/(β₊ - β₋)·⟨v₊ - v₋⟩; as a
    Gradient. A Hopfield network's weight: -1/(β₊ - β₋)·⟨(s_i s_j)₊ - (s_i s_j)₋⟩; by the names of network.arrays().

    ``plus`` and ``minus`` may be any two phases of different β: ±β is centred (error O(β²)), +β and free one-sided
    (O(β)). ``inputs`` are those given to the solver; ⟨⟩ is the batch mean. Source: Scellier & Bengio 2017; Kendall et al. 2020.
    Raises UserError if the phases have the same β, do not match the network and the inputs in shape, or failed.

    >>> import eqprop_analog as ea
    >>> network, solver, x, y = ea.ResistiveNetwork.dense([2, 3, 2]), ea.SurrogateSolver(), [[0.1, 0.2]], [[1.0, 0.0]]
    >>> free = solver.solve(network, x)
    >>> plus, minus = (solver.solve(network, x, nudge=ea.Nudge(y, beta), start=free) for beta in (1e-9, -1e-9))
    >>> [each.shape for each in ea.contrast(network, x, plus, minus).conductances]  # V²/S
    [(4, 3), (3, 2)]
    """
    inputs = require_phases(network, inputs, plus, minus)
    return network.contrast(inputs, plus, minus)


def require_phases(
    network: Network, inputs: ArrayLike, plus: Equilibrium, minus: Equilibrium
) -> Float[Array, "batch inputs"]:
    """Return ``inputs`` as the network uses them.

    Raises UserError for phases that cannot be compared; see ``contrast``.
    """
    family_of(network)  # raises UserError for a network that is not registered
    inputs = network.check_inputs(inputs)
    check_pair("contrast", network.phase_shapes(len(inputs)), plus, minus)
    return inputs
