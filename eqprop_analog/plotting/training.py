"""A training run: its learning curve, and the distributions of its parameters."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from eqprop_analog.learning.measure import PREDICTIONS, Measure
from eqprop_analog.plotting.sheet import engineering
from eqprop_analog.plotting.style import BARS, BLUE, LOOKS, RED, drawing

Array = np.ndarray

FEW = 100
"""Largest number of values for which a histogram's counts have a linear axis."""
DECADES = 7
"""Largest number of decades of a logarithmic histogram; smaller values are counted in its lowest bar."""


def learning_curve(history: list[dict[str, Any]], path: Path | None = None, measure: Measure = PREDICTIONS) -> Figure:
    """Plot the training error (of the free phases, before each update) and the test or validation error against the epoch."""
    with drawing(path, (6.4, 3.8)) as figure:
        axes = figure.subplots()
        held_out = "validation" if any("validation_error" in entry for entry in history) else "test"
        for name, label, style, shade in (("train", "training", "o--", RED), (held_out, held_out, "s-", BLUE)):
            found = [(entry["epoch"], value) for entry in history if (value := measure.within(entry, name)) is not None]
            if found:
                epochs, values = zip(*found, strict=True)
                shown = f"{label}, last {measure.text(values[-1])}"
                axes.plot(epochs, measure.factor * np.array(values), style, color=shade, label=shown, markersize=4)
        axes.set(xlabel="epoch", ylabel=measure.axis, ylim=(0, None), title="Learning curve")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    return figure


def outputs_by_epoch(
    outputs: Float[Array, "epochs patterns"], targets: Float[Array, " patterns"], names: Sequence[str], path: Path
) -> None:
    """Plot the output (V) of each pattern before training (epoch 0) and after every epoch, with targets as thin lines."""
    with drawing(path, (6.4, 3.8)) as figure:
        axes = figure.subplots()
        for values, name, (color, line, marker) in zip(outputs.T, names, LOOKS, strict=False):
            every = max(1, len(values) // 20)
            axes.plot(values, color=color, linestyle=line, marker=marker, markersize=4, markevery=every, label=name)
        for level in np.unique(targets):
            axes.axhline(level, color="black", linewidth=0.8)
        axes.set(xlabel="epoch", ylabel="output (V)", title="Outputs during the training of XOR (thin lines: targets)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(title="inputs", loc="center left", bbox_to_anchor=(1, 0.5))


def histograms(arrays: Mapping[str, Float[Array, "..."]], path: Path) -> None:
    """Draw a histogram of each array's values, one panel each, with its name."""
    with drawing(path, (3.6 * len(arrays) + 0.6, 3.4)) as figure:
        for axes, (name, values) in zip(figure.subplots(1, len(arrays), squeeze=False)[0], arrays.items(), strict=True):
            axes.hist(values.ravel(), bins=60, color=BARS)
            axes.set(xlabel=name, ylabel="count", yscale="log")


def conductances(axes: Axes, values: Float[Array, "..."], window: tuple[float, float], what: str = "cells") -> None:
    """Draw a histogram of ``values`` (siemens) over a logarithmic axis, on which the ends of ``window`` are marked.

    A separate bar counts the values at the lower end. If that end is 0 S, the bar is labelled 0 and lies left of the
    axis's numbers.
    """
    low, high = window
    above, held = values[values > low], int((values <= low).sum())
    smallest = max(low, above.min() if above.size and not low else 0.0, high * 10.0**-DECADES)
    edges = np.geomspace(smallest, 1.02 * high, 61)
    axes.hist(np.clip(above, smallest, high), edges.tolist(), color=BARS)
    place = low or smallest / 4
    left, right = (place / 1.6, place) if low else (place / 1.6, place * 1.6)
    axes.bar(left, held, width=right - left, align="edge", color=RED, hatch="////", edgecolor="white", lw=0)
    share = 100 * held / max(1, values.size)
    label = f"$G_{{min}}$ = {engineering(low, 'S')}: {share:.1f} % of {what}"
    axes.axvline(place, color=RED, linestyle="--", linewidth=1, label=label)
    axes.axvline(high, color="black", linestyle=":", linewidth=1.4, label=f"$G_{{max}}$ = {engineering(high, 'S')}")
    axes.set(xscale="log", ylabel=what, xlim=(left / 1.3, 1.6 * high))
    if values.size > FEW:
        axes.set(yscale="log", ylim=(0.7, None))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    ticks = np.arange(np.ceil(np.log10(smallest)), np.floor(np.log10(high)) + 1)
    ticks = ticks[:: -(-len(ticks) // 5)]
    marks = [(10.0**tick, engineering(10.0**tick, "S").replace(" S", "")) for tick in ticks]
    axes.set_xticks(*zip(*([] if low else [(place, "0")]), *marks, strict=True))
    axes.minorticks_off()
    fewer = int((above < smallest).sum())
    axes.set_xlabel("conductance (S)" + (f"; the lowest bar includes {fewer:,} {what} below it" if fewer else ""))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=9)
