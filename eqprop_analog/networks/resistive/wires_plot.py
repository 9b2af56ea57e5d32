"""Errors of networks that learned through wires, against wire resistance and against r G N²."""

from itertools import cycle
from pathlib import Path

from eqprop_analog.networks.resistive.wire_map import Errors
from eqprop_analog.plotting.style import LOOKS, NEUTRAL, drawing


def draw_map(found: Errors, path: Path) -> None:
    """One curve for each array size; dotted curves are networks transferred from ideal wires."""
    with drawing(path, (11, 4.4)) as figure:
        by_ohms, by_product = figure.subplots(1, 2, sharey=True)
        sizes = dict.fromkeys(row["size"] for row in found.rows)
        for size, (color, _, marker) in zip(sizes, cycle(LOOKS), strict=False):
            rows = [row for row in found.rows if row["size"] == size]
            for axes, name in ((by_ohms, "wire_resistance"), (by_product, "product")):
                known = [row for row in rows if row["error"] is not None]
                axes.plot(
                    [row[name] for row in known],
                    [100 * row["error"] for row in known],
                    color=color,
                    marker=marker,
                    label=f"{size} x {size}",
                )
                axes.plot(
                    [row[name] for row in rows],
                    [100 * row["transferred_error"] for row in rows],
                    color=color,
                    marker=marker,
                    markerfacecolor="white",
                    linestyle=":",
                )
        for axes in (by_ohms, by_product):
            axes.axhline(100 * found.ideal, color=NEUTRAL, linestyle="--", linewidth=1.2, label="ideal wires")
            axes.set_xscale("log")
        by_ohms.set(
            xlabel="wire resistance from cell to cell (ohm)", ylabel=f"{found.held_out} error (%)", ylim=(0, None)
        )
        by_ohms.set_title("Learned through the wires; dotted: transferred")
        by_product.set(xlabel="r G N² (mean conductance G, N x N cells)")
        by_product.set_title("The same against r G N²")
        by_ohms.legend(fontsize=9)
