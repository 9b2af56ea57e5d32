"""Layered continuous Hopfield networks: parameters, energy, forces, read-out.

Source: Hopfield 1984; Scellier & Bengio 2017; Ernoult et al. 2019; Laborieux et al. 2021.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike, DTypeLike

from eqprop_analog.core.checks import check_layers, check_pair, check_seed, checked_inputs, layer_shapes
from eqprop_analog.core.equilibrium import Equilibrium, Layers
from eqprop_analog.core.network import Network
from eqprop_analog.core.nudge import cost_slope
from eqprop_analog.core.shown import sizes_text
from eqprop_analog.devices.buffer import Buffer, HardSigmoid, buffer_from, buffer_table, check_buffer
from eqprop_analog.errors import UserError
from eqprop_analog.files import loaded_arrays, real, save_arrays
from eqprop_analog.incoming import in_one_precision, known_keywords, one_of, whole_number
from eqprop_analog.networks.hopfield.connections import Choice, Connection, Convolution, Dense

if TYPE_CHECKING:
    from eqprop_analog.networks.hopfield.equations import HopfieldEquations
    from eqprop_analog.spice.circuit import Circuit

Array = np.ndarray
Initial = Literal["glorot", "fan-in"]

STEP = 0.1
"""Step in time constants of dynamics that stay in the circuit's basin; longer steps may leave it or oscillate."""
FORMAT = "eqprop-analog hopfield network 1"


@dataclass(frozen=True, eq=False, repr=False)
class HopfieldNetwork(Network):
    """E = Σ_l γ_l [ Σ_j ∫ρ⁻¹(s_lj) - s_l·(W_l s_{l-1}) - b_l·s_l ],  s_l = ρ(u_l) in [0, 1] V,  s_0 the inputs.

    Its minima are the fixed points u_l = W_l s_{l-1} + b_l + κ W_{l+1}ᵀ s_{l+1} of all solvers; with the hard sigmoid,
    ∫ρ⁻¹ = ½s². Weights are dimensionless and of any sign; one unit of state is 1 V. κ is ``feedback``, and γ_l = κ^(l-L), as
    with bidirectional amplifiers (Kendall et al. 2020): κ = 1 is the network of the papers, and a smaller κ converges faster. A
    network with separate ``returning`` weights is a vector field without an energy (Scellier et al. 2018).
    """

    family: ClassVar[str] = "hopfield"
    convex: ClassVar[bool] = False
    directed: ClassVar[bool] = True
    residual_unit: ClassVar[str] = "V"
    beta_unit: ClassVar[str] = ""

    connections: tuple[Connection, ...]
    """The connection of each layer with the previous one: dense, convolutional or pooled."""
    weights: tuple[Float[Array, "..."], ...]
    """One array for each connection, 1/V; see Connection.weight_shape."""
    biases: tuple[Float[Array, " biases"], ...]
    """One array of Connection.bias_size for each connection, volts."""
    buffer: Buffer = field(default_factory=HardSigmoid)
    """ρ of every node."""
    returning: tuple[Float[Array, "..."], ...] = ()
    """Backward weights from layer l + 1 to layer l of connections 2..L, shaped like the forward ones; () for tied weights."""
    head: tuple[Float[Array, "nodes classes"], Float[Array, " classes"]] | None = None
    """Weights and biases of a read-out s_L W + b outside the system; None reads the last layer itself."""
    feedback: float = 1.0
    """κ, the ratio of the backward to the forward action of a weight."""

    def __post_init__(self) -> None:
        """Convert all arrays to one precision. Raises UserError for an array that is not numeric."""
        groups = {"weights": self.weights, "biases": self.biases, "returning weights": self.returning}
        arrays = in_one_precision({**groups, "read-out": self.head or ()})
        for name, value in zip(("weights", "biases", "returning", "head"), arrays, strict=True):
            object.__setattr__(self, name, value if value or name != "head" else None)
        check_buffer(self.buffer)
        if not (np.isfinite(self.feedback) and self.feedback > 0):
            raise UserError(f"feedback: expected a number above 0 (1 is the papers' network), got {self.feedback!r}")
        if self.returning and self.feedback != 1:
            raise UserError("feedback: untied backward weights have their own scale; leave feedback at 1")

    def facts(self) -> dict[str, str]:
        """The properties of the network that are shown to users."""
        kinds = ", ".join(dict.fromkeys(type(each).__name__.lower() for each in self.connections))
        return {
            "layers": sizes_text(self.layers),
            "connections": f"{kinds}, {'untied' if self.returning else 'tied'}",
            "weights": f"{sum(values.size for values in self.weights):,}",
            "buffer": repr(self.buffer),
            **({"read-out": f"{self.classes} classes outside the system"} if self.head is not None else {}),
        }

    @classmethod
    def dense(cls, layers: Sequence[int], seed: int = 0, **settings: Any) -> Self:
        """A network of dense connections with ``layers`` = (inputs, hidden ..., outputs); ``settings`` as for ``build``.

        >>> import eqprop_analog as ea
        >>> network = ea.HopfieldNetwork.dense([4, 6, 2], seed=0)
        >>> [weight.shape for weight in network.weights]  # 1/V
        [(4, 6), (6, 2)]
        """
        sizes = check_layers(layers)
        return cls.build([Dense(i, j) for i, j in pairwise(sizes)], seed, **settings)

    @classmethod
    @known_keywords
    def build(
        cls,
        connections: Sequence[Connection],
        seed: int = 0,
        *,
        buffer: Buffer | None = None,
        initial: Initial = "glorot",
        untied: bool = False,
        classes: int | None = None,
        feedback: float = 1.0,
    ) -> Self:
        """A newly initialized network of these ``connections`` with weights drawn by ``seed``. Raises UserError.

        ``buffer``: ρ of every node (default: the hard sigmoid); ``untied``: whether backward weights are separate;
        ``classes``: number of classes of a read-out outside the system (default: no such read-out); ``feedback``: κ.
        ``initial``: "glorot" is U(-a, a) with a = √(6/(fan_in + fan_out)) and no biases (2017 paper); "fan-in" is U(-a, a) with
        a = 1/√fan_in for weights and biases alike (PyTorch's default, used by the papers of 2019 and 2021). Untied backward
        weights are drawn independently.
        """
        seed = check_seed(seed)
        one_of(initial, "initial", get_args(Initial))
        rng = np.random.default_rng(seed)
        weights, biases, returning = [], [], []
        for layer, each in enumerate(connections):
            fan_in, fan_out = each.fans
            bound = np.sqrt(6 / (fan_in + fan_out)) if initial == "glorot" else 1 / np.sqrt(fan_in)
            weights.append(rng.uniform(-bound, bound, each.weight_shape))
            biases.append(
                np.zeros(each.bias_size) if initial == "glorot" else rng.uniform(-bound, bound, each.bias_size)
            )
            if untied and layer:
                returning.append(rng.uniform(-bound, bound, each.weight_shape))
        head = None
        if classes is not None:
            classes = whole_number(classes, "classes", 1)
            nodes = connections[-1].sizes[1]
            bound = 1 / np.sqrt(nodes)
            head = rng.uniform(-bound, bound, (nodes, classes)), rng.uniform(-bound, bound, classes)
        network = cls(
            tuple(connections),
            tuple(weights),
            tuple(biases),
            HardSigmoid() if buffer is None else buffer,
            tuple(returning),
            head,
            feedback,
        )
        network.validate()
        return network

    @property
    def layers(self) -> tuple[int, ...]:
        """(inputs, n_1, ..., n_L), nodes."""
        return (self.connections[0].sizes[0], *(each.sizes[1] for each in self.connections))

    @property
    def depth(self) -> int:
        """L, the number of connections."""
        return len(self.connections)

    @property
    def classes(self) -> int:
        """Number of read-outs."""
        return self.layers[-1] if self.head is None else self.head[0].shape[1]

    @property
    def forms(self) -> tuple[str, str]:
        """See core.Network."""
        return "norton", "flat"

    @property
    def resistors_in_circuit(self) -> int:
        """Number of devices: one for each weight and direction."""
        sizes = [each.sizes[0] * each.sizes[1] for each in self.connections]
        return sizes[0] + 2 * sum(sizes[1:])

    @property
    def continuous(self) -> bool:
        """False for a network with pooling, where the feedback jumps to another site when the winner changes."""
        return all(each.windows.shape[1] == 1 for each in self.connections)

    def winners(self, inputs: Float[Array, "batch inputs"], voltages: Layers) -> tuple[Int[Array, "..."], ...]:
        """Winners of all windows for ``inputs``, forward and then backward if untied; ``voltages`` are states."""
        ways = [*zip(self.connections, self.weights, (inputs, *voltages[:-1]), strict=True)]
        ways += zip(self.connections[1:], self.returning, voltages[:-1], strict=True) if self.returning else ()
        found = (each.winners(weights, before) for each, weights, before in ways)
        return tuple(choice for choice in found if choice is not None)

    @property
    def back(self) -> tuple[Float[Array, "..."], ...]:
        """Backward weights of connections 2..L."""
        if self.returning or self.feedback == 1:
            return self.returning or self.weights[1:]
        return tuple(values.dtype.type(self.feedback) * values for values in self.weights[1:])

    @property
    def shares(self) -> tuple[float, ...]:
        """γ_l of layers 1..L."""
        return tuple(self.feedback ** (layer - self.depth) for layer in range(1, self.depth + 1))

    def readout(self, outputs: Float[Array, "batch nodes"]) -> Float[Array, "batch classes"]:
        """Read-out of each class for ``outputs``, the states of the last layer, volts."""
        return outputs if self.head is None else outputs @ self.head[0] + self.head[1]

    @property
    def readout_reach(self) -> float:
        """Largest change of a read-out if no state of the last layer changes by more than 1 V, volts."""
        return 1.0 if self.head is None else float(np.abs(self.head[0]).sum(axis=0).max())

    def along_readout(self, pull: Float[Array, "batch classes"]) -> Float[Array, "batch nodes"]:
        """Forces on the nodes of the last layer that result from ``pull`` at the read-outs."""
        return pull if self.head is None else pull @ self.head[0].T

    def winners_back(self, layer: int, before: Float[Array, "batch nodes"], ahead: Choice) -> Choice:
        """Winners through which ``connections[layer]`` unpools: those of its backward weights; ``ahead`` are the forward ones.

        ``before``: the states of the previous layer. Source: the published code of Laborieux et al. 2021.
        """
        return self.connections[layer].winners(self.returning[layer - 1], before) if self.returning else ahead

    def drive(self, inputs: Float[Array, "batch inputs"]) -> Float[Array, "batch nodes"]:
        """Contribution of the inputs and the biases to u of layer 1, volts; it is the same in every step of a phase."""
        first = self.connections[0]
        return first.forward(self.weights[0], inputs)[0] + first.spread_bias(self.biases[0])

    def forces(self, drive: Float[Array, "batch nodes"], states: Layers) -> Layers:
        """u_l = ∂Φ/∂s_l of every layer, volts: W_l s_{l-1} + b_l plus the feedback of layer l + 1.

        ``drive`` is the contribution of the inputs, and ``states`` are those of all layers, volts. A state is a fixed point of
        the free phase if s = ρ(u).
        """
        forward = [drive]
        choices: list[Choice] = []
        for layer in range(1, self.depth):
            each = self.connections[layer]
            force, choice = each.forward(self.weights[layer], states[layer - 1])
            forward.append(force + each.spread_bias(self.biases[layer]))
            choices.append(self.winners_back(layer, states[layer - 1], choice))
        for layer, (weights, choice) in enumerate(zip(self.back, choices, strict=True)):
            forward[layer] = forward[layer] + self.connections[layer + 1].backward(weights, states[layer + 1], choice)
        return tuple(forward)

    def energy(self, inputs: Float[Array, "batch inputs"], states: Layers) -> Float[Array, " batch"]:
        """E of each row of ``inputs`` at ``states``, volts squared; defined for tied weights only."""
        total = np.zeros(len(inputs))
        before = inputs
        layers = zip(self.shares, self.connections, self.weights, self.biases, states, strict=True)
        for share, each, weights, bias, s in layers:
            force = each.forward(weights, before)[0] + each.spread_bias(bias)
            total += share * (self.buffer.potential(s).sum(axis=1) - (force * s).sum(axis=1))
            before = s
        return total

    def contrast(self, inputs: Float[Array, "batch inputs"], plus: Equilibrium, minus: Equilibrium) -> dict[str, Array]:
        """dC/dW_l = -γ_l/(β₊ - β₋)·⟨(∂Φ_l/∂W_l)₊ - (∂Φ_l/∂W_l)₋⟩, dC/db likewise, named as in ``arrays``; see learning.contrast.

        Untied weights of both directions receive the same update, so they become alike under weight decay (Kolen & Pollack
        1994): the mean of ∂Φ_l/∂W_l at the forward and at the backward winners (Laborieux et al. 2021, ``same_update`` in the
        published code). Raises UserError for phases that failed.
        """
        check_pair("contrast", layer_shapes(len(inputs), self.layers), plus, minus)
        scale = -1 / ((plus.beta - minus.beta) * len(inputs))
        above = tuple(share * scale * s for share, s in zip(self.shares, plus.voltages, strict=True))
        below = tuple(-share * scale * s for share, s in zip(self.shares, minus.voltages, strict=True))
        named: dict[str, Array] = {}
        for layer, (each, weights) in enumerate(zip(self.connections, self.weights, strict=True)):
            after = np.concatenate([above[layer], below[layer]])
            if layer == 0:  # the inputs are the same in both phases
                slope = each.gradient(inputs, above[0] + below[0], each.winners(weights, inputs))
            else:
                before = np.concatenate([plus.voltages[layer - 1], minus.voltages[layer - 1]])
                ahead = each.winners(weights, before)
                slope = each.gradient(before, after, ahead)
                back = self.winners_back(layer, before, ahead)
                if back is not ahead:
                    slope = (slope + each.gradient(before, after, back)) / 2
            named[f"weight_{layer + 1}"] = slope
            named[f"bias_{layer + 1}"] = each.gather_bias(after.sum(axis=0))
            if self.returning and layer:
                named[f"returning_{layer + 1}"] = slope.copy()
        return named if self.head is None else named | self.head_gradient(plus, minus)

    def directed_contrast(
        self,
        inputs: Float[Array, "batch inputs"],
        plus: Equilibrium,
        minus: Equilibrium,
        references: Sequence[tuple[float, Equilibrium]],
    ) -> dict[str, Array]:
        """See core.Network; networks.hopfield.directed."""
        from eqprop_analog.networks.hopfield.directed import directed_contrast

        return directed_contrast(self, inputs, plus, minus, references)

    def head_gradient(self, plus: Equilibrium, minus: Equilibrium) -> dict[str, Array]:
        """(β₊⟨∂C/∂W⟩₊ - β₋⟨∂C/∂W⟩₋)/(β₊ - β₋) of the read-out outside the system, and of its biases.

        ``plus``, ``minus``: equilibria under nudges of different β. With ±β this is the mean over both phases; with β and the
        free phase it is the value of the nudged phase alone (Laborieux et al. 2021).
        """
        named: dict[str, Array] = {}
        for phase, beta in ((plus, plus.beta), (minus, -minus.beta)):
            if phase.nudge is None:
                continue
            read = self.readout(phase.outputs)
            target = np.broadcast_to(phase.nudge.target, read.shape).astype(read.dtype, copy=False)
            slope = cost_slope(phase.nudge.cost, read, target)
            slope *= beta / (plus.beta - minus.beta) / len(read)
            found = {"head_weight": phase.outputs.T @ slope, "head_bias": slope.sum(axis=0)}
            named = {name: named.get(name, 0) + values for name, values in found.items()}
        if not named:
            raise UserError("contrast: a read-out learns from its targets, so one of the two phases must be nudged")
        return named

    def usual_beta(self) -> float:
        """The default β of a nudge, dimensionless; states are bounded, so a nudge of any size is possible."""
        return 0.5

    def equations(self, inputs: Float[Array, "batch inputs"]) -> "HopfieldEquations":
        """S = ρ(W s + b) of every node."""
        from eqprop_analog.networks.hopfield.equations import HopfieldEquations

        return HopfieldEquations.of(self, inputs)

    def circuit(
        self,
        inputs: Float[Array, "batch inputs"],
        phases: Sequence[Any] = (None,),
        form: str = "norton",
        *,
        validate: bool = True,
        swing: float | None = None,
        start: Layers | None = None,
    ) -> "Circuit":
        """See core.Network, and the module netlist for ``swing`` and ``start``; several phases form one sweep."""
        from eqprop_analog.networks.hopfield.netlist import compile_hopfield

        one_of(form, "form", self.forms)
        if len(phases) != 1:
            raise UserError(
                "circuit: expected the phases of a Hopfield network as one batch, made by "
                "equations.nudged(nudges, free)"
            )
        return compile_hopfield(self, inputs, phases[0], form, swing=swing, start=start, validate=validate)  # type: ignore[arg-type]

    def gradient(
        self, inputs: Float[Array, "batch inputs"], voltages: tuple[Array, ...], response: tuple[Array, ...]
    ) -> dict[str, Array]:
        """See core.Network: the gradient of a weight is the product of the state before it and the response of the node after it.

        Untied weights have separate gradients for both directions.
        """
        named: dict[str, Array] = {}
        after = tuple(-values / len(inputs) for values in response)
        before = inputs
        for layer, (each, weights, states) in enumerate(zip(self.connections, self.weights, voltages, strict=True)):
            ahead = each.winners(weights, before)
            slope = each.gradient(before, after[layer], ahead)
            if layer:
                back = each.gradient(after[layer - 1], states, self.winners_back(layer, before, ahead))
                if self.returning:
                    named[f"returning_{layer + 1}"] = back
                else:
                    slope += back if self.feedback == 1 else slope.dtype.type(self.feedback) * back
            named[f"weight_{layer + 1}"] = slope
            named[f"bias_{layer + 1}"] = each.gather_bias(after[layer].sum(axis=0))
            before = states
        return named

    def readout_gradient(
        self, outputs: Float[Array, "batch nodes"], slope: Float[Array, "batch classes"]
    ) -> dict[str, Array]:
        """⟨∂C/∂W⟩ and ⟨∂C/∂b⟩ of a read-out outside the system."""
        return {} if self.head is None else {"head_weight": outputs.T @ slope, "head_bias": slope.sum(axis=0)}

    def astype(self, dtype: DTypeLike) -> Self:
        """A copy of the network with arrays of ``dtype``."""
        return replace(
            self,
            weights=tuple(values.astype(dtype) for values in self.weights),
            biases=tuple(values.astype(dtype) for values in self.biases),
            returning=tuple(values.astype(dtype) for values in self.returning),
            head=None if self.head is None else (self.head[0].astype(dtype), self.head[1].astype(dtype)),
        )

    def check_inputs(self, inputs: ArrayLike) -> Float[Array, "batch inputs"]:
        """``inputs`` as (batch, inputs) in the network's dtype, or UserError."""
        return checked_inputs(inputs, self.layers[0], self.weights[0].dtype)

    def validate(self) -> None:
        """Raise UserError unless consecutive connections fit each other and every array has the right shape and is finite."""
        if not self.connections:
            raise UserError("layers: a Hopfield network needs at least one connection")
        for number, (one, other) in enumerate(pairwise(self.connections), start=2):
            if one.sizes[1] != other.sizes[0]:
                raise UserError(f"connection {number}: expected {one.sizes[1]} nodes before it, got {other.sizes[0]}")
        shapes = [each.weight_shape for each in self.connections]
        self._require("weights", self.weights, shapes)
        self._require("biases", self.biases, [(each.bias_size,) for each in self.connections])
        if self.returning:
            self._require("returning weights", self.returning, shapes[1:])
        if self.head is not None:
            self._require("read-out", self.head, [(self.layers[-1], self.classes), (self.classes,)])

    def _require(self, name: str, arrays: Sequence[Array], shapes: Sequence[tuple[int, ...]]) -> None:
        if len(arrays) != len(shapes):
            raise UserError(f"{name}: expected {len(shapes)} arrays, got {len(arrays)}")
        for number, (values, shape) in enumerate(zip(arrays, shapes, strict=True), start=1):
            if values.shape != shape:
                raise UserError(f"{name} {number}: expected shape {shape}, got {values.shape}")
            if not np.isfinite(values).all():
                raise UserError(f"{name} {number}: a value is not finite")

    def arrays(self) -> dict[str, Array]:
        """All parameters by their names in files: ``weight_<l>``, ``bias_<l>``, ``returning_<l>``, ``head_...``."""
        named = {f"weight_{l}": values for l, values in enumerate(self.weights, start=1)}
        named |= {f"bias_{l}": values for l, values in enumerate(self.biases, start=1)}
        named |= {f"returning_{l}": values for l, values in enumerate(self.returning, start=2)}
        return named if self.head is None else named | {"head_weight": self.head[0], "head_bias": self.head[1]}

    def save(self, path: str | Path) -> None:
        """Write an uncompressed ``.npz`` (arrays and one JSON text, no pickle) atomically; UserError if that fails."""
        description: dict[str, Any] = {
            "connections": [_table(each) for each in self.connections],
            "buffer": buffer_table(self.buffer),
        }
        if self.feedback != 1:
            description["feedback"] = self.feedback
        save_arrays(path, FORMAT, description, self.arrays())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a network written by ``save``. Raises UserError for any other file."""
        with loaded_arrays(path, FORMAT) as (description, file):
            connections = tuple(_connection(table) for table in description["connections"])
            numbers = range(1, len(connections) + 1)
            network = cls(
                connections,
                tuple(real(file[f"weight_{l}"]) for l in numbers),
                tuple(real(file[f"bias_{l}"]) for l in numbers),
                buffer_from(description["buffer"]),
                tuple(real(file[f"returning_{l}"]) for l in numbers if f"returning_{l}" in file.files),
                (real(file["head_weight"]), real(file["head_bias"])) if "head_weight" in file.files else None,
                float(description.get("feedback", 1.0)),
            )
            network.validate()
        return network


def _table(connection: Connection) -> dict[str, Any]:
    kind = next(name for name, each in _kinds().items() if isinstance(connection, each))
    return {"kind": kind, **vars(connection)}


def _connection(table: dict[str, Any]) -> Connection:
    return _kinds()[table["kind"]](**{name: value for name, value in table.items() if name != "kind"})


def _kinds() -> dict[str, type[Any]]:
    """Connections by their names in files."""
    from eqprop_analog.networks.hopfield.maxout import Maxout

    return {"dense": Dense, "convolution": Convolution, "maxout": Maxout}
