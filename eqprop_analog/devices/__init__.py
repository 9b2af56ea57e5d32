"""Constitutive laws, one a file: current, slope, co-content, scalar node solve, and the name of the SPICE model."""

from eqprop_analog.devices.clamp import Clamp
from eqprop_analog.devices.diode import NgspiceDiode
from eqprop_analog.devices.law import Law

LAWS: dict[str, type[Law]] = {"clamp": Clamp, "ngspice": NgspiceDiode}
"""Every law by the name that configurations and saved networks use."""

__all__ = ["LAWS", "Clamp", "Law", "NgspiceDiode"]
