"""Waveforms of a Hopfield circuit, layer by layer: points from ngspice on curves from SciPy."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, MaxNLocator

from eqprop_analog.networks.hopfield.transient import HopfieldWaveforms
from eqprop_analog.plotting.style import AMBER, BLUE, GREEN, PURPLE, RED, drawing

Array = np.ndarray

NODES = 8
"""Number of curves in a layer: the nodes that respond most to the nudge."""
CURVES = [(color, style) for style in ("-", "--") for color in (BLUE, RED, GREEN, PURPLE, AMBER)]
"""Colour and line style of each curve."""
POINTS = 45
"""Number of points of a curve."""
SHOWN = 0.35
"""Fraction of each phase that is drawn; nothing visible changes in the rest."""


def relaxation(result: HopfieldWaveforms, path: Path) -> None:
    """Node voltages u against time, one row per layer, outputs on top: the free phase (V) and the change due to the nudge (mV).

    The dashed line marks the start of the nudge, the dotted line the time at which the layer has reached half of its response.
    """
    depth, switch = len(result.nodes), result.switch
    windows = [SHOWN * span for span in (switch, float(result.time[-1]) - switch)]
    seconds = EngFormatter("s", places=2)
    with drawing(path, (10, 1.3 + 1.9 * depth)) as figure:
        rows = figure.subplots(depth, 2, squeeze=False, sharex="col")[::-1]
        for layer, (row, u, curve, arrival) in enumerate(
            zip(rows, result.nodes, result.integrated, result.arrivals, strict=True), start=1
        ):
            begin = int(np.abs(result.time - switch).argmin())
            shown = np.sort(np.abs(u[-1] - u[begin]).argsort()[::-1][:NODES])
            _layer(row[0], result.time, u[:, shown], curve[:, shown], (0, windows[0]))
            span = (switch - windows[1] / 20, switch + windows[1])
            change, expected = (1e3 * (values - values[begin])[:, shown] for values in (u, curve))
            _layer(row[1], result.time, change, expected, span)
            row[1].axvline(switch, color="black", linestyle="--", linewidth=1)
            if np.isfinite(arrival):
                row[1].axvline(switch + arrival, color="black", linestyle=":", linewidth=1.4)
                row[1].set_title(f"half of the response after {seconds(arrival)}", fontsize=9, loc="right")
            row[0].set_ylabel("outputs (V)" if layer == depth else f"layer {layer} (V)")
            row[1].set_ylabel("change (mV)")
        rows[-1][0].set_title("Free phase: node voltages u", fontsize=10, loc="left")
        rows[-1][1].set_title("Nudge on (dashed)", fontsize=10, loc="left")
        for axes in rows[0]:
            axes.set_xlabel("time (s)")
            axes.xaxis.set_major_locator(MaxNLocator(6))
            axes.xaxis.set_major_formatter(EngFormatter("s"))
        figure.suptitle(
            f"ngspice (points) and integrated equations (lines) differ by at most {1e6 * result.deviation:.0f} µV",
            fontsize=10,
        )


def _layer(axes: Axes, time: Array, points: Array, curves: Array, span: tuple[float, float]) -> None:
    inside = np.flatnonzero((time >= span[0]) & (time <= span[1]))
    moments = np.linspace(*span, POINTS)
    nearest = inside[np.unique(np.abs(time[inside, None] - moments).argmin(axis=0))]
    for k in range(points.shape[1]):
        color, style = CURVES[k % len(CURVES)]
        axes.plot(time[inside], curves[inside, k], linestyle=style, color=color, linewidth=1)
        axes.plot(time[nearest], points[nearest, k], "o", color=color, markersize=2.5)
    axes.set_xlim(*span)
