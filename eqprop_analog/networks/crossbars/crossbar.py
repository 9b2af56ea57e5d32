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
"""Values at both ends: of the rows, then of the columns."""


class Crossbar(Protocol):
    """I_j = Σ_i G_ij (a_i - v_j) into column j, from rows at a and columns at v; volts, siemens, amperes.

    A new kind is a frozen dataclass that inherits from this class, has ``conductance`` as its first field and implements the
    methods without a body. It holds the caller's array and not a copy, so writing to the array changes the operator. Results that
    depend on the array are not cached. Arrays have the dtype of ``conductance``.
    """

    name: ClassVar[str]
    """Name of the kind in files."""
    is_matrix: ClassVar[bool] = False
    """Whether ``conductance`` is the matrix G itself, as required by compiled kernels and by chips."""
    conductance: Float[Array, "..."]
    """The free parameters, siemens, writable: one for each resistor or group of resistors that share it; size 0 if the crossbar
    does not learn."""

    @property
    def rows(self) -> int:
        """Number of drives. In crossbar 1: +x of every input, then -x of every input, then the bias row, if any."""
        ...

    @property
    def columns(self) -> int:
        """Number of nodes."""
        ...

    @property
    def cells(self) -> int:
        """Number of positions of resistors, including those of 0 S."""
        ...

    def forward(self, drive: Rows) -> Columns:
        """Σ_i a_i G_ij: currents into the columns held at 0 V, amperes, in a new array."""
        ...

    def backward(self, volts: Columns) -> Rows:
        """Σ_j G_ij v_j: currents into the rows held at 0 V, amperes, in a new array."""
        ...

    def gradient(self, mean: Ports, slope: Ports) -> Float[Array, "..."]:
        """Σ_batch Σ (a - v)_mean (a - v)_slope over the resistors of each parameter, in the shape of ``conductance``.

        ∂E/∂G = ½ (a - v)² is a square; therefore both its difference between two phases (the contrast) and its derivative along
        a response (the exact gradient) are this bilinear form.
        """
        ...

    def elements(self) -> tuple[Int[Array, " resistors"], Int[Array, " resistors"], Float[Array, " resistors"]]:
        """(row, column, siemens) of every physical resistor above 0 S, in the order of rows, then columns."""
        ...

    def driven(self) -> Bool[Array, " columns"]:
        """Whether each column has a resistor above 0 S."""
        return np.isin(np.arange(self.columns), self.elements()[1])

    def place(self, cell: tuple[int, ...]) -> tuple[int, int]:
        """(row, column) of the first resistor that has the parameter ``conductance[cell]``, for messages."""
        ...

    def check(self, name: str) -> None:
        """Raise UserError, starting with ``name``, unless ``conductance`` has the shape of this crossbar."""
        ...

    def renew(self, window: tuple[float, float]) -> int:
        """Reset in place the conductances of columns that have lost all conductance; returns the number of such columns.

        See networks.resistive.initial.renew. The result is 0 for a crossbar that does not learn.
        """
        ...

    def row_sums(self) -> Float[Array, " rows"]:
        """Σ_j G_ij, siemens."""
        return self.backward(np.ones((1, self.columns), self.conductance.dtype))[0]

    def column_sums(self) -> Float[Array, " columns"]:
        """Σ_i G_ij, siemens."""
        return self.forward(np.ones((1, self.rows), self.conductance.dtype))[0]

    def row_block(self) -> Square:
        """Currents into the rows per volt at a row, siemens; diagonal if rows are not coupled to each other."""
        return self.row_sums()

    def column_block(self) -> Square:
        """Currents into the columns per volt at a column, siemens; diagonal if columns are not coupled to each other."""
        return self.column_sums()

    def energy(self, drive: Rows, volts: Columns) -> Float[Array, " batch"]:
        """½ Σ_ij G_ij (a_i - v_j)², half of the power dissipated in the resistors, watts."""
        squares = (drive**2) @ self.row_sums() + (volts**2) @ self.column_sums()
        return np.asarray(0.5 * squares - (self.forward(drive) * volts).sum(axis=1))

    def parts(self, number: int, rows: tuple[str, ...], columns: tuple[str, ...]) -> "Iterator[Element]":
        """The circuit element of the crossbar, with ``number``, between the given nets."""
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
        """``gradient`` of crossbar 1, whose rows +x, -x and bias row have fixed voltages."""
        rest = np.full((len(inputs), self.rows - 2 * inputs.shape[1]), bias_row, inputs.dtype)
        rows = np.concatenate([inputs, -inputs, rest], axis=1)
        return self.gradient((rows, volts), (np.zeros_like(rows), slope))

    def by_drops(self, drive: Rows, volts: Columns) -> tuple[Ports, Ports]:
        """Σ_j G_ij (a_i - v_j) and Σ_i G_ij (a_i - v_j), amperes, then the sums of magnitudes, in the voltages' precision.

        Drops are exact if the two voltages are close, so weakly held nodes lose no digits. It needs an array of
        (batch, resistors).
        """
        row, column, siemens = self.elements()
        flow = siemens * (drive[:, row] - volts[:, column])
        order = np.argsort(column, kind="stable")

        def summed(values: Array) -> Ports:
            return _summed(values, row, self.rows), _summed(values[:, order], column[order], self.columns)

        return summed(flow), summed(np.abs(flow))

    def matrix(self) -> Float[Array, "rows columns"]:
        """G as a dense array, siemens; a copy unless the crossbar stores it in this form."""
        dense = np.zeros((self.rows, self.columns), self.conductance.dtype)
        row, column, siemens = self.elements()
        np.add.at(dense, (row, column), siemens)
        return dense

    @property
    def resistors(self) -> int:
        """Number of physical resistors: conducting cells, and wire segments with a resistance."""
        return len(self.elements()[2])

    @property
    def conducting(self) -> int:
        """Number of cells above 0 S."""
        return self.resistors

    @property
    def free_parameters(self) -> int:
        """Number of parameters that learn."""
        return int(self.conductance.size)

    def of(self, conductance: Float[Array, "..."]) -> Self:
        """The same crossbar with other values."""
        return replace(self, conductance=conductance)  # type: ignore[type-var]

    def astype(self, dtype: DTypeLike) -> Self:
        """A copy with values of ``dtype``."""
        return self.of(self.conductance.astype(dtype))

    def table(self) -> dict[str, Any]:
        """The name of the kind and the settings, without values, for files."""
        settings = (each.name for each in fields(self) if each.name != "conductance")  # type: ignore[arg-type]
        return {"crossbar": self.name} | {name: getattr(self, name) for name in settings}


def _summed(
    values: Float[Array, "batch resistors"], of: Int[Array, " resistors"], size: int
) -> Float[Array, "batch size"]:
    """Sums of groups of columns; ``of``: the group of each column, in ascending order."""
    sums = np.zeros((len(values), size), values.dtype)
    present, begin = np.unique(of, return_index=True)
    if present.size:
        sums[:, present] = np.add.reduceat(values, begin, axis=1)
    return sums
