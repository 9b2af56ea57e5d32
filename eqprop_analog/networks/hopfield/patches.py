"""A patch of a Hopfield network with all other nodes held: a smaller network that a circuit simulator can solve."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from eqprop_analog.core.equilibrium import Equilibrium, Layers, Status
from eqprop_analog.errors import UserError
from eqprop_analog.networks.hopfield.connections import Connection, Dense
from eqprop_analog.networks.hopfield.maxout import Maxout
from eqprop_analog.networks.hopfield.network import HopfieldNetwork

Array = np.ndarray
Nodes = Int[Array, " nodes"]

SATURATED = 40.0
"""Input voltage times gain above which the output of every kind of buffer is 1 V to the last bit, volts."""


def cut(
    network: HopfieldNetwork, inputs: ArrayLike, states: Layers, keep: Mapping[int, ArrayLike]
) -> tuple[HopfieldNetwork, Float[Array, "1 1"], Equilibrium]:
    """The network of the nodes ``keep`` in consecutive layers with all others held at ``states``, its input and its states.

    ``inputs`` (1, inputs) and ``states`` (1, n_l) of layers 1..L belong to one sample, volts. The contribution of the held nodes
    to a site or node is constant. It is represented by weights of the single input, 1 V, and of one additional node in each
    layer, the last one, which is saturated at 1 V. Pooling is kept: the values compared at the sites include the held
    contributions. Held windows return their states to their winners at ``states``. If the patch has several equilibria, a solver
    finds that of the whole network if the returned states are its ``start``. A read-out outside the system is omitted. Raises
    UserError if a layer or node does not exist.
    """
    network = network.astype(np.float64)
    x = network.check_inputs(inputs)
    states = tuple(np.asarray(s, float) for s in states)
    kept = _checked(network, x, states, keep)
    first, last = min(kept), max(kept)
    connections, weights, returning, biases = [], [], [], []
    for layer in range(first, last + 1):
        connection, before = network.connections[layer - 1], x if layer == 1 else states[layer - 2]
        constant = layer < last
        window = connection.windows.shape[1]
        held = kept.get(layer - 1)
        size = len(kept[layer]) + constant
        rows = 1 if held is None else len(held) + 1
        connections.append(Dense(rows, size) if window == 1 else Maxout(rows, size, window))
        sites = connection.windows[kept[layer]].ravel()
        weights.append(_block(connection, network.weights[layer - 1], before, held, sites, window * constant))
        if network.returning and layer > first:
            own = network.returning[layer - 2]
            returning.append(_block(connection, own, before, held, sites, window * constant))
        biases.append(
            connection.spread_bias(network.biases[layer - 1])[kept[layer]] + _returned(network, states, kept, layer)
        )
    for layer, bias in enumerate(biases[:-1]):
        pull = np.abs(weights[layer + 1][-1]).sum() + sum(
            np.abs(values[-1]).sum() for values in returning[layer : layer + 1]
        )
        biases[layer] = np.append(bias, SATURATED / network.buffer.gain + pull)
    feedback = network.feedback
    patch = HopfieldNetwork(
        tuple(connections), tuple(weights), tuple(biases), network.buffer, tuple(returning), feedback=feedback
    )
    patch.validate()
    inside = [states[layer - 1][:, kept[layer]] for layer in range(first, last + 1)]
    inside[:-1] = [np.append(s, [[1.0]], axis=1) for s in inside[:-1]]
    one, there = np.ones((1, 1)), tuple(inside)
    residual = patch.equations(one).residual(there)
    return patch, one, Equilibrium(there, residual, np.array([Status.TRUNCATED], dtype=object))


def strongest(
    network: HopfieldNetwork, layers: Sequence[int], count: int, random: np.random.Generator
) -> dict[int, Nodes]:
    """Nodes for ``cut``: up to ``count`` nodes of each of ``layers`` (consecutive), drawn by ``random`` in the last layer.

    In each earlier layer they are the nodes with the largest Σ|W| to the kept nodes of the next layer.
    """
    _require_layers(network, layers)
    last = max(layers)
    kept = {last: np.sort(random.permutation(network.layers[last])[:count])}
    for layer in range(last - 1, min(layers) - 1, -1):
        connection = network.connections[layer]
        sites = connection.windows[kept[layer + 1]].ravel()
        pull = np.abs(connection.matrix(network.weights[layer], sites)).sum(axis=1)
        kept[layer] = np.sort(np.argsort(-pull, kind="stable")[:count])
    return kept


def _require_layers(network: HopfieldNetwork, layers: Sequence[int]) -> None:
    if not layers or sorted(layers) != list(range(min(layers), max(layers) + 1)):
        raise UserError(f"patch: expected nodes of consecutive layers, got layers {sorted(layers)}")
    for layer in layers:
        if not 1 <= layer <= network.depth:
            raise UserError(f"patch: expected layers 1 to {network.depth}, got {layer}")


def _checked(
    network: HopfieldNetwork, inputs: Float[Array, "1 inputs"], states: Layers, keep: Mapping[int, ArrayLike]
) -> dict[int, Nodes]:
    if len(inputs) != 1 or [s.shape for s in states] != [(1, size) for size in network.layers[1:]]:
        raise UserError("patch: expected one sample's inputs and the states of every layer, (1, nodes) each")
    kept = {int(layer): np.unique(np.asarray(nodes, int)) for layer, nodes in keep.items()}
    _require_layers(network, list(kept))
    for layer, nodes in kept.items():
        if not nodes.size or nodes[0] < 0 or nodes[-1] >= network.layers[layer]:
            raise UserError(f"patch: layer {layer} has nodes 0 to {network.layers[layer] - 1}, got {nodes[[0, -1]]}")
    return kept


def _block(
    connection: Connection,
    weights: Float[Array, "..."],
    before: Float[Array, "1 nodes"],
    kept: Nodes | None,
    sites: Int[Array, " sites"],
    further: int,
) -> Float[Array, "rows columns"]:
    """Weights from kept nodes to ``sites``, then a row with the held nodes' contribution, volts; padded with zero columns."""
    whole = connection.matrix(weights, sites)
    inner = whole[:0] if kept is None else whole[kept]
    constant = before @ whole - (0 if kept is None else before[:, kept] @ inner)
    return np.pad(np.concatenate([inner, constant]), ((0, 0), (0, further)))


def _returned(network: HopfieldNetwork, states: Layers, kept: dict[int, Nodes], layer: int) -> Float[Array, " nodes"]:
    """Voltage that held nodes of the next layer return to the kept nodes of ``layer``, volts."""
    if layer == network.depth:
        return np.zeros(len(kept[layer]))
    connection, back, s = network.connections[layer], network.back[layer - 1], states[layer - 1]
    choice = connection.winners(back, s)
    after = states[layer].copy()
    if layer + 1 in kept:
        after[:, kept[layer + 1]] = 0
    return connection.backward(back, after, choice)[0, kept[layer]]
