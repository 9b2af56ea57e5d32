"""Data sets made in Python: from arrays, from a PyTorch DataLoader, or from a file."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pydantic import ValidationError

from eqprop_analog.data.archives import WHITE, from_arrays
from eqprop_analog.data.datasets import SHAPES, Dataset, load
from eqprop_analog.data.formats import DataError
from eqprop_analog.data.own import OwnDataset, digest, opened, prepared, read_samples
from eqprop_analog.data.samples import Samples
from eqprop_analog.data.settings import DataSettings, OwnData
from eqprop_analog.files import replacing
from eqprop_analog.incoming import real_array

Array = np.ndarray


def dataset_from_arrays(
    inputs: ArrayLike,
    labels: ArrayLike | None = None,
    targets: ArrayLike | None = None,
    *,
    split: ArrayLike | None = None,
    name: str = "arrays",
    **settings: Any,
) -> OwnDataset:
    """Make a data set of arrays in memory: NumPy arrays, lists, tables, CPU tensors.

    The arguments:

    - inputs: (samples, inputs), or images (samples, height, width), (samples, channels, height, width) or channels last.
      Any unit is allowed; bytes are pixels.
    - labels: (samples,), the class of each sample, as a whole number or a name. Or
    - targets: (samples,) or (samples, targets), the numbers to predict, in any unit.
    - split: (samples,), "train" or "test" (or true for a test sample); without it, ``test_fraction`` (0.2) of every class
      is drawn by ``split_seed`` (0).
    - name: the name of the data set in figures and reports.
    - settings: ``scaling`` ("range", "common" or "none", see DataSettings), ``test_fraction``, ``split_seed``.

    Raises UserError for arrays that do not form a data set.

    >>> import eqprop_analog as ea
    >>> dataset = ea.dataset_from_arrays([[0.0, 5], [1, 3], [2, 4], [3, 1], [4, 2], [5, 0]], labels=["low"] * 3 + ["high"] * 3)
    >>> dataset.train_images.shape, dataset.test_labels.tolist(), dataset.own.found.classes
    ((4, 2), [1, 0], ['high', 'low'])
    """
    given: Mapping[str, Any] = {"inputs": inputs, "labels": labels, "targets": targets, "split": split}
    arrays = {key: value for key, value in given.items() if value is not None}
    return prepared(name, from_arrays(arrays, name), _settings(settings, "scaling", "test_fraction", "split_seed"))


def dataset_from_loader(
    train: Iterable[Any], test: Iterable[Any] | None = None, *, name: str = "loader", **settings: Any
) -> OwnDataset:
    """Make a data set from a PyTorch ``DataLoader``'s batches (inputs, answers), or any other iterable of pairs of arrays.

    The arguments:

    - train: yields the training samples once; whole numbers as answers are classes, others are targets.
    - test: yields the test samples; without it they are drawn from ``train``.
    - name, settings: as in ``dataset_from_arrays``.

    Raises UserError for batches that are not pairs, or whose shapes do not match.

    >>> import eqprop_analog as ea
    >>> batches = [([[0.0], [1.0]], [0, 1]), ([[0.2], [0.9]], [0, 1]), ([[0.1], [0.8]], [0, 1])]
    >>> ea.dataset_from_loader(batches).train_labels.tolist()
    [1, 0, 1, 0]
    """
    parts = [_gathered(train, name), *([] if test is None else [_gathered(test, name)])]
    try:
        inputs, answers = (np.concatenate(each) for each in zip(*parts, strict=True))
    except ValueError as error:
        raise DataError(f"{name}: training and test samples have different shapes: {error}") from error
    split = None if test is None else np.arange(len(inputs)) >= len(parts[0][0])
    classes = answers.dtype.kind in "biu" and answers.ndim == 1
    return dataset_from_arrays(
        inputs, answers if classes else None, None if classes else answers, split=split, name=name, **settings
    )


def load_dataset(
    name: str | Path, *, data_dir: str | Path | None = None, data_copy: str = "", **settings: Any
) -> Dataset:
    r"""Load a data set from a file, a folder, or by name ("iris", "mnist"), as every ``--dataset`` does.

    The arguments:

    - name: a table (.csv), arrays (.npz), a folder of images in one folder per class, a folder of IDX files, or a
      known name.
    - data_dir: the folder of its files, unless ``name`` is a path or the files are to be downloaded.
    - data_copy: a name for files of a published data set that differ from the published ones; see data.load.
    - settings: those of DataSettings, such as ``target_column="kind"``.

    Raises UserError, which names the line, for a file that is not a data set.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import eqprop_analog as ea
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "springs.csv"
    ...     _ = path.write_text("length (mm),force (mN)\n" + "".join(f"{k},{20 - 2 * k}\n" for k in range(10)))
    ...     ea.load_dataset(path, target_column="force (mN)")
    OwnDataset(name springs.csv, samples 8 for training, 2 for testing, inputs 1, targets 1)
    """
    folder = None if data_dir is None else Path(data_dir)
    if str(name) in SHAPES:
        if settings:
            raise DataError(f"{name} has a published split and scaling; leave out {', '.join(settings)}")
        return load(str(name), folder, data_copy)
    return opened(str(name), OwnData(**data_settings(settings).model_dump()), folder)


def data_settings(given: Mapping[str, Any]) -> DataSettings:
    """Make settings from their names; a single column needs no list. Raises DataError."""
    lists = {"target_column", "ignore_columns"}
    listed = {key: [value] if key in lists and isinstance(value, str | int) else value for key, value in given.items()}
    return _settings(listed, *DataSettings.model_fields)


def save_samples(dataset: OwnDataset, path: Path) -> None:
    """Write the samples of a data set in memory to an ``.npz`` that can be read again.

    Raises DataError if it holds others.
    """
    samples = dataset.samples
    if samples is None:
        raise DataError(f"{dataset.name}: this data set has no samples to write")
    if path.exists():
        there = read_samples(str(path), DataSettings())
        if digest(there) != digest(_named(samples)):
            raise DataError(f"{path}: the file holds other samples; choose another folder")
        return
    arrays = _arrays(samples)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _named(samples: Samples) -> Samples:
    return from_arrays(_arrays(samples), "samples")


def _arrays(samples: Samples) -> dict[str, Array]:
    inputs = samples.inputs if samples.shape is None else samples.inputs.reshape(len(samples.inputs), *samples.shape)
    if samples.pixel == WHITE:
        inputs = inputs.astype(np.uint8)
    found: dict[str, Array | None] = {
        "inputs": inputs,
        "labels": samples.labels,
        "targets": samples.targets,
        "split": samples.test,
        "class_names": np.array(samples.classes) if samples.classes else None,
        "input_names": np.array(samples.input_names) if samples.input_names else None,
        "target_names": np.array(samples.target_names) if samples.target_names and samples.labels is None else None,
    }
    return {key: value for key, value in found.items() if value is not None}


def _settings(given: Mapping[str, Any], *known: str) -> DataSettings:
    strange = [name for name in given if name not in known]
    if strange:
        raise DataError(f'no argument "{strange[0]}"; expected {", ".join(known)}')
    try:
        return DataSettings(**given)
    except ValidationError as error:
        problem = error.errors()[0]
        raise DataError(f"{problem['loc'][0]}: {problem['msg']}, got {problem['input']!r:.60}") from error


def _gathered(batches: Iterable[Any], name: str) -> tuple[Array, Array]:
    inputs, answers = [], []
    for batch in batches:
        if not isinstance(batch, list | tuple) or len(batch) != 2:
            raise DataError(f"{name}: expected batches (inputs, answers), got {type(batch).__name__}")
        x, y = batch
        inputs.append(real_array(x, "inputs"))
        answers.append(np.asarray(y) if not hasattr(y, "requires_grad") else real_array(y, "answers", _kept(y)))
    if not inputs:
        raise DataError(f"{name}: yields no batch; if the iterator is exhausted, make a new one")
    try:
        return np.concatenate(inputs), np.concatenate(answers)
    except ValueError as error:
        raise DataError(f"{name}: batches have different shapes: {error}") from error


def _kept(tensor: Any) -> Any:
    """Return the NumPy dtype for a tensor; whole numbers stay whole."""
    return np.asarray(tensor.detach().cpu()[:0]).dtype
