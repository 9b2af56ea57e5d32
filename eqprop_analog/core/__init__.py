"""What every kind of network has in common: the two protocols that a new one implements, and where kinds are registered."""

from eqprop_analog.core.equations import Equations
from eqprop_analog.core.network import Network
from eqprop_analog.core.registry import Family, families, family_of, load_network, register
from eqprop_analog.core.solver import Solver

__all__ = ["Equations", "Family", "Network", "Solver", "families", "family_of", "load_network", "register"]
