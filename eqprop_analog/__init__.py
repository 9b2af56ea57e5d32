"""Energy-based neural networks as analog circuits: compiled to SPICE, solved, trained by equilibrium propagation."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from eqprop_analog import moved

if TYPE_CHECKING:
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

moved.install()
_HOMES = (
    ("devices", "Antiparallel Clamp NgspiceDiode PiecewiseLinear Shockley"),
    ("equilibrium", "Equilibrium Status"),
    ("errors", "UserError"),
    ("learning.contrast", "contrast"),
    ("learning.edges", "edge_contrast"),
    ("models", "Gradient GraphNetwork HopfieldNetwork ResistiveNetwork"),
    ("nudging", "Nudge"),
    ("solvers", "DiscreteTimeSolver GradientFlowSolver HopfieldDescentSolver HopfieldNgspiceSolver"),
    ("solvers", "LeakyIntegratorSolver NgspiceSolver SurrogateSolver"),
    ("solvers.graph_ngspice", "GraphNgspiceSolver"),
    ("solvers.sparse_newton", "SparseNewtonSolver"),
)
_HOME = {name: module for module, names in _HOMES for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: a command starts fast, and `doctor` even where a library is broken."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
