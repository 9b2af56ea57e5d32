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
"""Largest number of Newton steps, each of which reduces the error of a cell's drop by at least its scale V₀."""
HALVINGS = 30
SETTLED = 4 * np.finfo(np.float64).eps
"""Size of a Newton step relative to the largest voltage below which only rounding remains."""


def couplings(
    matrix: Float[Array, "rows columns"], wire_resistance: float, link: float = 0.0
) -> Float[Array, "ports ports"]:
    """Conductances between the ports of one tile, siemens; ``link`` ohms more in the segment at every port.

    Block elimination from the far column to the drivers: let S be the conductances between the row wires of one column and T
    their conductances to the column ports. The wire of a column (tridiagonal) is eliminated into S and T, and then its row nodes
    through the segments to the next column. Only positive numbers are added, because diagonals are the sums of their rows (KCL).
    Therefore wires with a much smaller resistance than the cells cause no loss of digits (Grassmann, Taksar & Heyman 1985, Oper.
    Res. 33, 1107).
    """
    rows, columns = matrix.shape
    if rows > columns:  # mirrored at its antidiagonal, the array has exchanged rows and columns and less to eliminate
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
    """``coupling`` (conductances between ports, siemens) with ``link`` ohms in series with every port."""
    if not link:
        return coupling
    laplacian = np.diag(coupling.sum(axis=1)) - coupling
    seen = -np.linalg.solve(np.eye(len(coupling)) + link * laplacian, laplacian)
    np.fill_diagonal(seen, 0)
    return np.asarray(0.5 * (seen + seen.T))


def factors(matrix: Float[Array, "rows columns"], wire_resistance: float, link: float = 0.0) -> Any:
    """SuperLU factors of one tile's conductance matrix for the nodes of row wires, then column wires, with ports held."""
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

    Newton's method, with each step halved until the largest excess (imbalance of a node divided by its slope) decreases; the
    co-content is convex, so a sufficiently small step always reduces it. Raises UserError if voltages are too large for the law.
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
                return np.asarray(volts)  # only rounding remains
            volts = ahead
    raise UserError(
        f"cells: the current of {cell} at {np.abs(volts).max():.3g} V is too large to be computed; use a larger scale, or "
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

    ``ohms``: resistance of a segment, and additional resistance of the segment at a port.
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
