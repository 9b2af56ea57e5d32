"""Constitutive laws, one per file: current, slope, co-content, scalar node solve, and the name of the SPICE model."""

from eqprop_analog.devices.antiparallel import Antiparallel, is_own_device, own_subcircuit, slopes_between
from eqprop_analog.devices.capabilities import CompiledNode, DiodeLaw
from eqprop_analog.devices.clamp import Clamp
from eqprop_analog.devices.diode import NgspiceDiode
from eqprop_analog.devices.diode_rs import DiodeWithResistance
from eqprop_analog.devices.law import Law
from eqprop_analog.devices.piecewise_linear import PiecewiseLinear
from eqprop_analog.devices.shockley import Shockley
from eqprop_analog.devices.table import LAWS, check_law, in_words, law_from, register_law, table_of, with_units
from eqprop_analog.devices.tabulated import Tabulated

__all__ = [
    "LAWS",
    "Antiparallel",
    "Clamp",
    "CompiledNode",
    "DiodeLaw",
    "DiodeWithResistance",
    "Law",
    "NgspiceDiode",
    "PiecewiseLinear",
    "Shockley",
    "Tabulated",
    "check_law",
    "in_words",
    "is_own_device",
    "law_from",
    "own_subcircuit",
    "register_law",
    "slopes_between",
    "table_of",
    "with_units",
]
