"""Plots of a run, readable in print and in grey."""

from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from eqprop_analog.files import replacing
from eqprop_analog.models import ResistiveNetwork
from eqprop_analog.solvers.transient import Waveforms
from eqprop_analog.verification import Agreement

Array = np.ndarray

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

LINES = [(shade, style) for style in ("-", "--", "-.", ":") for shade in ("black", "0.45", "0.7")]
"""Shade and style of up to twelve curves that are told apart in grey."""


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


def agreement_study(circuits: list[dict[str, Any]], path: Path) -> None:
    """How many circuits are how far apart in ngspice and the surrogate, and that against the circuits' condition."""
    solved = [circuit for circuit in circuits if "relative_difference" in circuit]
    floor = 1e-17
    shares = (np.arange(len(solved)) + 1) / max(1, len(solved))
    with mpl.rc_context(STYLE):
        figure, (spread, condition) = _axes(2, (10.2, 4.4))
        for name, label, style in (
            ("relative_difference", "voltages, |ΔV| / max(1 V, |V|)", "-"),
            ("gradient_difference", "gradients, |Δ| / layer's largest", "--"),
        ):
            values = np.sort([max(circuit[name], floor) for circuit in solved])
            spread.step(values, 100 * shares, style, color="black", where="post", label=label)
        for bound, style in ((1e-9, "-"), (1e-7, "--")):
            spread.axvline(bound, color="0.6", linestyle=style)
        spread.set(xlabel="largest difference of a circuit (grey: its bounds)", ylabel="circuits (%)", xscale="log")
        spread.set_title(f"{len(solved)} random circuits, free, +β, -β")
        spread.legend(loc="lower right", frameon=True, framealpha=1, edgecolor="none", fontsize=9)
        laws = list(dict.fromkeys(circuit["diode"]["law"] for circuit in solved))
        for law, marker, shade in zip(laws, "o^sxD+*", cycle(["black", "0.3", "0.55"])):
            of_law = [circuit for circuit in solved if circuit["diode"]["law"] == law]
            x = [circuit["condition"] for circuit in of_law]
            y = [max(circuit["relative_difference"], floor) for circuit in of_law]
            condition.plot(x, y, marker, color=shade, markersize=4, markerfacecolor="none", label=law)
        limits = np.array(condition.get_xlim())
        condition.axhline(1e-9, color="0.6")
        condition.plot(limits, np.finfo(float).eps * limits, ":", color="0.3", label="rounding × condition")
        condition.set(
            xlabel="condition of the linearised circuit", ylabel="|ΔV| / max(1 V, |V|)", xscale="log", yscale="log"
        )
        condition.set_title("Voltages against condition")
        condition.legend(loc="lower right", fontsize=8, frameon=True, framealpha=0.8, edgecolor="none")
        _save(figure, path)


def waveforms(result: Waveforms, path: Path) -> None:
    """Every node's voltage against time, a row a layer: the free phase (V), and what the nudge then changes (mV)."""
    time, free, nudged, depth = result.time, result.free, result.nudged, len(result.voltages)
    seconds = EngFormatter("s", places=1)
    windows = [min(2 * phase.settling_time or np.inf, phase.end - phase.begin) for phase in (free, nudged)]
    before = nudged.begin - windows[1] / 20
    ranges = [time <= free.end, time >= before]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 1.1 + 2.1 * depth))
        rows = figure.subplots(depth, 2, squeeze=False, sharex="col")
        for layer, (row, v) in enumerate(zip(rows, result.voltages, strict=True), start=1):
            change = 1e3 * (v - v[np.searchsorted(time, nudged.begin)])
            for axes, shown, values in zip(row, ranges, (v, change), strict=True):
                _nodes(axes, time[shown], values[shown])
            _moment(row[0], free.settling_time, ":")
            _moment(row[1], nudged.begin, "--")
            _moment(row[1], nudged.begin + nudged.settling_time, ":")
            row[0].set_ylabel("outputs (V)" if layer == depth else f"hidden layer {layer} (V)")
            row[1].set_ylabel("change (mV)")
            if v.shape[1] <= len(LINES):
                names = [f"o_{j}" if layer == depth else f"h{layer}_{j}" for j in range(v.shape[1])]
                row[1].legend(names, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
        rows[0, 0].set_title(f"Free phase; settled after {seconds(free.settling_time)} (dotted)", fontsize=10)
        rows[0, 1].set_title(
            f"Nudge on at {seconds(nudged.begin)} (dashed); settled after {seconds(nudged.settling_time)} (dotted)",
            fontsize=10,
        )
        for axes, limits in zip(rows[-1], ((0, windows[0]), (before, nudged.begin + windows[1])), strict=True):
            axes.set(xlabel="time", xlim=limits)
            axes.xaxis.set_major_locator(MaxNLocator(6))
            axes.xaxis.set_major_formatter(EngFormatter("s"))
        _save(figure, path)


def _nodes(axes: Axes, time: Array, values: Array) -> None:
    few = values.shape[1] <= len(LINES)
    for curve, (shade, style) in zip(values.T, cycle(LINES if few else [("0.25", "-")])):
        axes.plot(time, curve, style, color=shade, linewidth=1.4 if few else 0.5)


def _moment(axes: Axes, time: float, style: str) -> None:
    axes.axvline(time, color="black", linestyle=style, linewidth=1)


def _axes(columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=size)
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
