"""Learning signals that each weight finds at its own two ends, one for each direction in which a signal passes it."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.errors import UserError
from eqprop_analog.learning.contrast import contrast, require_phases
from eqprop_analog.models import Gradient, HopfieldNetwork, ResistiveNetwork
from eqprop_analog.models.checks import check_free, layer_shapes

Array = np.ndarray
Signal = Literal["contrast", "vector-field", "differential"]
"""What a network learns from two phases, or from two moments of one; see ``contrast``, ``vector_field`` and ``differential``."""


def vector_field(
    network: HopfieldNetwork,
    inputs: ArrayLike,
    plus: Equilibrium,
    minus: Equilibrium,
    free: Equilibrium | None = None,
) -> dict[str, Array]:
    """dC/dW_ij ≈ -1/(β₊ - β₋)·⟨s̄_pre (s_post₊ - s_post₋)⟩: of untied weights, each way its own.

    s̄ are the states of ``free`` (the published code of Laborieux et al. 2021 without ``same_update``), or, where it is not
    given, the mean of both phases: then a tied weight, which learns from the sum of its two directions, learns from its
    contrast. Source: Scellier et al. 2018; Laborieux et al. 2021. Raises UserError like ``contrast``.
    """
    if free is None:
        return _local(network, inputs, plus, minus, [(0.5, plus), (0.5, minus)])
    check_free("vector field", layer_shapes(len(plus.status), network.layers), free)
    return _local(network, inputs, plus, minus, [(1.0, free)])


def differential(
    network: HopfieldNetwork, inputs: ArrayLike, plus: Equilibrium, minus: Equilibrium
) -> dict[str, Array]:
    """dC/dW_ij ≈ -1/(β₊ - β₋)·⟨s_pre₋ (s_post₊ - s_post₋)⟩: from moment to moment s_pre ds_post/dt, as spike timing has it.

    ``minus`` is the earlier moment. Added up over a slow nudged phase the two directions of a weight give its contrast at
    the end. Source: Scellier & Bengio 2017; Ernoult et al. 2020. Raises UserError like ``contrast``.
    """
    return _local(network, inputs, plus, minus, [(1.0, minus)])


def learning_signal(
    signal: Signal,
    network: ResistiveNetwork | HopfieldNetwork,
    inputs: ArrayLike,
    plus: Equilibrium,
    minus: Equilibrium,
    free: Equilibrium | None = None,
) -> Gradient | dict[str, Array]:
    """The signal of that name; ``free``: see vector_field. Conductances, which have no direction, know the contrast alone."""
    if isinstance(network, ResistiveNetwork):
        if signal != "contrast":
            raise UserError(f'signal: conductances learn from the "contrast", got "{signal}"')
        return contrast(network, inputs, plus, minus)
    if signal == "contrast":
        return contrast(network, inputs, plus, minus)
    if signal == "vector-field":
        return vector_field(network, inputs, plus, minus, free)
    return differential(network, inputs, plus, minus)


def _local(
    network: HopfieldNetwork,
    inputs: ArrayLike,
    plus: Equilibrium,
    minus: Equilibrium,
    references: Sequence[tuple[float, Equilibrium]],
) -> dict[str, Array]:
    """With s_pre the sum of ``references``, each weighed by its share, and pooled at the winners of each.

    On the way back s_pre is the state behind the connection, and it is the state before it that differs between the phases:
    its patches are taken at the winners of each phase.
    """
    batch = require_phases(network, inputs, plus, minus)
    scale = -1 / ((plus.beta - minus.beta) * len(batch))
    change = tuple(scale * (p - m) for p, m in zip(plus.voltages, minus.voltages, strict=True))
    mean = [
        np.sum([share * phase.voltages[layer] for share, phase in references], axis=0) for layer in range(network.depth)
    ]
    named: dict[str, Array] = {}
    for layer, (each, weights) in enumerate(zip(network.connections, network.weights, strict=True)):
        shares = [(share, batch if layer == 0 else phase.voltages[layer - 1]) for share, phase in references]
        slopes = [
            each.gradient(before, share * change[layer], each.winners(weights, before)) for share, before in shares
        ]
        named[f"weight_{layer + 1}"] = np.sum(slopes, axis=0)
        named[f"bias_{layer + 1}"] = each.gather_bias(change[layer].sum(axis=0))
        if layer == 0:
            continue
        back, ends = network.back[layer - 1], ((scale, plus.voltages[layer - 1]), (-scale, minus.voltages[layer - 1]))
        slope = np.sum([each.gradient(s, sign * mean[layer], each.winners(back, s)) for sign, s in ends], axis=0)
        if network.returning:
            named[f"returning_{layer + 1}"] = slope
        else:
            named[f"weight_{layer + 1}"] += slope
    return named if network.head is None else named | network.head_gradient(plus, minus)
