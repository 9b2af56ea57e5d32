"""Statistics over chips: test error against each imperfection, one protocol a curve; readable in print and in grey."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from eqprop_analog.networks.resistive.chips.study import Curve, Study
from eqprop_analog.plotting.style import drawing

LINES = {"in-situ": ("black", "-", "o"), "ex-situ": ("0.55", "--", "s"), "fine-tuned": ("0.3", "-.", "^")}
"""Shade, line and marker of each protocol."""
PANEL = (3.6, 3.1)
"""Inches."""


def errors(study: Study, summary: Sequence[dict[str, Any]], path: Path) -> None:
    """A panel a curve: mean test error over chips, percent, with its 95 % interval; the dotted line is the target."""
    means = [100 * row["mean_error"] for row in summary if row["mean_error"]]
    lowest = 0.7 * min([*means, 100 * study.target_error])
    with _panels(study, path, "test error (%)") as panels:
        for axes, sweep in zip(panels, study.sweeps, strict=True):
            for x, rows, (shade, line, marker), protocol in _curves(sweep, summary):
                mean = np.array([100 * (np.nan if row["mean_error"] is None else row["mean_error"]) for row in rows])
                half = np.array([100 * (row["interval"] or 0) for row in rows])
                axes.plot(x, mean, color=shade, linestyle=line, marker=marker, markersize=4, label=protocol)
                axes.fill_between(x, np.maximum(mean - half, 1e-2), mean + half, color=shade, alpha=0.18, linewidth=0)
            axes.axhline(100 * study.target_error, color="0.5", linestyle=":", linewidth=1)
            axes.set_yscale("log")
            axes.set_ylim(lowest, 100)
            ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 100) if tick >= lowest]
            axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()


def yields(study: Study, summary: Sequence[dict[str, Any]], path: Path) -> None:
    """A panel a curve: chips with no more test error than the target, percent."""
    with _panels(study, path, f"chips within {100 * study.target_error:g} % error (%)") as panels:
        for axes, sweep in zip(panels, study.sweeps, strict=True):
            for x, rows, (shade, line, marker), protocol in _curves(sweep, summary):
                good = [100 * (np.nan if row["yield"] is None else row["yield"]) for row in rows]
                axes.plot(x, good, color=shade, linestyle=line, marker=marker, markersize=4, label=protocol)
            axes.set_ylim(-4, 104)


@contextmanager
def _panels(study: Study, path: Path, what: str) -> Iterator[list[Axes]]:
    count = len(study.sweeps)
    columns = min(count, 3)
    rows = -(-count // columns)
    with drawing(path, (PANEL[0] * columns, PANEL[1] * rows)) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
        yield panels[:count]
        for axes, sweep in zip(panels, study.sweeps, strict=False):
            axes.set_xticks(range(len(sweep.points)), [f"{point.x:g}" for point in sweep.points])
            axes.set_xlabel(sweep.label, parse_math=False)
        for axes in panels[count:]:
            axes.set_visible(False)
        for axes in panels[::columns]:
            axes.set_ylabel(what)
        panels[0].legend(fontsize=9)


def _curves(
    sweep: Curve, summary: Sequence[dict[str, Any]]
) -> Iterator[tuple[list[int], list[dict[str, Any]], tuple[str, str, str], str]]:
    """(places, rows, look, name) of each protocol; points stand evenly, whatever their values."""
    where = {point.x: k for k, point in enumerate(sweep.points)}
    for protocol in sweep.protocols:
        rows = [row for row in summary if (row["sweep"], row["protocol"]) == (sweep.name, protocol)]
        yield [where[row["x"]] for row in rows], rows, LINES[protocol], protocol
