"""Samples that a network was not trained on, with the scaling and the class numbers of its training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.data.formats import DataError
from eqprop_analog.data.own import TABLE_SETTINGS, TABLES, Linear, OwnDataset, read_samples, require_suitable
from eqprop_analog.data.samples import Samples, named, quoted
from eqprop_analog.data.settings import DataSettings, Found, OwnData

Array = np.ndarray


def as_trained(name: str, samples: Samples, found: Found, scales: Mapping[str, Any]) -> OwnDataset:
    """Return ``samples`` as test samples of a network trained on others, which ``found`` and ``scales`` describe.

    ``scales``: the entry ``data`` of the run's metrics.json: names, offsets and units of inputs and targets. All
    samples are test samples, unless the file says which are. Raises DataError if inputs, targets or classes differ from
    those of the training.
    """
    inputs = samples.inputs[:, _columns(name, "inputs", samples.input_names, samples.inputs.shape[1], scales["inputs"])]
    scale = _scale(scales["inputs"])
    targets, answers = None, _labels(name, samples, found)
    if found.task == "regression":
        if samples.targets is None:
            raise DataError(f"{name}: the file has classes, but the network was trained on numbers; expected targets")
        order = _columns(name, "targets", samples.target_names, samples.targets.shape[1], scales["targets"])
        targets = _scale(scales["targets"])
        answers = (samples.targets[:, order] - targets.offset) / targets.unit
    scaled = scale(inputs)
    test = np.ones(len(scaled), bool) if samples.test is None else samples.test
    if not test.any():
        raise DataError(f"{name}: expected test samples, got none")
    own = OwnData(found=found.model_copy(update={"test": int(test.sum())}))
    parts = scaled[~test], answers[~test], scaled[test], answers[test]
    return OwnDataset(name, *parts, samples=replace(samples, inputs=inputs), own=own, inputs=scale, targets=targets)


def opened_again(
    dataset: str, given: DataSettings, own: OwnData, scales: Mapping[str, Any], data_dir: Path | None = None
) -> OwnDataset:
    """Read a file, a folder or a named data set as ``as_trained`` does; ``own`` or ``given`` select the columns.

    Raises UserError.
    """
    if own.found is None:
        raise DataError(f"{dataset}: the data that the network was trained on is unknown")
    require_suitable(dataset, given)
    usual = own if Path(dataset).suffix.lower() in TABLES else DataSettings()
    columns = {name: getattr(given, name) or getattr(usual, name) for name in TABLE_SETTINGS}
    samples = read_samples(dataset, DataSettings(**columns, task=own.found.task), data_dir)
    return replace(as_trained(Path(dataset).name, samples, own.found, scales), source=dataset)


def _scale(figures: Mapping[str, Any]) -> Linear:
    return Linear(np.array(figures["offset"], float), np.array(figures["unit"], float))


def _columns(name: str, what: str, names: Sequence[str], count: int, figures: Mapping[str, Any]) -> list[int]:
    """Find the columns of the training in the file: by name, or in order if either of the two has no names."""
    known, here = figures["names"], [named(each) for each in names]
    wide = len(figures["unit"])
    if known and here:
        missing = [each for each in known if each not in here]
        if missing:
            raise DataError(
                f"{name}: {what}: the network was trained on {quoted(missing[0])}, which is missing here; there are "
                f"{', '.join(map(quoted, here[:12]))}"
            )
        if len(here) > len(known):
            more = next(each for each in here if each not in known)
            raise DataError(
                f"{name}: {what}: the network was not trained on {quoted(more)}; leave it out by --ignore-columns"
            )
        return [here.index(each) for each in known]
    if wide not in (1, count) or (known and len(known) != count):
        raise DataError(f"{name}: {what}: expected {len(known) or wide}, as in the training, got {count}")
    return list(range(count))


def _labels(name: str, samples: Samples, found: Found) -> Int[Array, " samples"] | Float[Array, "samples targets"]:
    """Return the numbers of the training's classes, found by name; None for a regression."""
    if found.task == "regression":
        return np.zeros(0, int)
    if samples.labels is None:
        raise DataError(
            f"{name}: the file has numbers as targets, but the network was trained on classes; expected labels"
        )
    strange = [each for each in samples.classes if each not in found.classes]
    if strange:
        raise DataError(
            f"{name}: class {quoted(strange[0])} is not a class of the training; expected one of "
            f"{', '.join(map(quoted, found.classes[:12]))}"
        )
    return np.array([found.classes.index(each) for each in samples.classes])[samples.labels]
