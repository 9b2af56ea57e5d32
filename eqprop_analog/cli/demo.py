"""``eqprop-analog demo``: the main job, from data to a network that ngspice confirms."""

import argparse
from pathlib import Path

from eqprop_analog.cli import console, options
from eqprop_analog.cli.simulate import require_met
from eqprop_analog.cli.train import report, train_and_verify
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.report.whole import write_report
from eqprop_analog.spice.ngspice import library as libngspice

PRESET = "mnist-100"
SUMMARY = "Train the main network on MNIST, compile it to a circuit, and verify every node voltage in ngspice."
EXAMPLES = """\
This takes a few minutes on two cores. A second run finds the finished training in the folder and only repeats the
verification."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument(
        "--output", type=Path, default=Path("runs/demo"), metavar="DIR", help="run folder (default runs/demo)"
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="folder with the four IDX files (default: cache, then download)"
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train or find the finished training, verify, report."""
    libngspice.library_path()
    config = resolve(PRESET, {})
    dataset = config.load_data(arguments.data_dir)
    finished, agreements = train_and_verify(config, dataset, arguments.output, resume=False, flat=True)
    report(config, finished, agreements)
    page = arguments.output / "report.html"
    write_report(arguments.output, page, arguments.data_dir, dataset)
    options.write_json(arguments.json, finished.metrics)
    console.say(f"the report of this run, to open in a browser: {page}")
    require_met(agreements)
