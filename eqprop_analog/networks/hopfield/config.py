"""The configuration of a Hopfield network's training."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from jaxtyping import Float
from pydantic import Field, field_validator, model_validator

from eqprop_analog.core.nudge import Cost
from eqprop_analog.devices.buffer import buffer_from
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.config import (
    Count,
    NotNegative,
    Positive,
    TrainConfig,
    Training,
    for_own_data,
    outer_layers,
)
from eqprop_analog.experiments.solvers import SURROGATE, SolverName
from eqprop_analog.learning.local import Signal
from eqprop_analog.learning.trainer import Nudging
from eqprop_analog.networks.hopfield.connections import Connection, Convolution, Dense, connection_from
from eqprop_analog.networks.hopfield.network import STEP, Initial

if TYPE_CHECKING:
    from eqprop_analog.learning.trainer import Rule
    from eqprop_analog.networks.hopfield.network import HopfieldNetwork
    from eqprop_analog.networks.hopfield.relaxation import Relaxation

Array = np.ndarray


class HopfieldConfig(TrainConfig):
    """How a Hopfield network is trained; states in volts, weights, β and time steps without unit."""

    changeable: ClassVar[frozenset[str]] = TrainConfig.changeable | {"workers", "on_failure"}

    model: Literal["hopfield"]
    layers: list[Count] | None = Field(None, min_length=2)
    """Inputs, and nodes of every layer, joined by dense connections."""
    connections: list[dict[str, int]] | None = Field(None, min_length=1)
    """Instead: one table a connection, {outputs} or {channels, kernel, padding, pool}; the first takes the data's images."""
    buffer: dict[str, str | float] = Field({"law": "hard-sigmoid"})
    """``law``, and its ``gain``."""
    initial: Initial = "glorot"
    """How weights are drawn; see HopfieldNetwork.build."""
    untied: bool = False
    """Give the way back weights of its own."""
    feedback: Positive = 1.0
    """What returns through a tied weight, as a part of what goes forward through it; see HopfieldNetwork."""
    head: Count | None = None
    """Read so many classes by weights outside the system; absent, the last layer itself."""

    method: Literal["equilibrium-propagation", "bptt", "feed-forward"] = "equilibrium-propagation"
    """Nudged phases; or, to compare with, backpropagation through the steps of the free one; or the control, a feed-forward
    network of the same shapes, initial values, images and schedule by backpropagation (on a device)."""
    activation: Literal["buffer", "relu"] = "buffer"
    """Of the control's nodes: ρ, or max(0, u)."""
    nudging: Nudging = "centred"
    """Phases under +β and -β, under one of both beside the free one, or under either at random."""
    kind: Literal["conductance", "output"] = "conductance"
    """Of squared errors: a pull at the output nodes, before their buffers, or behind these (discrete time alone; or "bptt")."""
    cost: Cost = "squared-error"
    """What nudges descend."""
    signal: Signal = "contrast"
    """What the phases say about a weight; see learning.local."""
    update: Literal["once", "continual"] = "once"
    """After the nudged phases, or at every step of the nudged phase."""
    weight_rates: NotNegative | list[NotNegative]
    """1/V², one for all connections (and the head, last) or one each."""
    bias_rates: NotNegative | list[NotNegative] | None = None
    """Without unit; as those of the weights unless given."""
    cosine_end: NotNegative = 0.0
    """1/V² (without unit of biases): the rate that ``cosine`` takes all larger ones to."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of updates: the part of the last one that is added to the next."""
    weight_decay: NotNegative = 0.0
    """V², times the weights in the gradient."""

    device: Literal["cpu", "cuda", "torch-cpu"] = "cpu"
    """Where phases are computed: "cpu" by NumPy, "cuda" on a GPU by PyTorch, "torch-cpu" the same kernels on the CPU."""
    phases: Literal["half", "tf32", "float32", "float64"] | None = None
    """On a device: the precision of phases, that of the parameters unless given; "half" is float16, differences bfloat16; "tf32"
    is float32 whose products a GPU takes of factors rounded to 10 bits."""
    differences: bool = False
    """On a device: compute nudged phases as differences from the free one, taken as an equilibrium, without cancellation."""
    frozen: bool | None = None
    """Of differences: keep the free phase's winners of the pooling; unless given, where phases are in half precision."""
    fused: bool | None = None
    """On a GPU: take steps by Triton kernels, one for all layers of a dense network; the default where a kernel supports the
    network and the precision, which float64 never is."""
    over_relaxation: Annotated[float, Field(gt=0, lt=2)] = 1.0
    """Of descent on a device: how far a layer goes, of the way to the minimum over it."""
    directed: bool = False
    """Of descent on a device: the first sweep of a free phase goes from layer 1 to L, that of nudged phases from L to 1."""
    solver: SolverName = SURROGATE
    """What finds every equilibrium: steps in NumPy; or others, of the circuit, whose dynamics are leaky integrators."""
    workers: Count = 1
    """ngspice only: worker processes."""
    on_failure: Literal["stop", "skip"] = "stop"
    """What training does about a sample without a certified equilibrium: end with its status, or leave it out."""
    dynamics: Literal["gradient-flow", "leaky-integrator", "discrete-time", "descent", "energy-based"]
    """How states find their equilibrium; see the solvers of these names."""
    step: Annotated[float, Field(gt=0, le=1)] | None = None
    """Of the flows and the leaky integrator, in units of the nodes' time constant; of discrete time the part of the way to ρ(u)
    that a step goes, 1 unless given."""
    free_steps: Count | None = None
    """Truncate the free phase after this many steps (sweeps, of descent) instead of converging."""
    nudged_steps: Count | None = None
    """The same for nudged phases."""
    test_steps: Count | None = None
    """The same for the test images; as the free phase unless given."""
    backward_steps: Count | None = None
    """Of "bptt": go back through the last so many steps of the free phase; through all, unless given."""
    persistent: bool = False
    """Begin the free phase of each image, of training and test, where that of the epoch before ended instead of at 0 V."""

    flip: bool = False
    """Turn training images left to right, every other one at random."""
    erase: Annotated[int, Field(ge=0)] = 0
    """On a device: set a square of so many pixels a side, at a random place of every training image, to the mean."""
    mirrored: bool = False
    """On a device: classify test images by the sum of the read-outs of an image and of its mirror image."""
    edge: bool = False
    """Continue shifted images by their edge instead of 0."""
    input_buffer: bool = False
    """Send the pixels through a buffer like the nodes' as well."""
    pixel_mean: list[float] | None = None
    """Taken off the pixels of each channel."""
    pixel_deviation: list[Positive] | None = None
    """What the pixels of each channel are then divided by."""

    @field_validator("buffer")
    @classmethod
    def _known_buffer(cls, value: dict[str, str | float]) -> dict[str, str | float]:
        buffer_from(dict(value))
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.layers is None) == (self.connections is None):
            raise ValueError("layers: give either layers or connections")
        try:
            rates = len(self.joins()) + (self.head is not None)
        except (TypeError, UserError) as error:
            raise ValueError(f"connections: {error}") from error
        for name in ("weight_rates", "bias_rates"):
            given = getattr(self, name)
            if isinstance(given, list) and len(given) != rates:
                raise ValueError(f"{name}: {len(given)} values for {rates} connections (the head included)")
        if self.cosine_end and self.cosine is None:
            raise ValueError(
                "cosine_end: cosine is required, too: the number of epochs after which the rates reach cosine_end"
            )
        self._require_dynamics()
        self._require_circuit()
        self._require_device()
        self._require_pixels()
        return self

    def _require_dynamics(self) -> None:
        timed = self.dynamics in ("gradient-flow", "leaky-integrator", "energy-based")
        if timed and self.step is None:
            raise ValueError(f"step: {self.dynamics} needs a step size")
        if self.dynamics == "descent" and self.step is not None:
            raise ValueError("step: descent has no step size; leave it out")
        behind = self.dynamics == "discrete-time" or self.method == "bptt"
        if self.kind == "output" and not (behind and self.cost == "squared-error"):
            raise ValueError('kind: "output" needs discrete-time or "bptt", and the squared error')
        if self.update == "continual" and (self.nudging == "centred" or self.nudged_steps is None or self.head):
            raise ValueError('update: "continual" needs nudging in one phase, a number of nudged_steps, and no head')
        if self.on_failure == "skip" and (self.method == "bptt" or self.update == "continual"):
            raise ValueError('on_failure: "skip" needs nudged phases and one update after them')
        if self.method == "bptt" and self.free_steps is None and self.backward_steps is None:
            raise ValueError("backward_steps: required if the free phase runs until it has converged")
        if self.persistent and (self.shift or self.flip):
            raise ValueError(
                "persistent: shifted or flipped images have no previous equilibrium; leave out shift and flip"
            )

    def _require_circuit(self) -> None:
        if self.solver == SURROGATE:
            return
        if (self.dynamics, self.step) != ("leaky-integrator", STEP):
            raise ValueError(
                f"dynamics: {self.solver} solves a circuit of leaky integrators; "
                f'set dynamics = "leaky-integrator", step = {STEP:g}'
            )
        if self.precision == "float32":
            raise ValueError(f'precision: {self.solver} computes in float64; set precision = "float64"')
        if not self.free_steps == self.nudged_steps == self.test_steps is None or self.method == "bptt":
            raise ValueError(
                f"free_steps: {self.solver} always solves to convergence; leave out the numbers of steps, and bptt"
            )
        if self.update != "once":
            raise ValueError(f'update: "{self.update}" needs the steps of the surrogate, got solver = "{self.solver}"')

    def _require_device(self) -> None:
        if self.device == "cpu":
            wanted = {
                name: getattr(self, name)
                for name in ("phases", "fused", "differences", "directed", "erase", "mirrored")
            }
            wanted |= {"over_relaxation": self.over_relaxation != 1, "feed-forward": self.method == "feed-forward"}
            found = ", ".join(name for name, value in wanted.items() if value)
            if found:
                raise ValueError(f'device: {found} need "cuda" or "torch-cpu", got "cpu"')
            return
        learns = (self.update, self.signal, self.on_failure) == ("once", "contrast", "stop")
        if self.solver != SURROGATE or self.method == "bptt" or not learns:
            raise ValueError(
                f'device: "{self.device}" supports only signal = "contrast", update = "once", on_failure = "stop", '
                'solver = "surrogate", and no bptt'
            )
        if self.method == "feed-forward":
            if self.untied or self.persistent or self.differences:
                raise ValueError(
                    "method: a feed-forward network has no untied weights, persistent states or differences"
                )
        elif self.free_steps is None or self.nudged_steps is None:
            raise ValueError(f'device: "{self.device}" needs fixed numbers of steps; give free_steps and nudged_steps')
        self._require_precision()

    def _require_precision(self) -> None:
        if self.phases in ("half", "tf32") and self.device != "cuda":
            raise ValueError(f'phases: "{self.phases}" needs device = "cuda"')
        states_move = self.dynamics in ("discrete-time", "descent") and self.buffer["law"] == "hard-sigmoid"
        if self.differences and not states_move:
            raise ValueError("differences: this needs hard sigmoids, and discrete-time or descent")
        if self.frozen and not self.differences:
            raise ValueError("frozen: this needs differences = true")
        if self.fused is not None and self.device != "cuda":
            raise ValueError('fused: this needs device = "cuda"')
        for name, value in (("over_relaxation", self.over_relaxation != 1), ("directed", self.directed)):
            if value and self.dynamics != "descent":
                raise ValueError(f'{name}: this needs dynamics = "descent"')
        if self.untied and self.feedback != 1:
            raise ValueError("feedback: untied backward weights have their own scale; leave it at 1")

    def _require_pixels(self) -> None:
        channels = self.image_shape[0]
        for name in ("pixel_mean", "pixel_deviation"):
            given = getattr(self, name)
            if given is not None and len(given) != channels:
                raise ValueError(f"{name}: {len(given)} values for {channels} channels of {self.dataset}")

    @classmethod
    def adapted(cls, values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Layers in place of connections, and the rates of another depth: the first for all but the last.

        And for ``method="bptt"`` a cost behind the output buffers: before them, saturated outputs have no gradient. And for
        another ``solver`` than the surrogate the circuit's dynamics, its nudge, float64 and converged phases.
        """
        adapted = for_own_data(values, overrides)
        if overrides.get("solver", SURROGATE) != SURROGATE:
            truncations = ("free_steps", "nudged_steps", "test_steps", "kind")
            adapted = {name: value for name, value in adapted.items() if name not in truncations}
            adapted |= {"dynamics": "leaky-integrator", "step": STEP, "precision": "float64"}
        method = values.get("method"), overrides.get("method")
        if method[0] != method[1] == "bptt" and values.get("cost", "squared-error") == "squared-error":
            adapted["kind"] = "output"
        if "layers" not in overrides and overrides.get("own_data") and values.get("layers"):
            adapted["layers"] = outer_layers(values, overrides)
        if "layers" not in overrides:
            return adapted
        count = len(overrides["layers"]) - 1 + ("head" in values)
        adapted.pop("connections", None)
        for name in ("weight_rates", "bias_rates"):
            rates = values.get(name)
            if isinstance(rates, list) and rates and len(rates) != count:
                adapted[name] = [rates[0]] * (count - 1) + [rates[-1]]
        return adapted

    def joins(self) -> list[Connection]:
        """The connections between layers."""
        if self.layers is not None:
            return [Dense(before, after) for before, after in pairwise(self.layers)]
        made: list[Connection] = []
        shape: tuple[int, ...] = self.image_shape
        for table in self.connections or ():
            made.append(connection_from(table, shape))
            shape = made[-1].pooled if isinstance(made[-1], Convolution) else (made[-1].sizes[1],)
        return made

    @property
    def sizes(self) -> tuple[int, ...]:
        """Inputs, and nodes of every layer."""
        made = self.joins()
        return (made[0].sizes[0], *(each.sizes[1] for each in made))

    @property
    def classes(self) -> int:
        """Read-outs: the last layer's nodes, or the head's."""
        return self.head or self.sizes[-1]

    @property
    def method_in_words(self) -> str:
        """The dynamics, or the simulator."""
        if self.method == "feed-forward":
            return f"by backpropagation in a feed-forward network ({self.activation}) on {self.device}"
        if self.solver != SURROGATE:
            return f"with {self.solver}"
        return f"by {self.dynamics}" + (f" on {self.device}" if self.device != "cpu" else "")

    @property
    def truncation(self) -> str:
        """After how many steps phases are stopped."""
        if self.method == "feed-forward":
            return ""
        steps = {"free": self.free_steps, "nudged": self.nudged_steps, "test": self.test_steps}
        given = [f"{count} {name}" for name, count in steps.items() if count]
        return f"{', '.join(given)} steps" if given else ""

    def network(self) -> "HopfieldNetwork":
        """A fresh network of this configuration and seed, float64."""
        from eqprop_analog.networks.hopfield.training import network

        return network(self)

    def prepared(self, images: Float[Array, "samples inputs"]) -> Float[Array, "samples inputs"]:
        """(pixel - mean)/deviation, channel by channel; then, if asked for, what a buffer makes of it."""
        from eqprop_analog.networks.hopfield.images import prepared

        return prepared(self, images)

    def augmented(
        self, images: Float[Array, "samples inputs"], random: np.random.Generator
    ) -> Float[Array, "samples inputs"]:
        """Flipped and shifted."""
        from eqprop_analog.networks.hopfield.images import augmented

        return augmented(self, images, random)

    def rule(self, epoch: int) -> "Rule":
        """The learning rule in epoch 0, 1, ..."""
        from eqprop_analog.networks.hopfield.training import rule

        return rule(self, epoch)

    def surrogate(self) -> "Relaxation":
        """The dynamics of training, until they have converged."""
        from eqprop_analog.networks.hopfield.training import relaxation

        return replace(relaxation(self), free_steps=None, nudged_steps=None)

    @property
    def indexed(self) -> bool:
        """Whether batches name their images."""
        return self.persistent

    def training(self, samples: int, held_out: int, random: np.random.Generator) -> Training:
        """A fresh network, its momentum, and, if asked for, the states of all images."""
        from eqprop_analog.networks.hopfield.training import training

        return training(self, samples, held_out, random)
