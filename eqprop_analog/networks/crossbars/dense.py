"""The crossbar with a resistor between every row and every column."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from eqprop_analog.errors import UserError
from eqprop_analog.networks.crossbars.crossbar import Columns, Crossbar, Ports, Rows
from eqprop_analog.networks.resistive.initial import renew

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Dense(Crossbar):
    """I_j = Σ_i G[i, j] (a_i - v_j) for a resistor between every row i and column j, by matrix products."""

    name: ClassVar[str] = "dense"
    is_matrix: ClassVar[bool] = True

    conductance: Float[Array, "rows columns"]
    """G, siemens."""

    @property
    def rows(self) -> int:
        """See Crossbar."""
        return len(self.conductance)

    @property
    def columns(self) -> int:
        """See Crossbar."""
        return int(self.conductance.shape[1])

    @property
    def cells(self) -> int:
        """See Crossbar."""
        return int(self.conductance.size)

    @property
    def resistors(self) -> int:
        """See Crossbar."""
        return int(np.count_nonzero(self.conductance))

    def forward(self, drive: Rows) -> Columns:
        """See Crossbar."""
        return drive @ self.conductance

    def backward(self, volts: Columns) -> Rows:
        """See Crossbar."""
        return volts @ self.conductance.T

    def row_sums(self) -> Float[Array, " rows"]:
        """See Crossbar."""
        return np.asarray(self.conductance.sum(axis=1))

    def column_sums(self) -> Float[Array, " columns"]:
        """See Crossbar."""
        return np.asarray(self.conductance.sum(axis=0))

    def row(self, index: int) -> Float[Array, " columns"]:
        """See Crossbar."""
        return self.conductance[index]

    def mirrored(self, inputs: Float[Array, "batch inputs"]) -> Columns:
        """See Crossbar; x (G⁺ - G⁻) needs half of the operations of ``forward``."""
        half = inputs.shape[1]
        return inputs @ (self.conductance[:half] - self.conductance[half : 2 * half])

    def gradient(self, mean: Ports, slope: Ports) -> Float[Array, "rows columns"]:
        """See Crossbar; expanded to a matrix product and two rank-one terms, without a (batch, rows, columns) array."""
        (drive, volts), (drive_slope, volts_slope) = mean, slope
        product = np.concatenate([drive, drive_slope]).T @ np.concatenate([volts_slope, volts])
        own = (volts * volts_slope).sum(axis=0)
        return np.asarray((drive * drive_slope).sum(axis=0)[:, None] + own - product)

    def mirrored_gradient(
        self, inputs: Float[Array, "batch inputs"], bias_row: float, volts: Columns, slope: Columns
    ) -> Float[Array, "rows columns"]:
        """See Crossbar; the products of both halves of the rows differ only in sign."""
        own, product = (volts * slope).sum(axis=0), inputs.T @ slope
        half = len(product)
        rows = np.empty((self.rows, self.columns), product.dtype)
        np.subtract(own, product, out=rows[:half])
        np.add(own, product, out=rows[half : 2 * half])
        if self.rows > 2 * half:
            rows[2 * half :] = own - inputs.dtype.type(bias_row) * slope.sum(axis=0)
        return rows

    def by_drops(self, drive: Rows, volts: Columns) -> tuple[Ports, Ports]:
        """See Crossbar; it needs an array of (batch, rows, columns)."""
        flow = self.conductance * (drive[:, :, None] - volts[:, None, :])
        size = np.abs(flow)
        return (flow.sum(axis=2), flow.sum(axis=1)), (size.sum(axis=2), size.sum(axis=1))

    def elements(self) -> tuple[Int[Array, " resistors"], Int[Array, " resistors"], Float[Array, " resistors"]]:
        """See Crossbar."""
        row, column = np.nonzero(self.conductance)
        return row, column, self.conductance[row, column]

    def driven(self) -> Bool[Array, " columns"]:
        """See Crossbar."""
        return np.asarray(self.conductance.any(axis=0))

    def matrix(self) -> Float[Array, "rows columns"]:
        """The conductance itself."""
        return self.conductance

    def place(self, cell: tuple[int, ...]) -> tuple[int, int]:
        """See Crossbar; every parameter belongs to one cell."""
        row, column = cell
        return row, column

    def check(self, name: str) -> None:
        """See Crossbar."""
        if self.conductance.ndim != 2 or not self.conductance.size:
            raise UserError(f"{name}: expected a matrix (rows, columns), got shape {self.conductance.shape}")

    def renew(self, window: tuple[float, float]) -> int:
        """See Crossbar."""
        return renew(self.conductance, window)
