"""Node voltages of a set of samples, layer by layer: in the free phase, and their changes under nudges."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.plotting.style import BARS as FILL
from eqprop_analog.plotting.style import BLUE, GREEN, RED, drawing

Array = np.ndarray

BARS = 40
"""Number of bars of a histogram."""
DOTS = 4000
"""Largest number of dots of a scatter plot; further voltages are thinned out evenly."""


def voltages_by_layer(free: Equilibrium, path: Path | None = None, levels: Sequence[tuple[str, float]] = ()) -> Figure:
    """Draw one row per layer: range, interquartile range and median of each node over the samples, and a histogram of all.

    ``levels``: voltages to mark in the hidden layers, (name, volts).
    """
    depth = len(free.voltages)
    with drawing(path, (9.6, 0.9 + 2.1 * depth)) as figure:
        rows = figure.subplots(depth, 2, squeeze=False, sharey="row", width_ratios=(3, 1))
        for layer, (row, v) in enumerate(zip(rows, free.voltages, strict=True), start=1):
            node = np.arange(v.shape[1])
            low, first, median, third, high = np.quantile(v, (0, 0.25, 0.5, 0.75, 1), axis=0)
            for ends, shade, name in (
                ((low, high), "#d3dfeb", "minimum to maximum"),
                ((first, third), FILL, "interquartile range"),
            ):
                row[0].fill_between(
                    np.append(node, node[-1] + 1) - 0.5, *map(_held, ends), step="post", color=shade, lw=0, label=name
                )
            row[0].plot(
                node, median, "_", color="black", markersize=max(1.5, min(8.0, 400 / len(node))), label="median"
            )
            row[1].hist(v.ravel(), BARS, orientation="horizontal", color=FILL)
            row[0].set_xlim(-0.5, node[-1] + 0.5)
            row[0].xaxis.set_major_locator(MaxNLocator(8, integer=True))
            row[0].set_ylabel(f"{_name(layer, depth)} (V)")
            if layer < depth:
                for (name, volts), style in zip(levels, ("--", ":", "-."), strict=False):
                    row[0].axhline(volts, color=RED, linestyle=style, linewidth=1.2, label=name)
                    row[1].axhline(volts, color=RED, linestyle=style, linewidth=1.2)
        rows[-1, 0].set_xlabel("node")
        rows[-1, 1].set_xlabel("nodes x samples")
        rows[0, 0].set_title(f"Free phase, {len(free.status)} samples", loc="left", fontsize=10)
        figure.legend(*rows[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=9)
    return figure


def free_against_nudged(
    free: Equilibrium, plus: Equilibrium, minus: Equilibrium, beta: str, path: Path | None = None
) -> Figure:
    """Draw one row per layer: the changes under +β and -β against the free voltage, and a histogram of their difference.

    ``beta``: its magnitude with its unit, for the title.
    """
    depth = len(free.voltages)
    with drawing(path, (9.6, 0.9 + 2.3 * depth)) as figure:
        rows = figure.subplots(depth, 2, squeeze=False, width_ratios=(3, 2))
        for layer, row in enumerate(rows, start=1):
            base, up, down = (phase.voltages[layer - 1].ravel() for phase in (free, plus, minus))
            some = slice(None, None, -(-base.size // DOTS))
            marks = (("+β", up, "o", RED), ("-β", down, "^", GREEN))
            for name, values, marker, shade in marks:
                row[0].plot(
                    base[some], (values - base)[some], marker, color=shade, ms=2.5, mew=0.5, mfc="none", label=name
                )
            row[0].axhline(0, color="0.5", linewidth=0.8)
            row[0].set_ylabel(f"{_name(layer, depth)}\nchange (V)")
            row[0].yaxis.set_major_formatter(EngFormatter("V"))
            row[0].yaxis.set_major_locator(MaxNLocator(5))
            _sizes(row[1], up - down)
        rows[-1, 0].set_xlabel("free voltage (V)")
        rows[-1, 1].set_xlabel("|V(+β) - V(-β)| (V), the learning signal")
        rows[0, 0].legend(loc="best", fontsize=9, frameon=True, framealpha=0.8, edgecolor="none", markerscale=2)
        rows[0, 0].set_title(f"Changes under a nudge, {len(free.status)} samples, ±β = {beta}", loc="left", fontsize=10)
    return figure


def _held(values: Float[Array, " nodes"]) -> Float[Array, " steps"]:
    return np.append(values, values[-1])


def _sizes(axes: Axes, difference: Array) -> None:
    """Draw a histogram of magnitudes over decades, and their root mean square."""
    size = np.abs(difference)
    rms = float(np.sqrt((size**2).mean()))
    some = size[size > 0]
    if some.size:
        low, high = np.log10(np.quantile(some, 0.005)), np.log10(some.max())
        axes.hist(some, np.logspace(low, max(high, low + 0.1), BARS).tolist(), color=FILL)
        axes.axvline(rms, color=BLUE, linestyle="--", label=f"rms {EngFormatter('V', places=2)(rms)}")
        axes.set_xscale("log")
        axes.legend(fontsize=9, frameon=True, framealpha=0.8, edgecolor="none")
    still = 1 - some.size / size.size
    if still:
        axes.set_title(f"{100 * still:.1f} % do not change", fontsize=9)
    axes.set_ylabel("nodes x samples")


def _name(layer: int, depth: int) -> str:
    return "outputs" if layer == depth else f"layer {layer}"
