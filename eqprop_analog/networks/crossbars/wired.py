"""A crossbar whose rows and columns are wires of finite resistance, seen from its ports.

Layout and segments as in badcrossbar (Joksas & Mehonic 2020, SoftwareX 12, 100617): drivers at the left end of each row, nodes at
the bottom end of each column, one wire segment left of every cell on its row and one below it on its column.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.linalg import lapack
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu

from eqprop_analog.core.checks import unsound_conductance
from eqprop_analog.errors import UserError
from eqprop_analog.incoming import listed, real_array, real_number, whole_number

Array = np.ndarray

Square = Float[Array, "nodes nodes"] | Float[Array, " nodes"]
"""A square matrix, or a diagonal one by its diagonal."""
TILE = (128, 128)
"""Rows and columns of the arrays that chips are made of."""


@dataclass(frozen=True, eq=False)
class WiredCrossbar:
    """I = Y V between ports (rows, then columns): amperes into the array at volts, all wires and cells eliminated.

    Cell (i, j) joins row wire i and column wire j by G[i, j]. Its way to row port i has as many wire segments as the cell has
    columns left of it, plus one; its way to column port j as many as there are rows below it, plus one. An array larger than
    ``tile`` is several, each with wires of its own, joined at their ports by ideal wires. The arrays are copied: a crossbar
    is one state of the weights. Raises UserError for values that no crossbar has.
    """

    conductance: Float[Array, "rows columns"]
    """G, siemens."""
    wire_resistance: float
    """Of one segment, ohms a cell's pitch; 0 is ideal wires."""
    tile: tuple[int, int] = TILE
    """Rows and columns of one tile, at most."""

    def __post_init__(self) -> None:
        """Copy and check."""
        matrix = np.array(real_array(self.conductance, "conductance (siemens)", float, finite=False))
        if matrix.ndim != 2 or not matrix.size:
            raise UserError(f"conductance: expected a matrix (rows, columns), got shape {matrix.shape}")
        if (found := unsound_conductance(matrix)) is not None:
            (row, column), what = found
            raise UserError(
                f"{what}: expected finite siemens, none negative, got {matrix[row, column]} in row {row}, column {column}"
            )
        if not real_number(self.wire_resistance, "wire_resistance", "ohms") >= 0:
            raise UserError(f"wire_resistance: expected ohms of at least 0, got {self.wire_resistance}")
        sizes = tuple(whole_number(size, "tile: a number of (rows, columns)", 1) for size in listed(self.tile, "tile"))
        if len(sizes) != 2:
            raise UserError(f"tile: expected (rows, columns) of at least 1, got {self.tile}")
        object.__setattr__(self, "tile", sizes)
        matrix.flags.writeable = False
        object.__setattr__(self, "conductance", matrix)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        rows, columns = self.conductance.shape
        return rows, columns

    def tiles(self) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of every tile."""
        (rows, columns), (height, width) = self.shape, self.tile
        for top in range(0, rows, height):
            for left in range(0, columns, width):
                yield slice(top, min(top + height, rows)), slice(left, min(left + width, columns))

    @cached_property
    def port_matrix(self) -> Float[Array, "ports ports"]:
        """Y, siemens: a Laplacian (symmetric, no positive off-diagonal, rows sum to zero), so it is passive.

        With ideal wires [diag(row sums), -G; -Gᵀ, diag(column sums)].
        """
        rows, columns = self.shape
        coupling = np.zeros((rows + columns, rows + columns))
        if self.wire_resistance == 0:
            coupling[:rows, rows:] = self.conductance
            coupling[rows:, :rows] = self.conductance.T
        else:
            for some, others in self.tiles():
                ports = np.r_[some, rows + others.start : rows + others.stop]
                coupling[np.ix_(ports, ports)] += _couplings(self.conductance[some, others], self.wire_resistance)
        return np.diag(coupling.sum(axis=1)) - coupling

    def wires(
        self, ports: Float[Array, "batch ports"]
    ) -> tuple[Float[Array, "batch rows columns"], Float[Array, "batch rows columns"]]:
        """Voltages of every cell's row wire and column wire, volts, at the ports' (rows, then columns)."""
        count, columns = self.shape
        shape = (len(ports), count, columns)
        on_rows, on_columns = (
            np.array(np.broadcast_to(part, shape)) for part in (ports[:, :count, None], ports[:, None, count:])
        )
        if self.wire_resistance > 0:
            for some, others in self.tiles():
                matrix = self.conductance[some, others]
                driven = np.zeros((2, *matrix.shape, len(ports)))
                driven[0, :, 0] = ports[:, :count][:, some].T / self.wire_resistance
                driven[1, -1, :] = ports[:, count:][:, others].T / self.wire_resistance
                solved = _factors(matrix, self.wire_resistance).solve(driven.reshape(-1, len(ports)))
                on_rows[:, some, others], on_columns[:, some, others] = np.moveaxis(solved.reshape(driven.shape), 3, 1)
        return on_rows, on_columns

    def drops(self, ports: Float[Array, "batch ports"]) -> Float[Array, "batch rows columns"]:
        """Voltage across every cell, row wire to column wire, volts."""
        on_rows, on_columns = self.wires(ports)
        return on_rows - on_columns


@dataclass(frozen=True, eq=False)
class DrivenCrossbar:
    """I_r = Y_rr a - T v, I_c = Y_cc v - Tᵀ a: a crossbar whose row ports stand behind resistances, seen from drives a, v.

    The row ports are eliminated: p = a - R I_r. What is left is a Laplacian again; ideal wires take no factorization.
    """

    crossbar: WiredCrossbar
    resistance: Float[Array, " rows"]
    """R, ohms, in series with each row; 0 is none."""

    @property
    def direct(self) -> bool:
        """Whether wires and sources are ideal, so that T is the conductances and Y_rr and Y_cc are diagonal."""
        return self.crossbar.wire_resistance == 0 and not self.resistance.any()

    @cached_property
    def between(self) -> Float[Array, "rows columns"]:
        """T, siemens: none is negative."""
        if self.direct:
            return self.crossbar.conductance
        if self.crossbar.wire_resistance == 0:
            return self.crossbar.conductance * self._divider[:, None]
        rows = len(self.resistance)
        return -self._matrix[:rows, rows:]

    @cached_property
    def columns(self) -> Square:
        """Y_cc, siemens: no off-diagonal is positive, and where all is direct none is there."""
        if self.crossbar.wire_resistance > 0:
            rows = len(self.resistance)
            return self._matrix[rows:, rows:]
        totals = self.between.sum(axis=0)
        if self.direct:
            return totals
        among = (self.between.T * self.resistance) @ self.crossbar.conductance
        np.fill_diagonal(among, 0)
        among = 0.5 * (among + among.T)
        return np.diag(totals + among.sum(axis=1)) - among

    @cached_property
    def rows(self) -> Square:
        """Y_rr, siemens: no off-diagonal is positive, and with ideal wires none is there."""
        if self.crossbar.wire_resistance == 0:
            return self.between.sum(axis=1)
        rows = len(self.resistance)
        return self._matrix[:rows, :rows]

    def ports(
        self, drives: Float[Array, "batch rows"], voltages: Float[Array, "batch columns"]
    ) -> Float[Array, "batch ports"]:
        """Voltages of the crossbar's own ports, rows behind their resistances, then columns; volts."""
        drawn = times(self.rows, drives) - voltages @ self.between.T if self.resistance.any() else 0.0
        return np.concatenate([drives - self.resistance * drawn, voltages], axis=1)

    @cached_property
    def _divider(self) -> Float[Array, " rows"]:
        """The drive's share of p with ideal wires: 1/(1 + R Σ_j G_ij)."""
        return 1 / (1 + self.resistance * self.crossbar.conductance.sum(axis=1))

    @cached_property
    def _matrix(self) -> Float[Array, "ports ports"]:
        """[Y_rr, -T; -Tᵀ, Y_cc] with wires: (1 + Y_rr R)⁻¹ Y_r, diagonals the sums of their rows."""
        matrix, rows = self.crossbar.port_matrix, len(self.resistance)
        if not self.resistance.any():
            return matrix
        seen = np.linalg.solve(np.eye(rows) + matrix[:rows, :rows] * self.resistance, matrix[:rows])
        coupling = np.empty_like(matrix)
        coupling[:rows], coupling[rows:, :rows] = -seen, -seen[:, rows:].T
        coupling[rows:, rows:] = (matrix[rows:, :rows] * self.resistance) @ seen[:, rows:] - matrix[rows:, rows:]
        np.fill_diagonal(coupling, 0)
        coupling = 0.5 * (coupling + coupling.T)
        return np.diag(coupling.sum(axis=1)) - coupling


def full(matrix: Square) -> Float[Array, "nodes nodes"]:
    """The matrix itself."""
    return np.diag(matrix) if matrix.ndim == 1 else matrix


def diagonal(matrix: Square) -> Float[Array, " nodes"]:
    """Its diagonal."""
    return matrix if matrix.ndim == 1 else np.diag(matrix)


def plus(one: Square, other: Square) -> Square:
    """Their sum."""
    return one + other if one.ndim == other.ndim else full(one) + full(other)


def times(matrix: Square, vectors: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
    """The matrix times each of the vectors."""
    return vectors * matrix if matrix.ndim == 1 else vectors @ matrix.T


def _couplings(matrix: Float[Array, "rows columns"], wire_resistance: float) -> Float[Array, "ports ports"]:
    """Conductances between the ports of one tile, siemens.

    Block elimination from the far column to the drivers: with S the conductances between the row wires of one column and T
    theirs to the column ports, a column's own wire (tridiagonal) is eliminated into S and T, and then its row nodes over the
    segments to the next. Only positive numbers are added, diagonals being the sums of their rows (KCL), so that wires of far
    less resistance than the cells cost no digits (Grassmann, Taksar & Heyman 1985, Oper. Res. 33, 1107).
    """
    rows, columns = matrix.shape
    if rows > columns:  # the array mirrored at its antidiagonal has rows and columns exchanged, and less to eliminate
        return _couplings(matrix[::-1, ::-1].T, wire_resistance)[::-1, ::-1]
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


def _factors(matrix: Float[Array, "rows columns"], wire_resistance: float) -> Any:
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
