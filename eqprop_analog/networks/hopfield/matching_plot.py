"""Figures of the theorem: updates and gradients step by step, and the dependence of their difference on β."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from eqprop_analog.networks.hopfield.matching import Match
from eqprop_analog.plotting.style import AMBER, BLUE, GREEN, RED, drawing

Array = np.ndarray

CURVES = 3
"""Number of curves in each panel."""
MARKS = ((BLUE, "o"), (RED, "s"), (GREEN, "^"), (AMBER, "D"))
"""Colour and marker of each network."""


def chosen(gradients: Float[Array, "steps curves"]) -> Int[Array, " chosen"]:
    """Up to CURVES columns, evenly spaced in rank from the largest peak to the median of all non-zero peaks."""
    peaks = np.abs(gradients).max(axis=0)
    order = np.argsort(-peaks, kind="stable")[: max(1, int((peaks > 0).sum()))]
    return order[np.unique(np.linspace(0, (len(order) - 1) / 2, CURVES).astype(int))]


def curves(values: Float[Array, "steps ..."], name: str) -> Float[Array, "steps curves"]:
    """The curves that are drawn of an array of Match: states of the first sample, or a parameter as a flat array."""
    return values[:, 0] if name.startswith("state") else values.reshape(len(values), -1)


def step_by_step(result: Match, title: str, path: Path) -> None:
    """Updates (dashed) and gradients (solid) against the step: one row per layer, states on the left, weights on the right."""
    depth = sum(name.startswith("state") for name in result.updates)
    with drawing(path, (9.6, 1.2 + 2.1 * depth)) as figure:
        rows = figure.subplots(depth, 2, squeeze=False, sharex=True)
        for layer, row in enumerate(rows, start=1):
            for axes, name in zip(row, (f"state_{layer}", f"weight_{layer}"), strict=True):
                gradients, updates = (curves(side[name], name) for side in (result.gradients, result.updates))
                picked = chosen(gradients)
                axes.plot(gradients[:, picked], "-", color="#9ec3e6", linewidth=4)
                axes.plot(updates[:, picked], "--", color=RED, linewidth=1.2)
                axes.yaxis.set_major_locator(MaxNLocator(4))
            row[0].set_ylabel("output layer" if layer == depth else f"hidden layer {layer}")
        rows[0, 0].plot([], [], "-", color="#9ec3e6", linewidth=4, label="BPTT, t steps before the end: -dC/du, -dC/dW")
        rows[0, 0].plot([], [], "--", color=RED, linewidth=1.2, label="EP, nudged step t: Δs/β, Δ(∂Φ/∂W)/β")
        figure.legend(*rows[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        rows[0, 0].set_title("states (first sample)", fontsize=10)
        rows[0, 1].set_title("weights into the layer (batch mean)", fontsize=10)
        for axes in rows[-1]:
            axes.set_xlabel("step t")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.suptitle(title, fontsize=11)


def against_beta(
    betas: Sequence[float],
    steps: Mapping[str, Mapping[str, Sequence[float]]],
    estimates: Mapping[str, Mapping[str, Sequence[float]]],
    path: Path,
) -> None:
    """Relative errors of each network against β, for each nudging: step by step, and of the gradient of converged phases."""
    with drawing(path, (10.2, 4.6)) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, errors, title in (
            (left, steps, "Step by step: updates against BPTT"),
            (right, estimates, "Converged: contrast against dC/dθ"),
        ):
            for (shade, marker), (network, by_nudging) in zip(MARKS, errors.items(), strict=False):
                for nudging, style in (("one-sided", "-"), ("centred", "--")):
                    face = shade if nudging == "one-sided" else "white"
                    axes.plot(
                        betas,
                        by_nudging[nudging],
                        style,
                        color=shade,
                        marker=marker,
                        markersize=5,
                        markerfacecolor=face,
                    )
                axes.plot([], [], marker, color=shade, label=network)
            _guides(axes, np.array(betas))
            axes.set(xlabel="β", xscale="log", yscale="log", title=title)
        left.set_ylabel("largest difference / largest gradient of the array")
        right.plot([], [], "-", color="black", label="one-sided: β (filled)")
        right.plot([], [], "--", color="black", label="centred: ±β (open)")
        figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=9)


def _guides(axes: Axes, betas: Array) -> None:
    ends = np.array([betas[0], 10**-1.5])
    for power, scale, name in ((1, 6.0, "∝ β"), (2, 30.0, "∝ β²")):
        axes.plot(ends, scale * ends**power, ":", color="0.4", linewidth=1)
        at = 10**-3.5
        axes.annotate(
            name, (at, scale * at**power), xytext=(-4, 4), textcoords="offset points", ha="right", color="0.3"
        )
