"""A crossbar whose rows and columns are wires of finite resistance, represented by its ports.

The layout is that of badcrossbar (Joksas & Mehonic 2020, SoftwareX 12, 100617): drivers at the left end of each row, nodes at the
bottom end of each column, one wire segment to the left of every cell on its row and one below it on its column.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.checks import unsound_conductance
from eqprop_analog.devices.cells import CellLaw, require_cell
from eqprop_analog.errors import UserError
from eqprop_analog.incoming import listed, real_array, real_number, whole_number
from eqprop_analog.networks.crossbars.dense import Dense
from eqprop_analog.networks.crossbars.wires import behind, couplings, factors, settled
from eqprop_analog.spice.elements import Crossbar as Bank
from eqprop_analog.spice.elements import Element, Pair

Array = np.ndarray

TILE = (128, 128)
"""Default numbers of rows and columns of an array of a chip."""
BENT = 1e-10
"""Relative accuracy of ngspice's iteration in circuits of cells with a law."""


@dataclass(frozen=True, eq=False)
class WiredCrossbar:
    """I = Y V between ports (rows, then columns): amperes into the array at volts, all wires and cells eliminated.

    Cell (i, j) connects row wire i and column wire j by G[i, j]. The number of wire segments to row port i is one more than
    the number of columns to its left; that to column port j is one more than the number of rows below it. An array larger
    than ``tile`` is divided into tiles with separate wires. The row ports of all tiles with row i are connected to the node
    that drives row i, and the column ports of all tiles with column j to node j, each through a wire of ``link_resistance``
    ohms. Cells with a law carry G f(u) at the drop u; then I is not a linear function of V, and Y does not exist. The arrays
    are copied: a crossbar represents one state of the weights. Raises UserError for invalid values.
    """

    conductance: Float[Array, "rows columns"]
    """G, siemens."""
    wire_resistance: float
    """Resistance of one segment between two cells, ohms; 0: ideal wires."""
    tile: tuple[int, int] = TILE
    """Largest numbers of rows and columns of one tile."""
    cell: CellLaw | None = None
    """f of every cell's current G f(u); None is linear."""
    compiled: bool = False
    """Whether wires are eliminated by compiled nested dissection: for training, in which G changes with every update."""
    link_resistance: float = 0.0
    """Resistance of the wire from each port of a tile to its node, ohms; 0: ideal wire."""

    def __post_init__(self) -> None:
        """Copy and validate the values."""
        matrix = np.array(real_array(self.conductance, "conductance (siemens)", float, finite=False))
        if matrix.ndim != 2 or not matrix.size:
            raise UserError(f"conductance: expected a matrix (rows, columns), got shape {matrix.shape}")
        if (found := unsound_conductance(matrix)) is not None:
            (row, column), what = found
            raise UserError(
                f"{what}: expected finite siemens of at least 0, got {matrix[row, column]} in row {row}, column {column}"
            )
        if not real_number(self.wire_resistance, "wire_resistance", "ohms") >= 0:
            raise UserError(f"wire_resistance: expected ohms of at least 0, got {self.wire_resistance}")
        if not real_number(self.link_resistance, "link_resistance", "ohms") >= 0:
            raise UserError(f"link_resistance: expected ohms of at least 0, got {self.link_resistance}")
        if self.link_resistance and not self.wire_resistance:
            raise UserError(
                f"link_resistance: {self.link_resistance} ohms between tiles with ideal wires; set wire_resistance above 0 ohms, "
                "or leave out link_resistance"
            )
        sizes = tuple(whole_number(size, "tile: a number of (rows, columns)", 1) for size in listed(self.tile, "tile"))
        if len(sizes) != 2:
            raise UserError(f"tile: expected (rows, columns) of at least 1, got {self.tile}")
        object.__setattr__(self, "tile", sizes)
        require_cell(self.cell)
        matrix.flags.writeable = False
        object.__setattr__(self, "conductance", matrix)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        rows, columns = self.conductance.shape
        return rows, columns

    def tiles(self) -> Iterator[tuple[slice, slice]]:
        """Slices of the rows and columns of every tile."""
        (rows, columns), (height, width) = self.shape, self.tile
        for top in range(0, rows, height):
            for left in range(0, columns, width):
                yield slice(top, min(top + height, rows)), slice(left, min(left + width, columns))

    @cached_property
    def port_matrix(self) -> Float[Array, "ports ports"]:
        """Y, siemens: a Laplacian (symmetric, no positive off-diagonal, rows sum to zero) and therefore passive.

        With ideal wires it is [diag(row sums), -G; -Gᵀ, diag(column sums)]. UserError for nonlinear cells.
        """
        if self.cell is not None:
            raise UserError(
                f"cells: with the law {self.cell} currents are not a linear function of voltages; use currents(ports)"
            )
        rows, columns = self.shape
        coupling = np.zeros((rows + columns, rows + columns))
        if self.wire_resistance == 0:
            coupling[:rows, rows:] = self.conductance
            coupling[rows:, :rows] = self.conductance.T
        else:
            for (some, others), tile in zip(self.tiles(), self.tile_couplings, strict=True):
                ports = np.r_[some, rows + others.start : rows + others.stop]
                coupling[np.ix_(ports, ports)] += tile
        return np.diag(coupling.sum(axis=1)) - coupling

    @cached_property
    def tile_couplings(self) -> tuple[Float[Array, "ports ports"], ...]:
        """Conductances between the ports of each of ``tiles`` after elimination, siemens. UserError without numba."""
        parts = (self.conductance[some, others] for some, others in self.tiles())
        if not self.compiled:
            return tuple(couplings(part, self.wire_resistance, self.link_resistance) for part in parts)
        eliminated = _compiled("dissection").couplings
        return tuple(behind(eliminated(part, self.wire_resistance), self.link_resistance) for part in parts)

    @cached_property
    def to_columns(self) -> tuple[Float[Array, "rows columns"], Float[Array, "columns columns"]]:
        """Conductances from column ports to row ports, and between column ports, siemens; sufficient if rows are held."""
        rows, columns = self.shape
        between, among = np.zeros((rows, columns)), np.zeros((columns, columns))
        if self.compiled and not self.link_resistance:
            for some, others in self.tiles():
                part = self.conductance[some, others]
                _compiled("dissection").to_columns(
                    part, self.wire_resistance, between[some, others], among[others, others]
                )
            return between, among
        for (some, others), tile in zip(self.tiles(), self.tile_couplings, strict=True):
            count = some.stop - some.start
            between[some, others] = tile[:count, count:]
            among[others, others] += tile[count:, count:]
        return between, among

    def wires(
        self, ports: Float[Array, "batch ports"]
    ) -> tuple[Float[Array, "batch rows columns"], Float[Array, "batch rows columns"]]:
        """Voltages of the row wire and column wire at every cell for the port voltages (rows, then columns), volts.

        Every tile is factorized directly: once for linear cells, otherwise for each sample and each Newton step.
        """
        count, columns = self.shape
        shape = (len(ports), count, columns)
        on_rows, on_columns = (
            np.array(np.broadcast_to(part, shape)) for part in (ports[:, :count, None], ports[:, None, count:])
        )
        if self.wire_resistance > 0:
            for some, others in self.tiles():
                matrix = self.conductance[some, others]
                driven = np.zeros((2, *matrix.shape, len(ports)))
                driven[0, :, 0] = ports[:, :count][:, some].T / (self.wire_resistance + self.link_resistance)
                driven[1, -1, :] = ports[:, count:][:, others].T / (self.wire_resistance + self.link_resistance)
                solved = self._solved(matrix, driven)
                on_rows[:, some, others], on_columns[:, some, others] = np.moveaxis(solved, 3, 1)
        return on_rows, on_columns

    def _solved(
        self, matrix: Float[Array, "rows columns"], driven: Float[Array, "2 rows columns batch"]
    ) -> Float[Array, "2 rows columns batch"]:
        """Voltages of one tile's wires, volts."""
        if self.cell is None:
            batch = driven.shape[-1]
            return np.asarray(
                factors(matrix, self.wire_resistance, self.link_resistance).solve(driven.reshape(-1, batch))
            ).reshape(driven.shape)
        samples = np.moveaxis(driven, 3, 0)
        return np.stack(
            [settled(matrix, self.cell, self.wire_resistance, each, self.link_resistance) for each in samples], axis=3
        )

    def currents(self, ports: Float[Array, "batch ports"]) -> Float[Array, "batch ports"]:
        """Currents into the array at every port (rows, then columns), amperes: sums over the cells of a row or column."""
        carried = self.conductance * self.volts(self.drops(ports))
        return np.concatenate([carried.sum(axis=2), -carried.sum(axis=1)], axis=1)

    def volts(self, drops: Float[Array, "..."]) -> Float[Array, "..."]:
        """f(u) of the cells at ``drops``, volts."""
        return drops if self.cell is None else self.cell.volts(drops)

    def drops(self, ports: Float[Array, "batch ports"]) -> Float[Array, "batch rows columns"]:
        """Voltage across every cell, row wire to column wire, volts."""
        on_rows, on_columns = self.wires(ports)
        return on_rows - on_columns

    def products_of_drops(
        self, one: Float[Array, "batch ports"], other: Float[Array, "batch ports"]
    ) -> Float[Array, "rows columns"]:
        """Sum over samples of the product of each cell's drops at two voltages of the ports, V².

        It needs (batch, rows, columns) arrays unless it is ``compiled``, which uses back substitution in the dissection.
        """
        if not self.compiled or self.cell is not None or self.link_resistance or not self.wire_resistance:
            return np.asarray(np.einsum("bij,bij->ij", self.drops(one), self.drops(other)))
        found, rows = np.empty(self.shape), self.shape[0]
        for some, others in self.tiles():
            ports = np.r_[some, rows + others.start : rows + others.stop]
            part = self.conductance[some, others]
            found[some, others] = _compiled("cell_voltages").products(
                part, self.wire_resistance, one[:, ports], other[:, ports]
            )
        return found


def _compiled(kernel: str) -> Any:
    try:
        return import_module(f"eqprop_analog.kernels.numba.{kernel}")
    except ImportError as error:
        raise UserError(f"compiled: elimination of wires is compiled by numba (pip install numba): {error}") from error


@dataclass(frozen=True, eq=False)
class WiredArray(Element):
    """I_ij = G_ij f(V(w_r) - V(w_c)): the cells of a crossbar between its wires, and the wire segments of R ohms."""

    number: int
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    crossbar: WiredCrossbar

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Number of cells and segments."""
        return ((name, ends) for name, ends, _ in self._resistors())

    @property
    def mesh(self) -> int:
        """Cells that are connected by segments; none with ideal wires."""
        return self.crossbar.conductance.size if self.crossbar.wire_resistance else 0

    @property
    def rounding(self) -> float:
        """See Element: a wire node has two segments and a cell, whose digits below the rounding of the segments are lost.

        The bound is one rounding of the segment relative to the cell. With cells of 5.5 nS, 1 ohm and 10 V at the rows, the error
        of ngspice is 4e-9 V and does not decrease further; it is inversely proportional to the conductance, and amplifiers
        increase it. The current of a cell with a law, which is also compared, has the rounding of the voltages times its slope.
        """
        cells = self.crossbar.conductance[self.crossbar.conductance > 0]
        if not self.mesh or not cells.size:
            return 0.0
        lost = float(np.finfo(np.float64).eps / (self.crossbar.wire_resistance * np.median(cells)))
        return lost if self.crossbar.cell is None else max(lost, BENT)

    def dc_paths(self) -> Iterable[Pair]:
        """Currents of all cells and segments."""
        return (ends for _, ends, _ in self._resistors())

    def lines(self) -> Iterable[str]:
        """R elements, ohms, and B elements for cells with a law."""
        law = self.crossbar.cell
        for name, (one, other), ohms in self._resistors():
            if law is not None and name[0] == "B":
                yield f"{name} {one} {other} I={law.expression(1 / ohms, f'V({one},{other})')}"
            else:
                yield f"{name} {one} {other} {ohms!r}"

    def check(self) -> None:
        """See Element; as for the crossbar without wires."""
        Bank(self.number, self.rows, self.columns, Dense(self.crossbar.conductance)).check()

    def _resistors(self) -> Iterator[tuple[str, Pair, float]]:
        """(name, ends, ohms): cells above zero, then row segments, then column segments, which ideal wires do not have."""
        l, segment, link = self.number, float(self.crossbar.wire_resistance), float(self.crossbar.link_resistance)
        matrix = self.crossbar.conductance
        kind = "R" if self.crossbar.cell is None else "B"
        for i, j in np.argwhere(matrix > 0).tolist():
            ends = (f"w{l}r_{i}_{j}", f"w{l}c_{i}_{j}") if segment else (self.rows[i], self.columns[j])
            yield f"{kind}{l}_{i}_{j}", ends, 1 / float(matrix[i, j])
        for some, others in self.crossbar.tiles() if segment else ():
            for i in range(some.start, some.stop):
                for j in range(others.start, others.stop):
                    first, last = j == others.start, i == some.stop - 1
                    left = self.rows[i] if first else f"w{l}r_{i}_{j - 1}"
                    yield f"R{l}wr_{i}_{j}", (left, f"w{l}r_{i}_{j}"), segment + first * link
                    below = self.columns[j] if last else f"w{l}c_{i + 1}_{j}"
                    yield f"R{l}wc_{i}_{j}", (f"w{l}c_{i}_{j}", below), segment + last * link
