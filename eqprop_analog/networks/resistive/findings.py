"""Warnings about a finished run of a resistive network: attenuation, cells at a bound, cells below gmin."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from eqprop_analog.errors import UserError
from eqprop_analog.experiments.findings import Finding
from eqprop_analog.networks.resistive.config import ResistiveConfig
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.recipe import TARGET, swing

WEAK = 0.05
"""Smallest rms response of the outputs to inputs, relative to the target; below it the circuit attenuates."""
AT_MAXIMUM = 0.05
"""Fraction of a crossbar's cells at G_max that is worth a warning: the window is too narrow, or the rates are too large."""
AT_MINIMUM = 0.95
"""The same at G_min, where about half of the cells start and cells of dark pixels remain."""
NEAR = 1e-6
"""Largest distance of a cell from a limit of the window at which it counts as pinned, relative to the window."""
SHARE = 1e-3
"""Share of a column's conductance; if all cells below gmin have a smaller share, removing them has no effect."""
GMIN = 1e-12
"""Default conductance that SPICE connects across every junction, siemens."""


@dataclass(frozen=True)
class Cells:
    """Fractions of the cells of one crossbar."""

    crossbar: int
    """Number of the crossbar, from 1."""
    at_minimum: float
    at_maximum: float
    below_gmin: float
    """Cells above 0 S but below the conductance that the simulator connects across every junction."""
    share_below_gmin: float
    """Largest total share of such cells in the conductance of a column."""


def findings(config: ResistiveConfig, network: ResistiveNetwork) -> tuple[list[Finding], dict[str, Any]]:
    """Warnings about a run that ended with ``network``, and the figures of its crossbars."""
    counted = cells(network)
    found = _attenuation(config, network) + [finding for one in counted for finding in _of_cells(one, network)]
    return found, {"cells": [asdict(one) for one in counted]}


def _attenuation(config: ResistiveConfig, network: ResistiveNetwork) -> list[Finding]:
    try:
        moved = swing(network, config.input_rms, config.surrogate())
    except UserError as error:
        return [Finding("attenuation", f"the effect of the inputs on the outputs could not be computed: {error}")]
    if moved >= WEAK * TARGET:
        return []
    return [
        Finding(
            "attenuation",
            f"the circuit attenuates: inputs of {network.input_gain:.3g} V at 1 move its outputs by {moved:.2g} V root mean "
            f"square, but the targets are {TARGET:g} V apart. Raise --input-gain or --amplifier-gain, or leave out --input-gain",
        )
    ]


def _of_cells(one: Cells, network: ResistiveNetwork) -> list[Finding]:
    low, high = network.conductance_window
    found = []
    for fraction, limit, end in ((one.at_maximum, AT_MAXIMUM, high), (one.at_minimum, AT_MINIMUM, low)):
        if fraction > limit:
            name = "G_max" if end == high else "G_min"
            found.append(
                Finding(
                    "pinned",
                    f"{100 * fraction:.1f} % of the cells of crossbar {one.crossbar} are pinned at {name} = {end:g} S; use "
                    "smaller rates (--rate-factor) or another conductance window",
                )
            )
    if one.share_below_gmin > SHARE:
        matrix, gmin = network.conductances[one.crossbar - 1], gmin_of(network)
        least = float(matrix[matrix > 0].min())
        found.append(
            Finding(
                "below-gmin",
                f"{round(one.below_gmin * matrix.size)} of {matrix.size} cells of crossbar {one.crossbar} have "
                f"conductances below gmin = {gmin:g} S but above 0, the smallest {least:.2g} S (a resistor of "
                f"{1 / least:.2g} ohm), and make up {100 * one.share_below_gmin:.2g} % of a column's conductance. No "
                "device can hold such a value, and simulators connect gmin across junctions. Train with G_min > 0, "
                "or with conductances far above gmin",
            )
        )
    return found


def cells(network: ResistiveNetwork) -> list[Cells]:
    """The figures of every crossbar that learns."""
    low, high = network.conductance_window
    near, gmin = NEAR * (high - low), gmin_of(network)
    counted = []
    for number, crossbar in enumerate(network.crossbars, start=1):
        matrix = crossbar.conductance
        if not matrix.size:
            continue
        below = (matrix > 0) & (matrix < gmin)
        columns = crossbar.column_sums()
        shares = np.divide(
            crossbar.of(matrix * below).column_sums(), columns, out=np.zeros_like(columns), where=columns > 0
        )
        counted.append(
            Cells(
                number,
                float((matrix <= low + near).mean()),
                float((matrix >= high - near).mean()),
                float(below.mean()),
                float(shares.max()),
            )
        )
    return counted


def gmin_of(network: ResistiveNetwork) -> float:
    """Conductance that the simulator connects across a junction of this network, siemens."""
    law = network.single_diode
    return getattr(law, "gmin", 0.0) or GMIN
