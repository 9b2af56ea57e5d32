"""Ways to equilibrium: one method, ``solve(network, inputs, nudge=None, start=None) -> Equilibrium``, and any solver fits."""

from eqprop_analog.solvers.ngspice import NgspiceSolver
from eqprop_analog.solvers.surrogate import SurrogateSolver

__all__ = ["NgspiceSolver", "SurrogateSolver"]
