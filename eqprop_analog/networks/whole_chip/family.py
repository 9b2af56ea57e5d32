"""Layered resistive networks with the imperfections of a chip and possibly nonlinear cells; they have no file format."""

from eqprop_analog.core.registry import Family
from eqprop_analog.networks.nonideal.family import FAMILY as NONIDEAL
from eqprop_analog.networks.whole_chip.network import WholeChip
from eqprop_analog.networks.whole_chip.newton import WholeChipNewtonSolver

FAMILY = Family("whole_chip", WholeChip, "", WholeChipNewtonSolver, NONIDEAL.tolerance)
