"""Crossbars as maps of conductances, and the receptive fields of the first layer as images."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from eqprop_analog.plotting.style import STYLE, drawing
from eqprop_analog.spice.circuit import Circuit
from eqprop_analog.spice.elements import Crossbar
from eqprop_analog.spice.saturating import Weights

Array = np.ndarray

POINTS = 400
"""Largest number of points of a map in each direction; further cells are averaged."""
SHADES = "magma_r"
"""Colour map: dark means large, also in greyscale."""
FIELDS = 100
"""Largest number of receptive fields that are drawn."""
PLAIN = {**STYLE, "axes.grid": False, "axes.spines.top": True, "axes.spines.right": True}


@dataclass(frozen=True)
class _Map:
    name: str
    conductance: Float[Array, "rows columns"]
    """Siemens."""
    halves: tuple[tuple[str, int], ...]
    """The groups of rows in order: (name, rows)."""


def crossbar_maps(circuit: Circuit, path: Path) -> int:
    """Draw one panel per crossbar, conductances in µS; return their number, and draw nothing if there is none."""
    maps = list(_maps(circuit))
    if not maps:
        return 0
    with drawing(path, (4.2 * len(maps) + 0.4, 5.2), PLAIN) as figure:
        for axes, each in zip(figure.subplots(1, len(maps), squeeze=False)[0], maps, strict=True):
            values, (down, across) = coarsened(1e6 * each.conductance)
            top = float(np.quantile(values, 0.995)) or float(values.max()) or 1.0
            rows, columns = each.conductance.shape
            extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
            image = axes.imshow(
                values, cmap=SHADES, aspect="auto", interpolation="nearest", vmin=0, vmax=top, extent=extent
            )
            figure.colorbar(image, ax=axes, label="conductance (µS)", extend="max" if values.max() > top else "neither")
            cell = "one point per cell" if down == across == 1 else f"each point is the mean of {down} x {across} cells"
            axes.set_title(f"{each.name}: {rows} x {columns}\n{cell}", fontsize=10)
            axes.set(xlabel="column", ylabel="row")
            _mark(axes, each.halves)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(6, integer=True))
    return len(maps)


def receptive_fields(
    values: Float[Array, "pixels nodes"], shape: tuple[int, int], unit: str, path: Path
) -> tuple[int, int]:
    """Draw the weights of the pixels at each node of layer 1 as images of ``shape``: black is negative, white is positive.

    ``values`` are in ``unit``; for a resistive network they are G+ - G-. If there are more than FIELDS nodes, the drawn
    ones are evenly spaced over the layer. Returns (drawn, nodes).
    """
    nodes = values.shape[1]
    shown = np.unique(np.linspace(0, nodes - 1, min(nodes, FIELDS)).round().astype(int))
    columns = min(len(shown), 20 if shape[1] > 16 else 16)
    rows = -(-len(shown) // columns)
    high, wide = shape[0] + 1, shape[1] + 1  # one point between adjacent images
    sheet = np.full((rows * high - 1, columns * wide - 1), np.nan)
    for k, node in enumerate(shown.tolist()):
        y, x = (k // columns) * high, (k % columns) * wide
        sheet[y : y + shape[0], x : x + shape[1]] = values[:, node].reshape(shape)
    top = float(np.quantile(np.abs(values), 0.995)) or 1.0
    ratio = sheet.shape[0] / sheet.shape[1]
    with drawing(path, (9.6, max(1.5, 0.36 + 8.2 * ratio)), PLAIN) as figure:
        axes = figure.subplots()
        image = axes.imshow(sheet, cmap="gray", vmin=-top, vmax=top, interpolation="nearest")
        axes.axis("off")
        which = f"nodes 0 to {nodes - 1}" if len(shown) == nodes else f"{len(shown)} of {nodes} nodes, evenly spaced"
        axes.set_title(f"layer 1, {which}, row by row; black negative, white positive", fontsize=10)
        figure.colorbar(image, ax=axes, label=unit, ticks=[-top, 0, top], format="%.2g", pad=0.01)
    return len(shown), nodes


def coarsened(values: Float[Array, "rows columns"]) -> tuple[Float[Array, "down across"], tuple[int, int]]:
    """Return means over blocks of cells, at most POINTS on a side, and the size of a block."""
    down, across = (-(-size // POINTS) for size in values.shape)
    if down == across == 1:
        return values, (1, 1)
    for axis, size in ((0, down), (1, across)):
        edges = np.arange(0, values.shape[axis], size)
        counts = np.diff([*edges, values.shape[axis]])
        values = np.add.reduceat(values, edges, axis=axis) / np.expand_dims(counts, 1 - axis)
    return values, (down, across)


def _maps(circuit: Circuit) -> Iterator[_Map]:
    for element in circuit.elements:
        if isinstance(element, Crossbar):
            rows, inputs = len(element.rows), sum(net.startswith("xp_") for net in element.rows)
            groups = (("+x", inputs), ("-x", inputs), ("bias", rows - 2 * inputs)) if inputs else ()
            yield _Map(f"crossbar {element.number}", element.crossbar.matrix(), groups)
        elif isinstance(element, Weights):
            values = element.unit * np.concatenate([np.maximum(element.weights, 0), np.maximum(-element.weights, 0)])
            halves = (("true", len(element.true)), ("inverted", len(element.inverted)))
            yield _Map(f"weights R{element.prefix}", values, halves)


def _mark(axes: Axes, halves: tuple[tuple[str, int], ...]) -> None:
    """Draw lines between groups of rows, and their names at the right."""
    begin = 0
    for name, rows in halves:
        if not rows:
            continue
        if begin:
            axes.axhline(begin - 0.5, color="black", linewidth=1, linestyle="--")
        axes.annotate(
            name,
            (1, begin + rows / 2 - 0.5),
            xycoords=("axes fraction", "data"),
            xytext=(3, 0),
            textcoords="offset points",
            rotation=90,
            va="center",
            fontsize=9,
        )
        begin += rows
