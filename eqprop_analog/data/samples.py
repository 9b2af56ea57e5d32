"""What a data set of the user's own holds as it is read: samples that are neither split nor scaled."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from eqprop_analog.data.formats import DataError
from eqprop_analog.text import in_one_line

Array = np.ndarray

MOST_CLASSES = 1000
"""Read-outs of a circuit; a target column with more names than that is no class."""
FEW = 20
"""Whole numbers in a target column are classes where there are at most so many different ones."""
SHOWN = 40
"""Characters of a name or a value that a sentence quotes."""


@dataclass(frozen=True)
class Samples:
    """Inputs and answers in the order of the file.

    Shapes: inputs (samples, inputs); labels (samples,), numbers of ``classes``; or targets (samples, targets), in their own
    units. One of ``labels`` and ``targets`` is None.
    """

    inputs: Float[Array, "samples inputs"]
    labels: Int[Array, " samples"] | None = None
    targets: Float[Array, "samples targets"] | None = None
    classes: tuple[str, ...] = ()
    """Names of the classes; of a regression empty."""
    input_names: tuple[str, ...] = ()
    """Empty where inputs are pixels, or have no names."""
    target_names: tuple[str, ...] = ()
    shape: tuple[int, int, int] | None = None
    """Channels, height and width, where a sample is an image."""
    pixel: float | None = None
    """White, where inputs are pixels from 0 on."""
    test: Bool[Array, " samples"] | None = None
    """Which samples are the test set; None where the file does not say."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What was decided in reading, for the user to see."""


def named(text: object) -> str:
    """A name or a value of a file, as it is shown: in one line, of at most SHOWN characters."""
    shown = in_one_line(text)
    return shown if len(shown) <= SHOWN else shown[: SHOWN - 3] + "..."


def quoted(text: object) -> str:
    """The same, as a sentence quotes it."""
    return f'"{named(text)}"'


def classes_of(answers: Sequence[str] | Array, where: str) -> tuple[Int[Array, " samples"], tuple[str, ...]]:
    """The number of each sample's class, and the names of the classes: numbers in their order, names in the alphabet's.

    Raises DataError, which begins with ``where``, for more than MOST_CLASSES.
    """
    values, labels = np.unique(np.asarray(answers), return_inverse=True)
    if len(values) > MOST_CLASSES:
        raise DataError(
            f"{where}: {len(values):,} different classes, more than {MOST_CLASSES}; is this a class? For numbers to be "
            "predicted use --task regression"
        )
    return labels.astype(np.int64).reshape(-1), tuple(_name(value) for value in values)


def _name(value: object) -> str:
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return named(int(value) if whole else value)  # type: ignore[call-overload]


def looks_like_classes(values: Float[Array, " samples"]) -> bool:
    """Whether numbers are probably classes: a few whole ones, each of which occurs again."""
    found, counts = np.unique(values, return_counts=True)
    return bool((found == np.round(found)).all() and len(found) <= FEW and counts.min() > 1)
