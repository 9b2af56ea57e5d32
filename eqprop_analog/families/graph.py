"""Resistive networks on any graph."""

from eqprop_analog.core.families import Family
from eqprop_analog.models.graph_network import FORMAT, GraphNetwork
from eqprop_analog.solvers.sparse_newton import SparseNewtonSolver

FAMILY = Family("graph", GraphNetwork, FORMAT, SparseNewtonSolver)
