"""Distributions of the weights of a Hopfield network."""

from pathlib import Path

import numpy as np

from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.plotting.style import BARS, RED, drawing


def weight_histograms(network: HopfieldNetwork, path: Path) -> None:
    """Draw histograms of the weights of each connection, dimensionless; separate feedback weights are dashed."""
    with drawing(path, (3.6 * network.depth + 0.6, 3.4)) as figure:
        row = figure.subplots(1, network.depth, squeeze=False)[0]
        back = (None, *(network.returning or [None] * (network.depth - 1)))
        for number, (axes, values, returning) in enumerate(zip(row, network.weights, back, strict=True), start=1):
            edges = np.histogram_bin_edges(values if returning is None else np.concatenate([values, returning]), 60)
            axes.hist(values.ravel(), edges.tolist(), color=BARS, label="forward")
            if returning is not None:
                axes.hist(
                    returning.ravel(), edges.tolist(), histtype="step", linestyle="--", color=RED, label="backward"
                )
                axes.legend(fontsize=9)
            axes.set(xlabel="weight (dimensionless)", ylabel="weights", yscale="log")
            axes.set_title(f"connection {number}, {' x '.join(map(str, values.shape))}")
