"""A crossbar with wires as one that connects two layers, between drives with series resistances and the nodes of its columns."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.devices.cells import CellLaw
from eqprop_analog.errors import UserError
from eqprop_analog.networks.crossbars.crossbar import Columns, Crossbar, Ports, Rows
from eqprop_analog.networks.crossbars.square import Square, diagonal, times
from eqprop_analog.networks.crossbars.wired import WiredArray, WiredCrossbar
from eqprop_analog.spice.elements import Crossbar as Bank
from eqprop_analog.spice.elements import Element, Resistors

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class DrivenCrossbar(Crossbar):
    """I_r = Y_rr a - T v, I_c = Y_cc v - Tᵀ a: a crossbar with resistances R in series with its rows, for drives a and v.

    The row ports are eliminated: p = a - R I_r. The result is again a Laplacian; ideal wires need no factorization. The object
    represents one state of the weights, and computed values are cached.
    """

    name: ClassVar[str] = "wired"

    wired: WiredCrossbar
    """The cells and wires."""
    resistance: Float[Array, " rows"]
    """R, resistance in series with each row, ohms; 0: no resistance."""
    conductance: Float[Array, "rows columns"] = field(init=False)
    """Conductances of the cells, siemens, read-only."""

    cell: CellLaw | None = None
    """The law of nonlinear cells in a netlist; all other values here refer to small drops."""

    def __post_init__(self) -> None:
        """Set the conductances of the cells. Raises UserError for nonlinear cells."""
        if self.wired.cell is not None:
            raise UserError(f"cells: with the law {self.wired.cell} wires and sources cannot be eliminated")
        object.__setattr__(self, "conductance", self.wired.conductance)

    @property
    def direct(self) -> bool:
        """Whether wires and sources are ideal, so that T is the conductances and Y_rr and Y_cc are diagonal."""
        return self.wired.wire_resistance == 0 and not self.resistance.any()

    @cached_property
    def between(self) -> Float[Array, "rows columns"]:
        """T, siemens: no element is negative."""
        if self.direct:
            return self.wired.conductance
        if self.wired.wire_resistance == 0:
            return self.wired.conductance * self._divider[:, None]
        if not self.resistance.any():
            return self.wired.to_columns[0]
        rows = len(self.resistance)
        return -self._matrix[:rows, rows:]

    @cached_property
    def _column_block(self) -> Square:
        """Y_cc, siemens: no off-diagonal element is positive; diagonal with ideal wires and sources."""
        totals = self.between.sum(axis=0)
        if self.wired.wire_resistance > 0 and not self.resistance.any():
            among = self.wired.to_columns[1]
            return np.diag(totals + among.sum(axis=1)) - among
        if self.wired.wire_resistance > 0:
            rows = len(self.resistance)
            return self._matrix[rows:, rows:]
        if self.direct:
            return totals
        among = (self.between.T * self.resistance) @ self.wired.conductance
        np.fill_diagonal(among, 0)
        among = 0.5 * (among + among.T)
        return np.diag(totals + among.sum(axis=1)) - among

    @cached_property
    def _row_block(self) -> Square:
        """Y_rr, siemens: no off-diagonal element is positive; diagonal with ideal wires."""
        if self.wired.wire_resistance == 0:
            return self.between.sum(axis=1)
        rows = len(self.resistance)
        return self._matrix[:rows, :rows]

    def ports(
        self, drives: Float[Array, "batch rows"], voltages: Float[Array, "batch columns"]
    ) -> Float[Array, "batch ports"]:
        """Voltages of the ports of the crossbar: rows after their resistances, then columns, volts."""
        drawn = times(self._row_block, drives) - voltages @ self.between.T if self.resistance.any() else 0.0
        return np.concatenate([drives - self.resistance * drawn, voltages], axis=1)

    @property
    def rows(self) -> int:
        """See Crossbar."""
        return self.wired.shape[0]

    @property
    def columns(self) -> int:
        """See Crossbar."""
        return self.wired.shape[1]

    @property
    def cells(self) -> int:
        """See Crossbar."""
        return int(self.conductance.size)

    @property
    def resistors(self) -> int:
        """Number of conducting cells, wire segments and resistances of rows."""
        segments = 2 * self.cells if self.wired.wire_resistance else 0
        return self.conducting + segments + int(np.count_nonzero(self.resistance))

    @property
    def conducting(self) -> int:
        """See Crossbar."""
        return int(np.count_nonzero(self.conductance))

    def forward(self, drive: Rows) -> Columns:
        """See Crossbar; columns are held at 0 V at the ends of their wires."""
        return drive @ self.between

    def mirrored(self, inputs: Float[Array, "batch inputs"]) -> Columns:
        """See Crossbar."""
        half = inputs.shape[1]
        return inputs @ (self.between[:half] - self.between[half : 2 * half])

    def backward(self, volts: Columns) -> Rows:
        """See Crossbar; drives are held at 0 V."""
        return volts @ self.between.T

    def row_block(self) -> Square:
        """See Crossbar: Y_rr."""
        return self._row_block

    def column_block(self) -> Square:
        """See Crossbar: Y_cc."""
        return self._column_block

    def row_sums(self) -> Float[Array, " rows"]:
        """Conductance of each row to all other ports."""
        return diagonal(self._row_block)

    def column_sums(self) -> Float[Array, " columns"]:
        """Conductance of each column to all other ports."""
        return diagonal(self._column_block)

    def energy(self, drive: Rows, volts: Columns) -> Float[Array, " batch"]:
        """See Crossbar; includes cells, wires and series resistances."""
        squares = (drive * times(self._row_block, drive)).sum(axis=1) + (volts * times(self._column_block, volts)).sum(
            axis=1
        )
        return np.asarray(0.5 * squares - (self.forward(drive) * volts).sum(axis=1))

    def gradient(self, mean: Ports, slope: Ports) -> Float[Array, "rows columns"]:
        """See Crossbar; with the drops across the cells themselves."""
        return self.wired.products_of_drops(self.ports(*mean), self.ports(*slope))

    def elements(self) -> tuple[Int[Array, " cells"], Int[Array, " cells"], Float[Array, " cells"]]:
        """See Crossbar: the cells; wires and series resistances have no row and column (see ``parts``)."""
        row, column = np.nonzero(self.conductance)
        return row, column, self.conductance[row, column]

    def matrix(self) -> Float[Array, "rows columns"]:
        """See Crossbar: T."""
        return self.between

    def place(self, cell: tuple[int, ...]) -> tuple[int, int]:
        """See Crossbar; every parameter belongs to one cell."""
        row, column = cell
        return row, column

    def check(self, name: str) -> None:
        """Do nothing, because the crossbar is validated when it is created."""

    def renew(self, window: tuple[float, float]) -> int:  # noqa: ARG002
        """Return 0, because the crossbar represents one state of the weights."""
        return 0

    def parts(self, number: int, rows: tuple[str, ...], columns: tuple[str, ...]) -> Iterator[Element]:
        """Resistances of the rows, of sources (Rs) or amplifiers (Rout), and the array with its wires, if any."""
        behind = np.flatnonzero(self.resistance)
        if behind.size:
            name = "Rs1" if number == 1 else f"Rout{number - 1}"
            ends = tuple((rows[i], f"r{number}_{i}") for i in behind.tolist())
            yield Resistors(tuple(f"{name}_{i}" for i in behind.tolist()), ends, self.resistance[behind])
            ohms = self.resistance.tolist()
            rows = tuple(f"r{number}_{i}" if r else net for i, (net, r) in enumerate(zip(rows, ohms, strict=True)))
        if self.wired.wire_resistance or self.cell is not None:
            yield WiredArray(number, rows, columns, replace(self.wired, cell=self.cell))
        else:
            yield Bank(number, rows, columns, self)

    def of(self, conductance: Float[Array, "rows columns"]) -> Self:
        """See Crossbar; the values are copied."""
        return replace(self, wired=replace(self.wired, conductance=conductance))

    def table(self) -> dict[str, Any]:
        """Raise UserError, because networks with wires are sampled again from their specification."""
        raise UserError("save: a crossbar with wires has no file; save the ideal network")

    @cached_property
    def _divider(self) -> Float[Array, " rows"]:
        """1/(1 + R Σ_j G_ij): the ratio of p to the drive with ideal wires and columns at 0 V."""
        return 1 / (1 + self.resistance * self.wired.conductance.sum(axis=1))

    @cached_property
    def _matrix(self) -> Float[Array, "ports ports"]:
        """[Y_rr, -T; -Tᵀ, Y_cc] with wires: (1 + Y_rr R)⁻¹ Y_r, with diagonals equal to the sums of their rows."""
        matrix, rows = self.wired.port_matrix, len(self.resistance)
        if not self.resistance.any():
            return matrix
        seen = np.linalg.solve(np.eye(rows) + matrix[:rows, :rows] * self.resistance, matrix[:rows])
        coupling = np.empty_like(matrix)
        coupling[:rows], coupling[rows:, :rows] = -seen, -seen[:, rows:].T
        coupling[rows:, rows:] = (matrix[rows:, :rows] * self.resistance) @ seen[:, rows:] - matrix[rows:, rows:]
        np.fill_diagonal(coupling, 0)
        coupling = 0.5 * (coupling + coupling.T)
        return np.diag(coupling.sum(axis=1)) - coupling
