"""Data sets of the user: samples are split, scaled and described for training."""

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from eqprop_analog.core.shown import Shown
from eqprop_analog.data import toys
from eqprop_analog.data.archives import read_archive
from eqprop_analog.data.datasets import Dataset
from eqprop_analog.data.formats import DataError
from eqprop_analog.data.images import is_idx_file, read_folder
from eqprop_analog.data.samples import Samples, named, quoted
from eqprop_analog.data.settings import DataSettings, Found, OwnData
from eqprop_analog.data.tables import read_table

Array = np.ndarray

STRATA = 10
"""Number of groups, ordered by target, from each of which a regression's test samples are drawn."""
LEAST = 4
"""Smallest number of samples that can be split."""
TABLES = frozenset({".csv", ".tsv", ".txt"})
TABLE_SETTINGS = ("target_column", "ignore_columns", "split_column")


@dataclass(frozen=True)
class Linear:
    """scaled = (value - offset)/unit, column by column; a single column applies to all columns."""

    offset: Float[Array, " columns"]
    unit: Float[Array, " columns"]

    def __call__(self, values: Float[Array, "samples columns"]) -> Float[Array, "samples columns"]:
        """Return scaled values, float32 as in all data sets."""
        if values.dtype == np.uint8:
            values = values.astype(np.float32)
        return ((values - self.offset.astype(values.dtype)) / self.unit.astype(values.dtype)).astype(np.float32)

    def back(self, scaled: ArrayLike) -> Float[Array, "..."]:
        """Return scaled values in their original units: read-outs in volts become predictions."""
        return np.asarray(scaled) * self.unit + self.offset

    @classmethod
    def between(cls, low: Array, high: Array, to: tuple[float, float]) -> Self:
        """Return the scaling that maps ``low`` and ``high`` to the two ends of ``to``."""
        unit = (high - low) / (to[1] - to[0])
        return cls(low - to[0] * unit, unit)


@dataclass(frozen=True, repr=False)
class OwnDataset(Shown, Dataset):
    """A data set of the user: dimensionless inputs (times the network's input gain: volts), and labels or targets in volts."""

    samples: Samples | None = None
    own: OwnData | None = None
    """The settings, and what was found in the data."""
    inputs: Linear | None = None
    """Scaling from the file's units to the network's inputs."""
    targets: Linear | None = None
    """Scaling of a regression from the targets' units to volts."""
    source: str = ""
    """The file, folder or name from which it was read; empty for samples in memory."""

    def facts(self) -> dict[str, str]:
        """Facts shown to the user."""
        found = None if self.own is None else self.own.found
        if found is None:
            return {"name": self.name}
        what = ", ".join(found.classes[:8]) + (" ..." if found.outputs > 8 else "")
        return {
            "name": self.name,
            "samples": f"{found.training} for training, {found.test} for testing",
            "inputs": str(found.inputs) if found.shape is None else " x ".join(map(str, found.shape)),
            **({"classes": what} if found.task == "classification" else {"targets": str(found.outputs)}),
        }

    def figures(self) -> dict[str, Any]:
        """Return how values of the file map to inputs of the network, and read-outs back to values; for JSON."""
        if self.samples is None or self.inputs is None:
            return {"name": self.name}
        names = [named(name) for name in self.samples.input_names]
        found: dict[str, Any] = {"name": self.name, "inputs": _figures(names, self.inputs)}
        if self.targets is not None:
            found["targets"] = _figures([named(name) for name in self.samples.target_names], self.targets)
        return found

    def in_words(self) -> list[str]:
        """Describe in sentences the samples, the classes or targets, and how they become voltages."""
        samples, own, found = self.samples, self.own, self.own.found if self.own else None
        if samples is None or own is None or found is None or self.inputs is None:
            return []
        drawn = (
            "as the file says" if samples.test is not None else f"drawn with split seed {own.split_seed}, stratified"
        )
        said = [f"{self.name}: {found.training} training and {found.test} test samples ({drawn})", *samples.notes]
        if self.targets is None:
            named = ", ".join(found.classes[:12]) + (" ..." if found.outputs > 12 else "")
            said.append(f"{found.outputs} classes ({named}): 1 V at the output of the correct class, 0 V at the others")
        else:
            names = found.target_names or [""] * found.outputs
            ends = zip(names, self.targets.back(0.0), self.targets.back(1.0), strict=True)
            shown = (f"{name} {low:.4g} to {high:.4g} is 0 to 1 V".strip() for name, low, high in ends)
            said.append("targets: " + "; ".join(shown))
        return [*said, f"{found.inputs} inputs, times the input gain: {self._scaling_in_words(samples)}"]

    def _scaling_in_words(self, samples: Samples) -> str:
        scale = self.inputs
        if scale is None or ((scale.unit == 1).all() and not scale.offset.any()):
            return "as they are"
        if len(scale.unit) == 1:
            low, high = (self.train_images.min(), self.train_images.max())
            return f"{float(scale.back(low)[0]):.4g} to {float(scale.back(high)[0]):.4g} is {low:.3g} to {high:.3g}"
        ends = zip(
            samples.input_names or map(str, range(len(scale.unit))), scale.back(-1.0), scale.back(1.0), strict=True
        )
        shown = [f"{named(name)} {low:.4g} to {high:.4g}" for name, low, high in ends]
        return f"{'; '.join(shown[:12])}{' ...' if len(shown) > 12 else ''} is -1 to 1"


def _figures(names: list[str], scale: Linear) -> dict[str, Any]:
    """Return offset and unit of ``scaled = (value - offset)/unit``."""
    return {"names": names, "offset": scale.offset.tolist(), "unit": scale.unit.tolist()}


def read_samples(dataset: str, settings: DataSettings, data_dir: Path | None = None) -> Samples:
    """Read the samples of a file, a folder or a named data set. Raises DataError."""
    if dataset in toys.NAMES:
        return toys.load(dataset, data_dir)
    path = _place(dataset, data_dir)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; if it has moved, give its new folder by --data-dir")
    if path.is_dir():
        return read_folder(path, settings.task)
    if not path.is_file():
        raise DataError(f"{path}: expected a file or a folder, got a device or a pipe")
    if path.suffix.lower() == ".npz":
        return read_archive(path, settings.task)
    if path.suffix.lower() in TABLES:
        return read_table(path, settings)
    if is_idx_file(path):
        return read_folder(path.parent, settings.task)
    raise DataError(
        f"{path}: expected a table (.csv), arrays (.npz), a folder of images in one folder per class, or IDX files, "
        f"got {quoted(path.suffix) if path.suffix else 'a file whose name has no ending'}"
    )


def _place(dataset: str, data_dir: Path | None) -> Path:
    """The file or folder with the samples: within ``data_dir`` if it is given, or, for a folder, ``data_dir`` itself."""
    path = Path(dataset)
    if data_dir is None:
        return path
    inside = data_dir / path.name
    is_file = path.suffix.lower() in (*TABLES, ".npz") and data_dir.is_dir()
    return inside if is_file or inside.exists() else data_dir


def is_path(dataset: str) -> bool:
    """Return whether a data set's name is that of a file or a folder of the user."""
    return "/" in dataset or "." in dataset or Path(dataset).exists()


def opened(dataset: str, own: OwnData, data_dir: Path | None = None) -> OwnDataset:
    """Return the data set, split and scaled deterministically from samples and settings. Raises DataError.

    If ``own`` holds what was found before, other samples are refused.
    """
    stamp = 0 if dataset in toys.NAMES else _stamp(_place(dataset, data_dir))
    settings = DataSettings(**{name: getattr(own, name) for name in DataSettings.model_fields})
    made = _opened(dataset, stamp, settings.model_dump_json(), data_dir)
    if own.found is not None and made.own is not None and made.own.found is not None:
        if made.own.found.sha256 != own.found.sha256:
            raise DataError(
                f"{dataset}: the data have changed since this run began: expected samples with SHA-256 "
                f"{own.found.sha256[:12]}..., got {made.own.found.sha256[:12]}...; restore the old file, or train "
                "again into another --output"
            )
        return replace(made, own=own)
    return made


def _stamp(place: Path) -> int:
    """Return a number that changes when the table, the archive or the files of the folder that are read change."""
    if place.is_dir():
        files = [path for path in place.rglob("*") if path.is_file()]
    elif place.suffix.lower() in (*TABLES, ".npz"):
        files = [place]
    else:
        files = list(place.parent.glob("*"))
    stats = [(str(path.absolute()), path.stat()) for path in sorted(files) if path.exists()]
    return hash(tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats))


@lru_cache(maxsize=2)
def _opened(dataset: str, stamp: int, settings: str, data_dir: Path | None) -> OwnDataset:  # noqa: ARG001 - stamp: a file that changed
    asked = DataSettings.model_validate_json(settings)
    require_suitable(dataset, asked)
    made = prepared(Path(dataset).name, read_samples(dataset, asked, data_dir), asked)
    return replace(made, source=dataset)


def require_suitable(dataset: str, settings: DataSettings) -> None:
    """Raise DataError if there are settings for tables and the data set is not a table."""
    strange = [name for name in TABLE_SETTINGS if getattr(settings, name) not in ([], None)]
    if strange and Path(dataset).suffix.lower() not in TABLES:
        raise DataError(f"{dataset}: --{strange[0].replace('_', '-')} is for tables (.csv); leave it out")


def prepared(name: str, samples: Samples, settings: DataSettings) -> OwnDataset:
    """Split and scale samples. Raises DataError if they cannot be split or scaled."""
    count = len(samples.inputs)
    if count < LEAST:
        raise DataError(f"{name}: expected at least {LEAST} samples, got {count}")
    if samples.labels is not None and len(samples.classes) < 2:
        column = f", column {quoted(samples.target_names[0])}" if samples.target_names else ""
        raise DataError(
            f"{name}{column}: all samples are of the same class, {', '.join(map(quoted, samples.classes))}; expected "
            "two classes or more"
        )
    random = np.random.default_rng(settings.split_seed)
    strata = _strata(samples)
    every = np.arange(count)
    test = (
        drawn(every, strata, settings.test_fraction, random) if samples.test is None else np.flatnonzero(samples.test)
    )
    rest = np.setdiff1d(every, test)
    if not len(rest) or not len(test):
        raise DataError(f"{name}: expected training and test samples, got {len(rest)} and {len(test)}")
    held_out = drawn(rest, strata, settings.test_fraction, random)
    train = np.concatenate([random.permutation(np.setdiff1d(rest, held_out)), random.permutation(held_out)])
    if samples.labels is not None:
        missing = np.setdiff1d(samples.labels[test], samples.labels[train])
        if len(missing):
            raise DataError(
                f"{name}: no training sample is of class {quoted(samples.classes[missing[0]])}, which occurs in the "
                "test set"
            )
    inputs = _input_scale(name, samples, train, settings)
    scaled = inputs(samples.inputs)
    targets, answers = None, samples.labels
    if samples.targets is not None:
        targets = _target_scale(name, samples, train)
        answers = (samples.targets - targets.offset) / targets.unit
    assert answers is not None  # noqa: S101 - one of the two is there
    rms = float(np.sqrt(np.square(scaled[train]).mean(dtype=np.float64)))
    if not rms > 0:
        raise DataError(f"{name}: all inputs are 0")
    found = Found(
        sha256=digest(samples),
        task="classification" if targets is None else "regression",
        inputs=scaled.shape[1],
        outputs=len(samples.classes) if targets is None else answers.shape[1],
        shape=samples.shape,
        rms=float(f"{rms:.6g}"),
        training=len(train),
        test=len(test),
        validation=len(held_out),
        deviation=_deviation(answers[train], answers[test]) if targets is not None else None,
        classes=list(samples.classes),
        target_names=list(map(named, samples.target_names)),
    )
    own = OwnData(**settings.model_dump(), found=found)
    parts = scaled[train], answers[train], scaled[test], answers[test]
    return OwnDataset(name, *parts, samples=samples, own=own, inputs=inputs, targets=targets)


def _deviation(known: Float[Array, "samples targets"], asked: Float[Array, "samples targets"]) -> float:
    return float(np.sqrt(((asked - known.mean(axis=0)) ** 2).mean())) or 1.0


def _strata(samples: Samples) -> Int[Array, " samples"]:
    """Return the groups from each of which the same fraction is drawn: classes, or tenths of the first target."""
    if samples.labels is not None:
        return samples.labels
    targets = np.zeros((len(samples.inputs), 1)) if samples.targets is None else samples.targets
    rank = np.argsort(np.argsort(targets[:, 0], kind="stable"))
    return rank * max(1, min(STRATA, len(rank) // LEAST)) // len(rank)


def drawn(
    every: Int[Array, " some"], strata: Int[Array, " samples"], share: float, random: np.random.Generator
) -> Int[Array, " few"]:
    """Draw about that share of ``every`` at random, the same from every group, ascending; none from a group of one."""
    groups, sizes = np.unique(strata[every], return_counts=True)
    counts = np.floor(share * sizes).astype(int)
    rest = share * sizes - counts
    more = max(0, round(share * len(every)) - int(counts.sum()))
    counts[np.argsort(-rest, kind="stable")[:more]] += 1
    counts = np.minimum(np.maximum(counts, 1), sizes - 1)
    found = [
        random.permutation(every[strata[every] == group])[:count] for group, count in zip(groups, counts, strict=True)
    ]
    chosen = np.sort(np.concatenate(found))
    return chosen if len(chosen) else every[:1]


def _input_scale(name: str, samples: Samples, train: Int[Array, " some"], settings: DataSettings) -> Linear:
    """Return the scaling of the inputs, found from the training samples only."""
    known, one = samples.inputs[train], np.ones(1)
    if settings.scaling == "none":
        return Linear(0 * one, one)
    if settings.scaling is None and samples.pixel is not None:
        return Linear(0 * one, samples.pixel * one)
    if settings.scaling == "common" or samples.shape is not None:
        largest = float(np.abs(known).max())
        return Linear(0 * one, (largest or 1.0) * one)
    low, high = known.min(axis=0), known.max(axis=0)
    for column in np.flatnonzero(~(high > low)):
        called = quoted(samples.input_names[column]) if samples.input_names else f"{column} (from 0)"
        raise DataError(
            f"{name}: input {called} is {low[column]:g} in every training sample; leave out that column, or scale "
            "all inputs by a common factor: --scaling common"
        )
    return Linear.between(low, high, (-1.0, 1.0))


def _target_scale(name: str, samples: Samples, train: Int[Array, " some"]) -> Linear:
    targets = samples.targets
    assert targets is not None  # noqa: S101 - of a regression
    low, high = targets[train].min(axis=0), targets[train].max(axis=0)
    for column in np.flatnonzero(~(high > low)):
        called = quoted(samples.target_names[column]) if samples.target_names else f"{column} (from 0)"
        raise DataError(
            f"{name}: target {called} is {low[column]:g} in every training sample; a constant target cannot be learned"
        )
    return Linear.between(low, high, (0.0, 1.0))


def digest(samples: Samples) -> str:
    """Return the SHA-256 of the samples."""
    found = hashlib.sha256()
    for values in (samples.inputs, samples.labels, samples.targets, samples.test):
        if values is not None:
            found.update(f"{values.dtype.str} {values.shape}".encode())
            found.update(np.ascontiguousarray(values).data)
    found.update("\n".join((*samples.classes, *samples.input_names, *samples.target_names)).encode(errors="replace"))
    return found.hexdigest()
