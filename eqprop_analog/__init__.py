"""Energy-based neural networks as analog circuits: compiled to SPICE, solved, trained by equilibrium propagation."""

from eqprop_analog.devices import Antiparallel, Clamp, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.equilibrium import Equilibrium, Status
from eqprop_analog.errors import UserError
from eqprop_analog.learning.contrast import contrast
from eqprop_analog.learning.edges import edge_contrast
from eqprop_analog.models import Gradient, GraphNetwork, HopfieldNetwork, ResistiveNetwork
from eqprop_analog.nudging import Nudge
from eqprop_analog.solvers import (
    DiscreteTimeSolver,
    GradientFlowSolver,
    HopfieldDescentSolver,
    HopfieldNgspiceSolver,
    LeakyIntegratorSolver,
    NgspiceSolver,
    SurrogateSolver,
)
from eqprop_analog.solvers.graph_ngspice import GraphNgspiceSolver
from eqprop_analog.solvers.sparse_newton import SparseNewtonSolver

__all__ = [
    "Antiparallel",
    "Clamp",
    "DiscreteTimeSolver",
    "Equilibrium",
    "Gradient",
    "GradientFlowSolver",
    "GraphNetwork",
    "GraphNgspiceSolver",
    "HopfieldDescentSolver",
    "HopfieldNetwork",
    "HopfieldNgspiceSolver",
    "LeakyIntegratorSolver",
    "NgspiceDiode",
    "NgspiceSolver",
    "Nudge",
    "PiecewiseLinear",
    "ResistiveNetwork",
    "Shockley",
    "SparseNewtonSolver",
    "Status",
    "SurrogateSolver",
    "UserError",
    "contrast",
    "edge_contrast",
]
