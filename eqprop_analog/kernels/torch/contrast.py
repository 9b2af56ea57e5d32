"""The contrast of two phases on tensors, as in HopfieldNetwork.contrast: products of means and differences."""

from __future__ import annotations  # the module can then be imported without PyTorch

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eqprop_analog.kernels.torch.differences import Differences, Pair
from eqprop_analog.kernels.torch.network import TorchNetwork, cost_slope
from eqprop_analog.kernels.torch.phases import Phase, Pull, Values

Gradients = dict[str, Tensor]


@dataclass(frozen=True)
class Measured:
    """The quantities of two phases that the contrast needs."""

    inputs: Tensor
    states: Sequence[Pair]
    """States of layers 1..L."""
    first: Tensor
    """The difference of layer 1 at the winners of the inputs, which are the same in both phases."""
    spreads: Sequence[Pair]
    """Spreads of layers 2..L, at the winners of the forward weights."""
    spreads_back: Sequence[Pair] | None = None
    """Spreads of layers 2..L at the winners of the feedback weights, if these are separate."""


def of_phases(plus: Phase, minus: Phase) -> Measured:
    """Measure two phases of Values."""
    primitives = plus.primitives
    assert isinstance(primitives, Values)
    layers = range(2, plus.network.depth + 1)
    states = [Pair.of(*two) for two in zip(plus.states, minus.states, strict=True)]
    first = primitives.spread_forward(1, primitives.first_raw, states[0].difference)
    pairs = [Pair.of(_spread_ahead(plus, layer), _spread_ahead(minus, layer)) for layer in layers]
    back = None
    if plus.network.untied:
        back = [Pair.of(plus.spread(layer), minus.spread(layer)) for layer in layers]
    return Measured(primitives.inputs, states, first, pairs, back)


def _spread_ahead(phase: Phase, layer: int) -> Tensor:
    """Return the spreads of states at the winners of the forward weights."""
    if not phase.network.untied:
        return phase.spread(layer)
    values = phase.primitives
    assert isinstance(values, Values)
    return values.spread_forward(layer, phase.raw(layer), phase.states[layer - 1])


def of_differences(phase: Phase) -> Measured:
    """Measure nudged phases as differences from the free one: both phases, or one and the free phase."""
    differences = phase.primitives
    assert isinstance(differences, Differences)
    values, network = differences.values, phase.network
    states = [differences.pair(layer, s) for layer, s in enumerate(phase.states, start=1)]
    first = values.spread_forward(1, values.first_raw, states[0].difference)
    spreads, back = [], []
    for layer in range(2, network.depth + 1):
        if network.couplings[layer - 1].pool == 1:
            spreads.append(states[layer - 1])
            back.append(states[layer - 1])
            continue
        s, base = phase.states[layer - 1], differences.bases[layer - 1]
        own = phase.spread(layer)
        ahead = differences.spread(layer, phase.raw(layer), s, back=False) if network.untied else own
        spreads.append(differences.spread_pair(layer, ahead))
        if network.untied:
            back.append(Pair.around(values.spread(layer, differences.raws_back[layer], base), own))
    return Measured(values.inputs, states, first, spreads, back if network.untied else None)


def contrast(network: TorchNetwork, measured: Measured, gap: float, dtype: torch.dtype | None = None) -> Gradients:
    """Return dC/dθ of weights and biases, batch mean, named as in HopfieldNetwork.arrays.

    ``gap`` is β₊ - β₋; factors of products are rounded to ``dtype`` (default: that of the inputs).
    """
    kind = measured.inputs.dtype if dtype is None else dtype
    named: Gradients = {}
    for layer, coupling in enumerate(network.couplings, start=1):
        scale = -(network.feedback ** (layer - network.depth)) / (gap * len(measured.inputs))
        if layer == 1:
            slope = coupling.slope(measured.inputs.to(kind), measured.first.to(kind))
        else:
            before = measured.states[layer - 2].mean_first(kind)
            slope = coupling.slope(before, measured.spreads[layer - 2].difference_first(kind))
            if measured.spreads_back is not None and coupling.pool > 1:
                slope = (slope + coupling.slope(before, measured.spreads_back[layer - 2].difference_first(kind))) / 2
        parameter, change = network.weight(layer), measured.states[layer - 1].difference
        named[f"weight_{layer}"] = slope.to(parameter.dtype) * scale
        others = [axis for axis in range(change.ndim) if axis != 1]
        named[f"bias_{layer}"] = change.sum(others, dtype=parameter.dtype) * scale
        if network.untied and layer > 1:
            named[f"returning_{layer}"] = named[f"weight_{layer}"]
    return named


def head_gradient(network: TorchNetwork, outputs: Tensor, pull: Pull, gap: float, batch: int) -> Gradients:
    """See HopfieldNetwork.head_gradient: ``outputs`` of all nudged phases, with ``batch`` samples each; {} without a head."""
    if not network.has_head:
        return {}
    weight = network.values["head_weight"]
    flat = outputs.flatten(1).to(weight.dtype)
    slope = pull.beta.abs() / (abs(gap) * batch) * cost_slope(pull.cost, network.readout(flat), pull.target)
    return {"head_weight": flat.T @ slope, "head_bias": slope.sum(0)}
