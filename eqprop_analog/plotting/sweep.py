"""The error of trainings against the varied settings."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.ticker import MaxNLocator

from eqprop_analog.learning.measure import PREDICTIONS, Measure
from eqprop_analog.plotting.style import LOOKS, drawing

DECADE = 10
"""Ratio of largest to smallest value above which the axis is logarithmic."""


def errors_by_setting(
    groups: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    held_out: str,
    path: Path,
    measure: Measure = PREDICTIONS,
) -> None:
    """Plot the held-out error against the first of ``names``, with a curve for each value of the others.

    ``groups``: settings by name, the figure of ``measure`` (None for a failure) and its standard deviation (an error
    bar, or None), such as ``error`` and ``error_deviation``.
    """
    figure_name = measure.figure
    first, *others = names
    places = _places([group[first] for group in groups])
    curves: dict[str, list[Mapping[str, Any]]] = {}
    for group in groups:
        if group[figure_name] is not None:
            curves.setdefault(", ".join(f"{name} = {_text(group[name])}" for name in others), []).append(group)
    with drawing(path, (6.4, 4.2)) as figure:
        axes = figure.subplots()
        for (label, curve), (color, line, marker) in zip(curves.items(), cycle(LOOKS), strict=False):
            axes.errorbar(
                [places[_text(group[first])] for group in curve],
                [measure.factor * group[figure_name] for group in curve],
                [measure.factor * (group[f"{figure_name}_deviation"] or 0) for group in curve],
                color=color,
                linestyle=line,
                marker=marker,
                capsize=3,
                markersize=5,
                label=label or None,
            )
        if _numeric([group[first] for group in groups]):
            if min(places.values()) > 0 and max(places.values()) >= DECADE * min(places.values()):
                axes.set_xscale("log")
        else:
            axes.set_xticks(list(places.values()), list(places))
        axes.set(xlabel=first.replace("_", " "), ylabel=f"{held_out} {measure.axis}")
        axes.set_title(
            "Last epoch; bars: standard deviation over seeds" if _spread(groups, figure_name) else "Last epoch"
        )
        if others:
            axes.legend(fontsize=9)


def curves_by_epoch(
    curves: Mapping[str, Sequence[Mapping[str, Any]]], held_out: str, path: Path, measure: Measure = PREDICTIONS
) -> None:
    """Held-out figure of ``measure`` against epoch; ``curves``: every training's epochs, by its settings."""
    with drawing(path, (8.4, 4.2)) as figure:
        axes = figure.subplots()
        for number, (label, history) in enumerate(curves.items()):
            color, line, marker = LOOKS[number % len(LOOKS)]
            found = [(entry["epoch"], measure.within(entry, held_out)) for entry in history]
            known = [(epoch, measure.factor * value) for epoch, value in found if value is not None]
            axes.plot(
                [epoch for epoch, _ in known],
                [value for _, value in known],
                color=color,
                linestyle=line,
                marker=marker,
                markersize=5,
                markerfacecolor="white" if number // len(LOOKS) % 2 else color,
                label=label,
            )
        axes.set(xlabel="epoch", ylabel=f"{held_out} {measure.axis}", ylim=(0, None), title="Learning curves")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)


def _spread(groups: Sequence[Mapping[str, Any]], figure: str) -> bool:
    return any(group[f"{figure}_deviation"] for group in groups)


def _numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _places(values: Sequence[Any]) -> dict[str, float]:
    """Return the position of each value on the axis: numbers at their value, anything else in the given order."""
    if _numeric(values):
        return {_text(value): float(value) for value in values}
    return {text: float(place) for place, text in enumerate(dict.fromkeys(map(_text, values)))}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
