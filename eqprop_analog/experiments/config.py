"""The configuration that all training runs share, and the interface that a run uses."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self

import numpy as np
import tomli_w
from jaxtyping import Float, Int
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from eqprop_analog import data
from eqprop_analog.core import Network, Solver, families
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.solver import close
from eqprop_analog.learning.contrast import contrast
from eqprop_analog.learning.measure import PREDICTIONS, VOLTS, Measure
from eqprop_analog.learning.trainer import Learner, Pass, PhaseLearner, Progress, Rule, evaluate
from eqprop_analog.text import printable, suggestion

Array = np.ndarray

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=2**53)]


PAIR = Field(strict=False)
"""Validation of a tuple, which TOML writes as a list; its numbers are checked as strictly as others."""


def _shown(text: str) -> str:
    if printable(text) != text:
        raise ValueError("expected text without control characters")
    return text


TOLERANCE = 0.05
"""Default tolerance of a regression's read-outs, volts; their targets are 0 to 1 V."""

Text = Annotated[str, AfterValidator(_shown)]
"""Text shown to the user: in a terminal, a plot or a page."""


class Training(Protocol):
    """A network in training, with the state that its learners keep from batch to batch."""

    @property
    def network(self) -> Network:
        """The network, in the precision of training; learners change its arrays in place."""
        ...

    def learner(self, epoch: int) -> Learner:
        """Return the learner for the batches of epoch 0, 1, ..."""
        ...

    def evaluate(
        self,
        images: Float[Array, "samples inputs"],
        labels: Int[Array, " samples"] | Float[Array, "samples targets"],
        progress: Progress,
        so_far: Pass | None = None,
    ) -> Pass:
        """Return the error of the free phase's predictions, added to that of earlier images (see learning.trainer.evaluate)."""
        ...

    def arrays(self) -> Mapping[str, Array]:
        """All arrays on which training depends, except those of learners, by name; checkpoints save and restore them in place."""
        ...

    def close(self) -> None:
        """End the worker processes."""
        ...


@dataclass(frozen=True)
class PhaseTraining:
    """Training by converged nudged phases of any solver; only the parameters are kept from batch to batch."""

    config: "TrainConfig"
    network: Network
    solver: Solver

    def learner(self, epoch: int) -> Learner:
        """Return a learner that computes phases, their contrast and one step."""
        return PhaseLearner(
            self.network, self.solver, self.config.rule(epoch), getattr(self.config, "on_failure", "stop") == "skip"
        )

    def evaluate(
        self,
        images: Float[Array, "samples inputs"],
        labels: Int[Array, " samples"] | Float[Array, "samples targets"],
        progress: Progress,
        so_far: Pass | None = None,
    ) -> Pass:
        """Return the error of the free phase's read-outs."""
        tolerance = self.config.rule(0).tolerance
        return evaluate(
            self.network, self.solver.solve, images, labels, progress=progress, so_far=so_far, tolerance=tolerance
        )

    def arrays(self) -> Mapping[str, Array]:
        """The parameters."""
        return self.network.arrays()

    def close(self) -> None:
        """End the solver's worker processes, if there are any."""
        close(self.solver)


class TrainConfig(BaseModel, ABC):
    """All settings that determine the result of a training run, and how it is computed; SI units."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    changeable: ClassVar[frozenset[str]] = frozenset({"epochs", "threads", "description"})
    """Settings that may change when a run is resumed, because they do not affect the computed results."""

    devices_of_regressions: ClassVar[tuple[str, ...]] = ("cpu",)
    """Values of ``device`` that support regressions as well as classifications."""

    model: str
    """The kind of network."""
    description: Text = ""
    """First sentence of the report of a run."""
    datasets: ClassVar[tuple[str, ...]] = tuple(data.SHAPES)
    """Published data sets, whose shapes are known before they are read."""
    dataset: Text = "mnist"
    """A published data set, or the data set of ``own_data``: a file, a folder, or a name in data.toys."""
    own_data: data.OwnData | None = None
    """How a user's data set is read, and what was found in it."""
    data_copy: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9 ._+-]{0,39})?$")] = ""
    """Name for a data set whose files are not the published ones, such as "JPEG copy"; without a name they are refused."""
    beta: Positive
    """Strength β of the nudge, in the unit of the kind of network."""
    rate_factor: Positive = 1.0
    """Factor on all learning rates; other methods than the preset's may need smaller or larger rates."""
    decay: Positive = 1.0
    """Factor on all learning rates after each epoch."""
    cosine: Count | None = None
    """Number of epochs over which half a cosine additionally reduces all learning rates to zero; they stay at zero afterwards."""
    tolerance: Positive | None = None
    """Largest rms error of a sample's read-outs, volts, for it to count as correct in a regression (default 0.05)."""
    batch_size: Count = 4
    """Samples per update."""
    epochs: Count = 10
    """Number of epochs of the training."""
    test_every: Count = 1
    """Number of epochs between tests; the last epoch is always tested."""
    passes: Count = 1
    """Passes over the training samples in each epoch, each in another order."""
    limit: Count | None = None
    """Train on this number of random samples per epoch instead of all samples."""
    shift: Annotated[int, Field(ge=0)] = 0
    """Shift every training image at random by up to this number of pixels horizontally and vertically."""
    validation: bool = False
    """Hold out the last training images (10,000 for MNIST) and report their error instead of that of the test set."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the initial parameters, of the order of samples, and of all other random numbers."""
    precision: Literal["float32", "float64"] = "float64"
    """Floating-point precision of parameters and states in training."""
    threads: Count = 1
    """Number of BLAS threads."""

    @model_validator(mode="after")
    def _known_data(self) -> Self:
        if self.dataset in self.datasets:
            if self.own_data is not None:
                raise ValueError(
                    f"own_data: {self.dataset} is a published data set, which has no such settings; leave out own_data"
                )
        elif self.own_data is None or self.own_data.found is None:
            raise ValueError(
                f"dataset: expected one of {', '.join((*self.datasets, *data.NAMES))}, or your own file or folder "
                f"(such as ./{self.dataset:.40}), got "
                f"{self.dataset!r:.80}{suggestion(self.dataset, (*self.datasets, *data.NAMES))}"
            )
        self._require_square()
        if self.regression and getattr(self, "cost", "squared-error") != "squared-error":
            raise ValueError('cost: the targets of a regression are voltages; set cost = "squared-error"')
        if self.regression and getattr(self, "device", "cpu") not in self.devices_of_regressions:
            raise ValueError(
                f"device: this network is trained for a regression on {' or '.join(self.devices_of_regressions)}, got "
                f'"{getattr(self, "device", "cpu")}"'
            )
        return self

    @property
    def found(self) -> data.Found | None:
        """What was found in a user's data set."""
        return None if self.own_data is None else self.own_data.found

    @property
    def regression(self) -> bool:
        """Whether numbers, and not classes, are predicted."""
        return self.found is not None and self.found.task == "regression"

    @property
    def right_within(self) -> float | None:
        """Tolerance of a regression, volts; see Rule.tolerance."""
        return (self.tolerance or TOLERANCE) if self.regression else None

    @property
    def measure(self) -> Measure:
        """The figure of merit of the training."""
        return PREDICTIONS if self.right_within is None else VOLTS

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a sample; a sample that is not an image is a single row."""
        if self.found is None:
            return data.SHAPES.get(self.dataset) or (1, 1, self.sizes[0])
        return self.found.shape or (1, 1, self.found.inputs)

    @property
    def samples_word(self) -> str:
        """The word for samples in messages."""
        return "images" if self.found is None or self.found.shape is not None else "samples"

    @property
    def input_rms(self) -> float:
        """Root mean square of the training inputs, dimensionless."""
        return data.RMS[self.dataset] if self.found is None else self.found.rms

    @property
    def validation_samples(self) -> int:
        """Number of the last training samples that ``validation`` holds out."""
        return data.VALIDATION[self.dataset] if self.found is None else self.found.validation

    def _require_square(self) -> None:
        """Raise ValueError if samples are to be augmented that are not square images."""
        moved = [name for name in ("shift", "flip") if getattr(self, name, 0)]
        _, height, width = self.image_shape if moved else (1, 2, 2)
        if height != width or height == 1:
            raise ValueError(
                f"{moved[0]}: this needs square images, got samples of {height} x {width}; leave out this setting"
            )

    @classmethod
    def adapted(cls, values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG003
        """Return ``values`` of a preset, adapted to the values that override some of them."""
        return dict(values)

    @classmethod
    def completed(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return ``values``, completed by the settings that follow from the network."""
        return values

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of inputs, and of nodes of every layer."""
        return self.network().layers

    @property
    def inputs(self) -> int:
        """Number of inputs of a sample, before it is prepared."""
        return self.sizes[0]

    @property
    def classes(self) -> int:
        """Read-outs."""
        return self.network().classes

    @property
    def method_in_words(self) -> str:
        """How equilibria are found, in words."""
        return "to convergence"

    @property
    def rule_in_words(self) -> str:
        """A description of the learning rule, if the settings do not show it; else empty."""
        return ""

    @property
    def truncation(self) -> str:
        """When phases are stopped before convergence, in words; empty if they are not."""
        return ""

    @property
    def held_out(self) -> Literal["test", "validation"]:
        """The held-out set whose error an epoch reports."""
        return "validation" if self.validation else "test"

    def finished(self, history: list[dict[str, Any]]) -> bool:
        """Return whether a run with these finished epochs is complete."""
        return len(history) >= self.epochs

    def tests(self, epoch: int) -> bool:
        """Return whether held-out images are tested after epoch 1, 2, ..."""
        return epoch % self.test_every == 0 or epoch == self.epochs

    @property
    def indexed(self) -> bool:
        """Whether batches contain the indices of their images, for learners that keep a state for each."""
        return False

    @property
    def data_name(self) -> str:
        """Name of the data set in figures and reports."""
        return data.called(Path(self.dataset).name if self.own_data else self.dataset, self.data_copy)

    def load_data(self, data_dir: Path | None) -> data.Dataset:
        """Load the data set, from ``data_dir`` if given; see data.load and data.opened."""
        if self.own_data is not None:
            return data.opened(self.dataset, self.own_data, data_dir)
        return data.load(self.dataset, data_dir, self.data_copy)

    @property
    def data_key(self) -> str:
        """A key that is equal for configurations with the same data."""
        return repr((self.dataset, self.data_copy, self.own_data))

    @abstractmethod
    def network(self) -> Network:
        """Return a fresh network of this configuration and seed, float64."""

    @abstractmethod
    def rule(self, epoch: int) -> Rule:
        """Return the learning rule in epoch 0, 1, ..."""

    def circuit_beta(self, network: Network) -> float:  # noqa: ARG002 - some ask the network
        """Return β of a nudge that is stable in the trained circuit for any cost, to compare simulators."""
        return self.beta

    def circuit(self, network: Network) -> Network:
        """What ``network`` is trained in, and ngspice solves to confirm it: the network itself, or the one behind its wires."""
        return network

    def contrast(
        self, circuit: Network, inputs: Float[Array, "batch inputs"], plus: Equilibrium, minus: Equilibrium
    ) -> Mapping[str, Array]:
        """The gradient that training measures in ``circuit``."""
        found: Mapping[str, Array] = contrast(circuit, inputs, plus, minus)
        return found

    def surrogate(self) -> Solver:
        """Return a solver of converged equilibria, with the training's dynamics if the equilibrium depends on the start."""
        return families()[self.model].surrogate()

    def training(
        self,
        samples: int,  # noqa: ARG002 - some keep something of each
        held_out: int,  # noqa: ARG002
        random: np.random.Generator,  # noqa: ARG002 - some draw
    ) -> Training:
        """Return a fresh training for these numbers of training and held-out images; ``random`` draws all random numbers."""
        return PhaseTraining(self, self.network().astype(self.precision), self.surrogate())

    def prepared(self, images: Float[Array, "samples inputs"]) -> Float[Array, "samples inputs"]:
        """Apply the preprocessing of all images, for training and testing."""
        return images

    def augmented(
        self, images: Float[Array, "samples inputs"], random: np.random.Generator
    ) -> Float[Array, "samples inputs"]:
        """Return the augmented training images of an epoch."""
        return data.shifted(images, self.shift, random, channels=self.image_shape[0]) if self.shift else images

    def annealed(self, epoch: int) -> float:
        """Return the factor on all rates in epoch 0, 1, ..."""
        part = 1.0 if self.cosine is None else (1 + math.cos(math.pi * min(epoch / self.cosine, 1))) / 2
        return self.rate_factor * part * self.decay**epoch

    def toml(self) -> str:
        """Return the resolved configuration as a file that reproduces the run (``--preset FILE``)."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def spread(rates: float | list[float], count: int) -> tuple[float, ...]:
    """Return one rate for each of ``count`` connections."""
    return tuple(rates) if isinstance(rates, list) else (rates,) * count


OF_IMAGES = ("shift", "flip", "edge", "erase", "mirrored", "pixel_mean", "pixel_deviation")
"""Settings of presets that apply to the images of one data set."""


def for_own_data(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` without the settings for the preset's images, if ``overrides`` contain a user's data set."""
    return {name: value for name, value in values.items() if name not in OF_IMAGES or not overrides.get("own_data")}


def outer_layers(values: Mapping[str, Any], overrides: Mapping[str, Any], paired: int = 1) -> list[int]:
    """Return a preset's layers with ends adapted to the data in ``overrides``; ``paired``: output nodes per read-out."""
    found = overrides["own_data"]["found"]
    hidden = (values.get("layers") or [0, 0])[1:-1]
    return [found["inputs"], *hidden, found["outputs"] * paired]
