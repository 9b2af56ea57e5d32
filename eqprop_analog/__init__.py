"""Energy-based neural networks as analog circuits: compiled to SPICE, solved, trained by equilibrium propagation."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from eqprop_analog import moved

if TYPE_CHECKING:
    from eqprop_analog.core.equilibrium import Equilibrium, Status
    from eqprop_analog.core.gradient import Gradient
    from eqprop_analog.core.nudge import Nudge
    from eqprop_analog.core.registry import load_network
    from eqprop_analog.data.memory import dataset_from_arrays, dataset_from_loader, load_dataset
    from eqprop_analog.devices import Antiparallel, Clamp, NgspiceDiode, PiecewiseLinear, Shockley
    from eqprop_analog.errors import UserError
    from eqprop_analog.experiments.agreement import compare
    from eqprop_analog.experiments.training import train
    from eqprop_analog.learning.contrast import contrast
    from eqprop_analog.learning.edges import edge_contrast
    from eqprop_analog.learning.trainer import PhaseLearner, Rule, evaluate, train_epoch
    from eqprop_analog.learning.update import Rates, UniformRates, WeightRates
    from eqprop_analog.networks.graph.network import GraphNetwork
    from eqprop_analog.networks.graph.newton import SparseNewtonSolver
    from eqprop_analog.networks.hopfield.descent import HopfieldDescentSolver
    from eqprop_analog.networks.hopfield.discrete_time import DiscreteTimeSolver
    from eqprop_analog.networks.hopfield.gradient_flow import GradientFlowSolver
    from eqprop_analog.networks.hopfield.leaky_integrator import LeakyIntegratorSolver
    from eqprop_analog.networks.hopfield.network import HopfieldNetwork
    from eqprop_analog.networks.hopfield.ngspice import HopfieldNgspiceSolver
    from eqprop_analog.networks.resistive.network import ResistiveNetwork
    from eqprop_analog.networks.resistive.relu import translate_relu
    from eqprop_analog.networks.resistive.surrogate import SurrogateSolver
    from eqprop_analog.plotting.figures import plot_learning_curve, plot_parameters, plot_phases, plot_voltages
    from eqprop_analog.spice.ngspice.cluster import on_cluster
    from eqprop_analog.spice.ngspice.solver import GraphNgspiceSolver, NgspiceSolver

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
    "PhaseLearner",
    "PiecewiseLinear",
    "Rates",
    "ResistiveNetwork",
    "Rule",
    "Shockley",
    "SparseNewtonSolver",
    "Status",
    "SurrogateSolver",
    "UniformRates",
    "UserError",
    "WeightRates",
    "compare",
    "contrast",
    "dataset_from_arrays",
    "dataset_from_loader",
    "edge_contrast",
    "evaluate",
    "load_dataset",
    "load_network",
    "on_cluster",
    "plot_learning_curve",
    "plot_parameters",
    "plot_phases",
    "plot_voltages",
    "train",
    "train_epoch",
    "translate_relu",
]

moved.install()
_HOMES = (
    ("core.equilibrium", "Equilibrium Status"),
    ("core.gradient", "Gradient"),
    ("core.nudge", "Nudge"),
    ("core.registry", "load_network"),
    ("data.memory", "dataset_from_arrays dataset_from_loader load_dataset"),
    ("devices", "Antiparallel Clamp NgspiceDiode PiecewiseLinear Shockley"),
    ("errors", "UserError"),
    ("experiments.agreement", "compare"),
    ("experiments.training", "train"),
    ("learning.contrast", "contrast"),
    ("learning.edges", "edge_contrast"),
    ("learning.trainer", "PhaseLearner Rule evaluate train_epoch"),
    ("learning.update", "Rates UniformRates WeightRates"),
    ("networks.graph.network", "GraphNetwork"),
    ("networks.graph.newton", "SparseNewtonSolver"),
    ("networks.hopfield.descent", "HopfieldDescentSolver"),
    ("networks.hopfield.discrete_time", "DiscreteTimeSolver"),
    ("networks.hopfield.gradient_flow", "GradientFlowSolver"),
    ("networks.hopfield.leaky_integrator", "LeakyIntegratorSolver"),
    ("networks.hopfield.network", "HopfieldNetwork"),
    ("networks.hopfield.ngspice", "HopfieldNgspiceSolver"),
    ("networks.resistive.network", "ResistiveNetwork"),
    ("networks.resistive.relu", "translate_relu"),
    ("networks.resistive.surrogate", "SurrogateSolver"),
    ("plotting.figures", "plot_learning_curve plot_parameters plot_phases plot_voltages"),
    ("spice.ngspice.cluster", "on_cluster"),
    ("spice.ngspice.solver", "GraphNgspiceSolver NgspiceSolver"),
)
_HOME = {name: module for module, names in _HOMES for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that commands start fast, and `doctor` starts even if a library is broken."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
