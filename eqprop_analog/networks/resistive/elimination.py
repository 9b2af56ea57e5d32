"""(1 - N Nᵀ) y = r by direct elimination: for few nodes, and for ill-conditioned circuits."""

import numpy as np
from jaxtyping import Float

Array = np.ndarray

PAIRS = 2**21
"""Largest number of elements for which products of all pairs of coupling rows are formed once for all samples."""
ELEMENTS = 2**22
"""Largest number of matrix elements held at once."""
MORE = tuple(3.0**k for k in range(64))
"""Multiples of the rounding error that are added to the diagonal of a singular matrix in turn."""


def eliminate(
    coupling: Float[Array, "inner outer"],
    inner: Float[Array, "batch inner"],
    outer: Float[Array, "batch outer"],
    right: Float[Array, "batch inner"],
) -> Float[Array, "batch inner"]:
    """Solution of each sample by LU factorization of 1 - N Nᵀ, N = diag(inner)·coupling·diag(outer)."""
    size, others = coupling.shape
    solution = np.empty_like(right)
    pairs = None
    if size * size * others <= PAIRS:
        pairs = (coupling[:, None, :] * coupling).reshape(size * size, others).T
    samples = max(1, ELEMENTS // (size * (size if pairs is not None else size + others)))
    for k in range(0, len(right), samples):
        some = slice(k, k + samples)
        if pairs is not None:
            matrix = ((outer[some] ** 2) @ pairs).reshape(-1, size, size)
        else:
            scaled = coupling * outer[some, None, :]
            matrix = scaled @ scaled.swapaxes(1, 2)
        matrix *= -inner[some, :, None] * inner[some, None, :]
        np.einsum("bii->bi", matrix)[:] += 1
        solution[some] = solved(matrix, right[some])
    return solution


def solved(
    matrices: Float[Array, "batch nodes nodes"], right: Float[Array, "batch nodes"]
) -> Float[Array, "batch nodes"]:
    """Solution of each system; if rounding has made one singular, with increasing additions to its diagonal.

    The solution is then inaccurate in the weakly held direction, so the caller checks the result of its step.
    """
    try:
        return np.asarray(np.linalg.solve(matrices, right[..., None])[..., 0])
    except np.linalg.LinAlgError:
        size = matrices.shape[-1]
        rounding = size * np.finfo(matrices.dtype).eps * np.maximum(np.abs(matrices).max(axis=(1, 2)), 1)
    for more in MORE:  # finally the matrix is diagonally dominant
        held = matrices + more * rounding[:, None, None] * np.eye(size, dtype=matrices.dtype)
        try:
            return np.asarray(np.linalg.solve(held, right[..., None])[..., 0])
        except np.linalg.LinAlgError:
            continue
    return np.full_like(right, np.nan)
