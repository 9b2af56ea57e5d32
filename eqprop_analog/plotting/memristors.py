"""A crossbar of memristors during pulses: conductances in ngspice as dots, those of the pulse model as lines."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from eqprop_analog.plotting.style import drawing

Array = np.ndarray

SHOWN = 6
"""Cells."""


def memristors(
    simulated: Float[Array, "moments rows columns"], model: Float[Array, "moments rows columns"], path: Path
) -> None:
    """Plot conductances (S) of the first cells after every pulse, and below the error of the model, relative to the window."""
    span = np.ptp(simulated)
    with drawing(path, (7.5, 5.2)) as figure:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        for number, (i, j) in enumerate(list(np.ndindex(simulated.shape[1:]))[:SHOWN]):
            above.plot(1e6 * simulated[:, i, j], ".", color=f"C{number}", markersize=4, label=f"row {i}, column {j}")
            above.plot(1e6 * model[:, i, j], color="black", linewidth=0.8)
        below.plot(100 * np.abs(simulated - model).max(axis=(1, 2)) / span, color="0.3")
        above.set_ylabel("conductance (µS)")
        above.legend(fontsize=7, title="ngspice (dots), pulse model (lines)", title_fontsize=7, ncols=2)
        below.set_ylabel("largest |ΔG| (% of window)")
        below.set_xlabel("number of pulses, each on one cell")
