"""NgspiceSolver by the name that it had for networks on graphs in version 0.1.0; it takes any network now."""

from eqprop_analog.solvers.ngspice import NgspiceSolver as GraphNgspiceSolver

__all__ = ["GraphNgspiceSolver"]
