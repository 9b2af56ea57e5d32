"""Resistive networks on any graph."""

from eqprop_analog.core.registry import Family, later
from eqprop_analog.networks.graph.network import FORMAT, GraphNetwork
from eqprop_analog.networks.graph.newton import SparseNewtonSolver

HERE = __name__.rpartition(".")[0]

FAMILY = Family(
    "graph",
    GraphNetwork,
    FORMAT,
    SparseNewtonSolver,
    config=later(f"{HERE}.config:GraphConfig"),
    description=later(f"{HERE}.description:DESCRIPTION"),
)
