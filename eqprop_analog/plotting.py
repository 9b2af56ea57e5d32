"""Plots of a run, readable in print and in grey."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from eqprop_analog.files import replacing
from eqprop_analog.models import ResistiveNetwork
from eqprop_analog.verification import Agreement

STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def learning_curve(history: list[dict[str, Any]], path: Path) -> None:
    """Training error (of the free phases, before each update) and test or validation error against epoch, in percent."""
    with mpl.rc_context(STYLE):
        figure, axes = _axes(1, (6.4, 3.8))
        epochs = [entry["epoch"] for entry in history]
        held_out = "test" if "test_error" in history[0] else "validation"
        for name, style in (("train", "o--"), (held_out, "s-")):
            values = [100 * entry[f"{name}_error"] for entry in history]
            shade = "0.55" if name == "train" else "black"
            axes[0].plot(epochs, values, style, color=shade, label=f"{name}, last {values[-1]:.2f} %", markersize=4)
        axes[0].set(xlabel="epoch", ylabel="error (%)", ylim=(0, None), title="Learning curve")
        axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0].legend()
        _save(figure, path)


def conductance_histograms(network: ResistiveNetwork, path: Path) -> None:
    """How the conductances of each crossbar are distributed, in microsiemens, with the share at G_min."""
    with mpl.rc_context(STYLE):
        figure, axes = _axes(network.depth, (3.6 * network.depth + 0.6, 3.4))
        low = network.conductance_window[0]
        for number, (ax, matrix) in enumerate(zip(axes, network.conductances, strict=True), start=1):
            above = 1e6 * matrix[matrix > low]
            ax.hist(above, bins=60, color="0.45")
            shape = f"{matrix.shape[0]} x {matrix.shape[1]}"
            share = 100 * (1 - above.size / matrix.size)
            ax.set(xlabel="conductance (µS)", ylabel="cells", yscale="log")
            ax.set_title(f"crossbar {number}, {shape}; {share:.1f} % at G_min")
        _save(figure, path)


def agreement(result: Agreement, path: Path) -> None:
    """Every node voltage in ngspice against the surrogate's, and how large the differences are."""
    ours, theirs = result.pairs
    with mpl.rc_context(STYLE):
        figure, (scatter, spread) = _axes(2, (9.6, 4.2))
        limits = [min(ours.min(), theirs.min()), max(ours.max(), theirs.max())]
        scatter.plot(limits, limits, color="0.7", linewidth=1)
        scatter.plot(ours, theirs, ".", color="black", markersize=3)
        scatter.set(xlabel="surrogate (V)", ylabel="ngspice (V)")
        scatter.set_title(f"{result.samples} images, free, +β, -β: {ours.size} voltages")
        floor = 1e-18
        difference = np.maximum(np.abs(ours - theirs), floor)
        spread.hist(difference, bins=np.logspace(-18, -8, 81).tolist(), color="0.45")
        spread.axvline(result.largest_difference, color="black", label=f"largest {result.largest_difference:.1e} V")
        spread.axvline(1e-9, color="black", linestyle="--", label="bound 1e-9 V")
        spread.set(xlabel="|ngspice - surrogate| (V)", ylabel="voltages", xscale="log", title="Difference")
        spread.legend(loc="upper right", frameon=True, framealpha=1, edgecolor="none")
        _save(figure, path)


def _axes(columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=size)
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
