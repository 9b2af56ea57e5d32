"""Samples of a user's data set as read from its file, before they are split and scaled."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from eqprop_analog.data.formats import DataError
from eqprop_analog.text import in_one_line

Array = np.ndarray

MOST_CLASSES = 1000
"""Largest number of classes, which is the number of read-outs of a circuit."""
FEW = 20
"""Largest number of different whole numbers in a target column that are taken as classes."""
SHOWN = 40
"""Largest number of characters of a name or a value that a message quotes."""


@dataclass(frozen=True)
class Samples:
    """Inputs and answers in the order of the file.

    Shapes: inputs (samples, inputs); labels (samples,), numbers of ``classes``; or targets (samples, targets), in their
    own units. One of ``labels`` and ``targets`` is None.
    """

    inputs: Float[Array, "samples inputs"]
    labels: Int[Array, " samples"] | None = None
    targets: Float[Array, "samples targets"] | None = None
    classes: tuple[str, ...] = ()
    """Names of the classes; empty for a regression."""
    input_names: tuple[str, ...] = ()
    """Names of the inputs; empty if they are pixels or have no names."""
    target_names: tuple[str, ...] = ()
    shape: tuple[int, int, int] | None = None
    """Channels, height and width if a sample is an image, else None."""
    pixel: float | None = None
    """The value of white if inputs are pixels that begin at 0."""
    test: Bool[Array, " samples"] | None = None
    """Which samples are the test set; None if the file does not say."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """Decisions made while reading, shown to the user."""


def named(text: object) -> str:
    """Return a name or a value of a file for display: in one line of at most SHOWN characters."""
    shown = in_one_line(text)
    return shown if len(shown) <= SHOWN else shown[: SHOWN - 3] + "..."


def quoted(text: object) -> str:
    """Return the same in quotes."""
    return f'"{named(text)}"'


def classes_of(answers: Sequence[str] | Array, where: str) -> tuple[Int[Array, " samples"], tuple[str, ...]]:
    """Return the number of each sample's class, and the names of the classes: numbers in ascending, names in alphabetical order.

    Raises DataError, which begins with ``where``, for more than MOST_CLASSES classes.
    """
    values, labels = np.unique(np.asarray(answers), return_inverse=True)
    if len(values) > MOST_CLASSES:
        raise DataError(
            f"{where}: {len(values):,} different classes, more than {MOST_CLASSES}; are these classes? To predict "
            "numbers, use --task regression"
        )
    return labels.astype(np.int64).reshape(-1), tuple(_name(value) for value in values)


def _name(value: object) -> str:
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return named(int(value) if whole else value)  # type: ignore[call-overload]


def looks_like_classes(values: Float[Array, " samples"]) -> bool:
    """Return whether numbers are probably classes: a few whole numbers, each of which is repeated."""
    found, counts = np.unique(values, return_counts=True)
    return bool((found == np.round(found)).all() and len(found) <= FEW and counts.min() > 1)
