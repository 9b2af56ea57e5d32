"""Initial conductances of a network: one distribution for every window."""

import numpy as np
from jaxtyping import Float

Array = np.ndarray

SCALE = 1e-6
"""Siemens, over √rows: how far initial conductances reach in a wide window that begins at 0 S."""
CONTRAST = 10.0
"""How many times G_min they reach at least: only what differs between the rows +x and -x of an input is a signal."""
ABOVE = 0.25
"""Fraction of the draws that lies above G_min at least."""


def reach(rows: int, window: tuple[float, float]) -> float:
    """The largest conductance that a crossbar of so many rows begins with, siemens.

    1 µS/√rows, but at least ten times G_min, and at most the middle of the window, so that there is room on both sides.
    """
    low, high = window
    return min(max(SCALE / np.sqrt(rows), CONTRAST * low), (low + high) / 2)


def draw(
    rng: np.random.Generator, rows: int, columns: int, window: tuple[float, float]
) -> Float[Array, "rows columns"]:
    """Initial conductances of one crossbar, siemens: max(G_min, U(-b, b)), b being ``reach``.

    Where G_min is so near to b that fewer than a quarter of them would lie above it, the lower end of U is raised. A column
    without any above G_min is drawn again, so that every node is driven. Source of max(0, U(-b, b)), the case G_min = 0:
    Scellier 2024, arXiv 2402.11674.
    """
    low, most = window[0], reach(rows, window)
    least = max(-most, most - (most - low) / ABOVE)
    matrix = np.maximum(low, rng.uniform(least, most, (rows, columns)))
    while (empty := ~(matrix > low).any(axis=0)).any():
        matrix[:, empty] = np.maximum(low, rng.uniform(least, most, (rows, int(empty.sum()))))
    return matrix


def renew(matrix: Float[Array, "rows columns"], window: tuple[float, float]) -> int:
    """Begin anew every column of a crossbar that has lost its last conductance, in place; returns how many there were.

    Each cell of it is written with the mean of a fresh crossbar's conductances in that window, a quarter of ``reach``. Only
    G_min = 0 lets a column lose all: its node would be driven by nothing, and its circuit would have no equilibrium.
    """
    if window[0] > 0:
        return 0
    empty = (matrix == 0).all(axis=0)
    matrix[:, empty] = matrix.dtype.type(reach(len(matrix), window) / 4)
    return int(empty.sum())
