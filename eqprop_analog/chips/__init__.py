"""Chips: what a specification of imperfections delivers, how a network is brought onto it, and statistics over many."""

from eqprop_analog.chips.chip import Chip
from eqprop_analog.chips.readout import Readout
from eqprop_analog.chips.specification import Specification

__all__ = ["Chip", "Readout", "Specification"]
