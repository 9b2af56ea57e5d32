"""Where the conductances of a resistive network end."""

from pathlib import Path

from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.plotting.style import drawing


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
