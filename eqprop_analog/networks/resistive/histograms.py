"""Histograms of the conductances of a trained resistive network."""

from pathlib import Path

from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.plotting.style import drawing
from eqprop_analog.plotting.training import conductances


def conductance_histograms(network: ResistiveNetwork, path: Path) -> None:
    """Distribution of the conductances of each crossbar within the window, with the fraction at G_min."""
    learning = [(l, each) for l, each in enumerate(network.crossbars, start=1) if each.free_parameters]
    with drawing(path, (4.4 * len(learning) + 0.6, 3.7)) as figure:
        row = figure.subplots(1, len(learning), squeeze=False)[0]
        for axes, (number, crossbar) in zip(row, learning, strict=True):
            conductances(axes, crossbar.conductance, network.conductance_window)
            axes.set_title(f"crossbar {number}, {' x '.join(map(str, crossbar.conductance.shape))}")
