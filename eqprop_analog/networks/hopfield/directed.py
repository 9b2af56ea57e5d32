"""The local learning signals of a Hopfield network's weights, in each direction of the signal."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.networks.hopfield.network import HopfieldNetwork

Array = np.ndarray


def directed_contrast(
    network: HopfieldNetwork,
    inputs: Float[Array, "batch inputs"],
    plus: Equilibrium,
    minus: Equilibrium,
    references: Sequence[tuple[float, Equilibrium]],
) -> dict[str, Array]:
    """-1/(β₊ - β₋)·⟨s_pre (s_post₊ - s_post₋)⟩ of every weight in each direction, by the names of ``network.arrays()``.

    s_pre is the weighted sum of ``references``, pooled at the winners of each.

    For the feedback, s_pre is the state after the connection, and the state before it differs between the phases; its
    patches are those at the winners of each phase.
    """
    scale = -1 / ((plus.beta - minus.beta) * len(inputs))
    layers = zip(network.shares, plus.voltages, minus.voltages, strict=True)
    change = tuple(share * scale * (p - m) for share, p, m in layers)
    mean = [
        np.sum([share * phase.voltages[layer] for share, phase in references], axis=0) for layer in range(network.depth)
    ]
    named: dict[str, Array] = {}
    for layer, (each, weights) in enumerate(zip(network.connections, network.weights, strict=True)):
        shares = [(share, inputs if layer == 0 else phase.voltages[layer - 1]) for share, phase in references]
        slopes = [
            each.gradient(before, share * change[layer], each.winners(weights, before)) for share, before in shares
        ]
        named[f"weight_{layer + 1}"] = np.sum(slopes, axis=0)
        named[f"bias_{layer + 1}"] = each.gather_bias(change[layer].sum(axis=0))
        if layer == 0:
            continue
        back, size = network.back[layer - 1], network.shares[layer] * scale
        ends = ((size, plus.voltages[layer - 1]), (-size, minus.voltages[layer - 1]))
        slope = np.sum([each.gradient(s, sign * mean[layer], each.winners(back, s)) for sign, s in ends], axis=0)
        if network.returning:
            named[f"returning_{layer + 1}"] = slope
        else:
            named[f"weight_{layer + 1}"] += slope
    return named if network.head is None else named | network.head_gradient(plus, minus)
