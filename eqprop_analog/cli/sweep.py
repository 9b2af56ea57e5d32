"""``eqprop-analog sweep``: train a preset at every point of a grid of settings."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eqprop_analog.cli import console, options
from eqprop_analog.cli.samples import add_own_data
from eqprop_analog.cli.settings import add_settings
from eqprop_analog.cli.train import overridden
from eqprop_analog.errors import NotMetError, UserError
from eqprop_analog.experiments.solvers import SURROGATE, takes_workers
from eqprop_analog.experiments.sweep import grid, in_name, require_possible, row_of, summary, trained, varied_settings
from eqprop_analog.files import locked, require_writable, write_csv
from eqprop_analog.learning.measure import Measure
from eqprop_analog.plotting.sweep import curves_by_epoch, errors_by_setting

SUMMARY = (
    "Train a preset at every point of a grid of settings, several points at once; an interrupted sweep can be resumed."
)
EXAMPLES = """\
Every point has its own run folder, named by its settings; train, verify and report accept it like any other. Settings are
those of a preset's TOML file (`eqprop-analog presets NAME` prints them), and values are written as there. All of them are
checked before the training begins. Finished points are not trained again, and unfinished points are resumed. --output gets
sweep.csv, sweep.json and sweep.png: the error of the last epoch, mean and standard deviation over the seeds; and curves.png: the
error of every point after each epoch.

Choose settings by the validation error (--validation). Without it the errors are those of the test set, and the lowest
of them is too optimistic.

--workers N trains N points at once. With --solver ngspice, one point at a time is trained by N ngspice processes.
--cluster trains as many points at once as the cluster has threads, each, with --solver ngspice, by N ngspice processes.

examples:
  two nudges, three seeds, two at once:  --preset mnist-100 --vary beta 1e-7 1e-6 --vary seed 0 1 2 --validation --workers 2
  layers; one list is one value:         --preset mnist-100 --vary layers "[784, 50, 10]" "[784, 200, 10]" --epochs 3 --validation
  the same on a cluster:                 --preset mnist-100 --vary beta 1e-7 1e-6 --vary seed 0 1 2 --cluster tcp://10.0.0.1:8786
  rates and batch sizes, 5,000 images:   --preset net1 --vary rate_factor 0.5 1 --vary batch_size 10 20 --epochs 2 --limit 5000"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("--preset", required=True, metavar="NAME", help="a preset, or a TOML file")
    parser.add_argument(
        "--vary",
        action="append",
        nargs="+",
        required=True,
        metavar=("SETTING", "VALUE"),
        help="a setting and its values; repeat it for each setting of the grid",
    )
    add_settings(parser)
    add_own_data(parser)
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="the data set's files (default: cache, then download)"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder of the sweep (default runs/sweep-PRESET)")
    options.add_cluster(parser)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Check every point, train the missing ones, and report on all."""
    folder = arguments.output or Path("runs") / f"sweep-{Path(arguments.preset).stem}"
    varied = varied_settings(arguments.vary)
    fixed = overridden(arguments)
    workers = fixed.pop("workers", 1)
    if workers < 1:
        raise UserError(f"--workers: expected at least 1, got {workers}")
    points = grid(arguments.preset, fixed, varied, folder)
    if takes_workers(
        getattr(points[0].config, "solver", SURROGATE)
    ):  # on a cluster, ngspice runs where its point is trained
        points, workers = grid(arguments.preset, {**fixed, "workers": workers}, varied, folder), 1
    require_writable(folder / "sweep.json")
    require_possible(points, arguments.data_dir)
    with locked(folder):
        results = trained(points, workers, arguments.data_dir, console.stage)
        measure = points[0].config.measure
        curves = {
            _named(point.varied): metrics["history"]
            for point, metrics in zip(points, results, strict=True)
            if not isinstance(metrics, UserError)
        }
        if curves:
            held_out = "validation" if arguments.validation else "test"
            curves_by_epoch(curves, held_out, folder / "curves.png", measure)
        _report(
            arguments, folder, varied, fixed, measure, [row_of(*each) for each in zip(points, results, strict=True)]
        )


def _named(varied: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {in_name(value)}" for name, value in varied.items())


def _report(
    arguments: argparse.Namespace,
    folder: Path,
    varied: Mapping[str, list[Any]],
    fixed: Mapping[str, Any],
    measure: Measure,
    rows: list[dict[str, Any]],
) -> None:
    held_out = "validation" if arguments.validation else "test"
    names = [name for name in varied if name != "seed"]
    groups = summary(rows, names)
    figure = measure.figure
    known = [group[figure] for group in groups if group[figure] is not None]
    console.table(
        f"{folder}: {measure.name} of the last epoch, mean ± standard deviation over seeds (* the lowest)",
        [
            ", ".join(names) or "seeds",
            "runs",
            f"{held_out} ({measure.unit})",
            f"training ({measure.unit})",
            "training (s)",
        ],
        [
            [
                ", ".join(in_name(group[name]) for name in names) or str(len(varied["seed"])),
                f"{group['points'] - group['failures']} of {group['points']}",
                _spread(group, figure, measure) + (" *" if len(known) > 1 and group[figure] == min(known) else ""),
                _spread(group, f"train_{figure}", measure),
                "" if group["seconds"] is None else f"{group['seconds']:.3g}",
            ]
            for group in groups
        ],
    )
    write_csv(folder / "sweep.csv", rows)
    figures = {"preset": arguments.preset, "fixed": dict(fixed), "varied": dict(varied), "held_out": held_out}
    options.report_figures(arguments, figures | {"groups": groups, "points": rows}, folder / "sweep.json")
    if known:
        errors_by_setting(
            groups if names else summary(rows, ["seed"]), names or ["seed"], held_out, folder / "sweep.png", measure
        )
    console.say(
        f"in {folder}: sweep.csv, sweep.json{', sweep.png, curves.png' if known else ''}, and a run folder for each point"
    )
    failures = [row for row in rows if row["failure"] is not None]
    if failures:
        raise NotMetError(
            f"{len(failures)} of {len(rows)} points failed; the first error was: {failures[0]['failure']}"
        )


def _spread(group: Mapping[str, Any], figure: str, measure: Measure) -> str:
    if group[figure] is None:
        return "failed"
    spread = group[f"{figure}_deviation"]
    shown = [f"{measure.factor * value:{measure.digits}}" for value in (group[figure], spread) if value is not None]
    return " ± ".join(shown)
