"""Energy-based neural networks as analog circuits: compiled to SPICE, solved, trained by equilibrium propagation."""

from eqprop_analog.devices import Antiparallel, Clamp, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.equilibrium import Equilibrium, Status
from eqprop_analog.errors import UserError
from eqprop_analog.learning.contrast import Gradient, contrast
from eqprop_analog.models import ResistiveNetwork
from eqprop_analog.nudging import Nudge
from eqprop_analog.solvers import NgspiceSolver, SurrogateSolver

__all__ = [
    "Antiparallel",
    "Clamp",
    "Equilibrium",
    "Gradient",
    "NgspiceDiode",
    "NgspiceSolver",
    "Nudge",
    "PiecewiseLinear",
    "ResistiveNetwork",
    "Shockley",
    "Status",
    "SurrogateSolver",
    "UserError",
    "contrast",
]
