"""Mapping of a network to devices with another window: unchanged if it fits, or by impedance scaling on request."""

from dataclasses import replace

import numpy as np

from eqprop_analog.devices import Antiparallel, Law
from eqprop_analog.devices.capabilities import changes, scaled
from eqprop_analog.devices.conductance import Window
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.learning.trainer import Rule
from eqprop_analog.learning.update import Rates
from eqprop_analog.networks.resistive.network import ResistiveNetwork

Array = np.ndarray


ROUNDING = 1e-6
"""Relative amount by which a conductance in float32 may exceed the limits of a window."""


def onto(network: ResistiveNetwork, specification: Specification) -> ResistiveNetwork:
    """``network`` on the devices of ``specification``, in their window.

    Every physical constant is unchanged unless the specification sets ``impedance_scaling``. Raises UserError if the devices
    cannot represent the conductances; the message states the necessary changes.
    """
    require_cells(network)
    window = specification.technology.window
    if specification.impedance_scaling:
        return mapped(network, window)
    outside = _outside(network, window.lowest, window.highest)
    if outside:
        cells, count = zip(*((int(beyond.sum()), beyond.size) for beyond in outside), strict=True)
        held = [matrix[beyond] for matrix, beyond in zip(network.conductances, outside, strict=True)]
        found = np.concatenate(held)
        raise UserError(
            f"specification {specification.label}: {sum(cells)} of {sum(count)} conductances of the network, "
            f"{found.min():.4g} to {found.max():.4g} S, lie outside the window of the devices, {window.lowest:g} to "
            f"{window.highest:g} S. {_advice(network, window)}"
        )
    return replace(network, conductance_window=(window.lowest, window.highest))


def require_cells(network: ResistiveNetwork) -> None:
    """Raise UserError unless every cell has its own conductance, because a chip has one device for each cell."""
    for number, crossbar in enumerate(network.crossbars, start=1):
        if not crossbar.is_matrix:
            raise UserError(
                f"crossbar {number}: a chip has a separate device for every cell, but a crossbar of kind {crossbar.name} has "
                f"{crossbar.free_parameters} parameters for {crossbar.cells} cells; use a network of dense crossbars"
            )


def require_same_window(network: ResistiveNetwork, specification: Specification) -> None:
    """Raise UserError if training uses another conductance window than the devices, and scaling is not enabled."""
    window = specification.technology.window
    if specification.impedance_scaling or _same(network, window):
        return
    low, high = network.conductance_window
    raise UserError(
        f"specification {specification.label}: training uses conductances of {low:g} to {high:g} S, but the window "
        f"of the devices is {window.lowest:g} to {window.highest:g} S. {_advice(network, window)}"
    )


def scaling_notes(network: ResistiveNetwork, window: Window) -> tuple[str, ...]:
    """Sentences on what impedance scaling of ``network`` onto ``window`` changes; empty if it changes nothing."""
    if _same(network, window):
        return ()
    k, (low, high) = impedance_scale(network, window), network.conductance_window
    kept = "voltages change, since G_min is not 0 S in both" if low or window.lowest else "voltages stay the same"
    onto_window = f"conductances of {low:g} to {high:g} S onto {window.lowest:g} to {window.highest:g} S"
    return (
        f"Impedance scaling by k = {k:.6g}: {onto_window}; {kept}.",
        f"Bias currents and the nudge's conductance or current are multiplied by k; diodes: {_law_change(network.diode, k)}.",
    )


def _same(network: ResistiveNetwork, window: Window) -> bool:
    return bool(np.allclose(network.conductance_window, (window.lowest, window.highest), rtol=1e-9, atol=0))


def _outside(network: ResistiveNetwork, low: float, high: float) -> list[Array]:
    """Masks of the cells of each crossbar that lie outside the window; empty if there are none."""
    low, high = low * (1 - ROUNDING), high * (1 + ROUNDING)
    outside = [(matrix < low) | (matrix > high) for matrix in network.conductances]
    return outside if any(beyond.any() for beyond in outside) else []


def _advice(network: ResistiveNetwork, window: Window) -> str:
    try:
        diodes = _law_change(network.diode, k := impedance_scale(network, window))
    except UserError as error:
        return f"Train the network within this window; {network.diode} cannot be scaled to it ({error})"
    return (
        f"Train the network with the devices' window as its conductance_window, or set impedance_scaling = true in the "
        f"specification: then conductances, bias currents and nudges are multiplied by k = {k:.4g}, and so are the "
        f"diodes ({diodes})"
    )


def _law_change(law: Law, k: float) -> str:
    """The changes of a diode's law when it is scaled by k. Raises UserError if it cannot be scaled."""
    one, other = law, scaled(law, k)
    if isinstance(one, Antiparallel) and isinstance(other, Antiparallel):
        one, other = one.law, other.law
    return changes(one, other) or "their law does not change"


def impedance_scale(network: ResistiveNetwork, window: Window) -> float:
    """The factor k: G_max - G_min of ``window`` divided by that of the network's window."""
    low, high = network.conductance_window
    return window.span / (high - low)


def mapped(network: ResistiveNetwork, window: Window) -> ResistiveNetwork:
    """G ← G_min + k (G - G_min'), b ← k b, i_d ← k i_d: the network's window G_min' ... G_max' onto that of the devices.

    If both windows start at 0 S, no voltage changes under a nudge of k β. Raises UserError for a diode that cannot be scaled,
    and for a conductance outside the network's own window, which the devices could not represent.
    """
    if _outside(network, *network.conductance_window):
        low, high = network.conductance_window
        largest = max(float(matrix.max()) for matrix in network.conductances)
        raise UserError(
            f"mapping: the network has conductances outside its conductance_window, {low:g} to {high:g} S (largest: "
            f"{largest:.4g} S); set a window that contains all conductances"
        )
    k, low = impedance_scale(network, window), network.conductance_window[0]
    if (k, low) == (1.0, window.lowest):
        return network
    return replace(
        network,
        conductances=tuple(
            (window.lowest + k * (matrix - low)).astype(matrix.dtype) for matrix in network.conductances
        ),
        biases=tuple((k * bias).astype(bias.dtype) for bias in network.biases),
        diode=scaled(network.diode, k),
        conductance_window=(window.lowest, window.highest),
    )


def scaled_rule(rule: Rule, k: float) -> Rule:
    """The learning rule that, on a network scaled by k, has the same effect as ``rule`` on the original network."""
    rates = rule.rates
    if not isinstance(rates, Rates):
        raise UserError("mapping: expected the learning rates of a resistive network")
    return replace(rule, rates=rates.scaled(k**2), beta=k * rule.beta)
