"""Layered resistive networks."""

from eqprop_analog.core.registry import Family, later
from eqprop_analog.networks.resistive.network import FORMAT, ResistiveNetwork
from eqprop_analog.networks.resistive.surrogate import SurrogateSolver
from eqprop_analog.spice.ngspice.sweeps import TOGETHER_THEN_ALONE, Rung

# The first attempt has tighter tolerances than the certificate needs; later ones use those of the certificate and better starts.
LADDER = (
    *TOGETHER_THEN_ALONE,
    Rung("alone, from the surrogate's voltages", 1, {"reltol": 1e-10, "vntol": 1e-13, "itl2": 2000}, guess=True),
    Rung("alone, gmin and source stepping", 1, {"reltol": 1e-9, "vntol": 1e-12, "gminsteps": 20, "srcsteps": 20}),
)
TOLERANCE = 1e-10
"""ngspice's own reltol = 1e-11 gives much smaller residuals."""
HERE = __name__.rpartition(".")[0]

FAMILY = Family(
    "resistive",
    ResistiveNetwork,
    FORMAT,
    SurrogateSolver,
    TOLERANCE,
    LADDER,
    pictures={"conductances.png": later(f"{HERE}.histograms:conductance_histograms")},
    config=later(f"{HERE}.config:ResistiveConfig"),
    description=later(f"{HERE}.description:DESCRIPTION"),
    features={
        "findings": later(f"{HERE}.findings:findings"),
        "fresh": later(f"{HERE}.commands.fresh:FRESH"),
        "netlist reader": later(f"{HERE}.netlist_import:read"),
        "subcircuits": later(f"{HERE}.hierarchy:in_subcircuits"),
        "chip netlist": later(f"{HERE}.commands.chip_netlist:chip_netlist"),
        "wires": later("eqprop_analog.networks.whole_chip.network:chip_of"),
        "transient": later(f"{HERE}.commands.transient:run"),
        "energy": later(f"{HERE}.commands.energy:run"),
    },
)
