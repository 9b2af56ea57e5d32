"""Waveforms of a resistive circuit: node voltages, layer by layer."""

from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator

from eqprop_analog.networks.resistive.transient import Waveforms
from eqprop_analog.plotting.style import AMBER, BLUE, GREEN, PURPLE, RED, drawing

Array = np.ndarray

LINES = [(color, style) for style in ("-", "--", "-.", ":") for color in (BLUE, RED, GREEN, PURPLE, AMBER)]
"""Colour and style of up to twenty curves."""


def waveforms(result: Waveforms, path: Path) -> None:
    """Node voltages against time, one row per layer: the free phase (V), and the change due to the nudge (mV)."""
    time, free, nudged, depth = result.time, result.free, result.nudged, len(result.voltages)
    seconds = EngFormatter("s", places=1)
    windows = [min(2 * phase.settling_time or np.inf, phase.end - phase.begin) for phase in (free, nudged)]
    before = nudged.begin - windows[1] / 20
    ranges = [time <= free.end, time >= before]
    with drawing(path, (10, 1.1 + 2.1 * depth)) as figure:
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
            axes.set(xlabel="time (s)", xlim=limits)
            axes.xaxis.set_major_locator(MaxNLocator(6))
            axes.xaxis.set_major_formatter(EngFormatter("s"))


def _nodes(axes: Axes, time: Array, values: Array) -> None:
    few = values.shape[1] <= len(LINES)
    for curve, (shade, style) in zip(values.T, cycle(LINES if few else [(BLUE, "-")])):
        axes.plot(time, curve, style, color=shade, linewidth=1.4 if few else 0.5)


def _moment(axes: Axes, time: float, style: str) -> None:
    axes.axvline(time, color="black", linestyle=style, linewidth=1)
