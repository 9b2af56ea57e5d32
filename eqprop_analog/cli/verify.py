"""``eqprop-analog verify``: compares a trained network in ngspice with the surrogate."""

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from eqprop_analog.cli import console, options, samples, simulate, wiring
from eqprop_analog.core.network import Network
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.agreement import compare, confirmed
from eqprop_analog.experiments.batches import require_fit, test_samples
from eqprop_analog.experiments.config import TrainConfig
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.experiments.records import read_metrics
from eqprop_analog.experiments.results import Run, add_agreement
from eqprop_analog.files import locked
from eqprop_analog.plotting.agreement import agreement_of_run
from eqprop_analog.plotting.style import require_picture
from eqprop_analog.report.folder import network_of_run

SUMMARY = (
    "Compare every node voltage of a trained network in ngspice with the surrogate: a run folder, or any network file."
)
EXAMPLES = """\
For a run folder, test images of the run's data set are solved. The result is added to its metrics.json and drawn in
agreement.png. For a network file, give --dataset, or --inputs and --targets, or use the examples. Every sample is solved free and
nudged by ±β in Norton form; if the network is small enough, the first sample is also solved in flat form, with every resistor.
A run is solved with the wires and cells that it was trained with, a network file with those of the options; circuits with wires
have the flat form alone.
The exit code is 3 if a bound is not met.

examples:
  a finished training, 20 test images:          runs/demo
  200 of them on two cores, figures as JSON:    runs/demo --samples 200 --workers 2 --json agreement.json
  1000 of them on a cluster:                    runs/demo --samples 1000 --cluster tcp://10.0.0.1:8786
  every resistor, for two images:               runs/demo --samples 2 --form flat
  a network file on your own inputs:            net.npz --inputs x.npy --targets y.npy --beta 1e-7"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("path", type=Path, metavar="RUN|FILE.npz", help="a run folder, or a network's file")
    samples.add_samples(parser)
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the example inputs, if none are given (default 0)"
    )
    wiring.add_wires(parser)
    options.add_beta(parser)
    parser.add_argument(
        "--form", choices=["norton", "flat"], help="only this form (default: norton, and flat for the first sample)"
    )
    options.add_workers(parser, "ngspice processes")
    options.add_time_limit(parser)
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE.png|svg|pdf",
        help="draw every voltage in ngspice against the surrogate's, and the differences; a run folder also gets agreement.png",
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Solve with both, print the agreement, and add it to the run, which is locked meanwhile."""
    options.count_workers(arguments)
    with locked(arguments.path) if arguments.path.is_dir() else nullcontext():
        _verify(arguments)


def _verify(arguments: argparse.Namespace) -> None:
    if arguments.picture is not None:
        require_picture(arguments.picture)
    if arguments.path.is_dir():
        if given := wiring.wires_given(arguments):
            raise UserError(
                f"a run has its own wires and cells; leave out {', '.join(given)}, or give the run's network.npz"
            )
        finished, config = _finished(arguments.path)
        network: Network = config.circuit(finished.network)
        inputs, targets = _test_images(config, arguments)
        beta = arguments.beta if arguments.beta is not None else config.circuit_beta(network)
    else:
        finished, network = None, wiring.with_wires(arguments, options.load(arguments.path))
        inputs, targets = samples.solved(arguments, network, arguments.path)
        beta = options.beta(arguments, network)
    if arguments.form is None:
        agreements = confirmed(
            network, inputs, targets, beta, arguments.workers, arguments.time_limit, stage=console.stage
        )
    else:
        agreements = [
            compare(network, inputs, targets, beta, arguments.form, arguments.workers, time_limit=arguments.time_limit)
        ]
    unit = network.residual_unit
    console.table(
        f"{arguments.path}: ngspice against the surrogate",
        ["figure", "value"],
        *(simulate.agreement_rows(each, unit) for each in agreements),
    )
    if arguments.picture is not None:
        agreement_of_run(agreements[0], arguments.picture)
        console.say(f"{arguments.picture}: every voltage in ngspice against the surrogate's")
    if finished is not None:
        add_agreement(finished, agreements)
        console.say(f"in {finished.folder}: metrics.json, agreement.png")
    figures: dict[str, Any] = {"layers": network.layers, "agreement": [each.figures() for each in agreements]}
    options.report_figures(arguments, figures | {"met": all(each.met for each in agreements)})
    simulate.require_met(agreements)


def _finished(folder: Path) -> tuple[Run, TrainConfig]:
    """Return a run folder's network, metrics and configuration. Raises UserError if it holds no finished run."""
    missing = [name for name in ("config.toml", "metrics.json", "network.npz") if not (folder / name).exists()]
    if missing:
        raise UserError(
            f"{folder}: contains no finished run ({missing[0]} is missing); finish it by `train --resume`, or give a "
            ".npz file"
        )
    config = resolve(str(folder / "config.toml"), {})
    return Run(folder, network_of_run(folder / "network.npz", config), read_metrics(folder)), config


def _test_images(config: TrainConfig, arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Return test samples of the run's data set as network inputs, and their targets."""
    names = ("inputs", "targets", "dataset", *samples.OWN_DATA)
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(arguments, name) is not None]
    if given:
        raise UserError(f"a run has its own data set; leave out {', '.join(given)}, or give the run's network.npz")
    dataset = config.load_data(arguments.data_dir)
    require_fit(config.inputs, config.classes, dataset)
    return test_samples(config, dataset, samples.chosen(arguments, len(dataset.test_images)))
