"""Where a network's power comes from and where it goes, from its node voltages: the flat circuit's, every resistor counted."""

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
"""Parts of Power that deliver, and what they are called."""


@dataclass(frozen=True, eq=False)
class Power:
    """rows + rails + biases + nudge + amplifiers = Σ crossbars + diodes + nudge_conductances + d(stored)/dt.

    Watts at each of the samples, or joules once integrated. A group of sources that takes more than it gives is negative.
    """

    rows: Float[Array, "*samples"]
    """From the rows of crossbar 1, Σ_i x_i Σ_j G_1[i,j] (x_i - v_j)."""
    rails: Float[Array, "*samples"]
    """From the diodes' bias rails."""
    biases: Float[Array, "*samples"]
    """From the bias currents, Σ b v."""
    nudge: Float[Array, "*samples"]
    """From the target sources y, Σ y β (y - v), or from the currents of a current nudge, Σ i v."""
    amplifiers: Float[Array, "*samples"]
    """From the amplifiers' supply: what they drive, a·i, less what they take from their nodes, v·i/A."""
    crossbars: Float[Array, "*samples crossbars"]
    """Dissipated in crossbars 1..L."""
    diodes: Float[Array, "*samples"]
    """Dissipated in the diodes."""
    nudge_conductances: Float[Array, "*samples"]
    """Dissipated between targets and outputs, Σ β (y - v)²; a negative β gives instead of taking."""

    @property
    def delivered(self) -> Float[Array, "*samples"]:
        """All that sources and amplifiers deliver."""
        return np.sum([*self.sources.values()], axis=0)

    @property
    def dissipated(self) -> Float[Array, "*samples"]:
        """All that turns into heat; what is delivered beyond it charges capacitors, and is zero at an equilibrium."""
        return np.sum([*self.sinks.values()], axis=0)

    @property
    def heat(self) -> Float[Array, "*samples"]:
        """What the supplies pay for: ``dissipated`` without the credit for a negative nudge conductance, a supply itself."""
        return self.dissipated - np.minimum(self.nudge_conductances, 0)

    @property
    def sources(self) -> dict[str, Float[Array, "*samples"]]:
        """What each part delivers, by its name."""
        return {name: getattr(self, field) for field, name in SOURCES.items()}

    @property
    def sinks(self) -> dict[str, Float[Array, "*samples"]]:
        """What each part dissipates, by its name."""
        crossbars = {f"crossbar {l}": watts for l, watts in enumerate(np.moveaxis(self.crossbars, -1, 0), 1)}
        return crossbars | {"diodes": self.diodes, "nudge's conductances": self.nudge_conductances}

    @property
    def imbalance(self) -> Float[Array, "*samples"]:
        """|delivered - dissipated| over the larger of the two; 0 where there is no power at all."""
        return relative_difference(self.delivered, self.dissipated)

    def integral(self, time: Float[Array, " samples"]) -> "Power":
        """Every part over ``time`` (s) by the trapezoidal rule: joules."""
        return Power(*(np.asarray(trapezoid(getattr(self, part.name), time, axis=0)) for part in fields(self)))

    def select(self, samples: slice) -> "Power":
        """Some of the samples."""
        return Power(*(getattr(self, part.name)[samples] for part in fields(self)))


def power(
    network: ResistiveNetwork,
    inputs: Float[Array, "#batch inputs"],
    voltages: Layers,
    injection: Injection | None = None,
) -> Power:
    """Power of every group of devices, watts, from the node voltages of layers 1..L (volts), at equilibrium or not.

    ``injection`` is the nudge as (g, c), siemens and amperes; None is the free phase. All sums are matrix products: no
    (batch, rows, columns) array. A diode's current is its law's at its voltage; where its law leaves it open (an ideal clamp
    at its rail, the rounding of v on a steep side), it is what Kirchhoff's current law asks of it. Raises UserError for
    voltages beyond an ideal clamp.
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
    """|one - other| over the larger magnitude; 0 for two zeros."""
    larger = np.maximum(np.abs(one), np.abs(other))
    return np.abs(one - other) / np.where(larger > 0, larger, 1)


def _diodes(
    network: ResistiveNetwork, layer: int, v: Float[Array, "batch nodes"], inflow: Float[Array, "batch nodes"]
) -> Iterator[tuple[Float[Array, "batch nodes"], Float[Array, "batch nodes"]]]:
    """Voltage and current of one diode of each node, mirrored to the excitatory side; ``inflow`` (A): all the diodes' current."""
    law, sides = network.single_diode, network.diode_sides(layer)
    for side in sides:
        across = side * v
        if np.isinf(law.current(across)).any():
            raise UserError("energy: a node is beyond its ideal clamp; for voltages from SPICE use network.in_spice()")
        carried = side * inflow + (law.current(-across) if len(sides) > 1 else 0)
        yield across, carried - law.mismatch(across, carried)


def _nudge(outputs: Float[Array, "batch outputs"], injection: Injection | None) -> tuple[Array, Array]:
    """What the nudge's sources deliver and its conductances dissipate, watts; without a conductance, y is v itself."""
    g, c = injection or (0.0, np.zeros((1, outputs.shape[1])))
    conductance = np.asarray(g)
    joined = conductance != 0
    target = np.where(joined, c / np.where(joined, conductance, 1), outputs)
    current = c - conductance * outputs
    return (target * current).sum(axis=1), ((target - outputs) * current).sum(axis=1)
