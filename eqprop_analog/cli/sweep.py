"""``eqprop-analog sweep``: train a preset at every point of a grid of settings."""

import argparse
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from eqprop_analog import data
from eqprop_analog.cli import console, options
from eqprop_analog.cli.train import add_settings, overridden
from eqprop_analog.errors import NotMetError, UserError
from eqprop_analog.experiments import run as training
from eqprop_analog.experiments.batches import require_fit
from eqprop_analog.experiments.checkpoint import CHECKPOINT, require_same_run
from eqprop_analog.experiments.config import TrainConfig
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.experiments.records import read_metrics
from eqprop_analog.experiments.solvers import SURROGATE, takes_workers
from eqprop_analog.files import locked, require_writable, write_csv
from eqprop_analog.learning.trainer import Stage, silent
from eqprop_analog.plotting.sweep import errors_by_setting
from eqprop_analog.spice.ngspice.workers import Workers

SUMMARY = "Train a preset at every point of a grid of settings, several at once; go on where it was interrupted."
EXAMPLES = """\
Every point is a run folder of its own, named by its settings, which train, verify and report take as any other. Settings are
those of a preset's TOML file (`eqprop-analog presets NAME` prints them), values are written as there, and all of them are
checked before anything is trained. What is finished is not trained again, what was begun goes on. --output gets sweep.csv,
sweep.json and sweep.png: the error of the last epoch, mean and standard deviation over the seeds.

Settings should be chosen by the validation error: add --validation. Without it, errors are those of the test set, and the
best of them is better than the network is.

--workers N trains N points at once; with a solver that is ngspice one point at a time has N ngspice processes.

examples:
  two nudges, three seeds, two at once:  --preset mnist-100 --vary beta 1e-7 1e-6 --vary seed 0 1 2 --validation --workers 2
  layers; one list is one value:         --preset mnist-100 --vary layers "[784, 50, 10]" "[784, 200, 10]" --epochs 3 --validation
  rates and batch sizes, 5,000 images:   --preset net1 --vary rate_factor 0.5 1 --vary batch_size 10 20 --epochs 2 --limit 5000"""
TIME_LIMIT = 30 * 86_400.0
"""Seconds that one point may take: it ends by itself."""


@dataclass(frozen=True)
class Point:
    """One training of the grid."""

    varied: Mapping[str, Any]
    config: TrainConfig
    folder: Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("--preset", required=True, metavar="NAME", help="a preset, or a TOML file")
    parser.add_argument(
        "--vary",
        action="append",
        nargs="+",
        required=True,
        metavar=("SETTING", "VALUE"),
        help="a setting and the values it is to have; once for each setting of the grid",
    )
    add_settings(parser)
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="the data set's files (default: cache, then download)"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder of the sweep (default runs/sweep-PRESET)")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Check every point, train what is missing, report on all."""
    folder = arguments.output or Path("runs") / f"sweep-{Path(arguments.preset).stem}"
    varied = _varied(arguments.vary)
    fixed = overridden(arguments)
    workers = fixed.pop("workers", 1)
    if workers < 1:
        raise UserError(f"--workers: expected at least 1, got {workers}")
    points = _points(arguments.preset, fixed, varied, folder)
    if takes_workers(getattr(points[0].config, "solver", SURROGATE)):
        points, workers = _points(arguments.preset, {**fixed, "workers": workers}, varied, folder), 1
    require_writable(folder / "sweep.json")
    for point in points:
        if (point.folder / CHECKPOINT).exists():
            require_same_run(point.folder / CHECKPOINT, point.config)
    fetched: dict[str, data.Dataset] = {}  # once, not by every worker
    for point in points:
        config = point.config
        key = repr((config.dataset, config.data_copy, config.own_data))
        if key not in fetched:
            fetched[key] = config.load_data(arguments.data_dir)
        require_fit(config.inputs, config.classes, fetched[key])
    with locked(folder):
        results = _trained(points, workers, arguments.data_dir)
        _report(arguments, folder, varied, fixed, [_row(*each) for each in zip(points, results, strict=True)])


def _varied(asked: list[list[str]]) -> dict[str, list[Any]]:
    """Values by setting."""
    result: dict[str, list[Any]] = {}
    for option, *texts in asked:
        name = option.replace("-", "_")
        if not texts:
            raise UserError(f"--vary {name}: expected one value or more after the setting")
        values = [value_of(text) for text in texts]
        if name in result or len({_word(value) for value in values}) < len(values):
            raise UserError(f"--vary {name}: the same is asked for twice")
        result[name] = values
    return result


def value_of(text: str) -> Any:
    """A value as TOML has it; what TOML does not know is text, so that --vary cost cross-entropy needs no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _points(preset: str, fixed: Mapping[str, Any], varied: Mapping[str, list[Any]], folder: Path) -> list[Point]:
    """The whole grid, every point of it checked."""
    twice = [name for name in varied if name in fixed]
    if twice:
        raise UserError(f"--vary {twice[0]}: it is set by --{twice[0].replace('_', '-')}, too; leave out one of them")
    result = []
    for values in product(*varied.values()):
        point = dict(zip(varied, values, strict=True))
        name = ",".join(f"{key}={_word(value)}" for key, value in point.items())
        try:
            config = resolve(preset, {**fixed, **point})
            config.network()
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        result.append(Point(point, config, folder / name))
    return result


def _word(value: Any) -> str:
    """A value as part of a folder's name."""
    if isinstance(value, list):
        return "-".join(map(_word, value))
    return re.sub(r"[^\w.+-]+", "_", f"{value:g}" if isinstance(value, float) else str(value)).strip("_")


def _trained(points: list[Point], workers: int, data_dir: Path | None) -> list[dict[str, Any] | UserError]:
    """Metrics of every point, or why there are none; those that are finished already are read."""
    found = [finished(point) for point in points]
    missing = [k for k, metrics in enumerate(found) if metrics is None]
    if len(missing) < len(points):
        console.say(f"{len(points) - len(missing)} of {len(points)} points are finished already")
    results: list[dict[str, Any] | UserError] = [metrics or UserError("not trained") for metrics in found]
    where = data_dir and data_dir.absolute()
    if workers == 1 or len(missing) < 2:
        for k in missing:
            results[k] = _outcome(points[k], partial(train_point, points[k], where, console.stage))
        return results
    work = Workers(workers, TIME_LIMIT)
    try:
        jobs = [work.submit(train_point, points[k], where) for k in missing]
        with console.stage("sweep", len(missing), "points") as progress:
            for done, (k, job) in enumerate(zip(missing, jobs, strict=True), start=1):
                results[k] = came = _outcome(points[k], partial(work.result, job))
                progress(done, 1.0 if isinstance(came, UserError) else _held_out(came)[1])
    finally:
        work.close()  # checkpoints are whole whenever a worker ends
    return results


def _outcome(point: Point, train: Callable[[], dict[str, Any]]) -> dict[str, Any] | UserError:
    """The metrics, or what the user is told instead; says how it went."""
    name = point.folder.name
    try:
        metrics = train()
    except UserError as failure:
        console.say(f"{name}: failed: {failure}")
        return failure
    held_out, error = _held_out(metrics)
    console.say(f"{name}: {held_out} error {100 * error:.2f} % after {len(metrics['history'])} epochs")
    return metrics


def finished(point: Point) -> dict[str, Any] | None:
    """The metrics of a run that is done with just these settings."""
    path = point.folder / "metrics.json"
    if not path.exists():
        return None
    try:
        metrics = read_metrics(point.folder)
    except UserError as error:  # its checkpoint knows how far it is
        console.say(str(error))
        return None
    same = metrics["config"] == point.config.model_dump(mode="json")
    return metrics if same and len(metrics["history"]) == point.config.epochs else None


def train_point(point: Point, data_dir: Path | None, stage: Stage = silent) -> dict[str, Any]:
    """Train one point, or go on with what its folder holds of it; its metrics."""
    dataset = point.config.load_data(data_dir)
    return training.train(point.config, dataset, point.folder, resume=False, stage=stage).metrics


def _held_out(metrics: Mapping[str, Any]) -> tuple[str, float]:
    kind = "validation" if metrics["test_error"] is None else "test"
    return kind, metrics[f"{kind}_error"]


def _row(point: Point, result: dict[str, Any] | UserError) -> dict[str, Any]:
    """A line of sweep.csv."""
    row: dict[str, Any] = {**point.varied, "folder": str(point.folder)}
    if isinstance(result, UserError):
        return row | {"error": None, "train_error": None, "seconds": None, "failure": str(result)}
    row |= {"error": _held_out(result)[1], "train_error": result["train_error"]}
    return row | {"seconds": sum(epoch["seconds"] for epoch in result["history"]), "failure": None}


def summary(rows: list[dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    """Points that differ in nothing but their seed, together: mean and standard deviation (None of one) of what was found."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(json.dumps([row[name] for name in names]), []).append(row)
    result = []
    for members in groups.values():
        group: dict[str, Any] = {name: members[0][name] for name in names}
        group["points"] = len(members)
        group["failures"] = sum(row["failure"] is not None for row in members)
        for figure in ("error", "train_error", "seconds"):
            values = [row[figure] for row in members if row[figure] is not None]
            group[figure] = mean(values) if values else None
            group[f"{figure}_deviation"] = stdev(values) if len(values) > 1 else None
        result.append(group)
    return result


def _report(
    arguments: argparse.Namespace,
    folder: Path,
    varied: Mapping[str, list[Any]],
    fixed: Mapping[str, Any],
    rows: list[dict[str, Any]],
) -> None:
    held_out = "validation" if arguments.validation else "test"
    names = [name for name in varied if name != "seed"]
    groups = summary(rows, names)
    known = [group["error"] for group in groups if group["error"] is not None]
    console.table(
        f"{folder}: error of the last epoch, mean ± standard deviation over seeds (* the lowest)",
        [", ".join(names) or "seeds", "runs", f"{held_out} (%)", "training (%)", "seconds"],
        [
            [
                ", ".join(_word(group[name]) for name in names) or str(len(varied["seed"])),
                f"{group['points'] - group['failures']} of {group['points']}",
                _percent(group, "error") + (" *" if len(known) > 1 and group["error"] == min(known) else ""),
                _percent(group, "train_error"),
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
            groups if names else summary(rows, ["seed"]), names or ["seed"], held_out, folder / "sweep.png"
        )
    console.say(f"in {folder}: sweep.csv, sweep.json{', sweep.png' if known else ''}, and a run folder a point")
    failures = [row for row in rows if row["failure"] is not None]
    if failures:
        raise NotMetError(f"{len(failures)} of {len(rows)} points failed, the first by: {failures[0]['failure']}")


def _percent(group: Mapping[str, Any], figure: str) -> str:
    if group[figure] is None:
        return "failed"
    spread = group[f"{figure}_deviation"]
    return f"{100 * group[figure]:.2f}" + ("" if spread is None else f" ± {100 * spread:.2f}")
