"""The adjoint of a Hopfield network's equations, for exact gradients, the reference for equilibrium propagation."""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, gmres

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.errors import UserError
from eqprop_analog.networks.hopfield.connections import Choice
from eqprop_analog.networks.hopfield.network import HopfieldNetwork

Array = np.ndarray

LEFT = 1e-13
"""Largest relative residual of the linear solve."""


def adjoint(
    network: HopfieldNetwork,
    inputs: Float[Array, "batch inputs"],
    states: Layers,
    forces: Layers,
    pull: Float[Array, "batch outputs"],
) -> Layers:
    """a_l = dC/du_l of a = ρ′·(pull + (∂u/∂s)ᵀ a), with ``pull`` on the last states; ``forces`` are u at ``states``.

    Source: Almeida 1987; Pineda 1987. Raises UserError if the linear solve fails, as it does for an equilibrium close
    to losing stability.
    """
    slopes = tuple(network.buffer.slope(u) for u in forces)
    before = (inputs, *states[:-1])
    choices: list[Choice] = [
        each.winners(weights, s) for each, weights, s in zip(network.connections, network.weights, before, strict=True)
    ]
    back_choices = [None, *(network.winners_back(l, states[l - 1], choices[l]) for l in range(1, network.depth))]
    right = tuple(np.zeros_like(s) for s in states[:-1])
    return _solved(network, slopes, choices, back_choices, (*right, slopes[-1] * pull))


def _solved(
    network: HopfieldNetwork, slopes: Layers, choices: list[Choice], back_choices: list[Choice], right: Layers
) -> Layers:
    """Solve a - ρ′·(∂u/∂s)ᵀ a = ``right``."""
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
        raise UserError(
            "implicit gradient: the linear solve failed, because the free phase is not a stable equilibrium"
        )
    return tuple(layers(solution))
