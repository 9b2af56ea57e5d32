"""Impedance scaling: the same network with other conductances and currents, and the same voltages."""

from dataclasses import replace

import numpy as np

from eqprop_analog.devices import Antiparallel, Law, NgspiceDiode, Shockley
from eqprop_analog.devices.conductance import Window
from eqprop_analog.errors import UserError
from eqprop_analog.learning.trainer import Rule
from eqprop_analog.learning.update import Rates
from eqprop_analog.models import ResistiveNetwork


def impedance_scale(network: ResistiveNetwork, window: Window) -> float:
    """The factor k: G_max - G_min of ``window`` over that of the network's own."""
    low, high = network.conductance_window
    return window.span / (high - low)


def mapped(network: ResistiveNetwork, window: Window) -> ResistiveNetwork:
    """G ← G_min + k (G - G_min'), b ← k b, i_d ← k i_d: the network's window G_min' ... G_max' onto that of the devices.

    Where both windows begin at 0 S, all voltages stay as they are under a nudge of k β. Raises UserError for a diode that
    cannot be scaled.
    """
    k, low = impedance_scale(network, window), network.conductance_window[0]
    if (k, low) == (1.0, window.lowest):
        return network
    return replace(
        network,
        conductances=tuple(
            (window.lowest + k * (matrix - low)).astype(matrix.dtype) for matrix in network.conductances
        ),
        biases=tuple((k * bias).astype(bias.dtype) for bias in network.biases),
        diode=_scaled(network.diode, k),
        conductance_window=(window.lowest, window.highest),
    )


def scaled_rule(rule: Rule, k: float) -> Rule:
    """The rule that moves a network of k times the conductances and currents just as ``rule`` moves the one before."""
    rates = rule.rates
    if not isinstance(rates, Rates):
        raise UserError("mapping: expected the learning rates of a resistive network")
    return replace(rule, rates=rates.scaled(k**2), beta=k * rule.beta)


def _scaled(law: Law, k: float) -> Law:
    if isinstance(law, Antiparallel):
        return replace(law, law=_scaled(law.law, k))
    if isinstance(law, NgspiceDiode):
        return replace(law, saturation_current=k * law.saturation_current, gmin=k * law.gmin)
    if isinstance(law, Shockley):
        return replace(law, saturation_current=k * law.saturation_current)
    if np.isinf(law.slope(np.array(law.rail))):
        return law
    raise UserError(f"mapping: {law} cannot be scaled to other conductances; use a junction or an ideal clamp")
