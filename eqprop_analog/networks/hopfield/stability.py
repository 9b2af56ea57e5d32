"""Stability of the operating points of a Hopfield network's circuit."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int
from scipy.special import softmax

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.networks.hopfield.connections import Choice, Connection
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.network import HopfieldNetwork

Array = np.ndarray


def growth(equations: HopfieldEquations, nodes: Layers) -> Float[Array, " batch"]:
    """Largest real part of the eigenvalues λ of ∂(W ρ(u) + pull)/∂u: a disturbance decays as exp(-(1 - λ)t·g/C)."""
    network = equations.network
    slopes = network.buffer.slope(np.concatenate(nodes, axis=1))
    pulls = _curvature(equations, network.buffer.output(nodes[-1]))
    last = network.layers[-1]
    states = equations.states(nodes)
    found = np.empty(len(slopes))
    for sample, (slope, response) in enumerate(zip(slopes, _responses(network, states), strict=True)):
        response[-last:, -last:] -= pulls[sample]
        if network.returning or network.feedback != 1:
            found[sample] = np.linalg.eigvals(response * slope).real.max()
        else:  # the matrix is similar to a symmetric one
            root = np.sqrt(slope)
            found[sample] = np.linalg.eigvalsh(root[:, None] * response * root).max()
    return found


def _responses(network: HopfieldNetwork, states: Layers) -> Iterator[Float[Array, "nodes nodes"]]:
    """∂u/∂s of all layers at each sample's ``states``, without a nudge; pools pass only their winners."""
    ends = np.cumsum((0, *network.layers[1:]))
    parts = []
    for layer, each in enumerate(network.connections[1:], start=1):
        ahead = each.winners(network.weights[layer], states[layer - 1])
        back = network.winners_back(layer, states[layer - 1], ahead)
        parts.append((each.matrix(network.weights[layer]), each.matrix(network.back[layer - 1]), ahead, back))
    for sample in range(len(states[0])):
        matrix = np.zeros((ends[-1], ends[-1]))
        for layer, (each, (forward, returning, ahead, back)) in enumerate(
            zip(network.connections[1:], parts, strict=True)
        ):
            before, after = slice(ends[layer], ends[layer + 1]), slice(ends[layer + 1], ends[layer + 2])
            matrix[after, before] = forward[:, _passing(each, ahead, sample)].T
            matrix[before, after] = returning[:, _passing(each, back, sample)]
        yield matrix


def _passing(connection: Connection, choice: Choice, sample: int) -> Int[Array, " nodes"] | slice:
    """The site whose value each node of the next layer receives, and to which it returns its state."""
    if choice is None:
        return slice(None)
    windows = connection.windows
    return windows[np.arange(len(windows)), choice[sample].ravel()]


def _curvature(equations: HopfieldEquations, outputs: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes nodes"]:
    """β ∂²C/∂s_L² of the nudge."""
    network = equations.network
    across = np.eye(network.classes) if network.head is None else network.head[0]
    if equations.beta is None or equations.target is None:
        return np.zeros((len(outputs), len(across), len(across)))
    second = np.broadcast_to(np.eye(network.classes), (len(outputs), network.classes, network.classes))
    if equations.cost == "cross-entropy":
        p = softmax(network.readout(outputs), axis=1)
        second = p[:, :, None] * (second - p[:, None, :]) * equations.target.sum(axis=1)[:, None, None]
    return equations.beta[:, :, None] * (across @ second @ across.T)
