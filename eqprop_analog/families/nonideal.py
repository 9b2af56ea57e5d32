"""Layered resistive networks with a chip's imperfections; they have no files of their own."""

from eqprop_analog.core.registry import Family
from eqprop_analog.families.resistive import TOLERANCE
from eqprop_analog.models.nonideal_network import NonidealNetwork
from eqprop_analog.solvers.nonideal_newton import NonidealNewtonSolver

FAMILY = Family("nonideal", NonidealNetwork, "", NonidealNewtonSolver, TOLERANCE)
