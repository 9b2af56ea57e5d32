"""Ways to equilibrium: one method, ``solve(network, inputs, nudge=None, start=None) -> Equilibrium``, and any solver fits."""

from eqprop_analog.solvers.discrete_time import DiscreteTimeSolver
from eqprop_analog.solvers.energy_based import EnergyBasedSolver
from eqprop_analog.solvers.gradient_flow import GradientFlowSolver
from eqprop_analog.solvers.hopfield_descent import HopfieldDescentSolver
from eqprop_analog.solvers.hopfield_ngspice import HopfieldNgspiceSolver
from eqprop_analog.solvers.leaky_integrator import LeakyIntegratorSolver
from eqprop_analog.solvers.ngspice import NgspiceSolver
from eqprop_analog.solvers.surrogate import SurrogateSolver

__all__ = [
    "DiscreteTimeSolver",
    "EnergyBasedSolver",
    "GradientFlowSolver",
    "HopfieldDescentSolver",
    "HopfieldNgspiceSolver",
    "LeakyIntegratorSolver",
    "NgspiceSolver",
    "SurrogateSolver",
]
