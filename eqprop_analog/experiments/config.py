"""What the configuration of every training run has, and what a run needs of it."""

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
"""Of a tuple, which TOML writes as a list: its numbers are as strict as all."""


def _shown(text: str) -> str:
    if printable(text) != text:
        raise ValueError("expected text without control characters")
    return text


TOLERANCE = 0.05
"""Volts: of a regression's read-outs, whose targets are 0 to 1 V, unless the configuration says."""

Text = Annotated[str, AfterValidator(_shown)]
"""What a person is shown: in a terminal, a plot or a page."""


class Training(Protocol):
    """A network in training, with whatever its learners keep from batch to batch."""

    @property
    def network(self) -> Network:
        """In the precision of training; learners change its arrays in place."""
        ...

    def learner(self, epoch: int) -> Learner:
        """What learns from the batches of epoch 0, 1, ..."""
        ...

    def evaluate(
        self,
        images: Float[Array, "samples inputs"],
        labels: Int[Array, " samples"] | Float[Array, "samples targets"],
        progress: Progress,
        so_far: Pass | None = None,
    ) -> Pass:
        """Error of the free phase's predictions, added to that of the first images (see learning.trainer.evaluate)."""
        ...

    def arrays(self) -> Mapping[str, Array]:
        """All that training depends on but what learners keep, by name; checkpoints save it and write it back in place."""
        ...

    def close(self) -> None:
        """Let go of worker processes."""
        ...


@dataclass(frozen=True)
class PhaseTraining:
    """Training by converged nudged phases of any solver, of which nothing is kept from batch to batch but the parameters."""

    config: "TrainConfig"
    network: Network
    solver: Solver

    def learner(self, epoch: int) -> Learner:
        """Phases, their contrast, one step."""
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
        """Error of the free phase's read-outs."""
        tolerance = self.config.rule(0).tolerance
        return evaluate(
            self.network, self.solver.solve, images, labels, progress=progress, so_far=so_far, tolerance=tolerance
        )

    def arrays(self) -> Mapping[str, Array]:
        """The parameters."""
        return self.network.arrays()

    def close(self) -> None:
        """Let go of worker processes, if the solver has some."""
        close(self.solver)


class TrainConfig(BaseModel, ABC):
    """Everything that decides a training run's result, and how it is computed; SI units."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    changeable: ClassVar[frozenset[str]] = frozenset({"epochs", "threads", "description"})
    """Settings that a resumed run may have otherwise. None of them enters the mathematics of what is already computed."""

    devices_of_regressions: ClassVar[tuple[str, ...]] = ("cpu",)
    """Values of ``device`` on which numbers can be learned, not classes alone."""

    model: str
    """The kind of network."""
    description: Text = ""
    """What a report says first of the run."""
    datasets: ClassVar[tuple[str, ...]] = tuple(data.SHAPES)
    """Published data sets, of which it is known before they are read what they hold."""
    dataset: Text = "mnist"
    """One of these, or what ``own_data`` is about: a file, a folder, or a name in data.toys."""
    own_data: data.OwnData | None = None
    """How a data set of the user's own is read, and what was found in it."""
    data_copy: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9 ._+-]{0,39})?$")] = ""
    """What to call files that are not the published ones, such as "JPEG copy"; without a name they are refused."""
    beta: Positive
    """Of the nudge, in the unit of the kind of network."""
    rate_factor: Positive = 1.0
    """Factor on all rates: another method than the preset's may bear less of them, or more."""
    decay: Positive = 1.0
    """Factor on all rates after each epoch."""
    cosine: Count | None = None
    """Epochs over which half a cosine takes all rates to zero as well, where they stay."""
    tolerance: Positive | None = None
    """Of a regression, volts: a sample counts as right whose read-outs are within it, root mean square (0.05 unless given)."""
    batch_size: Count = 4
    """Samples an update."""
    epochs: Count = 10
    """Passes over the training samples."""
    test_every: Count = 1
    """Test after every so many epochs, and after the last."""
    passes: Count = 1
    """How often an epoch goes through the training images, each time in another order."""
    limit: Count | None = None
    """Train on this many random images an epoch instead of all."""
    shift: Annotated[int, Field(ge=0)] = 0
    """Move every training image by up to so many pixels across and down, at random."""
    validation: bool = False
    """Hold out the last training images (10,000 of MNIST's) and report their error instead of the test set's."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of parameters, of the order of samples, and of all else that is drawn."""
    precision: Literal["float32", "float64"] = "float64"
    """Of parameters and states in training."""
    threads: Count = 1
    """BLAS threads."""

    @model_validator(mode="after")
    def _known_data(self) -> Self:
        if self.dataset in self.datasets:
            if self.own_data is not None:
                raise ValueError(
                    f"own_data: {self.dataset} is a published data set, which has no such settings; leave it out"
                )
        elif self.own_data is None or self.own_data.found is None:
            raise ValueError(
                f"dataset: expected one of {', '.join((*self.datasets, *data.NAMES))}, or a file or folder of your own (as "
                f"./{self.dataset:.40}), got {self.dataset!r:.80}{suggestion(self.dataset, (*self.datasets, *data.NAMES))}"
            )
        self._require_square()
        if self.regression and getattr(self, "cost", "squared-error") != "squared-error":
            raise ValueError('cost: a regression has targets in volts; set cost = "squared-error"')
        if self.regression and getattr(self, "device", "cpu") not in self.devices_of_regressions:
            raise ValueError(
                f"device: a regression of such a network is trained on {' or '.join(self.devices_of_regressions)}, got "
                f'"{getattr(self, "device", "cpu")}"'
            )
        return self

    @property
    def found(self) -> data.Found | None:
        """What a data set of the user's own was found to hold."""
        return None if self.own_data is None else self.own_data.found

    @property
    def regression(self) -> bool:
        """Whether numbers are predicted and no classes."""
        return self.found is not None and self.found.task == "regression"

    @property
    def right_within(self) -> float | None:
        """Volts, of a regression: see Rule.tolerance."""
        return (self.tolerance or TOLERANCE) if self.regression else None

    @property
    def measure(self) -> Measure:
        """The figure that the training is judged by."""
        return PREDICTIONS if self.right_within is None else VOLTS

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a sample, which is one row of so many numbers where it is no image."""
        if self.found is None:
            return data.SHAPES.get(self.dataset) or (1, 1, self.sizes[0])
        return self.found.shape or (1, 1, self.found.inputs)

    @property
    def samples_word(self) -> str:
        """What a person calls samples."""
        return "images" if self.found is None or self.found.shape is not None else "samples"

    @property
    def input_rms(self) -> float:
        """Root mean square of the training inputs, without unit."""
        return data.RMS[self.dataset] if self.found is None else self.found.rms

    @property
    def validation_samples(self) -> int:
        """How many of the last training samples ``validation`` holds out."""
        return data.VALIDATION[self.dataset] if self.found is None else self.found.validation

    def _require_square(self) -> None:
        """ValueError where images are to be moved that are none, or not square."""
        moved = [name for name in ("shift", "flip") if getattr(self, name, 0)]
        _, height, width = self.image_shape if moved else (1, 2, 2)
        if height != width or height == 1:
            raise ValueError(f"{moved[0]}: this needs square images, got samples of {height} x {width}; leave it out")

    @classmethod
    def adapted(cls, values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG003
        """``values`` of a preset, made to go with what is put in place of some of them."""
        return dict(values)

    @classmethod
    def completed(cls, values: dict[str, Any]) -> dict[str, Any]:
        """``values`` and, where they leave out what follows from the network they describe, that as well."""
        return values

    @property
    def sizes(self) -> tuple[int, ...]:
        """Inputs, and nodes of every layer."""
        return self.network().layers

    @property
    def inputs(self) -> int:
        """Of a sample, before it is prepared."""
        return self.sizes[0]

    @property
    def classes(self) -> int:
        """Read-outs."""
        return self.network().classes

    @property
    def method_in_words(self) -> str:
        """How equilibria are found."""
        return "to convergence"

    @property
    def rule_in_words(self) -> str:
        """What training is told it does, where that is not in the settings themselves; else empty."""
        return ""

    @property
    def truncation(self) -> str:
        """After what phases are stopped before they have converged, in words; empty where none is."""
        return ""

    @property
    def held_out(self) -> Literal["test", "validation"]:
        """Whose error an epoch reports."""
        return "validation" if self.validation else "test"

    def finished(self, history: list[dict[str, Any]]) -> bool:
        """Whether a run of these finished epochs has no further one."""
        return len(history) >= self.epochs

    def tests(self, epoch: int) -> bool:
        """Whether held-out images are tested after epoch 1, 2, ..."""
        return epoch % self.test_every == 0 or epoch == self.epochs

    @property
    def indexed(self) -> bool:
        """Whether batches name their images, for learners that remember something of each."""
        return False

    @property
    def data_name(self) -> str:
        """The data set as figures name it."""
        return data.called(Path(self.dataset).name if self.own_data else self.dataset, self.data_copy)

    def load_data(self, data_dir: Path | None) -> data.Dataset:
        """The data set, from ``data_dir`` if given; see data.load and data.opened."""
        if self.own_data is not None:
            return data.opened(self.dataset, self.own_data, data_dir)
        return data.load(self.dataset, data_dir, self.data_copy)

    @property
    def data_key(self) -> str:
        """The same for configurations that are about the same data."""
        return repr((self.dataset, self.data_copy, self.own_data))

    @abstractmethod
    def network(self) -> Network:
        """A fresh network of this configuration and seed, float64."""

    @abstractmethod
    def rule(self, epoch: int) -> Rule:
        """The learning rule in epoch 0, 1, ..."""

    def circuit_beta(self, network: Network) -> float:  # noqa: ARG002 - some ask the network
        """β of a nudge that the trained circuit takes whatever the run's own cost is, to compare simulators by."""
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
        """Finds converged equilibria as training does: by the same dynamics, where the beginning decides the end."""
        return families()[self.model].surrogate()

    def training(
        self,
        samples: int,  # noqa: ARG002 - some keep something of each
        held_out: int,  # noqa: ARG002
        random: np.random.Generator,  # noqa: ARG002 - some draw
    ) -> Training:
        """A fresh network for so many images to train on and held out; all that is left to chance draws from ``random``."""
        return PhaseTraining(self, self.network().astype(self.precision), self.surrogate())

    def prepared(self, images: Float[Array, "samples inputs"]) -> Float[Array, "samples inputs"]:
        """What is done to every image, of training and test alike."""
        return images

    def augmented(
        self, images: Float[Array, "samples inputs"], random: np.random.Generator
    ) -> Float[Array, "samples inputs"]:
        """Training images as this epoch sees them."""
        return data.shifted(images, self.shift, random, channels=self.image_shape[0]) if self.shift else images

    def annealed(self, epoch: int) -> float:
        """The factor on all rates in epoch 0, 1, ..."""
        part = 1.0 if self.cosine is None else (1 + math.cos(math.pi * min(epoch / self.cosine, 1))) / 2
        return self.rate_factor * part * self.decay**epoch

    def toml(self) -> str:
        """The resolved configuration as a file that reproduces the run (``--preset FILE``)."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def spread(rates: float | list[float], count: int) -> tuple[float, ...]:
    """One rate for each of ``count`` connections."""
    return tuple(rates) if isinstance(rates, list) else (rates,) * count


OF_IMAGES = ("shift", "flip", "edge", "erase", "mirrored", "pixel_mean", "pixel_deviation")
"""Settings of presets that are about the images of one data set."""


def for_own_data(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` without what is about the preset's images, where ``overrides`` bring a data set of the user's own."""
    return {name: value for name, value in values.items() if name not in OF_IMAGES or not overrides.get("own_data")}


def outer_layers(values: Mapping[str, Any], overrides: Mapping[str, Any], paired: int = 1) -> list[int]:
    """The layers of a preset, the first and the last those of the data in ``overrides``; ``paired``: output nodes a read-out."""
    found = overrides["own_data"]["found"]
    hidden = (values.get("layers") or [0, 0])[1:-1]
    return [found["inputs"], *hidden, found["outputs"] * paired]
