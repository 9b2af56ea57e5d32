"""NgspiceSolver by the name that it had for a chip's networks in version 0.1.0; it takes any network now."""

from eqprop_analog.solvers.ngspice import NgspiceSolver as NonidealNgspiceSolver

__all__ = ["NonidealNgspiceSolver"]
