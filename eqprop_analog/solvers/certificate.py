"""The certificate of an equilibrium, whoever found it: the network's own equations, and a bound on its voltages."""

import numpy as np
from jaxtyping import Float

from eqprop_analog.equilibrium import Equilibrium, Status, statuses
from eqprop_analog.models import Layers, NodalEquations
from eqprop_analog.nudging import Nudge

Array = np.ndarray

RUNAWAY = 1e3
"""Voltages beyond this multiple of everything that drives the circuit, amplified, are no equilibrium of it."""


def excess(equations: NodalEquations, voltages: Layers) -> Float[Array, " batch"]:
    """How far any node is from its own root, neighbours held, as a fraction of the circuit's largest voltage.

    This is the KCL residual in volts, whatever the slope of the node's law: nothing hides behind a steep diode.
    """
    layers = enumerate(voltages, start=1)
    distance = [np.abs(v - equations.solve_layer(layer, voltages)).max(axis=1) for layer, v in layers]
    scale = equations.voltage_scale(voltages)
    return np.asarray(np.max(distance, axis=0) / np.where(scale > 0, scale, 1))


def largest(layers: Layers) -> Float[Array, " batch"]:
    """Largest magnitude in each sample."""
    return np.asarray(np.max([np.abs(values).max(axis=1) for values in layers], axis=0))


def certified(equations: NodalEquations, voltages: Layers, tolerance: float, nudge: Nudge | None) -> Equilibrium:
    """``voltages`` with the residual (A) and the status that the equations give them; CONVERGED is excess <= tolerance."""
    with np.errstate(invalid="ignore", over="ignore"):
        status = statuses(excess(equations, voltages) <= tolerance)
        residual = largest(equations.residuals(voltages))
        height = largest(voltages)
    status[height > RUNAWAY * equations.driving_voltage()] = Status.OUT_OF_BOUNDS
    status[~np.isfinite(height)] = Status.SIMULATOR_FAILED
    return Equilibrium(voltages, residual, status, nudge)
