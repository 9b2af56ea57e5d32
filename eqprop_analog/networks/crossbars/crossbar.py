"""The protocol of a crossbar: the resistors between the drives of one layer (rows) and the nodes of the next (columns)."""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import DTypeLike

from eqprop_analog.networks.crossbars.square import Square

if TYPE_CHECKING:
    from eqprop_analog.spice.elements import Element

Array = np.ndarray
Rows = Float[Array, "batch rows"]
Columns = Float[Array, "batch columns"]
Ports = tuple[Rows, Columns]
"""What is known at both ends: of the rows, then of the columns."""


class Crossbar(Protocol):
    """I_j = Σ_i G_ij (a_i - v_j) into column j, from rows at a and columns at v; volts, siemens, amperes.

    A new kind is a frozen dataclass that inherits from this class, has ``conductance`` as its first field and implements what
    has no body here. It holds the caller's array, not a copy: after a write to it the operator is that of the new values.
    Nothing that is computed from it is kept. Arrays have the dtype of ``conductance``.
    """

    name: ClassVar[str]
    """In files."""
    is_matrix: ClassVar[bool] = False
    """Whether ``conductance`` is the matrix G itself, which compiled kernels take, and chips hold cell by cell."""
    conductance: Float[Array, "..."]
    """The free parameters, siemens, writable: one for each resistor, one for all that share it, or none (size 0) where the
    crossbar does not learn."""

    @property
    def rows(self) -> int:
        """Drives. Of crossbar 1: +x of every input, then -x of every input, then the bias row if there is one."""
        ...

    @property
    def columns(self) -> int:
        """Nodes."""
        ...

    @property
    def cells(self) -> int:
        """Places of resistors, those of 0 S included."""
        ...

    def forward(self, drive: Rows) -> Columns:
        """Σ_i a_i G_ij: currents into the columns while they are held at 0 V, amperes; an array of its own."""
        ...

    def backward(self, volts: Columns) -> Rows:
        """Σ_j G_ij v_j: currents into the rows while they are held at 0 V, amperes; an array of its own."""
        ...

    def gradient(self, mean: Ports, slope: Ports) -> Float[Array, "..."]:
        """Σ_batch Σ (a - v)_mean (a - v)_slope over the resistors of each parameter, in the shape of ``conductance``.

        ∂E/∂G = ½ (a - v)² is a square, so both its difference between two phases (the contrast) and its derivative along a
        response (the exact gradient) are this bilinear form.
        """
        ...

    def elements(self) -> tuple[Int[Array, " resistors"], Int[Array, " resistors"], Float[Array, " resistors"]]:
        """(row, column, siemens) of every physical resistor above 0 S, in the order of rows, then columns."""
        ...

    def driven(self) -> Bool[Array, " columns"]:
        """Which columns have a resistor above 0 S."""
        return np.isin(np.arange(self.columns), self.elements()[1])

    def place(self, cell: tuple[int, ...]) -> tuple[int, int]:
        """(row, column) of the first resistor that has the parameter ``conductance[cell]``, for messages."""
        ...

    def check(self, name: str) -> None:
        """Raise UserError, which begins with ``name``, unless the shape of ``conductance`` is that of this crossbar."""
        ...

    def renew(self, window: tuple[float, float]) -> int:
        """Begin anew, in place, what drives columns that have lost every conductance; how many parameters' columns there were.

        See networks.resistive.initial.renew. 0 where nothing learns.
        """
        ...

    def row_sums(self) -> Float[Array, " rows"]:
        """Σ_j G_ij, siemens."""
        return self.backward(np.ones((1, self.columns), self.conductance.dtype))[0]

    def column_sums(self) -> Float[Array, " columns"]:
        """Σ_i G_ij, siemens."""
        return self.forward(np.ones((1, self.rows), self.conductance.dtype))[0]

    def row_block(self) -> Square:
        """Currents into the rows for each volt at a row, siemens: diagonal where no two rows touch each other."""
        return self.row_sums()

    def column_block(self) -> Square:
        """Currents into the columns for each volt at a column, siemens: diagonal where no two columns touch each other."""
        return self.column_sums()

    def energy(self, drive: Rows, volts: Columns) -> Float[Array, " batch"]:
        """Half of what its resistors dissipate, ½ Σ_ij G_ij (a_i - v_j)², watts."""
        squares = (drive**2) @ self.row_sums() + (volts**2) @ self.column_sums()
        return np.asarray(0.5 * squares - (self.forward(drive) * volts).sum(axis=1))

    def parts(self, number: int, rows: tuple[str, ...], columns: tuple[str, ...]) -> "Iterator[Element]":
        """What it is in a circuit, as crossbar ``number`` between these nets."""
        from eqprop_analog.spice.elements import Crossbar as Bank

        yield Bank(number, rows, columns, self)

    def row(self, index: int) -> Float[Array, " columns"]:
        """G of row ``index``, siemens."""
        unit = np.zeros((1, self.rows), self.conductance.dtype)
        unit[0, index] = 1
        return self.forward(unit)[0]

    def mirrored(self, inputs: Float[Array, "batch inputs"]) -> Columns:
        """``forward`` of crossbar 1's rows +x, -x and a bias row at 0 V, amperes."""
        rest = np.zeros((len(inputs), self.rows - 2 * inputs.shape[1]), inputs.dtype)
        return self.forward(np.concatenate([inputs, -inputs, rest], axis=1))

    def mirrored_gradient(
        self, inputs: Float[Array, "batch inputs"], bias_row: float, volts: Columns, slope: Columns
    ) -> Float[Array, "..."]:
        """``gradient`` of crossbar 1, whose rows +x, -x and the bias row hold their voltages whatever the columns do."""
        rest = np.full((len(inputs), self.rows - 2 * inputs.shape[1]), bias_row, inputs.dtype)
        rows = np.concatenate([inputs, -inputs, rest], axis=1)
        return self.gradient((rows, volts), (np.zeros_like(rows), slope))

    def by_drops(self, drive: Rows, volts: Columns) -> tuple[Ports, Ports]:
        """Σ_j G_ij (a_i - v_j) and Σ_i G_ij (a_i - v_j), amperes, then the sums of magnitudes, in the voltages' own precision.

        Drops are exact where the two voltages are near, so that nodes which are weakly held lose no digits. Holds an array of
        (batch, resistors).
        """
        row, column, siemens = self.elements()
        flow = siemens * (drive[:, row] - volts[:, column])
        order = np.argsort(column, kind="stable")

        def summed(values: Array) -> Ports:
            return _summed(values, row, self.rows), _summed(values[:, order], column[order], self.columns)

        return summed(flow), summed(np.abs(flow))

    def matrix(self) -> Float[Array, "rows columns"]:
        """G as a dense array, siemens; a copy where the crossbar has it in another form."""
        dense = np.zeros((self.rows, self.columns), self.conductance.dtype)
        row, column, siemens = self.elements()
        np.add.at(dense, (row, column), siemens)
        return dense

    @property
    def resistors(self) -> int:
        """Physical resistors: cells that conduct, and wires, where they are resistors."""
        return len(self.elements()[2])

    @property
    def conducting(self) -> int:
        """Cells above 0 S."""
        return self.resistors

    @property
    def free_parameters(self) -> int:
        """Numbers that learn."""
        return int(self.conductance.size)

    def of(self, conductance: Float[Array, "..."]) -> Self:
        """The same crossbar over other values."""
        return replace(self, conductance=conductance)  # type: ignore[type-var]

    def astype(self, dtype: DTypeLike) -> Self:
        """A copy whose values have ``dtype``."""
        return self.of(self.conductance.astype(dtype))

    def table(self) -> dict[str, Any]:
        """All but the values, for files: the name of its kind, and its settings."""
        settings = (each.name for each in fields(self) if each.name != "conductance")  # type: ignore[arg-type]
        return {"crossbar": self.name} | {name: getattr(self, name) for name in settings}


def _summed(
    values: Float[Array, "batch resistors"], of: Int[Array, " resistors"], size: int
) -> Float[Array, "batch size"]:
    """Sums of the columns that belong together; ``of``, in order, says to which each does."""
    sums = np.zeros((len(values), size), values.dtype)
    present, begin = np.unique(of, return_index=True)
    if present.size:
        sums[:, present] = np.add.reduceat(values, begin, axis=1)
    return sums
