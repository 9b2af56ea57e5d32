"""Predictions of a network: read-out voltages of single samples, and the confusion matrix."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from eqprop_analog.core.readouts import predictions
from eqprop_analog.plotting.crossbars import PLAIN
from eqprop_analog.plotting.style import BLUE, GREEN, RED, drawing

Array = np.ndarray

WORDS = 20
"""Largest number of classes for which every cell of a confusion matrix shows its number."""


def answers(
    images: Float[Array, "samples height width"] | None,
    readout: Float[Array, "samples classes"],
    targets: Float[Array, "samples classes"],
    unit: str,
    path: Path,
    classes: bool = True,
) -> None:
    """Draw for each sample its image, if it has one, and its read-outs as bars (``unit``), with the targets as lines.

    With ``classes``, the bar of the correct class is green and hatched; a wrong prediction is red.
    """
    samples, count = readout.shape
    rows = 1 if images is None else 2
    low, high = min(0.0, readout.min(), targets.min()), max(readout.max(), targets.max())
    margin = 0.08 * (high - low)
    with drawing(path, (max(2.1 * samples, 4), 1.9 * rows + 0.8), PLAIN) as figure:
        panels = figure.subplots(rows, samples, squeeze=False, height_ratios=[1, 1.1][-rows:])
        for k in range(samples):
            if images is not None:
                panels[0, k].imshow(images[k], cmap="gray_r", interpolation="nearest")
                panels[0, k].axis("off")
            axes: Axes = panels[-1, k]
            bars = axes.bar(range(count), readout[k], color=BLUE)
            axes.hlines(targets[k], np.arange(count) - 0.5, np.arange(count) + 0.5, color="black", lw=1.2, ls="--")
            if classes:
                (right,), (said,) = predictions(targets[k : k + 1]), predictions(readout[k : k + 1])
                if count > 1:
                    bars[said].set(facecolor=RED)
                    bars[right].set(facecolor=GREEN, hatch="////", edgecolor="white", linewidth=0)
                axes.set_title(f"{said}" if right == said else f"predicted {said}, correct {right}", fontsize=10)
            axes.set(ylim=(low - margin, high + margin), xlabel="read-out")
            axes.axhline(0, color="black", linewidth=0.6)
            if count <= WORDS:
                axes.set_xticks(range(count), [*map(str, range(count))], fontsize=8)
            if k:
                axes.set_yticklabels([])
        panels[-1, 0].set_ylabel(f"read-out ({unit})" if unit else "read-out")


def confusion(said: Int[Array, " samples"], right: Int[Array, " samples"], classes: int, path: Path) -> None:
    """Draw the confusion matrix: shades are fractions of the class, numbers are samples."""
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (right, said), 1)
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(1.8 + 0.42 * classes, 9)
    with drawing(path, (side + 0.9, side), PLAIN) as figure:
        axes = figure.subplots()
        image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
        figure.colorbar(image, ax=axes, label="fraction of the class (%)", shrink=0.85)
        axes.set(xlabel="predicted class", ylabel="class")
        wrong = int((said != right).sum())
        axes.set_title(f"{len(said):,} samples, {wrong:,} wrong ({100 * wrong / len(said):.2f} %)", fontsize=10)
        if classes <= WORDS:
            axes.set_xticks(range(classes))
            axes.set_yticks(range(classes))
            style: Any = {"ha": "center", "va": "center", "fontsize": 8}
            for i, j in zip(*np.nonzero(counts), strict=True):
                axes.text(j, i, f"{counts[i, j]}", color="white" if share[i, j] > 50 else "black", **style)
        else:
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(8, integer=True))
