"""Resistive networks on any graph."""

from typing import Any

from eqprop_analog.core.registry import Family
from eqprop_analog.networks.graph.network import FORMAT, GraphNetwork
from eqprop_analog.networks.graph.newton import SparseNewtonSolver


def _description() -> Any:
    from eqprop_analog.networks.graph.description import DESCRIPTION

    return DESCRIPTION


def _config() -> Any:
    from eqprop_analog.networks.graph.config import GraphConfig

    return GraphConfig


FAMILY = Family("graph", GraphNetwork, FORMAT, SparseNewtonSolver, config=_config, description=_description)
