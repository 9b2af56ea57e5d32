"""From a data set to the batches of an epoch: held-out images, and batches in random order."""

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
    """Return targets in volts: 1 V at the output of the correct class, 0 V at the others."""
    return np.eye(classes, dtype=dtype)[labels]


def targets_of(labels: Array, classes: int, dtype: str = "float64") -> Float[Array, "samples classes"]:
    """Return targets in volts: ``one_hot`` for classes; the targets of a regression are unchanged."""
    return one_hot(labels, classes, dtype) if labels.ndim == 1 else labels.astype(dtype, copy=False)


@dataclass(frozen=True)
class Split:
    """The training samples and the held-out samples."""

    images: Float[Array, "samples inputs"]
    labels: Int[Array, " samples"] | Float[Array, "samples targets"]
    held_out: str
    """"test" or "validation"."""
    held_out_images: Float[Array, "samples inputs"]
    held_out_labels: Int[Array, " samples"] | Float[Array, "samples targets"]

    @classmethod
    def of(cls, config: TrainConfig, dataset: Dataset) -> Self:
        """Split a data set as configured, with every image prepared in the configured precision."""
        images, labels = config.prepared(dataset.train_images), dataset.train_labels
        training = images.astype(config.precision, copy=False)
        if config.validation:
            count = config.validation_samples
            return cls(training[:-count], labels[:-count], "validation", images[-count:], labels[-count:])
        return cls(training, labels, "test", config.prepared(dataset.test_images), dataset.test_labels)


def test_samples(
    config: TrainConfig, dataset: Dataset, which: Int[Array, " some"] | slice
) -> tuple[Float[Array, "some inputs"], Float[Array, "some classes"]]:
    """Return test samples as network inputs, float64, and their targets, volts."""
    images = config.prepared(dataset.test_images[which]).astype(np.float64)
    return images, targets_of(dataset.test_labels[which], config.classes)


def first_test_images(
    config: TrainConfig, dataset: Dataset, count: int
) -> tuple[Float[Array, "count inputs"], Float[Array, "count classes"]]:
    """Return the first test samples; see test_samples."""
    return test_samples(config, dataset, slice(count))


@dataclass(frozen=True)
class Batches:
    """Iterates over batches: inputs, targets and, if requested, the indices of the images."""

    config: TrainConfig
    split: Split
    order: Int[Array, " samples"]
    random: np.random.Generator
    done: int = 0
    """Number of images that were in earlier batches."""

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        """Yield batches; each is drawn on demand."""
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
    """Raise UserError unless the numbers of inputs and read-outs match the data set's inputs and classes."""
    labels, pixels = dataset.train_labels, dataset.train_images.shape[1]
    own = getattr(dataset, "own", None)
    if own is not None and own.found is not None:
        classes = own.found.outputs
    else:
        classes = labels.shape[1] if labels.ndim > 1 else int(labels.max()) + 1
    if inputs != pixels or readouts != classes:
        raise UserError(
            f"layers: {dataset.name} needs {pixels} inputs and {classes} outputs or pairs of them, got {inputs} and "
            f"{readouts}"
        )
