"""What the wires of a crossbar keep from its cells (IR drop), cell by cell."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.errors import UserError
from eqprop_analog.models.wired_crossbar import WiredCrossbar

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class IRDrop:
    """lost = (V_row - V_column at the ports) - (V_row - V_column at the cell), volts, for every cell."""

    on_rows: Float[Array, "rows columns"]
    """Voltage of the row wire at each cell, volts."""
    on_columns: Float[Array, "rows columns"]
    """Voltage of the column wire at each cell, volts."""
    lost: Float[Array, "rows columns"]
    """Volts of either sign: a cell may also gain by a neighbour's current."""

    @property
    def across(self) -> Float[Array, "rows columns"]:
        """Voltage across each cell, volts."""
        return self.on_rows - self.on_columns

    @property
    def largest(self) -> float:
        """Largest drop in magnitude, volts."""
        return float(np.abs(self.lost).max())

    @property
    def where(self) -> tuple[int, int]:
        """(row, column) of the cell with the largest drop."""
        row, column = np.unravel_index(int(np.abs(self.lost).argmax()), self.lost.shape)
        return int(row), int(column)

    @property
    def relative(self) -> float:
        """The largest drop over the largest voltage that ideal wires would put across a cell; 0 where that is 0 V."""
        height = float(np.abs(self.across + self.lost).max())
        return self.largest / height if height else 0.0


def ir_drop(crossbar: WiredCrossbar, rows: ArrayLike, columns: ArrayLike) -> IRDrop:
    """The voltages at every cell with the row ports at ``rows`` and the column ports at ``columns``, volts. Raises UserError."""
    ends = [np.asarray(each, float) for each in (rows, columns)]
    for volts, size, what in zip(ends, crossbar.shape, ("rows", "columns"), strict=True):
        if volts.shape != (size,) or not np.isfinite(volts).all():
            raise UserError(f"{what}: expected {size} finite voltages, got {volts.tolist()}"[:200])
    on_rows, on_columns = (wire[0] for wire in crossbar.wires(np.concatenate(ends)[None]))
    return IRDrop(on_rows, on_columns, ends[0][:, None] - ends[1] - (on_rows - on_columns))
