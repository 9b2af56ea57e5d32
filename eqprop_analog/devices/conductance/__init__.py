"""Imperfections of programmable conductances, one per file; composed in ``Technology``, drawn as ``ChipDevices``.

A write: wanted conductance → nearest level → device's own factor → programming noise → device's own window → stuck
cells. A training step: wanted change → pulses → the pulse law within the device's own window → stuck cells.
"""

from eqprop_analog.devices.conductance.chip import ChipDevices, Devices
from eqprop_analog.devices.conductance.drift import Drift, PowerLawDrift
from eqprop_analog.devices.conductance.drift_joshi2020 import Joshi2020Drift
from eqprop_analog.devices.conductance.exponential_pulses import ExponentialPulses
from eqprop_analog.devices.conductance.linear_pulses import LinearPulses
from eqprop_analog.devices.conductance.programming_noise import GaussianNoise, LogNormalNoise, ProgrammingNoise
from eqprop_analog.devices.conductance.pulses import PulseLaw
from eqprop_analog.devices.conductance.relaxation_falcone2025 import Falcone2025Relaxation
from eqprop_analog.devices.conductance.soft_bounds import SoftBounds
from eqprop_analog.devices.conductance.spread import Spread
from eqprop_analog.devices.conductance.stuck import StuckCells
from eqprop_analog.devices.conductance.table_pulses import TablePulses
from eqprop_analog.devices.conductance.technology import Technology
from eqprop_analog.devices.conductance.window import Window

__all__ = [
    "ChipDevices",
    "Devices",
    "Drift",
    "ExponentialPulses",
    "Falcone2025Relaxation",
    "GaussianNoise",
    "Joshi2020Drift",
    "LinearPulses",
    "LogNormalNoise",
    "PowerLawDrift",
    "ProgrammingNoise",
    "PulseLaw",
    "SoftBounds",
    "Spread",
    "StuckCells",
    "TablePulses",
    "Technology",
    "Window",
]
