"""Resistive networks on any graph."""

from typing import Any

from eqprop_analog.core.registry import Family
from eqprop_analog.models.graph_network import FORMAT, GraphNetwork
from eqprop_analog.solvers.sparse_newton import SparseNewtonSolver


def _description() -> Any:
    from eqprop_analog.families.graph_description import DESCRIPTION

    return DESCRIPTION


def _config() -> Any:
    from eqprop_analog.config.graph import GraphConfig

    return GraphConfig


FAMILY = Family("graph", GraphNetwork, FORMAT, SparseNewtonSolver, config=_config, description=_description)
