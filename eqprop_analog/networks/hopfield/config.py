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
    """Training of a Hopfield network; states in volts; weights, β and time steps are dimensionless."""

    changeable: ClassVar[frozenset[str]] = TrainConfig.changeable | {"workers", "on_failure"}

    model: Literal["hopfield"]
    layers: list[Count] | None = Field(None, min_length=2)
    """Number of inputs, and of nodes of every layer, connected by dense connections."""
    connections: list[dict[str, int]] | None = Field(None, min_length=1)
    """Instead of layers: one table per connection, {outputs} or {channels, kernel, padding, pool}, beginning at the images."""
    buffer: dict[str, str | float] = Field({"law": "hard-sigmoid"})
    """Buffers of the nodes: ``law`` and its ``gain``."""
    initial: Initial = "glorot"
    """Distribution of the initial weights; see HopfieldNetwork.build."""
    untied: bool = False
    """Use separate feedback weights."""
    feedback: Positive = 1.0
    """Strength of the feedback through a tied weight, relative to the forward direction; see HopfieldNetwork."""
    head: Count | None = None
    """Number of classes of an external read-out with its own weights; by default, the last layer is the read-out."""

    method: Literal["equilibrium-propagation", "bptt", "feed-forward"] = "equilibrium-propagation"
    """Nudged phases; or, for comparison, backpropagation through the steps of the free phase; or the control, a feed-forward
    network with the same shapes, initial values, images and schedule, trained by backpropagation (on a device)."""
    activation: Literal["buffer", "relu"] = "buffer"
    """Activation of the control's nodes: ρ, or max(0, u)."""
    nudging: Nudging = "centred"
    """Nudged phases: under +β and -β (centred), under one of them (one-sided), or under one with a random sign."""
    kind: Literal["conductance", "output"] = "conductance"
    """Where a nudge by the squared error acts: before the output buffers, or after them (only discrete time, or "bptt")."""
    cost: Cost = "squared-error"
    """Cost function that the training minimizes."""
    signal: Signal = "contrast"
    """Learning signal of a weight; see learning.local."""
    update: Literal["once", "continual"] = "once"
    """Time of the update: once after the nudged phases, or at every step of the nudged phase (continual)."""
    weight_rates: NotNegative | list[NotNegative]
    """Learning rates of weights, 1/V²: one for all connections (and the head, last), or one for each."""
    bias_rates: NotNegative | list[NotNegative] | None = None
    """Learning rates of biases, dimensionless; by default, those of the weights."""
    cosine_end: NotNegative = 0.0
    """Final rate of ``cosine`` for all larger rates, 1/V² (dimensionless for biases)."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Momentum of the updates: fraction of the previous update that is added to the next one."""
    weight_decay: NotNegative = 0.0
    """Weight decay, V²: factor on the weights that is added to the gradient."""

    device: Literal["cpu", "cuda", "torch-cpu"] = "cpu"
    """Device that computes the phases: "cpu" by NumPy, "cuda" on a GPU by PyTorch, "torch-cpu" by PyTorch on the CPU."""
    phases: Literal["half", "tf32", "float32", "float64"] | None = None
    """On a device: precision of the phases, by default that of the parameters; "half" is float16 with bfloat16 differences;
    "tf32" is float32 with factors of products rounded to 10 bits on a GPU."""
    differences: bool = False
    """On a device: compute nudged phases as differences from the free phase, treated as an equilibrium, without cancellation."""
    frozen: bool | None = None
    """With differences: keep the pooling winners of the free phase; by default, only if phases are in half precision."""
    fused: bool | None = None
    """On a GPU: compute steps by Triton kernels, a single one for all layers of a dense network; the default if a kernel
    supports the network and the precision, which excludes float64."""
    over_relaxation: Annotated[float, Field(gt=0, lt=2)] = 1.0
    """Over-relaxation of descent on a device: step of a layer relative to the distance to its minimum."""
    directed: bool = False
    """Descent on a device: the first sweep of a free phase goes from layer 1 to L, that of nudged phases from L to 1."""
    solver: SolverName = SURROGATE
    """Solver of every equilibrium: steps in NumPy, or solvers of the circuit, whose dynamics are leaky integrators."""
    workers: Count = 1
    """Number of worker processes; ngspice only."""
    on_failure: Literal["stop", "skip"] = "stop"
    """Treatment of a sample without a certified equilibrium: end the training with its status, or leave it out."""
    dynamics: Literal["gradient-flow", "leaky-integrator", "discrete-time", "descent", "energy-based"]
    """Dynamics by which states reach their equilibrium; see the solvers of these names."""
    step: Annotated[float, Field(gt=0, le=1)] | None = None
    """Time step of the gradient flow and the leaky integrator, in units of the nodes' time constant; for discrete time, the step
    relative to the distance to ρ(u) (default 1)."""
    free_steps: Count | None = None
    """Truncate the free phase after this number of steps (sweeps of descent) instead of converging."""
    nudged_steps: Count | None = None
    """Truncate nudged phases after this number of steps instead of converging."""
    test_steps: Count | None = None
    """Truncate the phases of test images after this number of steps; by default, as for the free phase."""
    backward_steps: Count | None = None
    """"bptt": number of last steps of the free phase for backpropagation; all steps by default."""
    persistent: bool = False
    """Start the free phase of each training and test image at its final state in the previous epoch instead of at 0 V."""

    flip: bool = False
    """Mirror training images horizontally with probability one half."""
    erase: Annotated[int, Field(ge=0)] = 0
    """On a device: set a square with sides of this number of pixels, at a random place of every training image, to the mean."""
    mirrored: bool = False
    """On a device: classify test images by the sum of the read-outs of an image and of its mirror image."""
    edge: bool = False
    """Continue shifted images by their edge instead of 0."""
    input_buffer: bool = False
    """Apply the nodes' buffer to the pixels, too."""
    pixel_mean: list[float] | None = None
    """Mean that is subtracted from the pixels of each channel."""
    pixel_deviation: list[Positive] | None = None
    """Standard deviation by which the pixels of each channel are then divided."""

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
            raise ValueError("step: descent has no step size; leave out step")
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
                f"free_steps: {self.solver} always solves to convergence; leave out free_steps, nudged_steps, "
                "test_steps and bptt"
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
            raise ValueError("feedback: untied backward weights have their own scale; set feedback = 1")

    def _require_pixels(self) -> None:
        channels = self.image_shape[0]
        for name in ("pixel_mean", "pixel_deviation"):
            given = getattr(self, name)
            if given is not None and len(given) != channels:
                raise ValueError(f"{name}: {len(given)} values for {channels} channels of {self.dataset}")

    @classmethod
    def adapted(cls, values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Adapt layers instead of connections, and the rates for another depth: the first rate for all but the last.

        For ``method="bptt"``, the cost acts behind the output buffers, because saturated outputs get no gradient before them. For
        another ``solver`` than the surrogate, set the circuit's dynamics and nudge, float64 and converged phases.
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
        """Number of inputs, and of nodes of every layer."""
        made = self.joins()
        return (made[0].sizes[0], *(each.sizes[1] for each in made))

    @property
    def classes(self) -> int:
        """Number of read-outs: the last layer's nodes, or those of the head."""
        return self.head or self.sizes[-1]

    @property
    def method_in_words(self) -> str:
        """The dynamics or the simulator, in words."""
        if self.method == "feed-forward":
            return f"by backpropagation in a feed-forward network ({self.activation}) on {self.device}"
        if self.solver != SURROGATE:
            return f"with {self.solver}"
        return f"by {self.dynamics}" + (f" on {self.device}" if self.device != "cpu" else "")

    @property
    def truncation(self) -> str:
        """The numbers of steps after which phases are stopped, in words."""
        if self.method == "feed-forward":
            return ""
        steps = {"free": self.free_steps, "nudged": self.nudged_steps, "test": self.test_steps}
        given = [f"{count} {name}" for name, count in steps.items() if count]
        return f"{', '.join(given)} steps" if given else ""

    def network(self) -> "HopfieldNetwork":
        """Return a fresh network of this configuration and seed, float64."""
        from eqprop_analog.networks.hopfield.training import network

        return network(self)

    def prepared(self, images: Float[Array, "samples inputs"]) -> Float[Array, "samples inputs"]:
        """Return (pixel - mean)/deviation for each channel, optionally followed by a buffer."""
        from eqprop_analog.networks.hopfield.images import prepared

        return prepared(self, images)

    def augmented(
        self, images: Float[Array, "samples inputs"], random: np.random.Generator
    ) -> Float[Array, "samples inputs"]:
        """Return flipped and shifted images."""
        from eqprop_analog.networks.hopfield.images import augmented

        return augmented(self, images, random)

    def rule(self, epoch: int) -> "Rule":
        """Return the learning rule in epoch 0, 1, ..."""
        from eqprop_analog.networks.hopfield.training import rule

        return rule(self, epoch)

    def surrogate(self) -> "Relaxation":
        """Return a solver with the dynamics of training that runs to convergence."""
        from eqprop_analog.networks.hopfield.training import relaxation

        return replace(relaxation(self), free_steps=None, nudged_steps=None)

    @property
    def indexed(self) -> bool:
        """Whether batches contain the indices of their images."""
        return self.persistent

    def training(self, samples: int, held_out: int, random: np.random.Generator) -> Training:
        """Return the training of a fresh network, with its momentum and, optionally, the states of all images."""
        from eqprop_analog.networks.hopfield.training import training

        return training(self, samples, held_out, random)
