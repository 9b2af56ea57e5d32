"""Energy functions: what is described once, and solved, compiled and trained by everything else."""

from eqprop_analog.models.gradient import Gradient
from eqprop_analog.models.graph_network import GraphNetwork
from eqprop_analog.models.hopfield import HopfieldNetwork
from eqprop_analog.models.hopfield_equations import HopfieldEquations
from eqprop_analog.models.kirchhoff import NodalEquations
from eqprop_analog.models.resistive import Layers, Outputs, ResistiveNetwork

__all__ = [
    "Gradient",
    "GraphNetwork",
    "HopfieldEquations",
    "HopfieldNetwork",
    "Layers",
    "NodalEquations",
    "Outputs",
    "ResistiveNetwork",
]
