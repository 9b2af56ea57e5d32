"""Where the power of each phase comes from and where it goes; readable in print and in grey."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from eqprop_analog.networks.resistive.power_report import EnergyReport
from eqprop_analog.plotting.style import STYLE, drawing

FILLS = [
    ("0.35", ""),
    ("white", "////"),
    ("0.75", ""),
    ("white", "...."),
    ("0.55", "xxxx"),
    ("0.9", ""),
    ("0.9", "----"),
]
"""Shade and hatch of one part after the other."""
NAMES = ("free", "+β", "-β")


def power_by_part(report: EnergyReport, path: Path) -> None:
    """A bar a phase, mean over samples (W): left what each source delivers, right what each part dissipates."""
    with drawing(path, (10, 5.2), {**STYLE, "hatch.linewidth": 0.6}) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        _stack(left, [phase.power.sources for phase in report.phases], "Delivered by")
        _stack(right, [phase.power.sinks for phase in report.phases], "Dissipated in")
        left.yaxis.set_major_formatter(EngFormatter("W"))
        left.set_ylabel("power, mean over samples")
        seconds, joules = EngFormatter("s", places=1), EngFormatter("J", places=1)
        labels = [
            f"{name}\n{seconds(phase.settling_time.mean())}\n{joules(phase.energy.mean())}"
            for name, phase in zip(NAMES, report.phases, strict=True)
        ]
        for axes in (left, right):
            axes.set_xticks(range(len(NAMES)), labels)
            axes.grid(visible=False, axis="x")
            axes.set_xlabel("phase, settling time, energy")
            axes.axhline(0, color="black", linewidth=0.8)


def _stack(axes: Axes, phases: list[dict[str, np.ndarray]], title: str) -> None:
    """One part on top of the other, what is negative below zero; parts without power are left out."""
    watts = {part: np.array([float(np.mean(phase[part])) for phase in phases]) for part in phases[0]}
    total = np.sum([*watts.values()], axis=0)
    ends = np.zeros((2, len(phases)))  # of what is positive so far, of what is negative
    for number, (part, values) in enumerate(watts.items()):
        if not values.any():
            continue
        shade, hatch = FILLS[number % len(FILLS)]
        base = np.where(values < 0, ends[1], ends[0])
        shares = " / ".join(f"{share:.3g}" for share in 100 * values / np.where(total != 0, total, 1))
        label = f"{part}: {shares} %"
        axes.bar(NAMES, values, 0.6, base, color=shade, hatch=hatch, edgecolor="black", linewidth=0.6, label=label)
        ends += [np.maximum(values, 0), np.minimum(values, 0)]
    axes.set_title(f"{title} (shares: {' / '.join(NAMES)})")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), fontsize=9)
