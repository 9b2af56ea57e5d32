"""Layered resistive networks."""

from pathlib import Path
from typing import Any

from eqprop_analog.core.registry import Family
from eqprop_analog.networks.resistive.network import FORMAT, ResistiveNetwork
from eqprop_analog.networks.resistive.surrogate import SurrogateSolver
from eqprop_analog.spice.ngspice.sweeps import TOGETHER_THEN_ALONE, Rung

# The first rung asks for more than the certificate needs; the later ones take what the certificate accepts, from better starts.
LADDER = (
    *TOGETHER_THEN_ALONE,
    Rung("alone, from the surrogate's voltages", 1, {"reltol": 1e-10, "vntol": 1e-13, "itl2": 2000}, guess=True),
    Rung("alone, gmin and source stepping", 1, {"reltol": 1e-9, "vntol": 1e-12, "gminsteps": 20, "srcsteps": 20}),
)
TOLERANCE = 1e-10
"""ngspice's own reltol = 1e-11 leaves far less."""


def _histograms(network: ResistiveNetwork, path: Path) -> None:
    from eqprop_analog.plotting import training

    training.conductance_histograms(network, path)


def _description() -> Any:
    from eqprop_analog.networks.resistive.description import DESCRIPTION

    return DESCRIPTION


def _config() -> Any:
    from eqprop_analog.networks.resistive.config import ResistiveConfig

    return ResistiveConfig


FAMILY = Family(
    "resistive",
    ResistiveNetwork,
    FORMAT,
    SurrogateSolver,
    TOLERANCE,
    LADDER,
    pictures={"conductances.png": _histograms},
    config=_config,
    description=_description,
)
