"""The learning signal: the difference of ∂E/∂θ between two phases, as each model measures it."""

from typing import Protocol, TypeVar

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.models.checks import check_pair, layer_shapes

Array = np.ndarray
G_co = TypeVar("G_co", covariant=True)


class Measured(Protocol[G_co]):
    """What the contrast needs of a network."""

    @property
    def layers(self) -> tuple[int, ...]:
        """(inputs, n_1, ..., n_L), nodes."""
        ...

    def check_inputs(self, inputs: ArrayLike) -> Float[Array, "batch inputs"]:
        """``inputs`` as (batch, inputs), or UserError."""
        ...

    def contrast(self, inputs: Float[Array, "batch inputs"], plus: Equilibrium, minus: Equilibrium) -> G_co:
        """The learning signal of two phases that fit."""
        ...


def contrast(network: Measured[G_co], inputs: ArrayLike, plus: Equilibrium, minus: Equilibrium) -> G_co:
    """dC/dθ = 1/(β₊ - β₋)·⟨∂E/∂θ₊ - ∂E/∂θ₋⟩ of every parameter.

    A conductance: (γ_l/γ_L)/(β₊ - β₋) · ½⟨(Δv_ij)²₊ - (Δv_ij)²₋⟩; a bias current: -(γ_l/γ_L)/(β₊ - β₋)·⟨v₊ - v₋⟩; as a Gradient.
    A Hopfield network's weight: -1/(β₊ - β₋)·⟨(s_i s_j)₊ - (s_i s_j)₋⟩; by the names of network.arrays().

    ``plus`` and ``minus`` may be any two phases of different β: ±β is centred (error O(β²)), +β and free one-sided
    (O(β)). ``inputs`` as given to the solver; ⟨⟩ is the batch mean. Source: Scellier & Bengio 2017; Kendall et al. 2020.
    Raises UserError if the phases do not differ in β, have not the shapes of network and inputs, or failed.
    """
    return network.contrast(require_phases(network, inputs, plus, minus), plus, minus)


def require_phases(
    network: Measured[G_co], inputs: ArrayLike, plus: Equilibrium, minus: Equilibrium
) -> Float[Array, "batch inputs"]:
    """``inputs`` as the network takes them, or UserError for phases that cannot be compared; see ``contrast``."""
    inputs = network.check_inputs(inputs)
    check_pair("contrast", layer_shapes(len(inputs), network.layers), plus, minus)
    return inputs
