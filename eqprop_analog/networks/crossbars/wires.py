"""Elimination of a crossbar's wires: the conductances that they and the cells leave between the ports of one tile."""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.linalg import lapack
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu

Array = np.ndarray


def couplings(matrix: Float[Array, "rows columns"], wire_resistance: float) -> Float[Array, "ports ports"]:
    """Conductances between the ports of one tile, siemens.

    Block elimination from the far column to the drivers: with S the conductances between the row wires of one column and T
    theirs to the column ports, a column's own wire (tridiagonal) is eliminated into S and T, and then its row nodes over the
    segments to the next. Only positive numbers are added, diagonals being the sums of their rows (KCL), so that wires of far
    less resistance than the cells cost no digits (Grassmann, Taksar & Heyman 1985, Oper. Res. 33, 1107).
    """
    rows, columns = matrix.shape
    if rows > columns:  # the array mirrored at its antidiagonal has rows and columns exchanged, and less to eliminate
        return couplings(matrix[::-1, ::-1].T, wire_resistance)[::-1, ::-1]
    wire = 1 / wire_resistance
    along = np.full(rows, 2 * wire)
    along[0] = wire
    beside, unit = np.full(rows - 1, -wire), np.eye(rows)
    between = np.zeros((rows, rows))
    to_columns, of_columns = np.zeros((rows, columns)), np.zeros((columns, columns))
    for j in range(columns - 1, -1, -1):
        cells = matrix[:, j]
        spread = lapack.dptsv(along + cells, beside, unit)[2] if rows > 1 else unit / (along + cells)
        between += cells[:, None] * spread * cells
        to_columns[:, j] = wire * cells * spread[:, -1]
        np.fill_diagonal(between, 0)
        grounded = np.diag(between.sum(axis=1) + to_columns.sum(axis=1) + wire) - between
        factor, _ = lapack.dpotrf(grounded, lower=1)
        half, _ = lapack.dpotri(factor, lower=1)
        inverse = np.tril(half) + np.tril(half, -1).T
        seen = inverse @ to_columns[:, j:]
        of_columns[j:, j:] += to_columns[:, j:].T @ seen
        to_columns[:, j:] = wire * seen
        between = wire * inverse * wire
    np.fill_diagonal(between, 0)
    np.fill_diagonal(of_columns, 0)
    return np.block([[0.5 * (between + between.T), to_columns], [to_columns.T, 0.5 * (of_columns + of_columns.T)]])


def factors(matrix: Float[Array, "rows columns"], wire_resistance: float) -> Any:
    """SuperLU of one tile's conductance matrix over its wires' nodes (row wires, then column wires), ports held."""
    wire = 1 / wire_resistance
    on_rows, on_columns = np.arange(2 * matrix.size).reshape(2, *matrix.shape)
    joined = [
        (on_rows, on_columns, matrix),
        (on_rows[:, 1:], on_rows[:, :-1], np.full((len(matrix), matrix.shape[1] - 1), wire)),
        (on_columns[1:], on_columns[:-1], np.full((len(matrix) - 1, matrix.shape[1]), wire)),
    ]
    one, other, between = (np.concatenate([np.ravel(bank[k]) for bank in joined]) for k in range(3))
    total = np.bincount(one, between, 2 * matrix.size) + np.bincount(other, between, 2 * matrix.size)
    total[on_rows[:, 0]] += wire
    total[on_columns[-1]] += wire
    nodes = np.arange(2 * matrix.size)
    entries = np.concatenate([total, -between, -between])
    places = np.concatenate([nodes, one, other]), np.concatenate([nodes, other, one])
    nodal = coo_array((entries, places), shape=(2 * matrix.size,) * 2).tocsc()
    return splu(nodal, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
