"""Square matrices; diagonal ones are stored as vectors."""

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.checks import solved

Array = np.ndarray
Square = Float[Array, "nodes nodes"] | Float[Array, " nodes"]
"""A square matrix, or the diagonal of a diagonal matrix."""


def full(matrix: Square) -> Float[Array, "nodes nodes"]:
    """The matrix as a full array."""
    return np.diag(matrix) if matrix.ndim == 1 else matrix


def diagonal(matrix: Square) -> Float[Array, " nodes"]:
    """The diagonal of the matrix."""
    return matrix if matrix.ndim == 1 else np.diag(matrix)


def plus(one: Square, other: Square) -> Square:
    """The sum of both matrices."""
    return one + other if one.ndim == other.ndim else full(one) + full(other)


def times(matrix: Square, vectors: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
    """The matrix times each of the vectors."""
    return vectors * matrix if matrix.ndim == 1 else vectors @ matrix.T


def solved_by(matrix: Square, right: Float[Array, "nodes some"]) -> Float[Array, "nodes some"]:
    """The solution x of ``matrix`` x = ``right``; UserError if rounding has made the matrix singular."""
    return right / matrix[:, None] if matrix.ndim == 1 and matrix.all() else solved(full(matrix), right)
