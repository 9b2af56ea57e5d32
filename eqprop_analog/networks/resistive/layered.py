"""Common parts of layered networks of crossbars, ideal or with imperfections: shape, names, read-outs, energy."""

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.core.checks import checked_inputs
from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.core.network import Network
from eqprop_analog.core.nudge import Kind
from eqprop_analog.devices import Antiparallel, Law
from eqprop_analog.errors import UserError
from eqprop_analog.networks.crossbars import Crossbar

Array = np.ndarray
Outputs = Literal["single", "pairs"]


class LayeredNetwork(Network):
    """Crossbars 1..L between drives a_{l-1} and nodes v_l; diodes at the hidden nodes, and amplifiers after them."""

    crossbars: tuple[Crossbar, ...]
    """The crossbars between the layers."""
    biases: tuple[Float[Array, " nodes"], ...]
    """Bias currents into each node of layers 1..L, amperes, of either sign."""
    diode: Law
    """Nominal law of every hidden node."""
    amplifier_gain: tuple[float, ...]
    """Nominal A_l of each hidden layer."""
    input_gain: float
    """Voltage at an input of 1, volts."""
    conductance_window: tuple[float, float]
    """(G_min, G_max), siemens."""
    bias_row: float
    """Fixed voltage of an additional row of crossbar 1, volts; 0 means no such row."""
    outputs: Outputs
    """One output node per class, or "pairs": class k is read as v_2k - v_2k+1."""
    nudge_factor: Any = 1.0
    """Factor on the injection of a nudge at each output."""
    circuit_kind: str = ""
    """End of a circuit's title, after the form."""

    @property
    def layers(self) -> tuple[int, ...]:
        """(inputs, n_1, ..., n_L)."""
        return (self.crossbars[0].rows // 2, *(crossbar.columns for crossbar in self.crossbars))

    @property
    def classes(self) -> int:
        """Number of read-outs: output nodes, or pairs of them."""
        nodes = self.layers[-1]
        return nodes // 2 if self.outputs == "pairs" else nodes

    @property
    def depth(self) -> int:
        """L, the number of crossbars."""
        return len(self.crossbars)

    @property
    def drive_gains(self) -> tuple[float, ...]:
        """Gain between the nodes of layer l - 1 and the rows of crossbar l, for l = 1..L; 1 for the input rows."""
        return (1.0, *self.amplifier_gain)

    @property
    def gammas(self) -> tuple[float, ...]:
        """γ_l of layers 1..L."""
        return tuple(np.cumprod([gain**-2 for gain in self.drive_gains]).tolist())

    @property
    def nudge_kind(self) -> Kind:
        """The default kind of nudge: by conductances or, for pairs of outputs, by currents."""
        return "current" if self.outputs == "pairs" else "conductance"

    @property
    def single_diode(self) -> Law:
        """Law of one diode; every hidden node has one of them, or an antiparallel pair."""
        return self.diode.law if isinstance(self.diode, Antiparallel) else self.diode

    def polarity(self, layer: int) -> Float[Array, " nodes"]:
        """+1 for excitatory and -1 for inhibitory nodes of hidden ``layer``; +1 for all with antiparallel pairs."""
        size = self.layers[layer]
        excitatory = size if isinstance(self.diode, Antiparallel) else (size + 1) // 2
        return np.where(np.arange(size) < excitatory, 1, -1).astype(self.crossbars[0].conductance.dtype)

    def diode_sides(self, layer: int) -> tuple[Float[Array, " nodes"], ...]:
        """Return an array for each diode at hidden ``layer``: +1 from the rail into the node, -1 from the node into -rail."""
        polarity = self.polarity(layer)
        return (polarity, -polarity) if isinstance(self.diode, Antiparallel) else (polarity,)

    def node_name(self, layer: int, index: int) -> str:
        """Name of a node in messages and netlists: h<layer>_<index> or, in the last layer, o_<index>."""
        return f"o_{index}" if layer == self.depth else f"h{layer}_{index}"

    def rows(self, inputs: Float[Array, "batch inputs"]) -> Float[Array, "batch rows"]:
        """Voltages of crossbar 1's rows, volts: +x, then -x, then the bias row if there is one."""
        with np.errstate(over="ignore"):  # the circuit names the row without a finite voltage
            volts = self.input_gain * inputs
        bias = np.full((len(volts), int(self.bias_row != 0)), self.bias_row, volts.dtype)
        return np.concatenate([volts, -volts, bias], axis=1)

    def readout(self, outputs: Float[Array, "batch nodes"]) -> Float[Array, "batch classes"]:
        """Return the read-out of each class from the output nodes' voltages, volts: v_k, or v_2k - v_2k+1."""
        return outputs[:, ::2] - outputs[:, 1::2] if self.outputs == "pairs" else outputs

    @property
    def readout_reach(self) -> float:
        """Largest change of a read-out, volts, if no output node changes by more than 1 V."""
        return 2.0 if self.outputs == "pairs" else 1.0

    def along_readout(self, currents: Float[Array, "batch classes"]) -> Float[Array, "batch nodes"]:
        """Return the currents into the output nodes for ``currents`` at the read-outs (A): c, or +c and -c into each pair."""
        if self.outputs == "single":
            return currents
        return np.stack([currents, -currents], axis=2).reshape(len(currents), -1)

    @property
    def connections_by_layer(self) -> tuple[int, ...]:
        """Cells of each crossbar."""
        return tuple(crossbar.cells for crossbar in self.crossbars)

    @property
    def resistors_in_circuit(self) -> int:
        """All resistors of the flat circuit."""
        return sum(crossbar.resistors for crossbar in self.crossbars)

    @property
    def wire_segments(self) -> int:
        """See Network."""
        return sum(crossbar.resistors - crossbar.conducting for crossbar in self.crossbars)

    @property
    def free_parameters(self) -> int:
        """Number of learned conductances (copies count once) and of bias currents that are not zero."""
        currents = sum(int(np.count_nonzero(bias)) for bias in self.biases)
        return sum(each.free_parameters for each in self.crossbars) + currents

    def check_inputs(self, inputs: ArrayLike) -> Float[Array, "batch inputs"]:
        """Return ``inputs`` as (batch, inputs) in the network's dtype. Raises UserError if they are invalid."""
        return checked_inputs(inputs, self.layers[0], self.crossbars[0].conductance.dtype)

    def law(self, layer: int | None = None) -> Law:  # noqa: ARG002 - where every node has its own
        """Return the law of the nodes of hidden ``layer``, or of all hidden nodes concatenated; its parameters may be arrays."""
        return self.diode

    def amplified(self, layer: int) -> bool:
        """Return whether there are amplifiers after the nodes of hidden ``layer``."""
        return self.amplifier_gain[layer - 1] != 1

    def diode_model(self, layer: int) -> tuple[str, Mapping[str, Any]]:  # noqa: ARG002 - where every node has its own
        """Subcircuit of the diodes at hidden ``layer``, and its parameters, one value for all or one for each node."""
        return self.diode.spice

    def amplifier_model(self, layer: int) -> tuple[str, Mapping[str, Any]]:  # noqa: ARG002
        """Return the subcircuit of the amplifiers after hidden ``layer``, and its parameters in addition to the gain."""
        return "amplifier", {}

    def loading(self, layer: int) -> Float[Array, " nodes"]:
        """Return the load conductance to ground at each node of hidden ``layer``, siemens."""
        return np.zeros(self.layers[layer])

    @property
    def spice_options(self) -> Mapping[str, float]:
        """Simulator options of its circuits."""
        return self.diode.options

    def spice_notes(self) -> tuple[str, ...]:
        """Additional notes in its netlists."""
        return ()

    def with_own_devices(self) -> Self:
        """Return the network whose diodes in SPICE are the devices of their laws.

        Raises UserError if there are none.
        """
        raise UserError(f"diode: a {self.family} network has no circuit of the devices that its laws were made from")

    def require_definite(self, beta: float, input_conductance: Float[Array, " nodes"] | None = None) -> None:
        """Raise UserError, which names the output, if a nudge of ``beta`` siemens leaves no unique equilibrium.

        ``input_conductance``: column sums of crossbar 1, if the caller has them.
        """
        raise NotImplementedError

    def drives(self, voltages: Layers) -> Layers:
        """The drives a of layers 1..L-1, volts: the amplifiers' outputs."""
        return tuple(gain * v for gain, v in zip(self.amplifier_gain, voltages[:-1], strict=True))

    def energy(self, inputs: Float[Array, "batch inputs"], voltages: Layers) -> Float[Array, " batch"]:
        """E of each sample, watts (up to the constants of the co-contents)."""
        total = np.zeros(len(inputs))
        drives = (self.rows(inputs), *self.drives(voltages))
        for layer, (crossbar, drive, bias, v, gamma) in enumerate(
            zip(self.crossbars, drives, self.biases, voltages, self.gammas, strict=True), start=1
        ):
            total += gamma * (crossbar.energy(drive, v) - v @ bias)
            if layer < self.depth:
                total += gamma * self.law(layer).cocontent(self.polarity(layer) * v).sum(axis=1)
        return total
