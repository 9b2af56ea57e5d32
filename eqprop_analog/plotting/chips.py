"""Statistics over chips: test error against each imperfection, one protocol a curve; readable in print and in grey."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from eqprop_analog.chips.monte_carlo import Study, Sweep
from eqprop_analog.plotting.style import drawing

LINES = {"in-situ": ("black", "-", "o"), "ex-situ": ("0.55", "--", "s"), "fine-tuned": ("0.3", "-.", "^")}
"""Shade, line and marker of each protocol."""
PANEL = (3.6, 3.1)
"""Inches."""


def imperfections(study: Study, summary: Sequence[dict[str, Any]], path: Path) -> None:
    """A panel a curve: mean test error over chips, percent, with its 95 % interval; the dotted line is the target."""
    count = len(study.sweeps)
    columns = min(count, 3)
    rows = -(-count // columns)
    with drawing(path, (PANEL[0] * columns, PANEL[1] * rows)) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, sweep in zip(panels, study.sweeps, strict=False):
            _panel(
                axes, sweep, [row for row in summary if row["sweep"] == sweep.name and row["mean_error"] is not None]
            )
            axes.axhline(100 * study.target_error, color="0.5", linestyle=":", linewidth=1)
        for axes in panels[count:]:
            axes.set_visible(False)
        for axes in panels[::columns]:
            axes.set_ylabel("test error (%)")
        panels[0].legend(fontsize=9)


def _panel(axes: Axes, sweep: Sweep, summary: Sequence[dict[str, Any]]) -> None:
    places = [point.x for point in sweep.points]
    where = {x: k for k, x in enumerate(places)}  # points stand evenly, whatever their values
    for protocol in sweep.protocols:
        shade, line, marker = LINES[protocol]
        rows = [row for row in summary if row["protocol"] == protocol]
        x = np.array([where[row["x"]] for row in rows])
        mean = np.array([100 * row["mean_error"] for row in rows])
        half = np.array([100 * (row["interval"] or 0) for row in rows])
        axes.plot(x, mean, color=shade, linestyle=line, marker=marker, markersize=4, label=protocol)
        axes.fill_between(x, np.maximum(mean - half, 1e-2), mean + half, color=shade, alpha=0.18, linewidth=0)
    axes.set_xticks(range(len(places)), [f"{x:g}" for x in places])
    axes.set_yscale("log")
    axes.set_ylim(2, 100)
    axes.set_yticks([2, 3, 5, 10, 20, 50, 100], ["2", "3", "5", "10", "20", "50", "100"])
    axes.minorticks_off()
    axes.set_xlabel(sweep.label)
