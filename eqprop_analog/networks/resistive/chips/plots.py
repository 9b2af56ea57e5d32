"""Statistics over chips: test error against each imperfection, one curve per protocol."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from eqprop_analog.networks.resistive.chips.study import Curve, Study
from eqprop_analog.plotting.style import BLUE, GREEN, RED, drawing

LINES = {"in-situ": (BLUE, "-", "o"), "ex-situ": (RED, "--", "s"), "fine-tuned": (GREEN, "-.", "^")}
"""Colour, line style and marker of each protocol."""
WIDE = 12
"""Values that span a larger factor are drawn on a logarithmic axis."""
PANEL = (3.6, 3.1)
"""Width and height of a panel, inches."""


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
                    label=_named(protocol),
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


def one_by_one(
    study: Study,
    summary: Sequence[dict[str, Any]],
    rows: Sequence[dict[str, Any]],
    software: Sequence[dict[str, Any]],
    path: Path,
) -> None:
    """A study of one point: test error of every chip by protocol, and training error against the epoch, both in percent."""
    with drawing(path, (2.4 * PANEL[0], 1.1 * PANEL[1])) as figure:
        left, right = figure.subplots(1, 2)
        for place, row in enumerate(summary):
            shade, _, marker = LINES[row["protocol"]]
            own = [100 * _test_error(each) for each in rows if each["protocol"] == row["protocol"]]
            aside = np.linspace(-0.18, 0.18, len(own)) if len(own) > 1 else [0.0]
            left.plot(
                place + np.asarray(aside[: len(own)]), own, linestyle="", marker=marker, markersize=5, color=shade
            )
        names = [f"{_named(row['protocol'])}\n{_good(row)}" for row in summary]
        left.set_xticks(range(len(names)), names)
        left.set_xlim(-0.5, len(names) - 0.5)
        left.axhline(100 * study.target_error, color="0.5", linestyle=":", linewidth=1, label="target")
        if software:
            left.axhline(100 * _test_error(software[0]), color="black", linewidth=1, label="ideal software")
        left.set(ylabel="test error (%)", title=f"{study.chips} chips")
        left.set_ylim(bottom=0)
        left.legend(fontsize=9)
        _learning(right, rows, software)


def _learning(axes: Axes, rows: Sequence[dict[str, Any]], software: Sequence[dict[str, Any]]) -> None:
    """Training errors of each chip in situ, and those of the ideal circuit."""
    shade, line, _ = LINES["in-situ"]
    curves = [row["training_errors"] for row in rows if row["protocol"] == "in-situ" and row.get("training_errors")]
    for number, errors_ in enumerate(curves):
        label = "chips, in situ" if number == 0 else None
        axes.plot(
            range(1, len(errors_) + 1), 100 * np.array(errors_), color=shade, linestyle=line, linewidth=1, label=label
        )
    for row in software[:1]:
        errors_ = row.get("training_errors", [])
        axes.plot(range(1, len(errors_) + 1), 100 * np.array(errors_), color="black", label="ideal software")
    axes.set(xlabel="epoch", ylabel="training error (%)", title="learning")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    if axes.lines:
        axes.legend(fontsize=9)


def _test_error(row: dict[str, Any]) -> float:
    return float(row.get("test_error", row.get("validation_error", np.nan)))


def _named(protocol: str) -> str:
    return protocol.replace("in-situ", "in situ").replace("ex-situ", "ex situ")


def _good(row: dict[str, Any]) -> str:
    return "missing" if row["yield"] is None else f"{round(row['yield'] * row['chips'])} of {row['chips']} good"


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
    """The horizontal axis: linear, or logarithmic with a separate position for 0 if ``values`` span more than WIDE."""
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
    """(positions, rows, style, name) of each protocol."""
    for protocol in sweep.protocols:
        rows = [row for row in summary if (row["sweep"], row["protocol"]) == (sweep.name, protocol)]
        yield [row["x"] for row in rows], rows, LINES[protocol], protocol
