"""Technologies from measurements: readings of conductances between pulses, fitted to the pulse laws."""

from eqprop_analog.devices.conductance.fitting.fit import CRITERION, Quantity, TechnologyFit, fitted
from eqprop_analog.devices.conductance.fitting.readings import Readings, read_pulses

__all__ = ["CRITERION", "Quantity", "Readings", "TechnologyFit", "fitted", "read_pulses"]
