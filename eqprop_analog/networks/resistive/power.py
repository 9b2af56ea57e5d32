"""Delivered and dissipated power of a network from its node voltages, for the flat circuit with every resistor."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float
from scipy.integrate import trapezoid

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.errors import UserError
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.spice.elements import Injection

Array = np.ndarray

SOURCES = {
    "rows": "input rows",
    "rails": "bias rails",
    "biases": "bias currents",
    "nudge": "nudge",
    "amplifiers": "amplifiers' supply",
}
"""Parts of Power that deliver power, and their names."""


@dataclass(frozen=True, eq=False)
class Power:
    """rows + rails + biases + nudge + amplifiers = Σ crossbars + diodes + nudge_conductances + d(stored)/dt.

    Values are in watts for each sample, or in joules after integration. A group of sources that absorbs net power is negative.
    """

    rows: Float[Array, "*samples"]
    """Power from the rows of crossbar 1, Σ_i x_i Σ_j G_1[i,j] (x_i - v_j)."""
    rails: Float[Array, "*samples"]
    """Power from the diodes' bias rails."""
    biases: Float[Array, "*samples"]
    """Power from the bias currents, Σ b v."""
    nudge: Float[Array, "*samples"]
    """Power from the target sources y, Σ y β (y - v), or from the currents of a current nudge, Σ i v."""
    amplifiers: Float[Array, "*samples"]
    """Power from the amplifiers' supply: their output power a·i minus the power from their nodes, v·i/A."""
    crossbars: Float[Array, "*samples crossbars"]
    """Power dissipated in crossbars 1..L."""
    diodes: Float[Array, "*samples"]
    """Power dissipated in the diodes."""
    nudge_conductances: Float[Array, "*samples"]
    """Power dissipated between targets and outputs, Σ β (y - v)²; it is negative for a negative β."""

    @property
    def delivered(self) -> Float[Array, "*samples"]:
        """Total power delivered by sources and amplifiers."""
        return np.sum([*self.sources.values()], axis=0)

    @property
    def dissipated(self) -> Float[Array, "*samples"]:
        """Total dissipated power; the remaining delivered power charges capacitors and is zero at an equilibrium."""
        return np.sum([*self.sinks.values()], axis=0)

    @property
    def heat(self) -> Float[Array, "*samples"]:
        """Power from the supplies: ``dissipated``, with a negative nudge conductance counted as a supply."""
        return self.dissipated - np.minimum(self.nudge_conductances, 0)

    @property
    def sources(self) -> dict[str, Float[Array, "*samples"]]:
        """Power that each part delivers, by its name."""
        return {name: getattr(self, field) for field, name in SOURCES.items()}

    @property
    def sinks(self) -> dict[str, Float[Array, "*samples"]]:
        """Power that each part dissipates, by its name."""
        crossbars = {f"crossbar {l}": watts for l, watts in enumerate(np.moveaxis(self.crossbars, -1, 0), 1)}
        return crossbars | {"diodes": self.diodes, "nudge's conductances": self.nudge_conductances}

    @property
    def imbalance(self) -> Float[Array, "*samples"]:
        """|delivered - dissipated| relative to the larger of the two; 0 if both are 0."""
        return relative_difference(self.delivered, self.dissipated)

    def integral(self, time: Float[Array, " samples"]) -> "Power":
        """Every part integrated over ``time`` (s) by the trapezoidal rule, joules."""
        return Power(*(np.asarray(trapezoid(getattr(self, part.name), time, axis=0)) for part in fields(self)))

    def select(self, samples: slice) -> "Power":
        """The power of the given samples."""
        return Power(*(getattr(self, part.name)[samples] for part in fields(self)))


def power(
    network: ResistiveNetwork,
    inputs: Float[Array, "#batch inputs"],
    voltages: Layers,
    injection: Injection | None = None,
) -> Power:
    """Power of every group of devices, watts, from the node voltages of layers 1..L (volts), at equilibrium or not.

    ``injection`` is the nudge as (g, c), siemens and amperes; None is the free phase. All sums are matrix products without a
    (batch, rows, columns) array. The current of a diode follows from its law; where the law does not determine it (an ideal
    clamp at its rail, or rounding of v on a steep branch), it follows from Kirchhoff's current law. Raises UserError for voltages
    beyond an ideal clamp.
    """
    gains, rails = network.drive_gains, np.zeros(len(voltages[-1]))
    biases, amplifiers, diodes = np.zeros((3, len(rails)))
    drives = [network.rows(inputs), *(gain * v for gain, v in zip(gains[1:], voltages[:-1], strict=True))]
    joined = [*zip(drives, network.crossbars, voltages, strict=True)]
    leaving = [drive * crossbar.row_sums() - crossbar.backward(v) for drive, crossbar, v in joined]
    entering = [crossbar.forward(drive) - v * crossbar.column_sums() for drive, crossbar, v in joined]
    given = [(drive * current).sum(axis=1) for drive, current in zip(drives, leaving, strict=True)]
    taken = [(v * current).sum(axis=1) for v, current in zip(voltages, entering, strict=True)]
    for layer, (v, bias) in enumerate(zip(voltages, network.biases, strict=True), start=1):
        biases += v @ bias
        if layer > 1:
            amplifiers += (1 - gains[layer - 1] ** -2) * given[layer - 1]
        if layer < network.depth:
            for across, current in _diodes(
                network, layer, v, entering[layer - 1] + bias - leaving[layer] / gains[layer]
            ):
                rails -= network.diode.rail * current.sum(axis=1)
                diodes += ((across - network.diode.rail) * current).sum(axis=1)
    crossbars = np.stack(given, axis=-1) - np.stack(taken, axis=-1)
    nudge, nudge_conductances = _nudge(voltages[-1], injection)
    return Power(given[0], rails, biases, nudge, amplifiers, crossbars, diodes, nudge_conductances)


def relative_difference(one: Float[Array, "*samples"], other: Float[Array, "*samples"]) -> Float[Array, "*samples"]:
    """|one - other| relative to the larger magnitude; 0 for two zeros."""
    larger = np.maximum(np.abs(one), np.abs(other))
    return np.abs(one - other) / np.where(larger > 0, larger, 1)


def _diodes(
    network: ResistiveNetwork, layer: int, v: Float[Array, "batch nodes"], inflow: Float[Array, "batch nodes"]
) -> Iterator[tuple[Float[Array, "batch nodes"], Float[Array, "batch nodes"]]]:
    """Voltage and current of one diode of each node, mirrored to the excitatory side; ``inflow``: total diode current (A)."""
    law, sides = network.single_diode, network.diode_sides(layer)
    for side in sides:
        across = side * v
        if np.isinf(law.current(across)).any():
            raise UserError("energy: a node is beyond its ideal clamp; for voltages from SPICE use network.in_spice()")
        carried = side * inflow + (law.current(-across) if len(sides) > 1 else 0)
        yield across, carried - law.mismatch(across, carried)


def _nudge(outputs: Float[Array, "batch outputs"], injection: Injection | None) -> tuple[Array, Array]:
    """Power that the sources of the nudge deliver and its conductances dissipate, watts; without a conductance, y = v."""
    g, c = injection or (0.0, np.zeros((1, outputs.shape[1])))
    conductance = np.asarray(g)
    joined = conductance != 0
    target = np.where(joined, c / np.where(joined, conductance, 1), outputs)
    current = c - conductance * outputs
    return (target * current).sum(axis=1), ((target - outputs) * current).sum(axis=1)
