"""Whether a Hopfield network's circuit would stay at an operating point."""

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.networks.hopfield.connections import unroll
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.network import HopfieldNetwork

Array = np.ndarray


def growth(equations: HopfieldEquations, nodes: Layers) -> Float[Array, " batch"]:
    """Largest real part of an eigenvalue λ of ∂(W ρ(u) + pull)/∂u: a disturbance goes as exp(-(1 - λ)t·g/C)."""
    network = equations.network
    weights = _matrix(network)
    slopes = network.buffer.slope(np.concatenate(nodes, axis=1))
    pulls = _curvature(equations, network.buffer.output(nodes[-1]))
    last = network.layers[-1]
    found = np.empty(len(slopes))
    for sample, slope in enumerate(slopes):
        response = weights.copy()
        response[-last:, -last:] -= pulls[sample]
        if network.returning or network.feedback != 1:
            found[sample] = np.linalg.eigvals(response * slope).real.max()
        else:  # similar to a symmetric matrix
            root = np.sqrt(slope)
            found[sample] = np.linalg.eigvalsh(root[:, None] * response * root).max()
    return found


def _matrix(network: HopfieldNetwork) -> Float[Array, "nodes nodes"]:
    """∂u/∂s of all layers without a nudge."""
    ends = np.cumsum((0, *network.layers[1:]))
    matrix = np.zeros((ends[-1], ends[-1]))
    for layer, each in enumerate(network.connections[1:]):
        before, after = slice(ends[layer], ends[layer + 1]), slice(ends[layer + 1], ends[layer + 2])
        matrix[after, before] = unroll(each, network.weights[layer + 1]).T
        matrix[before, after] = unroll(each, network.back[layer])
    return matrix


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
