"""What the wires of a crossbar keep from its cells (IR drop), cell by cell, and its map."""

from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from eqprop_analog.errors import UserError
from eqprop_analog.files import replacing
from eqprop_analog.models.wired_crossbar import WiredCrossbar
from eqprop_analog.plotting import STYLE

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


def ir_drop_map(drop: IRDrop, path: Path) -> None:
    """Voltage across each cell (V) and by how much the wires change it (mV), the worst cell marked; readable in grey."""
    rows, columns = drop.lost.shape
    with mpl.rc_context({**STYLE, "axes.grid": False, "axes.spines.top": True, "axes.spines.right": True}):
        figure = Figure(figsize=(9.6, 1.4 + 3.6 * min(max(rows / columns, 0.4), 1.4)))
        panels = figure.subplots(1, 2)
        title = f"changed by the wires (|mV|); largest {1e3 * drop.largest:.3g} mV, {100 * drop.relative:.2g} %"
        for axes, values, name in zip(
            panels, (drop.across, 1e3 * np.abs(drop.lost)), ("across each cell (V)", title), strict=True
        ):
            image = axes.imshow(values, cmap="Greys", aspect="auto", interpolation="nearest")
            figure.colorbar(image, ax=axes)
            row, column = drop.where
            for shade, width in (("white", 3.5), ("black", 1.2)):
                ring = {"markersize": 10, "markerfacecolor": "none", "markeredgecolor": shade, "markeredgewidth": width}
                axes.plot(column, row, "o", clip_on=False, zorder=5, **ring)
            axes.set(xlabel="column (node at the bottom)", ylabel="row (driver at the left)")
            axes.set_title(name, fontsize=10)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(6, integer=True))
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=150)
