"""Layered resistive networks with a chip's imperfections whose cells need not be linear; they have no files of their own."""

from eqprop_analog.core.registry import Family
from eqprop_analog.networks.nonideal.family import FAMILY as NONIDEAL
from eqprop_analog.networks.whole_chip.network import WholeChip
from eqprop_analog.networks.whole_chip.newton import WholeChipNewtonSolver

FAMILY = Family("whole_chip", WholeChip, "", WholeChipNewtonSolver, NONIDEAL.tolerance)
