"""The gradient that equilibrium propagation measures by finite nudges, against the exact one of the free equilibrium."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from eqprop_analog.plotting.style import BLUE, drawing

Array = np.ndarray

DOTS = 4000
"""Largest number of dots of a scatter plot: the largest values of either gradient, and evenly spaced others."""


@dataclass(frozen=True)
class GradientAgreement:
    """Both gradients of one parameter array."""

    name: str
    cosine: float
    """Cosine of the angle between the two gradients."""
    error: float
    """|measured - exact|/|exact|, Euclidean."""
    size: int
    """Parameters."""


def gradient_agreement(
    measured: Mapping[str, Array], exact: Mapping[str, Array], path: Path
) -> list[GradientAgreement]:
    """Draw one panel per parameter array that has a gradient: the measured gradient of each parameter over the exact one."""
    names = [name for name in measured if exact[name].any() and measured[name].any()]
    found = [_compared(name, measured[name].ravel(), exact[name].ravel()) for name in names]
    if not names:
        return []
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    with drawing(path, (2.9 * columns, 3.0 * rows)) as figure:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, each in zip(panels, found, strict=False):
            x, y = exact[each.name].ravel(), measured[each.name].ravel()
            some = _chosen(x)
            limits = [min(x.min(), y.min()), max(x.max(), y.max())]
            axes.plot(limits, limits, color="0.6", linewidth=1, label="equal")
            axes.plot(x[some], y[some], "o", color=BLUE, markersize=2.5, markerfacecolor="none", markeredgewidth=0.5)
            axes.set_title(f"{each.name}: relative error {100 * each.error:.2g} %", fontsize=9)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(4))
                axis.set_major_formatter(_scientific())
        for axes in panels[len(found) :]:
            axes.set_visible(False)
        figure.supxlabel("exact dC/dθ, by the implicit function theorem (V² over the parameter's unit)", fontsize=10)
        figure.supylabel("measured by nudges of ±β", fontsize=10)
    return found


def _compared(name: str, measured: Array, exact: Array) -> GradientAgreement:
    sizes = np.linalg.norm(measured), np.linalg.norm(exact)
    cosine = float(measured @ exact / (sizes[0] * sizes[1]))
    return GradientAgreement(name, cosine, float(np.linalg.norm(measured - exact) / sizes[1]), exact.size)


def _chosen(exact: Array) -> Array:
    order = np.argsort(-np.abs(exact), kind="stable")
    half = DOTS // 2
    return np.unique(np.concatenate([order[:half], order[half :: max(1, exact.size // half)]]))


def _scientific() -> ScalarFormatter:
    formatter = ScalarFormatter(useMathText=True)
    formatter.set_powerlimits((-2, 3))
    return formatter
