"""A training run: its learning curve, and where its parameters end."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from eqprop_analog.plotting.style import drawing

Array = np.ndarray


def learning_curve(history: list[dict[str, Any]], path: Path | None = None) -> Figure:
    """Training error (of the free phases, before each update) and test or validation error against epoch, in percent."""
    with drawing(path, (6.4, 3.8)) as figure:
        axes = figure.subplots()
        held_out = "validation" if any("validation_error" in entry for entry in history) else "test"
        for name, style in (("train", "o--"), (held_out, "s-")):
            measured = [entry for entry in history if f"{name}_error" in entry]
            epochs = [entry["epoch"] for entry in measured]
            values = [100 * entry[f"{name}_error"] for entry in measured]
            shade = "0.55" if name == "train" else "black"
            axes.plot(epochs, values, style, color=shade, label=f"{name}, last {values[-1]:.2f} %", markersize=4)
        axes.set(xlabel="epoch", ylabel="error (%)", ylim=(0, None), title="Learning curve")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    return figure


def histograms(arrays: Mapping[str, Float[Array, "..."]], path: Path) -> None:
    """How each array's values are distributed, one panel each, with its name."""
    with drawing(path, (3.6 * len(arrays) + 0.6, 3.4)) as figure:
        for axes, (name, values) in zip(figure.subplots(1, len(arrays), squeeze=False)[0], arrays.items(), strict=True):
            axes.hist(values.ravel(), bins=60, color="0.45")
            axes.set(xlabel=name, ylabel="how many", yscale="log")
