"""Named data sets whose shape is found by reading them: scikit-learn's small ones, K-MNIST and EMNIST."""

import importlib
import importlib.util
import io
import zipfile
from collections.abc import Callable, KeysView, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from eqprop_analog.data.formats import DataError, parse_idx, unpacked
from eqprop_analog.data.publications import PUBLICATIONS, find, read
from eqprop_analog.data.samples import Samples
from eqprop_analog.errors import UserError
from eqprop_analog.files import UNREADABLE

Array = np.ndarray

SMALL: Mapping[str, str] = {
    "iris": "load_iris",
    "wine": "load_wine",
    "breast-cancer": "load_breast_cancer",
    "diabetes": "load_diabetes",
}
"""Functions of sklearn.datasets; all but the last one are classifications."""
EMNIST = ("balanced", "letters", "digits", "mnist", "bymerge", "byclass")
MOST_BYTES = 2**30
"""Largest size of one file of EMNIST, unpacked; the images of byclass have 547 million bytes."""


def load(name: str, data_dir: Path | None = None) -> Samples:
    """Load the samples of a named data set. Raises DataError if they are not available."""
    return _LOADERS[name](data_dir)


def register_dataset(name: str, load: Callable[[Path | None], Samples]) -> None:
    """Register a data set of the user as ``name``, for --dataset and configurations, in this process.

    ``load`` is called with --data-dir, or None, and returns the samples; it raises DataError with the reason if it
    cannot. Raises UserError for a name that is taken, or that could be the name of a file.
    """
    if _LOADERS.get(name, load) is not load or name in PUBLICATIONS:
        raise UserError(f'data set "{name}" is registered already; choose another name')
    if not name or Path(name).name != name or "." in name:
        raise UserError(f'data set "{name}": expected a name without / and ., so that it is not taken for a file')
    _LOADERS[name] = load


def _small(name: str, _data_dir: Path | None = None) -> Samples:
    if importlib.util.find_spec("sklearn") is None:
        raise DataError(f"{name} needs scikit-learn, which is not installed: pip install 'eqprop-analog[digits]'")
    found = getattr(importlib.import_module("sklearn.datasets"), SMALL[name])()
    names = tuple(map(str, found.feature_names))
    if name == "diabetes":
        return Samples(found.data, None, found.target[:, None], (), names, ("disease progression",))
    return Samples(found.data, found.target.astype(np.int64), None, tuple(map(str, found.target_names)), names)


def _images(name: str, data_dir: Path | None) -> Samples:
    publication = PUBLICATIONS["emnist" if name.startswith("emnist-") else name]
    files = find(publication) if data_dir is None else read(publication, data_dir)
    parts = _emnist(files, name) if name.startswith("emnist-") else _kmnist(files)
    (train, train_labels), (test, test_labels), names = parts
    for images, labels in ((train, train_labels), (test, test_labels)):
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise DataError(
                f"{name}: expected one label per image, got images {images.shape} and labels {labels.shape}"
            )
    numbers, labels = np.array(sorted(names)), np.concatenate([train_labels, test_labels])
    strange = labels[~np.isin(labels, numbers)]
    if len(strange):
        raise DataError(f"{name}: expected labels {numbers[0]} to {numbers[-1]}, got {strange[0]}")
    flat = np.concatenate([train, test]).reshape(len(labels), -1)
    classes = tuple(names[number] for number in numbers.tolist())
    split = np.arange(len(labels)) >= len(train_labels)
    shape = (1, *train.shape[1:])
    return Samples(flat, np.searchsorted(numbers, labels), None, classes, (), (), shape, 255.0, split)


_LOADERS: dict[str, Callable[[Path | None], Samples]] = {
    **{name: partial(_small, name) for name in SMALL},
    **{name: partial(_images, name) for name in ("kmnist", *(f"emnist-{part}" for part in EMNIST))},
}
NAMES: KeysView[str] = _LOADERS.keys()
"""All names, including those that the user registered."""

Parts = tuple[tuple[Array, Array], tuple[Array, Array], dict[int, str]]
"""Images and labels for training, those for the test, and what a label means."""


def _kmnist(files: Mapping[str, bytes]) -> Parts:
    """K-MNIST's ten hiragana (Clanuwat et al. 2018, arXiv 1812.01718)."""
    train, train_labels, test, test_labels = (parse_idx(unpacked(content), name) for name, content in files.items())
    return (train, train_labels), (test, test_labels), dict(enumerate("おきすつなはまやれを"))


def _emnist(files: Mapping[str, bytes], name: str) -> Parts:
    """One of the six parts of EMNIST (Cohen et al. 2017, arXiv 1702.05373).

    Rows and columns of an image are transposed in the files. Each row of the mapping has a label and the codes of the
    one or two characters that it represents. The labels of letters begin with 1, all others with 0.
    """
    (archive,) = files.values()
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            read_one: Callable[[str, str], Array] = lambda half, kind: _member(opened, f"{name}-{half}-{kind}-ubyte.gz")  # noqa: E731
            halves = [(read_one(half, "images-idx3"), read_one(half, "labels-idx1")) for half in ("train", "test")]
            rows = [row.split() for row in opened.read(f"gzip/{name}-mapping.txt").decode("ascii").splitlines()]
            names = {int(row[0]): chr(int(row[1])) for row in rows if row}
    except UNREADABLE as error:
        raise DataError(f"{name}: not EMNIST's archive: {error}") from error
    (train, train_labels), (test, test_labels) = ((images.transpose(0, 2, 1), labels) for images, labels in halves)
    return (train, train_labels), (test, test_labels), names


def _member(archive: zipfile.ZipFile, name: str) -> Array:
    return parse_idx(unpacked(archive.read(f"gzip/{name}"), MOST_BYTES), name)
