"""The order of the samples in a sweep: similar samples follow each other."""

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray

BLOCK = 1000
"""Number of samples that are ordered together; the memory for their distances grows with its square."""


def alike(likeness: Float[Array, "samples features"]) -> Int[Array, " samples"]:
    """The samples' indices, each sample followed by the nearest of the remaining ones (see Equations.likeness).

    Newton's iteration starts each sample from the solution of the previous one. The fewer diodes change between blocking and
    conducting from one sample to the next, the fewer steps it needs. Equal samples keep their order.
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
