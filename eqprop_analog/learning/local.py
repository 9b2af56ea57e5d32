"""Learning signals that each weight finds at its own two ends, one for each direction in which a signal passes it."""

from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.errors import UserError
from eqprop_analog.learning.contrast import contrast, require_phases
from eqprop_analog.models import Gradient, HopfieldNetwork, ResistiveNetwork

Array = np.ndarray
Signal = Literal["contrast", "vector-field", "differential"]
"""What a network learns from two phases, or from two moments of one; see ``contrast``, ``vector_field`` and ``differential``."""


def vector_field(
    network: HopfieldNetwork, inputs: ArrayLike, plus: Equilibrium, minus: Equilibrium
) -> dict[str, Array]:
    """dC/dW_ij ≈ -1/(β₊ - β₋)·⟨s̄_pre (s_post₊ - s_post₋)⟩, s̄_pre the mean of both: of untied weights, each way its own.

    A tied weight learns from the sum of its two directions, which is its contrast. Source: Scellier et al. 2018; Laborieux et
    al. 2021. Raises UserError like ``contrast``.
    """
    return _local(network, inputs, plus, minus, 0.5)


def differential(
    network: HopfieldNetwork, inputs: ArrayLike, plus: Equilibrium, minus: Equilibrium
) -> dict[str, Array]:
    """dC/dW_ij ≈ -1/(β₊ - β₋)·⟨s_pre₋ (s_post₊ - s_post₋)⟩: from moment to moment s_pre ds_post/dt, as spike timing has it.

    ``minus`` is the earlier moment. Added up over a slow nudged phase the two directions of a weight give its contrast at
    the end. Source: Scellier & Bengio 2017; Ernoult et al. 2020. Raises UserError like ``contrast``.
    """
    return _local(network, inputs, plus, minus, 0.0)


def learning_signal(
    signal: Signal,
    network: ResistiveNetwork | HopfieldNetwork,
    inputs: ArrayLike,
    plus: Equilibrium,
    minus: Equilibrium,
) -> Gradient | dict[str, Array]:
    """The signal of that name; conductances, which have no direction, know the contrast alone."""
    if isinstance(network, ResistiveNetwork):
        if signal != "contrast":
            raise UserError(f'signal: conductances learn from the "contrast", got "{signal}"')
        return contrast(network, inputs, plus, minus)
    if signal == "contrast":
        return contrast(network, inputs, plus, minus)
    return (vector_field if signal == "vector-field" else differential)(network, inputs, plus, minus)


def _local(
    network: HopfieldNetwork, inputs: ArrayLike, plus: Equilibrium, minus: Equilibrium, part: float
) -> dict[str, Array]:
    """With s_pre so far from ``minus`` towards ``plus``."""
    batch = require_phases(network, inputs, plus, minus)
    scale = -1 / ((plus.beta - minus.beta) * len(batch))
    change = tuple(scale * (p - m) for p, m in zip(plus.voltages, minus.voltages, strict=True))
    named: dict[str, Array] = {}
    for layer, each in enumerate(network.connections, start=1):
        named[f"weight_{layer}"] = 0 * network.weights[layer - 1]
        if network.returning and layer > 1:
            named[f"returning_{layer}"] = 0 * network.weights[layer - 1]
        named[f"bias_{layer}"] = each.gather_bias(change[layer - 1].sum(axis=0))
    for share, phase in ((part, plus), (1 - part, minus)):
        if share:
            _add(named, network, batch, phase, tuple(share * c for c in change))
    return named if network.head is None else named | network.head_gradient(plus, minus)


def _add(
    named: dict[str, Array],
    network: HopfieldNetwork,
    inputs: Float[Array, "batch inputs"],
    phase: Equilibrium,
    change: tuple[Float[Array, "batch nodes"], ...],
) -> None:
    """Products of ``phase``'s states before each weight with ``change`` behind it."""
    before = inputs
    for layer, (each, weights, states) in enumerate(
        zip(network.connections, network.weights, phase.voltages, strict=True), 1
    ):
        choice = each.winners(weights, before)
        named[f"weight_{layer}"] += each.gradient(before, change[layer - 1], choice)
        if layer > 1:
            way_back = f"returning_{layer}" if network.returning else f"weight_{layer}"
            named[way_back] += each.gradient(change[layer - 2], states, choice)
        before = states
