"""Old names of modules that have moved since 0.1.0, for one version: they redirect to the new modules, with a warning."""

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PACKAGE = __package__ or "eqprop_analog"
MOVED: Mapping[str, str] = {
    "batches": "experiments.batches",
    "checkpoint": "experiments.checkpoint",
    "chips.chip": "networks.resistive.chips.chip",
    "chips.confirmation": "networks.resistive.chips.confirmation",
    "chips.drawing": "networks.resistive.chips.drawing",
    "chips.mapping": "networks.resistive.chips.mapping",
    "chips.monte_carlo": "networks.resistive.chips.monte_carlo",
    "chips.protocols": "networks.resistive.chips.protocols",
    "chips.readout": "experiments.chips.readout",
    "chips.specification": "experiments.chips.specification",
    "chips.study": "networks.resistive.chips.study",
    "circuit.dialects": "spice.dialects",
    "circuit.elements": "spice.elements",
    "circuit.flat_devices": "networks.resistive.reading.flat_devices",
    "circuit.graph": "spice.circuit",
    "circuit.graph_network": "networks.graph.netlist",
    "circuit.hierarchy": "networks.resistive.hierarchy",
    "circuit.hopfield": "networks.hopfield.netlist",
    "circuit.hopfield_elements": "spice.saturating",
    "circuit.netlist": "spice.netlist",
    "circuit.netlist_import": "networks.resistive.netlist_import",
    "circuit.nonideal_network": "networks.nonideal.netlist",
    "circuit.parts": "spice.parts",
    "circuit.resistive": "networks.resistive.netlist",
    "circuit.statements": "spice.reading.statements",
    "config.base": "experiments.config",
    "config.hopfield": "networks.hopfield.config",
    "config.resistive": "networks.resistive.config",
    "energy": "networks.resistive.power",
    "energy_report": "networks.resistive.power_report",
    "equilibrium": "core.equilibrium",
    "kernels.compiled": "kernels.numba.training",
    "kernels.compiled_descent": "kernels.numba.descent",
    "kernels.compiled_nodes": "kernels.numba.nodes",
    "kernels.compiled_settling": "kernels.numba.settling",
    "kernels.jit": "kernels.numba.jit",
    "kernels.plain": "kernels.numpy",
    "learning.bptt": "networks.hopfield.bptt",
    "learning.continual": "networks.hopfield.continual",
    "learning.implicit": "learning.exact_gradient",
    "learning.matching": "networks.hopfield.matching",
    "learning.truncated": "networks.resistive.truncated",
    "learning.truncated_torch": "networks.resistive.truncated_torch",
    "models.checks": "core.checks",
    "models.connections": "networks.hopfield.connections",
    "models.graph_kirchhoff": "networks.graph.equations",
    "models.graph_network": "networks.graph.network",
    "models.hopfield": "networks.hopfield.network",
    "models.hopfield_equations": "networks.hopfield.equations",
    "models.kirchhoff": "networks.resistive.equations",
    "models.nonideal_equations": "networks.nonideal.equations",
    "models.nonideal_network": "networks.nonideal.network",
    "models.periphery": "networks.nonideal.periphery",
    "models.resistive": "networks.resistive.network",
    "models.topologies": "networks.graph.topologies",
    "nudging": "core.nudge",
    "plotting.chips": "networks.resistive.chips.plots",
    "plotting.energy": "networks.resistive.power_plot",
    "plotting.graph": "networks.graph.drawing",
    "plotting.hopfield": "networks.hopfield.waveforms_plot",
    "plotting.lattice": "networks.graph.task_plot",
    "plotting.matching": "networks.hopfield.matching_plot",
    "plotting.transient": "networks.resistive.waveforms_plot",
    "run": "experiments.run",
    "solvers.certificate": "core.certificate",
    "solvers.conjugate_gradients": "networks.resistive.conjugate_gradients",
    "solvers.coordinate_descent": "networks.resistive.coordinate_descent",
    "solvers.discrete_time": "networks.hopfield.discrete_time",
    "solvers.elimination": "networks.resistive.elimination",
    "solvers.gradient_flow": "networks.hopfield.gradient_flow",
    "solvers.graph_ngspice": "spice.ngspice.solver",
    "solvers.hopfield_descent": "networks.hopfield.descent",
    "solvers.hopfield_ngspice": "networks.hopfield.ngspice",
    "solvers.hopfield_transient": "networks.hopfield.transient",
    "solvers.leaky_integrator": "networks.hopfield.leaky_integrator",
    "solvers.libngspice": "spice.ngspice.library",
    "solvers.minima": "networks.hopfield.minima",
    "solvers.newton": "networks.resistive.newton",
    "solvers.ngspice": "spice.ngspice.solver",
    "solvers.ngspice_power": "networks.resistive.ngspice_power",
    "solvers.ngspice_shared": "spice.ngspice.shared",
    "solvers.nonideal_newton": "networks.nonideal.newton",
    "solvers.nonideal_ngspice": "spice.ngspice.solver",
    "solvers.relaxation": "networks.hopfield.relaxation",
    "solvers.sparse_newton": "networks.graph.newton",
    "solvers.surrogate": "networks.resistive.surrogate",
    "solvers.sweeps": "spice.ngspice.sweeps",
    "solvers.time_constants": "networks.resistive.time_constants",
    "solvers.transient": "networks.resistive.transient",
    "solvers.workers": "spice.ngspice.workers",
    "study": "networks.resistive.random_circuits",
    "verification": "experiments.agreement",
}
"""New names by old names, inside the package."""
PACKAGES: Mapping[str, Mapping[str, str]] = {
    "chips": {
        "Chip": "networks.resistive.chips.chip",
        "Readout": "experiments.chips.readout",
        "Specification": "experiments.chips.specification",
    },
    "circuit": {
        "Circuit": "spice.circuit",
        "compile_network": "networks.resistive.netlist",
        "metered_netlist": "spice.netlist",
        "static_netlist": "spice.netlist",
        "sweep_netlist": "spice.netlist",
        "transient_netlist": "spice.netlist",
    },
    "config": {
        "DEFAULT_PRESETS": "experiments.presets",
        "GraphConfig": "networks.graph.config",
        "HopfieldConfig": "networks.hopfield.config",
        "Network": "core.network",
        "OWN_SHAPES": "experiments.presets",
        "ResistiveConfig": "networks.resistive.config",
        "TrainConfig": "experiments.config",
        "Training": "experiments.config",
        "presets": "experiments.presets",
        "resolve": "experiments.presets",
    },
    "models": {
        "Gradient": "core.gradient",
        "GraphNetwork": "networks.graph.network",
        "HopfieldEquations": "networks.hopfield.equations",
        "HopfieldNetwork": "networks.hopfield.network",
        "Layers": "core.equilibrium",
        "NodalEquations": "networks.resistive.equations",
        "Outputs": "networks.resistive.network",
        "ResistiveNetwork": "networks.resistive.network",
    },
    "models.wired_crossbar": {
        "DrivenCrossbar": "networks.crossbars.driven",
        "WiredCrossbar": "networks.crossbars.wired",
        "diagonal": "networks.crossbars.square",
        "full": "networks.crossbars.square",
        "plus": "networks.crossbars.square",
        "times": "networks.crossbars.square",
    },
    "solvers": {
        "DiscreteTimeSolver": "networks.hopfield.discrete_time",
        "EnergyBasedSolver": "networks.hopfield.energy_based",
        "GradientFlowSolver": "networks.hopfield.gradient_flow",
        "HopfieldDescentSolver": "networks.hopfield.descent",
        "HopfieldNgspiceSolver": "networks.hopfield.ngspice",
        "LeakyIntegratorSolver": "networks.hopfield.leaky_integrator",
        "NgspiceSolver": "spice.ngspice.solver",
        "SurrogateSolver": "networks.resistive.surrogate",
    },
}
"""Removed or divided packages and modules, and the modules that now have the names that they exported."""


class _Alias(Loader):
    """Loader of a module or package whose names are in other modules."""

    def __init__(self, old: str) -> None:
        self._old = old

    def create_module(self, spec: ModuleSpec) -> None:  # noqa: ARG002 - the loader's own signature
        """Create an ordinary module."""
        return

    def exec_module(self, module: ModuleType) -> None:
        """Redirect names to their new modules, with a warning."""

        def found(name: str) -> Any:
            home = MOVED.get(self._old) or PACKAGES[self._old].get(name)
            if home is None or name.startswith("__"):
                raise AttributeError(f"module {PACKAGE}.{self._old} has no attribute {name}")
            value = getattr(import_module(f"{PACKAGE}.{home}"), name)
            _warn(f"{self._old}.{name}", f"{home}.{name}")
            return value

        module.__getattr__ = found  # type: ignore[method-assign]


def _warn(old: str, new: str) -> None:
    warnings.warn(
        f"{PACKAGE}.{old} is now {PACKAGE}.{new}; the old name will be removed in the next version",
        DeprecationWarning,
        3,
    )


class _Finder(MetaPathFinder):
    """Finder of moved modules, after all other finders."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the finder's own signature
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Return the spec of an old name."""
        package, _, name = fullname.partition(".")
        if package != PACKAGE or (name not in MOVED and name not in PACKAGES):
            return None
        return ModuleSpec(fullname, _Alias(name), is_package=name in PACKAGES)


def install() -> None:
    """Make old names importable; further calls have no effect."""
    if not any(type(finder).__name__ == _Finder.__name__ for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
