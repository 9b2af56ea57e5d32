"""Initial conductances of a network: one distribution for every window."""

import numpy as np
from jaxtyping import Float

Array = np.ndarray

SCALE = 1e-6
"""Largest initial conductance times √rows, siemens, in a wide window that begins at 0 S."""
CONTRAST = 10.0
"""Smallest ratio of the largest initial conductance to G_min; only the difference between rows +x and -x is a signal."""
ABOVE = 0.25
"""Smallest fraction of the draws above G_min."""


def reach(rows: int, window: tuple[float, float]) -> float:
    """Return the largest initial conductance of a crossbar with this number of rows, siemens.

    1 µS/√rows, but at least ten times G_min, and at most the middle of the window, so that there is room on both sides.
    """
    low, high = window
    return min(max(SCALE / np.sqrt(rows), CONTRAST * low), (low + high) / 2)


def draw(
    rng: np.random.Generator, rows: int, columns: int, window: tuple[float, float]
) -> Float[Array, "rows columns"]:
    """Initial conductances of one crossbar, siemens: max(G_min, U(-b, b)), with b = ``reach``.

    If G_min is so close to b that less than a quarter of the draws would exceed it, the lower end of U is raised. A
    column without any above G_min is drawn again, so that every node is driven. Source of max(0, U(-b, b)), the case
    G_min = 0: Scellier 2024, arXiv 2402.11674.
    """
    low, most = window[0], reach(rows, window)
    least = max(-most, most - (most - low) / ABOVE)
    matrix = np.maximum(low, rng.uniform(least, most, (rows, columns)))
    while (empty := ~(matrix > low).any(axis=0)).any():
        matrix[:, empty] = np.maximum(low, rng.uniform(least, most, (rows, int(empty.sum()))))
    return matrix


def renew(matrix: Float[Array, "rows columns"], window: tuple[float, float]) -> int:
    """Reinitialize every column of a crossbar without conductances, in place; return the number of columns.

    Each of its cells is set to the mean of a fresh crossbar's conductances in that window, a quarter of ``reach``. A
    column can lose all conductances only for G_min = 0; nothing would then drive its node, and the circuit would have
    no equilibrium.
    """
    if window[0] > 0:
        return 0
    empty = (matrix == 0).all(axis=0)
    matrix[:, empty] = matrix.dtype.type(reach(len(matrix), window) / 4)
    return int(empty.sum())
