"""Plot of the delivered and dissipated power of each phase."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, LogLocator

from eqprop_analog.networks.resistive.power_report import EnergyReport
from eqprop_analog.plotting.style import BLUE, GREEN, RED, STYLE, drawing

LOOKS = (("free", BLUE, ""), ("+β", RED, "////"), ("-β", GREEN, "...."))
"""Name, colour and hatch of each phase."""
THICK = 0.26
"""Height of a bar in units of the distance between parts."""
LEAST = 1e-12
"""Smallest power that is drawn, relative to the largest."""


def power_by_part(report: EnergyReport, path: Path) -> None:
    """Power of each phase and part, mean over samples (W): delivered by sources (left), dissipated in parts (right)."""
    sides = ("Delivered by", "sources"), ("Dissipated in", "sinks")
    found = [[getattr(phase.power, name) for phase in report.phases] for _, name in sides]
    means = [{part: [float(np.mean(phase[part])) for phase in phases] for part in phases[0]} for phases in found]
    top = max(abs(watts) for side in means for values in side.values() for watts in values) or 1.0
    shown = [{part: values for part, values in side.items() if max(map(abs, values)) > LEAST * top} for side in means]
    least = min((abs(watts) for side in shown for values in side.values() for watts in values if watts), default=top)
    limits = max(least / 3, LEAST * top), 4 * top
    with drawing(path, (11, 1.9 + 0.42 * max(map(len, shown))), {**STYLE, "hatch.linewidth": 0.6}) as figure:
        for axes, (title, _), side in zip(figure.subplots(1, 2), sides, shown, strict=True):
            _bars(axes, side, limits)
            axes.set_title(title, fontsize=10)
        seconds, joules = EngFormatter("s", places=1), EngFormatter("J", places=1)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        labels = [
            f"{name}: settles in {seconds(phase.settling_time.mean())}, {joules(phase.energy.mean())}"
            for name, phase in zip(labels, report.phases, strict=True)
        ]
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9)


def _bars(axes: Axes, parts: dict[str, list[float]], limits: tuple[float, float]) -> None:
    """Parts in descending order; a negative power is an open bar."""
    order = sorted(parts, key=lambda part: -max(map(abs, parts[part])))
    for phase, (name, color, hatch) in enumerate(LOOKS):
        at = [k + (phase - 1) * THICK for k in range(len(order))]
        watts = [parts[part][phase] for part in order]
        bars = axes.barh(at, np.abs(watts), THICK, color=color, hatch=hatch, edgecolor="white", linewidth=0, label=name)
        for bar, value in zip(bars, watts, strict=True):
            if value < 0:
                bar.set(facecolor="white", edgecolor=color, linewidth=1)
    backwards = any(watts < 0 for values in parts.values() for watts in values)
    axes.set_xscale("log")
    axes.set(yticks=range(len(order)), yticklabels=order, xlim=limits)
    axes.set_xlabel("power, mean over samples" + (" (open bars: negative)" if backwards else ""))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(LogLocator(numticks=8))
    axes.xaxis.set_major_formatter(EngFormatter("W"))
    axes.minorticks_off()
