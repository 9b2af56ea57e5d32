"""Layered resistive networks with the imperfections of a chip; they have no file format."""

from eqprop_analog.core.registry import Family
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.newton import NonidealNewtonSolver
from eqprop_analog.networks.resistive.family import TOLERANCE

FAMILY = Family("nonideal", NonidealNetwork, "", NonidealNewtonSolver, TOLERANCE)
