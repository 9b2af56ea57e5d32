"""J δ = F, Newton's step: odd layers couple only to even ones, so one kind is eliminated and the other solved for."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.networks.resistive.conjugate_gradients import conjugate_gradients
from eqprop_analog.networks.resistive.coupling import Coupling
from eqprop_analog.networks.resistive.elimination import eliminate
from eqprop_analog.networks.resistive.equations import NodalEquations
from eqprop_analog.networks.resistive.layered import LayeredNetwork

Array = np.ndarray

NARROW = 32
"""Largest number of nodes solved by direct elimination; more nodes only if conjugate gradients do not converge."""
EXACT = 1e-13
"""Default relative residual of conjugate gradients."""
SINGLE = 1e-6
"""Smallest relative residual for which single precision is used, at half the cost."""
SAMPLES = 256
"""Number of samples that are iterated together, so that their vectors stay in the cache."""


def newton_step(equations: NodalEquations, voltages: Layers, currents: Layers, accuracy: float = EXACT) -> Layers:
    """-(∂F/∂v) δ = ``currents``: response δ of the linearised circuit (volts) to currents into the nodes (amperes).

    With the slopes K_l, y_l = √(γ_l K_l) δ_l is independent of units and gains: (1 - C) y = r with the symmetric couplings
    C = G_l[i,j]/√(K_{l-1,i} K_{l,j}) between neighbouring layers. Let N be the couplings between the nodes that are kept and
    those that are eliminated; then (1 - N Nᵀ) y = r + N r'. Nodes held by an ideal clamp (K = ∞) do not move. ``accuracy``:
    largest relative residual; direct elimination is more accurate.
    """
    return response(equations, equations.slopes(voltages), currents, accuracy)


def response(equations: NodalEquations, slopes: Layers, currents: Layers, accuracy: float = EXACT) -> Layers:
    """(diag(``slopes``) - C) δ = ``currents`` with the couplings C between nodes: δ in volts from siemens and amperes."""
    network = equations.network
    weights = [1 / np.sqrt(slope) for slope in slopes]
    roots = np.sqrt(network.gammas, dtype=weights[0].dtype)
    right = [np.where(q > 0, q * F * root, 0) for q, F, root in zip(weights, currents, roots, strict=True)]
    if equations.depth == 1:
        return (weights[0] * right[0],)
    stay, leave = colours(network)
    coupling = _coupling(network, stay, leave)
    inner, outer, given = _join(weights, stay), _join(weights, leave), _join(right, leave)
    reduced = _join(right, stay)
    if given.any():  # it is zero after a sweep
        reduced = reduced + inner * ((outer * given) @ coupling.T)
    moved = inner * _solve(coupling, inner, outer, reduced, accuracy)
    others = outer * (given + outer * (moved @ coupling))
    parts = _split(moved, network, stay) | _split(others, network, leave)
    return tuple(parts[layer] / root for layer, root in enumerate(roots, start=1))


def colours(network: LayeredNetwork) -> tuple[range, range]:
    """The odd and the even layers, those with fewer nodes first: these are kept, and the others are eliminated."""
    layers = range(1, network.depth + 1)
    stay, leave = sorted((layers[::2], layers[1::2]), key=lambda some: sum(network.layers[layer] for layer in some))
    return stay, leave


def _coupling(network: LayeredNetwork, stay: range, leave: range) -> Array | Coupling:
    """Conductances between kept and eliminated nodes, siemens; a matrix if all crossbars are stored as matrices."""
    if not all(network.crossbars[layer - 1].is_matrix for layer in range(2, network.depth + 1)):
        return Coupling(network.crossbars, stay, leave)

    def block(a: int, b: int) -> Float[Array, "rows columns"]:
        if abs(a - b) != 1:
            return np.zeros((network.layers[a], network.layers[b]), network.crossbars[0].conductance.dtype)
        matrix = network.crossbars[max(a, b) - 1].matrix()
        return matrix if a < b else matrix.T

    if len(stay) == len(leave) == 1:
        return block(stay[0], leave[0])
    return np.block([[block(a, b) for b in leave] for a in stay])


def _join(parts: Sequence[Float[Array, "batch nodes"]], layers: range) -> Float[Array, "batch nodes"]:
    return np.concatenate([parts[layer - 1] for layer in layers], axis=1)


def _split(
    values: Float[Array, "batch nodes"], network: LayeredNetwork, layers: range
) -> dict[int, Float[Array, "batch nodes"]]:
    ends = np.cumsum([network.layers[layer] for layer in layers])
    return dict(zip(layers, np.split(values, ends[:-1], axis=1), strict=True))


def _solve(
    coupling: Float[Array, "inner outer"] | Coupling,
    inner: Float[Array, "batch inner"],
    outer: Float[Array, "batch outer"],
    right: Float[Array, "batch inner"],
    accuracy: float,
) -> Float[Array, "batch inner"]:
    """Solution of (1 - N Nᵀ) y = right, N = diag(inner)·coupling·diag(outer)."""
    if len(coupling) <= NARROW:
        return eliminate(np.asarray(coupling), inner, outer, right)
    solution = np.empty_like(right)
    level = np.maximum(np.abs(right).max(axis=1, keepdims=True), np.finfo(right.dtype).tiny)
    dtype = np.float32 if accuracy >= SINGLE else right.dtype
    matrix = coupling.astype(dtype)
    for k in range(0, len(right), SAMPLES):
        some = slice(k, k + SAMPLES)
        left, beyond, asked = (values[some].astype(dtype) for values in (inner, outer, right / level))
        found, solved = conjugate_gradients(matrix, left, beyond, asked, accuracy)
        solution[some] = found * level[some]
        hard = k + np.flatnonzero(~solved)
        if hard.size:
            solution[hard] = eliminate(np.asarray(coupling), inner[hard], outer[hard], right[hard])
    return solution
