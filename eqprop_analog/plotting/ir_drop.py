"""What the wires of a crossbar keep from its cells, as a map."""

from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from eqprop_analog.models.ir_drop import IRDrop
from eqprop_analog.plotting.style import STYLE, drawing


def ir_drop_map(drop: IRDrop, path: Path) -> None:
    """Voltage across each cell (V) and by how much the wires change it (mV), the worst cell marked."""
    rows, columns = drop.lost.shape
    style = {**STYLE, "axes.grid": False, "axes.spines.top": True, "axes.spines.right": True}
    with drawing(path, (9.6, 1.4 + 3.6 * min(max(rows / columns, 0.4), 1.4)), style) as figure:
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
