"""Elimination of a crossbar's wires: the conductances that they and the cells leave between the ports of one tile."""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.linalg import lapack
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu

from eqprop_analog.devices.cells import CellLaw
from eqprop_analog.errors import UserError

Array = np.ndarray
STEPS = 400
"""Of Newton's method, each of which takes a cell's drop nearer by its scale V₀ at least."""
HALVINGS = 30
SETTLED = 4 * np.finfo(np.float64).eps
"""Of a Newton step over the largest voltage, below which it mends rounding alone."""


def couplings(
    matrix: Float[Array, "rows columns"], wire_resistance: float, link: float = 0.0
) -> Float[Array, "ports ports"]:
    """Conductances between the ports of one tile, siemens; ``link`` ohms more in the segment at every port.

    Block elimination from the far column to the drivers: with S the conductances between the row wires of one column and T
    theirs to the column ports, a column's own wire (tridiagonal) is eliminated into S and T, and then its row nodes over the
    segments to the next. Only positive numbers are added, diagonals being the sums of their rows (KCL), so that wires of far
    less resistance than the cells cost no digits (Grassmann, Taksar & Heyman 1985, Oper. Res. 33, 1107).
    """
    rows, columns = matrix.shape
    if rows > columns:  # the array mirrored at its antidiagonal has rows and columns exchanged, and less to eliminate
        return couplings(matrix[::-1, ::-1].T, wire_resistance, link)[::-1, ::-1]
    wire, end = 1 / wire_resistance, 1 / (wire_resistance + link)
    along = np.full(rows, 2 * wire)
    along[0] = wire
    along[-1] += end - wire
    beside, unit = np.full(rows - 1, -wire), np.eye(rows)
    between = np.zeros((rows, rows))
    to_columns, of_columns = np.zeros((rows, columns)), np.zeros((columns, columns))
    for j in range(columns - 1, -1, -1):
        cells, left = matrix[:, j], wire if j else end
        spread = lapack.dptsv(along + cells, beside, unit)[2] if rows > 1 else unit / (along + cells)
        between += cells[:, None] * spread * cells
        to_columns[:, j] = end * cells * spread[:, -1]
        np.fill_diagonal(between, 0)
        grounded = np.diag(between.sum(axis=1) + to_columns.sum(axis=1) + left) - between
        factor, _ = lapack.dpotrf(grounded, lower=1)
        half, _ = lapack.dpotri(factor, lower=1)
        inverse = np.tril(half) + np.tril(half, -1).T
        seen = inverse @ to_columns[:, j:]
        of_columns[j:, j:] += to_columns[:, j:].T @ seen
        to_columns[:, j:] = left * seen
        between = left * inverse * left
    np.fill_diagonal(between, 0)
    np.fill_diagonal(of_columns, 0)
    return np.block([[0.5 * (between + between.T), to_columns], [to_columns.T, 0.5 * (of_columns + of_columns.T)]])


def behind(coupling: Float[Array, "ports ports"], link: float) -> Float[Array, "ports ports"]:
    """``coupling`` (conductances between ports, siemens) seen from behind ``link`` ohms in series with every port."""
    if not link:
        return coupling
    laplacian = np.diag(coupling.sum(axis=1)) - coupling
    seen = -np.linalg.solve(np.eye(len(coupling)) + link * laplacian, laplacian)
    np.fill_diagonal(seen, 0)
    return np.asarray(0.5 * (seen + seen.T))


def factors(matrix: Float[Array, "rows columns"], wire_resistance: float, link: float = 0.0) -> Any:
    """SuperLU of one tile's conductance matrix over its wires' nodes (row wires, then column wires), ports held."""
    wire, end = 1 / wire_resistance, 1 / (wire_resistance + link)
    on_rows, on_columns = np.arange(2 * matrix.size).reshape(2, *matrix.shape)
    joined = [
        (on_rows, on_columns, matrix),
        (on_rows[:, 1:], on_rows[:, :-1], np.full((len(matrix), matrix.shape[1] - 1), wire)),
        (on_columns[1:], on_columns[:-1], np.full((len(matrix) - 1, matrix.shape[1]), wire)),
    ]
    one, other, between = (np.concatenate([np.ravel(bank[k]) for bank in joined]) for k in range(3))
    total = np.bincount(one, between, 2 * matrix.size) + np.bincount(other, between, 2 * matrix.size)
    total[on_rows[:, 0]] += end
    total[on_columns[-1]] += end
    nodes = np.arange(2 * matrix.size)
    entries = np.concatenate([total, -between, -between])
    places = np.concatenate([nodes, one, other]), np.concatenate([nodes, other, one])
    nodal = coo_array((entries, places), shape=(2 * matrix.size,) * 2).tocsc()
    return splu(nodal, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


def settled(
    matrix: Float[Array, "rows columns"],
    cell: CellLaw,
    wire_resistance: float,
    driven: Float[Array, "2 rows columns"],
    link: float = 0.0,
) -> Float[Array, "2 rows columns"]:
    """Voltages of the row wires and column wires of one tile whose cells carry G f(u), volts; ``driven``: amperes into them.

    Newton's method, each step halved until the largest excess (a node's imbalance over its own slope) falls: the co-content is
    convex, so that a small enough step always lowers it. Raises UserError where voltages are too large for the law.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        volts = factors(matrix, wire_resistance, link).solve(driven.ravel()).reshape(driven.shape)
        missing, slope = _missing(matrix, cell, (wire_resistance, link), driven, volts)
        for _ in range(STEPS):
            if not np.isfinite(slope).all():
                break
            step = factors(slope, wire_resistance, link).solve(missing.ravel()).reshape(driven.shape)
            if np.abs(step).max() <= SETTLED * np.abs(volts).max():
                return np.asarray(volts + step)
            least, length = _excess(missing, slope, wire_resistance), 1.0
            for _ in range(HALVINGS):
                ahead = volts + length * step
                missing, slope = _missing(matrix, cell, (wire_resistance, link), driven, ahead)
                if _excess(missing, slope, wire_resistance) < least:
                    break
                length /= 2
            else:
                return np.asarray(volts)  # rounding alone is left
            volts = ahead
    raise UserError(
        f"cells: {cell} carries too much at {np.abs(volts).max():.3g} V for its currents to be computed; use a larger scale, or "
        f"smaller voltages"
    )


def _missing(
    matrix: Float[Array, "rows columns"],
    cell: CellLaw,
    ohms: tuple[float, float],
    driven: Float[Array, "2 rows columns"],
    volts: Float[Array, "2 rows columns"],
) -> tuple[Float[Array, "2 rows columns"], Float[Array, "rows columns"]]:
    """Net currents into the nodes of the wires, amperes, and dI/du of the cells, siemens; ports held at 0 V.

    ``ohms``: of a segment, and what the one at a port has beside.
    """
    drop, wire, end = volts[0] - volts[1], 1 / ohms[0], 1 / sum(ohms)
    through = matrix * cell.volts(drop)
    along = wire * np.diff(volts[0], axis=1, prepend=0.0)
    down = wire * np.diff(volts[1], axis=0, append=0.0)
    along[:, 0] *= end / wire
    down[-1] *= end / wire
    missing = driven.copy()
    missing[0] -= through + along
    missing[0, :, :-1] += along[:, 1:]
    missing[1] += through + down
    missing[1, 1:] -= down[:-1]
    return missing, matrix * cell.slope(drop)


def _excess(
    missing: Float[Array, "2 rows columns"], slope: Float[Array, "rows columns"], wire_resistance: float
) -> float:
    return float(np.nan_to_num(np.abs(missing) / (slope + 1 / wire_resistance), nan=np.inf).max())
