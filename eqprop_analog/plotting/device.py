"""A device's measured curve, the law made from it, and the residuals."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.plotting.style import BLUE, RED, drawing
from eqprop_analog.text import printable

Array = np.ndarray

POINTS = 2000
"""Number of points along the law."""
LEAST_DECADES = 1e-12
"""Fraction of the largest current below which points are omitted from the logarithmic plot."""


def curve_and_law(
    path: Path,
    voltage: Float[Array, " points"],
    current: Float[Array, " points"],
    line: tuple[Float[Array, " places"], Float[Array, " places"]],
    title: str,
    label: str,
) -> None:
    """Plot currents (A) against voltages (V), linear and logarithmic, and below the relative residuals of the law.

    ``line``: ascending voltages, including the measured ones, and currents of the law.
    """
    along, by_law = line
    least = LEAST_DECADES * float(np.abs(current).max())
    with drawing(path, (8.4, 5.6)) as figure:
        axes = figure.subplots(2, 2, height_ratios=(2, 1), sharex=True)
        style: Any = {"marker": "o", "linestyle": "", "markersize": 3, "color": BLUE}
        for plot, points, curve in ((axes[0, 0], current, by_law), (axes[0, 1], np.abs(current), np.abs(by_law))):
            plot.plot(voltage, points, label="measured", **style)
            plot.plot(along, curve, color=RED, label=label, linewidth=1.2)
        axes[0, 0].set(ylabel="current (A)", title=printable(title))
        axes[0, 0].legend(fontsize=9)
        axes[0, 1].set_yscale("log")
        top = 3 * float(max(np.abs(current).max(), least))
        axes[0, 1].set(ylabel="|current| (A)", ylim=(max(least, 0.3 * float(np.abs(current[current != 0]).min())), top))
        residual = by_law[np.searchsorted(along, voltage)] - current
        axes[1, 0].plot(voltage, residual, **style)
        axes[1, 0].set(ylabel="law - measured (A)", xlabel="voltage across the device (V)")
        large = np.abs(current) > least
        axes[1, 1].plot(voltage[large], 100 * residual[large] / np.abs(current[large]), **style)
        axes[1, 1].set(ylabel="law - measured (% of I)", xlabel="voltage across the device (V)")
