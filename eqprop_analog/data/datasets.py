"""MNIST, Fashion-MNIST, CIFAR-10 and scikit-learn's digits, as arrays."""

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from eqprop_analog.data.formats import DataError
from eqprop_analog.data.publications import PUBLICATIONS, find, read
from eqprop_analog.text import suggestion

SHAPES: Mapping[str, tuple[int, int, int]] = {
    "mnist": (1, 28, 28),
    "fashion-mnist": (1, 28, 28),
    "cifar-10": (3, 32, 32),
    "digits": (1, 8, 8),
}
"""Channels, height and width of an image; a row of pixels is in this order."""

RMS: Mapping[str, float] = {"mnist": 0.335, "fashion-mnist": 0.454, "cifar-10": 0.536, "digits": 0.485}
"""Root mean square of the training images' pixels."""

VALIDATION: Mapping[str, int] = {"mnist": 10_000, "fashion-mnist": 10_000, "cifar-10": 5_000, "digits": 200}
"""Number of training images, the last ones, on which all choices are made; no choice is made on the test images."""


@dataclass(frozen=True)
class Dataset:
    """Images as rows of pixels, float32 in [0, 1], or other inputs, with their classes, int64 from 0, or targets in volts.

    Shapes: images (samples, inputs), for MNIST (60000, 784) and (10000, 784); labels (samples,), or (samples, targets).
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def called(name: str, copy: str) -> str:
    """Name of the data set in figures and reports: "cifar-10", or "cifar-10 (JPEG copy)"."""
    return f"{name} ({copy})" if copy else name


def load(name: str, data_dir: Path | None = None, copy: str = "") -> Dataset:
    """Load a data set from ``data_dir`` if given, else from the first source that has it.

    Files other than the published ones are refused, unless ``copy`` gives them a name. All results obtained from such a
    copy carry that name. The log says which checksums differ.

    Raises :class:`DataError`: for an unknown name, for a file in ``data_dir`` that is missing, damaged or not the
    published one, and if no source could be reached, with the reason of each. The digits are part of scikit-learn and
    do not use ``data_dir``.
    """
    if copy and (data_dir is None or name not in PUBLICATIONS):
        raise DataError(f"data_copy: a copy of {name} is read from the folder of --data-dir; set --data-dir")
    if name == "digits":
        return _digits()
    if name not in SHAPES:
        raise DataError(f"unknown data set {name!r:.60}: expected one of {', '.join(SHAPES)}{suggestion(name, SHAPES)}")
    publication = PUBLICATIONS[name]
    files = find(publication) if data_dir is None else read(publication, Path(data_dir), copy)
    train_images, train_labels, test_images, test_labels = chain.from_iterable(
        publication.parse(content, file) for file, content in files.items()
    )
    return Dataset(
        name=name,
        train_images=_pixels(train_images),
        train_labels=train_labels.astype(np.int64),
        test_images=_pixels(test_images),
        test_labels=test_labels.astype(np.int64),
    )


def _digits() -> Dataset:
    """scikit-learn's 1,797 digits of 8 x 8 pixels; every fifth is a test image, because no split is published."""
    if importlib.util.find_spec("sklearn") is None:
        raise DataError("digits need scikit-learn, which is not installed: pip install 'eqprop-analog[digits]'")
    found = importlib.import_module("sklearn.datasets").load_digits()
    images, labels = (found.data / 16).astype(np.float32), found.target.astype(np.int64)
    test = np.arange(len(images)) % 5 == 4
    return Dataset("digits", images[~test], labels[~test], images[test], labels[test])


def _pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / np.float32(255)
