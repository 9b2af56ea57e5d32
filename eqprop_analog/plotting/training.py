"""A training run: its learning curve, and where its conductances end."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.ticker import MaxNLocator

from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.plotting.style import drawing

Array = np.ndarray


def learning_curve(history: list[dict[str, Any]], path: Path) -> None:
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


def conductance_histograms(network: ResistiveNetwork, path: Path) -> None:
    """How the conductances of each crossbar are distributed, in microsiemens, with the share at G_min."""
    learning = [(l, each) for l, each in enumerate(network.crossbars, start=1) if each.free_parameters]
    with drawing(path, (3.6 * len(learning) + 0.6, 3.4)) as figure:
        row = figure.subplots(1, len(learning), squeeze=False)[0]
        low = network.conductance_window[0]
        for axes, (number, crossbar) in zip(row, learning, strict=True):
            matrix = crossbar.conductance
            above = 1e6 * matrix[matrix > low]
            axes.hist(above, bins=60, color="0.45")
            shape = " x ".join(map(str, matrix.shape))
            share = 100 * (1 - above.size / matrix.size)
            axes.set(xlabel="conductance (µS)", ylabel="cells", yscale="log")
            axes.set_title(f"crossbar {number}, {shape}; {share:.1f} % at G_min")


def weight_histograms(network: HopfieldNetwork, path: Path) -> None:
    """How the weights of each connection are distributed, dimensionless, those of the way back (untied) dashed."""
    with drawing(path, (3.6 * network.depth + 0.6, 3.4)) as figure:
        row = figure.subplots(1, network.depth, squeeze=False)[0]
        back = (None, *(network.returning or [None] * (network.depth - 1)))
        for number, (axes, values, returning) in enumerate(zip(row, network.weights, back, strict=True), start=1):
            edges = np.histogram_bin_edges(values if returning is None else np.concatenate([values, returning]), 60)
            axes.hist(values.ravel(), edges.tolist(), color="0.45")
            if returning is not None:
                axes.hist(returning.ravel(), edges.tolist(), histtype="step", linestyle="--", color="black")
            axes.set(xlabel="weight", ylabel="weights", yscale="log")
            axes.set_title(f"connection {number}, {' x '.join(map(str, values.shape))}")


def histograms(arrays: Mapping[str, Float[Array, "..."]], path: Path) -> None:
    """How each array's values are distributed, one panel each, with its name."""
    with drawing(path, (3.6 * len(arrays) + 0.6, 3.4)) as figure:
        for axes, (name, values) in zip(figure.subplots(1, len(arrays), squeeze=False)[0], arrays.items(), strict=True):
            axes.hist(values.ravel(), bins=60, color="0.45")
            axes.set(xlabel=name, ylabel="how many", yscale="log")
