"""The order in which a sweep takes its samples: each next to one that is like it."""

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray

BLOCK = 1000
"""Samples that are ordered among themselves: the distances of a block take its square in memory."""


def alike(likeness: Float[Array, "samples features"]) -> Int[Array, " samples"]:
    """The samples' indices, each sample followed by the nearest of those that are left (see Equations.likeness).

    Newton's iteration begins a sample where it left the one before. The fewer diodes change between the two from blocking to
    conducting, the fewer steps it takes. Equal samples keep their order.
    """
    blocks = range(0, len(likeness), BLOCK)
    return np.concatenate([np.arange(0), *(first + _chain(likeness[first : first + BLOCK]) for first in blocks)])


def _chain(points: Float[Array, "some features"]) -> Int[Array, " some"]:
    squares = np.einsum("ij,ij->i", points, points)
    distances = squares[:, None] + squares - 2 * (points @ points.T)
    chain = np.zeros(len(points), np.intp)
    for place in range(1, len(points)):
        distances[:, chain[place - 1]] = np.inf
        chain[place] = distances[chain[place - 1]].argmin()
    return chain
