"""Newton's step J δ = F, by elimination of the layers from the inputs up to the outputs."""

import numpy as np
from jaxtyping import Float

from eqprop_analog.models import Layers, NodalEquations

Array = np.ndarray


def newton_step(equations: NodalEquations, voltages: Layers, currents: Layers) -> Layers:
    """δ with -(∂F/∂v) δ = ``currents``, volts: what these currents into the nodes (amperes) move linearised.

    Layers touch only their neighbours and diodes only the diagonal, so the Jacobian is block tridiagonal:
    S_1 = K_1, S_{l+1} = K_{l+1} - G_{l+1}ᵀ S_l⁻¹ G_{l+1} with K the slopes (the gains cancel). Nodes held by an ideal clamp
    (infinite slope) do not move. Memory: batch · n_l² for hidden layers from the second on and for the outputs.
    """
    network = equations.network
    slopes = equations.slopes(voltages)
    free = [np.isfinite(slope) for slope in slopes]
    diagonal = [np.where(mask, slope, 1) for mask, slope in zip(free, slopes, strict=True)]
    schur = [diagonal[0]]
    right = [np.where(free[0], currents[0], 0)]
    for layer in range(1, equations.depth):
        matrix = network.conductances[layer]
        reduced = _solve(schur[-1], np.where(free[layer - 1][..., None], matrix, 0))
        own = np.zeros((*diagonal[layer].shape, diagonal[layer].shape[1]), diagonal[layer].dtype)
        np.einsum("bii->bi", own)[:] = diagonal[layer]
        masked = np.where(free[layer - 1][..., None], matrix, 0)
        coupling = np.matmul(masked.swapaxes(1, 2), reduced)
        own -= coupling * (free[layer][..., None] & free[layer][:, None, :])
        carried = network.drive_gains[layer] * (_solve(schur[-1], right[-1]) @ matrix)
        schur.append(own)
        right.append(np.where(free[layer], currents[layer] + carried, 0))
    step = [_solve(schur[-1], right[-1])]
    for layer in range(equations.depth - 1, 0, -1):
        back = step[0] @ network.conductances[layer].T / network.drive_gains[layer]
        step.insert(0, _solve(schur[layer - 1], np.where(free[layer - 1], right[layer - 1] + back, 0)))
    return tuple(step)


def _solve(matrix: Float[Array, "batch n *n"], right: Float[Array, "batch n *m"]) -> Float[Array, "batch n *m"]:
    """matrix⁻¹ right, where a (batch, n) matrix is a diagonal and a (batch, n) right side one vector a sample."""
    if matrix.ndim == 2:
        return right / (matrix if right.ndim == 2 else matrix[..., None])
    if right.ndim == 2:
        return np.asarray(np.linalg.solve(matrix, right[..., None])[..., 0])
    return np.asarray(np.linalg.solve(matrix, right))
