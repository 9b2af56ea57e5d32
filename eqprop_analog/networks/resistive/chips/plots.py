"""Statistics over chips: test error against each imperfection, one curve per protocol."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from eqprop_analog.networks.resistive.chips.study import Curve, Study
from eqprop_analog.plotting.style import BLUE, GREEN, RED, drawing

LINES = {"in-situ": (BLUE, "-", "o"), "ex-situ": (RED, "--", "s"), "fine-tuned": (GREEN, "-.", "^")}
"""Colour, line and marker of each protocol."""
WIDE = 12
"""Values that span a larger factor are drawn on a logarithmic axis."""
PANEL = (3.6, 3.1)
"""Inches."""


def errors(study: Study, summary: Sequence[dict[str, Any]], path: Path) -> None:
    """One panel per curve: mean test error over chips, percent, with its 95 % interval; the dotted line is the target."""
    means = [100 * row["mean_error"] for row in summary if row["mean_error"]]
    lowest = 0.7 * min([*means, 100 * study.target_error])
    with _panels(study, path, "test error (%)") as panels:
        for axes, sweep in zip(panels, study.sweeps, strict=True):
            for x, rows, (shade, line, marker), protocol in _curves(sweep, summary):
                mean = np.array([100 * (np.nan if row["mean_error"] is None else row["mean_error"]) for row in rows])
                half = np.array([100 * (row["interval"] or 0) for row in rows])
                ends = np.array([np.minimum(half, mean - 1e-2), half])
                axes.errorbar(
                    x,
                    mean,
                    ends,
                    color=shade,
                    linestyle=line,
                    marker=marker,
                    markersize=4,
                    capsize=2,
                    label=protocol.replace("in-situ", "in situ").replace("ex-situ", "ex situ"),
                )
            axes.axhline(100 * study.target_error, color="0.5", linestyle=":", linewidth=1)
            axes.set_yscale("log")
            axes.set_ylim(lowest, 100)
            ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 100) if tick >= lowest]
            axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()


def yields(study: Study, summary: Sequence[dict[str, Any]], path: Path) -> None:
    """One panel per curve: chips with no more test error than the target, percent."""
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
            _along(axes, [point.x for point in sweep.points])
            axes.set_xlabel(sweep.label, parse_math=False)
        for axes in panels[count:]:
            axes.set_visible(False)
        for axes in panels[::columns]:
            axes.set_ylabel(what)
        panels[0].legend(fontsize=9)


def _along(axes: Axes, values: Sequence[float]) -> None:
    """The horizontal axis: to scale, logarithmic where ``values`` span more than WIDE; 0 then has a place of its own."""
    present = sorted(value for value in values if value > 0)
    if present and present[-1] > WIDE * present[0]:
        if min(values) <= 0:
            axes.set_xscale("symlog", linthresh=present[0], linscale=0.6)
            axes.set_xlim(-0.3 * present[0], 1.6 * present[-1])
        else:
            axes.set_xscale("log")
    axes.set_xticks(values, [f"{value:g}" for value in values], fontsize=8.5)
    axes.minorticks_off()
    if len(values) > 1 and values[0] > values[-1]:
        axes.invert_xaxis()


def _curves(
    sweep: Curve, summary: Sequence[dict[str, Any]]
) -> Iterator[tuple[list[float], list[dict[str, Any]], tuple[str, str, str], str]]:
    """(places, rows, look, name) of each protocol."""
    for protocol in sweep.protocols:
        rows = [row for row in summary if (row["sweep"], row["protocol"]) == (sweep.name, protocol)]
        yield [row["x"] for row in rows], rows, LINES[protocol], protocol
