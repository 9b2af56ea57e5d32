"""Arrays of the user: ``.npz`` files, and arrays in memory."""

import lzma
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from eqprop_analog.data.formats import DataError
from eqprop_analog.data.samples import Samples, classes_of, named, quoted
from eqprop_analog.data.settings import Task
from eqprop_analog.errors import UserError
from eqprop_analog.files import UNREADABLE, Arrays
from eqprop_analog.incoming import LARGEST, real_array

Array = np.ndarray

MOST_BYTES = 2**32
"""Largest size of all arrays of a file, unpacked."""
WHITE = 255.0
TEST_NAMES = {"train": False, "test": True}
HALVES = ("x_train", "y_train", "x_test", "y_test")
"""Names that Keras gives to the arrays of its data sets."""
KNOWN = {"inputs", "targets", "labels", "split", "input_names", "target_names", "class_names"}


def read_archive(path: Path, task: Task | None = None) -> Samples:
    """The samples in a ``.npz`` file: inputs, and targets or labels; optionally split, input_names, target_names, class_names.

    The arrays can also be x_train, y_train, x_test and y_test. Nothing in the file is executed, and no more than
    MOST_BYTES are unpacked. Raises DataError for anything else.
    """
    try:
        with path.open("rb") as raw:
            if not zipfile.is_zipfile(raw):
                raise DataError(f"{path}: not an .npz archive, or truncated")
            file = Arrays(raw, MOST_BYTES)
            names = set(file.files)
            wanted = HALVES if set(HALVES) <= names else sorted(names & KNOWN)
            arrays = {name: file[name] for name in wanted}
    except UserError:
        raise
    except (lzma.LZMAError, *UNREADABLE) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if strange := sorted(names - set(wanted)):
        raise DataError(
            f"{path}: array {quoted(strange[0])} is unknown; expected inputs, targets or labels, and split, or "
            f"{', '.join(HALVES)}"
        )
    return from_arrays(_joined(arrays) if HALVES[0] in arrays else arrays, str(path), task)


def _joined(halves: Mapping[str, Array]) -> dict[str, Array]:
    """Stack training and test samples."""
    try:
        inputs, answers = (np.concatenate([halves[f"{name}_train"], halves[f"{name}_test"]]) for name in ("x", "y"))
    except ValueError as error:
        raise DataError(f"x_train and x_test, or y_train and y_test, do not match: {error}") from error
    split = np.arange(len(answers)) >= len(halves["y_train"])
    whole = answers.dtype.kind in "iuUSb" and answers.squeeze().ndim == 1
    answers = answers.reshape(-1) if whole else answers
    return {"inputs": inputs, "labels" if whole else "targets": answers, "split": split}


def from_arrays(arrays: Mapping[str, Any], where: str, task: Task | None = None) -> Samples:
    """Samples of the arrays ``inputs``, ``targets`` or ``labels``, ``split`` and names.

    DataError begins with ``where``.
    """
    if "inputs" not in arrays or ("targets" in arrays) == ("labels" in arrays):
        there = ", ".join(sorted(arrays)) or "nothing"
        raise DataError(f"{where}: expected the arrays inputs and either targets or labels, got {there}")
    raw = _numbers(arrays["inputs"], "inputs", where)
    if raw.ndim < 2 or not raw.size:
        raise DataError(f"{where}: inputs: expected shape (samples, inputs) or the shape of images, got {raw.shape}")
    shape, pixel = _images(np.asarray(arrays["inputs"]), raw)
    flat = np.moveaxis(raw, -1, 1) if shape and raw.ndim == 4 and shape[0] == raw.shape[-1] else raw
    inputs = np.ascontiguousarray(flat).reshape(len(raw), -1)
    count = len(inputs)
    labels = targets = None
    classes: tuple[str, ...] = ()
    if "labels" in arrays:
        if task == "regression":
            raise DataError(f"{where}: labels are classes; name the array targets for a regression")
        labels, classes = _labels(arrays["labels"], count, where)
        classes = _names(arrays, "class_names", len(classes), where) or classes
    else:
        if task == "classification":
            raise DataError(f"{where}: targets are numbers to predict; name the array labels for classes")
        targets = _numbers(arrays["targets"], "targets", where)
        targets = targets[:, None] if targets.ndim == 1 else targets
        if targets.ndim != 2 or len(targets) != count or not targets.shape[1]:
            raise DataError(f"{where}: targets: expected shape ({count}, targets), got {targets.shape}")
    return Samples(
        inputs,
        labels,
        targets,
        classes,
        _names(arrays, "input_names", inputs.shape[1], where),
        () if targets is None else _names(arrays, "target_names", targets.shape[1], where),
        shape,
        pixel,
        None if arrays.get("split") is None else _split(arrays["split"], count, where),
    )


def _numbers(values: ArrayLike, name: str, where: str) -> Array:
    """Convert to float64. Raises DataError, with the first wrong sample, unless all values are finite numbers."""
    try:
        found = real_array(values, name, np.float64, finite=False)
    except UserError as error:
        raise DataError(f"{where}: {error}") from error
    wrong = np.argwhere(~(np.abs(found) <= LARGEST))
    if len(wrong):
        at = tuple(int(k) for k in wrong[0])
        raise DataError(
            f"{where}: {name}: sample {at[0]} (from 0) has {found[at]} at {list(at[1:])}; expected finite numbers "
            f"within ±{LARGEST:g}"
        )
    return found


def _images(given: Array, inputs: Array) -> tuple[tuple[int, int, int] | None, float | None]:
    """(channels, height, width) of arrays of images, and the value of white if they are bytes."""
    white = WHITE if given.dtype == np.uint8 else None
    if inputs.ndim == 3:
        return (1, *inputs.shape[1:]), white
    if inputs.ndim == 4 and inputs.shape[1] not in (1, 3) and inputs.shape[-1] in (1, 3):
        return (inputs.shape[-1], *inputs.shape[1:3]), white
    return (inputs.shape[1:] if inputs.ndim == 4 else None), white


def _labels(values: ArrayLike, count: int, where: str) -> tuple[Array, tuple[str, ...]]:
    found = np.asarray(values)
    if found.shape != (count,):
        hint = "; convert one-hot labels by .argmax(axis=1)" if found.ndim == 2 and found.shape[1] > 1 else ""
        raise DataError(f"{where}: labels: expected one per sample, shape ({count},), got {found.shape}{hint}")
    if found.dtype.kind == "S":
        found = np.char.decode(found, "utf-8", "replace")
    if found.dtype.kind == "f":
        found = _numbers(found, "labels", where)
        if (found != np.round(found)).any():
            raise DataError(f"{where}: labels: expected whole numbers or names, got fractions; name the array targets")
    elif found.dtype.kind not in "biuU":
        raise DataError(f"{where}: labels: expected whole numbers or names, got {found.dtype}")
    return classes_of(found, f"{where}: labels")


def _names(arrays: Mapping[str, Any], key: str, count: int, where: str) -> tuple[str, ...]:
    if arrays.get(key) is None:
        return ()
    found = np.asarray(arrays[key])
    if found.dtype.kind != "U" or found.shape != (count,):
        raise DataError(f"{where}: {key}: expected {count} names, got {found.dtype} of shape {found.shape}")
    if len(set(found.tolist())) < count:
        raise DataError(f"{where}: {key}: a name occurs twice")
    return tuple(named(name) for name in found.tolist())


def _split(values: ArrayLike, count: int, where: str) -> Array:
    """Return which samples are test samples, from "train" and "test", or from 1 or true for test samples."""
    found = np.asarray(values)
    if found.shape != (count,):
        raise DataError(f"{where}: split: expected one per sample, shape ({count},), got {found.shape}")
    if found.dtype.kind == "U":
        words = np.char.lower(np.char.strip(found))
        strange = ~np.isin(words, list(TEST_NAMES))
        if strange.any():
            raise DataError(f'{where}: split: expected "train" or "test", got {quoted(found[strange][0])}')
        return np.asarray(words == "test")
    if found.dtype.kind not in "biu" or not np.isin(found, (0, 1)).all():
        raise DataError(f'{where}: split: expected "train" or "test", or 1 for a test sample and 0 for others')
    return found.astype(bool)
