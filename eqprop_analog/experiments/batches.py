"""From a data set to what one epoch after the other sees of it: images held out, and batches in random order."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.data import Dataset
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.config import TrainConfig

Array = np.ndarray


def one_hot(labels: Int[Array, " samples"], classes: int, dtype: str = "float64") -> Float[Array, "samples classes"]:
    """Targets in volts: 1 V at the right class's output, 0 V at the others."""
    return np.eye(classes, dtype=dtype)[labels]


def targets_of(labels: Array, classes: int, dtype: str = "float64") -> Float[Array, "samples classes"]:
    """Targets in volts: of classes as ``one_hot``, and labels that are targets themselves as they are."""
    return one_hot(labels, classes, dtype) if labels.ndim == 1 else labels.astype(dtype, copy=False)


@dataclass(frozen=True)
class Split:
    """What is trained on, and what is held out."""

    images: Float[Array, "samples inputs"]
    labels: Int[Array, " samples"] | Float[Array, "samples targets"]
    held_out: str
    """"test" or "validation"."""
    held_out_images: Float[Array, "samples inputs"]
    held_out_labels: Int[Array, " samples"] | Float[Array, "samples targets"]

    @classmethod
    def of(cls, config: TrainConfig, dataset: Dataset) -> Self:
        """As the configuration asks for, every image prepared in its precision."""
        images, labels = config.prepared(dataset.train_images), dataset.train_labels
        training = images.astype(config.precision, copy=False)
        if config.validation:
            count = config.validation_samples
            return cls(training[:-count], labels[:-count], "validation", images[-count:], labels[-count:])
        return cls(training, labels, "test", config.prepared(dataset.test_images), dataset.test_labels)


def test_samples(
    config: TrainConfig, dataset: Dataset, which: Int[Array, " some"] | slice
) -> tuple[Float[Array, "some inputs"], Float[Array, "some classes"]]:
    """Test samples as the network takes them, float64, and their targets, volts."""
    images = config.prepared(dataset.test_images[which]).astype(np.float64)
    return images, targets_of(dataset.test_labels[which], config.classes)


def first_test_images(
    config: TrainConfig, dataset: Dataset, count: int
) -> tuple[Float[Array, "count inputs"], Float[Array, "count classes"]]:
    """The first ones; see test_samples."""
    return test_samples(config, dataset, slice(count))


@dataclass(frozen=True)
class Batches:
    """Inputs and targets of one batch after the other, and, where they are asked for, the images' indices."""

    config: TrainConfig
    split: Split
    order: Int[Array, " samples"]
    random: np.random.Generator
    done: int = 0
    """The first so many images have been in batches before."""

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        """Batches are drawn as they are asked for."""
        config, split = self.config, self.split
        classes = split.labels.ndim == 1
        known = one_hot(np.arange(config.classes), config.classes, config.precision) if classes else None
        for begin in range(self.done, len(self.order), config.batch_size):
            batch = self.order[begin : begin + config.batch_size]
            inputs = config.augmented(split.images[batch], self.random)
            labels = split.labels[batch]
            targets = labels.astype(config.precision, copy=False) if known is None else known[labels]
            yield (inputs, targets, batch)[: 2 + config.indexed]


def require_fit(inputs: int, readouts: int, dataset: Dataset) -> None:
    """Raise UserError unless a network of so many inputs and read-outs has the data set's inputs and one read-out a class."""
    labels, pixels = dataset.train_labels, dataset.train_images.shape[1]
    own = getattr(dataset, "own", None)
    if own is not None and own.found is not None:
        classes = own.found.outputs
    else:
        classes = labels.shape[1] if labels.ndim > 1 else int(labels.max()) + 1
    if inputs != pixels or readouts != classes:
        raise UserError(
            f"layers: {dataset.name} needs {pixels} inputs and {classes} outputs or pairs of them, got {inputs} and {readouts}"
        )
