"""The core that all kinds of networks share: the two protocols that a new kind implements, and the registry of kinds."""

from eqprop_analog.core.equations import Equations
from eqprop_analog.core.network import Network
from eqprop_analog.core.registry import Family, families, family_of, load_network, register
from eqprop_analog.core.solver import Solver

__all__ = ["Equations", "Family", "Network", "Solver", "families", "family_of", "load_network", "register"]
