"""The reference gradient of a Hopfield network: dC/dθ of the free equilibrium by the implicit function theorem."""

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.sparse.linalg import LinearOperator, gmres

from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.errors import UserError
from eqprop_analog.models import HopfieldEquations, HopfieldNetwork, Layers
from eqprop_analog.models.checks import check_free, checked_target, layer_shapes
from eqprop_analog.models.connections import Choice
from eqprop_analog.nudging import Cost, cost_slope

Array = np.ndarray

LEFT = 1e-13
"""What the linear solve may leave of its right side."""


def hopfield_implicit_gradient(
    network: HopfieldNetwork,
    inputs: ArrayLike,
    target: Float[Array, "batch classes"],
    free: Equilibrium,
    cost: Cost = "squared-error",
) -> dict[str, Array]:
    """dC/dθ, batch mean, float64, by the names of ``network.arrays()``: a_l = dC/du_l solves a = ρ′·(∂C/∂s + (∂u/∂s)ᵀ a).

    Every weight takes the product of the state that it weighs and the a it acts on; exact up to rounding where ``free`` has
    converged and no node is at a corner of its buffer, for untied weights as well. Source: Almeida 1987;
    Pineda 1987. Raises UserError unless ``free`` is a free phase of this network and batch that did
    not fail, and where the linear solve fails, as it does where the equilibrium is about to vanish.
    """
    network = network.astype(np.float64)
    batch = network.check_inputs(inputs)
    check_free("implicit gradient", layer_shapes(len(batch), network.layers), free)
    states = tuple(s.astype(np.float64) for s in free.voltages)
    slopes = tuple(network.buffer.slope(u) for u in HopfieldEquations.of(network, batch).forces(states))
    choices: list[Choice] = [
        each.winners(weights, before)
        for each, weights, before in zip(network.connections, network.weights, (batch, *states), strict=False)
    ]
    back_choices = [None, *(network.winners_back(l, states[l - 1], choices[l]) for l in range(1, network.depth))]
    read = network.readout(states[-1])
    pull = cost_slope(cost, read, checked_target(target, read.shape, read.dtype)) / len(batch)
    right = tuple(np.zeros_like(s) for s in states[:-1])
    adjoint = _solved(network, slopes, choices, back_choices, (*right, slopes[-1] * network.along_readout(pull)))
    named: dict[str, Array] = {}
    for layer, (each, before, after) in enumerate(zip(network.connections, (batch, *states), adjoint, strict=False), 1):
        named[f"weight_{layer}"] = each.gradient(before, after, choices[layer - 1])
        named[f"bias_{layer}"] = each.gather_bias(after.sum(axis=0))
        if layer > 1:
            back = each.gradient(adjoint[layer - 2], states[layer - 1], back_choices[layer - 1])
            if network.returning:
                named[f"returning_{layer}"] = back
            else:
                named[f"weight_{layer}"] += back
    if network.head is not None:
        named |= {"head_weight": states[-1].T @ pull, "head_bias": pull.sum(axis=0)}
    return named


def _solved(
    network: HopfieldNetwork, slopes: Layers, choices: list[Choice], back_choices: list[Choice], right: Layers
) -> Layers:
    """The a of a - ρ′·(∂u/∂s)ᵀ a = ``right``."""
    shapes = [s.shape for s in slopes]
    ends = np.cumsum([s.size for s in slopes])[:-1]

    def layers(flat: Array) -> list[Array]:
        return [part.reshape(shape) for part, shape in zip(np.split(flat, ends), shapes, strict=True)]

    def flat(values: Any) -> Array:
        return np.concatenate([v.ravel() for v in values])

    def left(vector: Array) -> Array:
        a = layers(vector)
        onto = [np.zeros_like(v) for v in a]
        for layer, (each, weights, back) in enumerate(
            zip(network.connections[1:], network.weights[1:], network.back, strict=True), 1
        ):
            onto[layer - 1] += each.backward(weights, a[layer], choices[layer])
            onto[layer] += each.forward(back, a[layer - 1], back_choices[layer])[0]
        return flat(v - slope * o for v, slope, o in zip(a, slopes, onto, strict=True))

    size = sum(s.size for s in slopes)
    operator = LinearOperator((size, size), left, dtype=np.float64)
    solution, failed = gmres(operator, flat(right), rtol=LEFT, atol=0, restart=200, maxiter=50)
    if failed:
        raise UserError("implicit gradient: the linear solve failed; the free phase is no stable equilibrium")
    return tuple(layers(solution))
