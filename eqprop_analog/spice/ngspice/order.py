"""The order in which a sweep takes its samples: each next to one that is like it."""

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray

BLOCK = 1000
"""Samples that are ordered among themselves: the distances of a block take its square in memory."""


def alike(inputs: Float[Array, "samples inputs"]) -> Int[Array, " samples"]:
    """The samples' indices, each sample followed by the nearest (in its inputs) of those that are left.

    Newton's iteration begins a sample where it left the one before. The fewer diodes change between the two from blocking to
    conducting, the fewer steps it takes. Equal samples keep their order.
    """
    blocks = range(0, len(inputs), BLOCK)
    return np.concatenate([np.arange(0), *(first + _chain(inputs[first : first + BLOCK]) for first in blocks)])


def _chain(inputs: Float[Array, "some inputs"]) -> Int[Array, " some"]:
    squares = np.einsum("ij,ij->i", inputs, inputs)
    distances = squares[:, None] + squares - 2 * (inputs @ inputs.T)
    chain = np.zeros(len(inputs), np.intp)
    for place in range(1, len(inputs)):
        distances[:, chain[place - 1]] = np.inf
        chain[place] = distances[chain[place - 1]].argmin()
    return chain
