"""The certificate of an equilibrium, whoever found it: the network's own equations, and a bound on its voltages."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from eqprop_analog.equilibrium import Equilibrium, Status, statuses
from eqprop_analog.models import Layers, NodalEquations
from eqprop_analog.nudging import Nudge

Array = np.ndarray

RUNAWAY = 1e3
"""Voltages beyond this multiple of everything that drives the circuit, amplified, are no equilibrium of it."""


def imbalance(
    equations: NodalEquations, voltages: Layers, layers: Iterable[int] | None = None
) -> tuple[Layers, Float[Array, " batch"]]:
    """F in amperes, and the excess: how far any node is from its own root, as a fraction of the circuit's largest voltage.

    The excess is the KCL residual in volts, neighbours held, whatever the slope of the node's law: nothing hides behind a
    steep diode. ``layers``: those that are not known to be at their roots; F of the others is taken for zero.
    """
    looked_at = range(1, equations.depth + 1) if layers is None else layers
    currents = [np.zeros_like(v) for v in voltages]
    distance = np.zeros(len(voltages[0]), voltages[0].dtype)
    for layer in looked_at:
        v, inflow = voltages[layer - 1], equations.inflow(layer, voltages)
        currents[layer - 1] = equations.surplus(layer, v, inflow)
        distance = np.maximum(distance, np.abs(v - equations.root(layer, inflow)).max(axis=1))
    scale = equations.voltage_scale(voltages)
    return tuple(currents), np.asarray(distance / np.where(scale > 0, scale, 1))


def largest(layers: Layers) -> Float[Array, " batch"]:
    """Largest magnitude in each sample."""
    return np.asarray(np.max([np.abs(values).max(axis=1) for values in layers], axis=0))


def certified(equations: NodalEquations, voltages: Layers, tolerance: float, nudge: Nudge | None) -> Equilibrium:
    """``voltages`` with the residual (A) and the status that the equations give them; CONVERGED is excess <= tolerance."""
    with np.errstate(invalid="ignore", over="ignore"):
        currents, excess = imbalance(equations, voltages)
        status = statuses(excess <= tolerance)
        residual = largest(currents)
        height = largest(voltages)
    status[height > RUNAWAY * equations.driving_voltage()] = Status.OUT_OF_BOUNDS
    status[~np.isfinite(height)] = Status.SIMULATOR_FAILED
    return Equilibrium(voltages, residual, status, nudge)
