"""(1 - N Nᵀ) y = r by conjugate gradients for a batch: only matrix products, so that a step costs as much as a sweep."""

import numpy as np
from jaxtyping import Bool, Float

from eqprop_analog.networks.resistive.coupling import Coupling

Array = np.ndarray


def conjugate_gradients(
    coupling: Float[Array, "inner outer"] | Coupling,
    inner: Float[Array, "batch inner"],
    outer: Float[Array, "batch outer"],
    right: Float[Array, "batch inner"],
    accuracy: float,
) -> tuple[Float[Array, "batch inner"], Bool[Array, " batch"]]:
    """Solution of each sample, N = diag(inner)·coupling·diag(outer), and whether its residual is below ``accuracy``·‖r‖.

    The number of steps is at most that of inner nodes; converged samples are removed. The unit diagonal is the Jacobi
    preconditioner. Source: Hestenes & Stiefel 1952, J. Res. NBS 49, 409.
    """
    residual = direction = right
    y, solution, solved = np.zeros_like(right), np.zeros_like(right), np.zeros(len(right), bool)
    samples: Array = np.arange(len(right))
    square = _dot(residual, residual)
    goal = accuracy**2 * square
    for _ in range(len(coupling) + 1):
        done = square <= goal
        if done.any():
            solution[samples[done]], solved[samples[done]] = y[done], True
            going: tuple[Array, ...] = (samples, inner, outer, y, residual, direction, square, goal)
            samples, inner, outer, y, residual, direction, square, goal = (values[~done] for values in going)
            if not samples.size:
                break
        image = direction - inner * (((((inner * direction) @ coupling) * outer) * outer) @ coupling.T)
        length = square / _dot(direction, image)
        y = y + length[:, None] * direction
        residual = residual - length[:, None] * image
        before, square = square, _dot(residual, residual)
        direction = residual + (square / before)[:, None] * direction
    return solution, solved


def _dot(one: Float[Array, "batch inner"], other: Float[Array, "batch inner"]) -> Float[Array, " batch"]:
    return np.asarray(np.einsum("bi,bi->b", one, other))
