"""The samples that a command solves: test samples of a data set, the user's inputs and targets, or examples."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog import data
from eqprop_analog.cli import console, options
from eqprop_analog.core import Network
from eqprop_analog.data.again import opened_again
from eqprop_analog.data.memory import data_settings, load_dataset
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.agreement import SAMPLES
from eqprop_analog.experiments.batches import require_fit, targets_of
from eqprop_analog.experiments.config import TrainConfig
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.experiments.records import read_metrics

Array = np.ndarray

EXAMPLES_SHOWN = 5
"""Number of example inputs if none are given."""
OWN_DATA = ("target_column", "ignore_columns", "split_column", "task", "scaling", "test_fraction", "split_seed")
"""Options that define how a user's data set is read."""
ARRAYS = ("inputs", "targets")


def add_dataset(parser: Any, what: str) -> None:
    """Add --dataset, --data-dir and the options of a user's data set."""
    parser.add_argument("--dataset", metavar="NAME|FILE", help=f"{what}: {known_datasets()}")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="folder with its files (default: cache, then download)"
    )
    add_own_data(parser)


def known_datasets() -> str:
    """Return the names of the known data sets, for help."""
    return f"{', '.join((*data.SHAPES, *data.NAMES))}; or your own data set, see below"


def add_own_data(parser: Any) -> None:
    """Add the options that define how a user's data set is read; see OWN_DATA."""
    own = parser.add_argument_group(
        "your own data set",
        "--dataset FILE.csv, FILE.npz (inputs, targets or labels, optionally split), or a folder: images in one "
        "folder per class, or IDX files",
    )
    own.add_argument(
        "--target-column",
        nargs="+",
        metavar="COLUMN",
        help="of a table: the columns to predict, by name or by number from 1 (-1: last)",
    )
    own.add_argument("--ignore-columns", nargs="+", metavar="COLUMN", help="of a table: columns that are not inputs")
    own.add_argument("--split-column", metavar="COLUMN", help='of a table: the column that says "train" or "test"')
    own.add_argument(
        "--task",
        choices=["classification", "regression"],
        help="the kind of task (default: names or a few distinct whole numbers are classes, other numbers a regression)",
    )
    own.add_argument(
        "--scaling",
        choices=["range", "common", "none"],
        help="scaling of the inputs, before the input gain makes them volts: each to -1 to 1 (default; pixels: 0 to 1), all "
        "by a common factor, or none",
    )
    own.add_argument(
        "--test-fraction",
        type=float,
        metavar="X",
        help="fraction of the samples drawn for testing, if the file has no split (default 0.2)",
    )
    own.add_argument("--split-seed", type=int, metavar="N", help="seed of the draw of the test samples (default 0)")


def own_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of OWN_DATA that are given."""
    return {name: value for name in OWN_DATA if (value := getattr(arguments, name, None)) is not None}


def add_samples(parser: argparse.ArgumentParser, *, several: bool = True) -> None:
    """Add the options of inputs and targets, for ``solved``: one sample, or ``several``."""
    shape, each = ("(samples, inputs)", "each") if several else ("one sample", "")
    usual = (
        "five drawn from --seed" if several else "those of a netlist given as --network, otherwise drawn from --seed"
    )
    parser.add_argument(
        "--inputs",
        type=Path,
        metavar="X.npy",
        help=f"{shape}, or numbers (1,0); default: {usual}",
    )
    parser.add_argument(
        "--targets",
        type=Path,
        metavar="Y.npy",
        help=f"targets of the nudge, V, or numbers; default: 1 V at one output {each}".rstrip(),
    )
    if several:
        parser.add_argument("--samples", type=int, metavar="N", help=f"the first N test samples (default {SAMPLES})")
        parser.add_argument(
            "--sample", type=int, nargs="+", metavar="K", help="solve these test samples, counted from 0"
        )
    else:
        parser.add_argument(
            "--sample", type=int, metavar="K", help="solve this test sample, counted from 0 (default 0)"
        )
    add_dataset(parser, "use test samples as inputs and targets")


def sample_count(arguments: argparse.Namespace, usual: int = SAMPLES) -> int:
    """Return --samples, or its default. Raises UserError for a number below 1."""
    count = usual if getattr(arguments, "samples", None) is None else arguments.samples
    if count < 1:
        raise UserError(f"--samples: expected at least 1, got {count}")
    return int(count)


def chosen(arguments: argparse.Namespace, count: int, usual: int = SAMPLES) -> Int[Array, " some"]:
    """Return the indices, of ``count`` samples, that --sample and --samples select. Raises UserError."""
    several = hasattr(arguments, "samples")
    wanted = arguments.sample
    if wanted is None:
        return np.arange(min(sample_count(arguments, usual), count)) if several else np.zeros(1, int)
    if several and arguments.samples is not None:
        raise UserError("--sample selects samples, --samples N takes the first N; leave out one of the two")
    found = np.atleast_1d(np.array(wanted, int))
    strange = found[(found < 0) | (found >= count)]
    if len(strange):
        raise UserError(f"--sample {strange[0]}: expected 0 to {count - 1}, because there are {count} samples")
    return found


@dataclass(frozen=True)
class Source:
    """Test samples of a data set, and their conversion to the network's inputs."""

    dataset: data.Dataset
    config: TrainConfig | None
    """The configuration of the network's training, if it is known."""

    @property
    def name(self) -> str:
        """Name of the data set in reports."""
        copied = self.config is not None and Path(self.config.dataset).name == self.dataset.name
        return data.called(self.dataset.name, self.config.data_copy if self.config and copied else "")

    def inputs(self, which: Int[Array, " some"]) -> Float[Array, "some inputs"]:
        """Inputs of these test samples, float64."""
        images = self.dataset.test_images[which]
        return (self.config.prepared(images) if self.config else images).astype(float)


def source(arguments: argparse.Namespace, network: Network, path: Path | None, usual: str | None = None) -> Source:
    """Return the data set of --dataset, else that of the run whose folder holds ``path``, else ``usual``.

    Samples of another file than the run's are converted by the run's scaling and classes. Raises UserError.
    """
    config = config_beside(path, network)
    given, name = own_settings(arguments), arguments.dataset or (config.dataset if config else usual)
    if name is None:
        raise UserError("--dataset: no test samples are given; name a data set or a file")
    own = config.own_data if config else None
    if config and (name == config.dataset or str(Path(name).absolute()) == config.dataset):
        _refuse_others(given, config)
        dataset = config.load_data(arguments.data_dir)
    elif own and path and name not in data.SHAPES:
        _refuse_scaling(given)
        scales = read_metrics(path.parent).get("data", {}) if (path.parent / "metrics.json").exists() else {}
        if "inputs" not in scales:
            raise UserError(
                f"{path.parent}: metrics.json has no entry data, which holds the scaling of the run's samples"
            )
        dataset = opened_again(name, data_settings(given), own, scales, arguments.data_dir)
        console.say(f"{name}: inputs, targets and classes as in the training on {config.data_name if config else ''}")
    else:
        dataset = load_dataset(name, data_dir=arguments.data_dir, **given)
    inputs = config.inputs if config else network.layers[0]
    require_fit(inputs, network.classes, dataset)
    return Source(dataset, config)


def _refuse_others(given: Mapping[str, Any], config: TrainConfig) -> None:
    """Raise UserError if the options read the run's data differently from its training."""
    if config.own_data is None:
        if given:
            raise UserError(f"{config.dataset} has a published split and scaling; leave out {_options(given)}")
        return
    asked = data_settings(given)
    for name in given:
        if getattr(asked, name) != (trained := getattr(config.own_data, name)):
            raise UserError(
                f"{_options([name])}: the network was trained with {trained!r}, got {getattr(asked, name)!r}; leave "
                "it out"
            )


def _refuse_scaling(given: Mapping[str, Any]) -> None:
    fixed = [name for name in ("scaling", "task", "test_fraction", "split_seed") if name in given]
    if fixed:
        raise UserError(
            f"{_options(fixed)}: the value of the network's training is used, and all samples are solved; leave out "
            "this option"
        )


def _options(names: Any) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)


def config_beside(path: Path | None, network: Network) -> TrainConfig | None:
    """Return the configuration of a network's training if the network lies in a run folder."""
    if path is None or path.name != "network.npz" or not (path.parent / "config.toml").exists():
        return None
    config = resolve(str(path.parent / "config.toml"), {})
    return config if config.model == network.family else None


def solved(
    arguments: argparse.Namespace,
    network: Network,
    path: Path | None = None,
    usual: tuple[Float[Array, "1 inputs"], Float[Array, "1 classes"]] | None = None,
) -> tuple[Float[Array, "samples inputs"], Float[Array, "samples classes"]]:
    """Inputs (samples, inputs) and targets (samples, outputs; volts): from files, a data set, or examples.

    ``path`` is that of the network's file; see ``source``. ``usual`` holds the default inputs and targets of a sample.
    Raises UserError.
    """
    given = [name for name in ARRAYS if getattr(arguments, name) is not None]
    of_data = [name for name in ("data_dir", *OWN_DATA) if getattr(arguments, name) is not None]
    picked = [name for name in ("sample", "samples") if getattr(arguments, name, None) is not None]
    if arguments.dataset is not None or (not given and (picked or of_data) and config_beside(path, network)):
        if given:
            raise UserError("--dataset gives inputs and targets; leave out --inputs and --targets")
        found = source(arguments, network, path)
        which = chosen(arguments, len(found.dataset.test_images))
        _say(found, which, several=hasattr(arguments, "samples"))
        return found.inputs(which), targets_of(found.dataset.test_labels[which], network.classes)
    if of_data or (picked and "inputs" not in given):
        raise UserError(
            f"{_options([*of_data, *picked][:1])}: this applies to the test samples of a data set; add --dataset, or "
            "leave out this option"
        )
    return _arrays(arguments, network, usual)


def _arrays(arguments: argparse.Namespace, network: Network, usual: Any) -> tuple[Array, Array]:
    several = hasattr(arguments, "samples")
    examples = EXAMPLES_SHOWN if several else 1
    example = options.example_inputs(network, arguments.seed, examples) if usual is None else usual[0]
    inputs = options.array(arguments.inputs, "inputs", network.layers[0], example)
    made = options.example_targets(network, len(inputs)) if usual is None else usual[1]
    targets = options.array(arguments.targets, "targets", network.classes, made)
    if arguments.targets is None and len(targets) < len(inputs):  # the single target of a netlist
        targets = np.repeat(targets, len(inputs), axis=0)
    if len(targets) != len(inputs):
        raise UserError(f"--targets: expected {len(inputs)} samples as in the inputs, got {len(targets)}")
    if arguments.sample is not None or getattr(arguments, "samples", None) is not None:
        which = chosen(arguments, len(inputs))
        inputs, targets = inputs[which], targets[which]
    if not several and len(inputs) != 1:
        raise UserError(f"--inputs: expected one sample, got {len(inputs)}; choose one with --sample, counted from 0")
    return inputs, targets


def _say(found: Source, which: Int[Array, " some"], *, several: bool) -> None:
    """Print which sample is solved, if it is only one."""
    if several:
        return
    label, own = found.dataset.test_labels[which[0]], getattr(found.dataset, "own", None)
    names = own.found.classes if own and own.found else []
    volts = ", ".join(f"{value:.4g} V" for value in np.atleast_1d(label))
    what = f"targets {volts}" if label.ndim else f"class {names[int(label)] if names else label}"
    console.say(f"inputs: test sample {which[0]} of {found.name} ({what})")
