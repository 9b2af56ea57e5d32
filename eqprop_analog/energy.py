"""Where a network's power comes from and where it goes, from its node voltages: the flat circuit's, every resistor counted."""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float
from scipy.integrate import trapezoid

from eqprop_analog.circuit.elements import Injection
from eqprop_analog.errors import UserError
from eqprop_analog.models import Layers, ResistiveNetwork

Array = np.ndarray


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
        return self.rows + self.rails + self.biases + self.nudge + self.amplifiers

    @property
    def dissipated(self) -> Float[Array, "*samples"]:
        """All that turns into heat; what is delivered beyond it charges capacitors, and is zero at an equilibrium."""
        return self.crossbars.sum(axis=-1) + self.diodes + self.nudge_conductances

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
    (batch, rows, columns) array. Raises UserError for an ideal clamp away from 0 V, whose current no voltage tells.
    """
    diode = network.single_diode
    if diode.rail and network.depth > 1 and np.isinf(diode.slope(np.array(diode.rail))):
        raise UserError("energy: an ideal clamp's current does not follow from its voltage; give it an on_resistance")
    batch = len(voltages[-1])
    rails, biases, amplifiers, diodes = np.zeros((4, batch))
    driven, crossbars = [], []
    drive = network.rows(inputs)
    for layer, (matrix, bias, v) in enumerate(zip(network.conductances, network.biases, voltages, strict=True), 1):
        given = (drive * (drive * matrix.sum(axis=1) - v @ matrix.T)).sum(axis=1)
        taken = (v * (drive @ matrix - v * matrix.sum(axis=0))).sum(axis=1)
        driven.append(given)
        crossbars.append(given - taken)
        biases += v @ bias
        if layer > 1:
            amplifiers += (1 - network.drive_gains[layer - 1] ** -2) * given
        if layer < network.depth:
            for side in network.diode_sides(layer):
                across = side * v
                current = diode.current(across)
                rails -= diode.rail * current.sum(axis=1)
                diodes += ((across - diode.rail) * current).sum(axis=1)
            drive = network.drive_gains[layer] * v
    nudge, nudge_conductances = _nudge(voltages[-1], injection)
    return Power(driven[0], rails, biases, nudge, amplifiers, np.stack(crossbars, axis=-1), diodes, nudge_conductances)


def _nudge(outputs: Float[Array, "batch outputs"], injection: Injection | None) -> tuple[Array, Array]:
    """What the nudge's sources deliver and its conductances dissipate, watts; without a conductance, y is v itself."""
    g, c = injection or (0.0, np.zeros((1, outputs.shape[1])))
    conductance = np.asarray(g)
    joined = conductance != 0
    target = np.where(joined, c / np.where(joined, conductance, 1), outputs)
    current = c - conductance * outputs
    return (target * current).sum(axis=1), ((target - outputs) * current).sum(axis=1)
