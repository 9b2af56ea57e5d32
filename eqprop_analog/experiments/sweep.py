"""Trainings at every point of a grid of settings, several at once; interrupted ones are resumed."""

import json
import logging
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
from eqprop_analog.errors import UserError
from eqprop_analog.experiments import run as training
from eqprop_analog.experiments.batches import require_fit
from eqprop_analog.experiments.checkpoint import CHECKPOINT, require_same_run
from eqprop_analog.experiments.config import TrainConfig
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.experiments.records import read_metrics
from eqprop_analog.learning.trainer import Stage, silent
from eqprop_analog.spice.ngspice.cluster import current_cluster, workers_for
from eqprop_analog.spice.ngspice.tasks import PAUSED, WHOLE, ClusterError, Paused, Shared

log = logging.getLogger(__name__)
TIME_LIMIT = 30 * 86_400.0
"""Time limit of a point, seconds; in effect none, because a training ends by itself."""


@dataclass(frozen=True)
class Point:
    """One training of the grid."""

    varied: Mapping[str, Any]
    config: TrainConfig
    folder: Path


def varied_settings(asked: list[list[str]]) -> dict[str, list[Any]]:
    """Return the values by setting."""
    result: dict[str, list[Any]] = {}
    for option, *texts in asked:
        name = option.replace("-", "_")
        if not texts:
            raise UserError(f"--vary {name}: expected at least one value after the setting")
        values = [value_of(text) for text in texts]
        if name in result or len({in_name(value) for value in values}) < len(values):
            raise UserError(f"--vary {name}: the same value is given twice")
        result[name] = values
    return result


def value_of(text: str) -> Any:
    """Parse a value as in TOML; anything else is text, so that --vary cost cross-entropy needs no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def grid(preset: str, fixed: Mapping[str, Any], varied: Mapping[str, list[Any]], folder: Path) -> list[Point]:
    """Return all points of the grid, after checking each."""
    twice = [name for name in varied if name in fixed]
    if twice:
        raise UserError(f"--vary {twice[0]}: it is also set by --{twice[0].replace('_', '-')}; leave out one of them")
    result = []
    for values in product(*varied.values()):
        point = dict(zip(varied, values, strict=True))
        name = ",".join(f"{key}={in_name(value)}" for key, value in point.items())
        try:
            config = resolve(preset, {**fixed, **point})
            config.network()
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
        result.append(Point(point, config, folder / name))
    return result


def in_name(value: Any) -> str:
    """Return a value as part of a folder's name."""
    if isinstance(value, list):
        return "-".join(map(in_name, value))
    return re.sub(r"[^\w.+-]+", "_", f"{value:g}" if isinstance(value, float) else str(value)).strip("_")


def require_possible(points: list[Point], data_dir: Path | None) -> None:
    """Raise UserError if a point's folder holds another run, or if its data do not fit. Data sets are fetched once."""
    for point in points:
        if (point.folder / CHECKPOINT).exists():
            require_same_run(point.folder / CHECKPOINT, point.config)
    fetched: dict[str, data.Dataset] = {}  # once, instead of by every worker
    for point in points:
        config = point.config
        if config.data_key not in fetched:
            fetched[config.data_key] = config.load_data(data_dir)
        require_fit(config.inputs, config.classes, fetched[config.data_key])


def trained(
    points: list[Point], workers: int, data_dir: Path | None, stage: Stage = silent
) -> list[dict[str, Any] | UserError]:
    """Return the metrics of every point, or the reason for their absence; those of finished points are read."""
    found = [finished(point) for point in points]
    missing = [k for k, metrics in enumerate(found) if metrics is None]
    if len(missing) < len(points):
        log.info("%s", f"{len(points) - len(missing)} of {len(points)} points are finished already")
    results: list[dict[str, Any] | UserError] = [metrics or UserError("not trained") for metrics in found]
    where = data_dir and data_dir.absolute()
    if current_cluster() is None and (workers == 1 or len(missing) < 2):
        for k in missing:
            results[k] = _outcome(points[k], partial(_trained_here, points[k], where, stage))
        return results
    sets = {points[k].config.data_key: Shared(points[k].config.load_data, (where,)) for k in missing}
    work = workers_for(workers, TIME_LIMIT)
    try:
        jobs = [
            work.submit_in(folder, [CHECKPOINT], train_point, config, sets[config.data_key], work.piece)
            for config, folder in ((points[k].config, points[k].folder) for k in missing)
        ]
        with stage("sweep", len(missing), "points") as progress:
            for done, (k, job) in enumerate(zip(missing, jobs, strict=True), start=1):
                results[k] = result = _outcome(points[k], partial(work.result, job))
                progress(done, 1.0 if isinstance(result, UserError) else held_out_error(result)[1])
    finally:
        work.close()  # checkpoints are complete even if a worker ends
    return results


def _outcome(point: Point, train: Callable[[], dict[str, Any]]) -> dict[str, Any] | UserError:
    """Return the metrics or the error message of a point, and print the result."""
    name = point.folder.name
    try:
        metrics = train()
    except ClusterError:
        raise
    except UserError as failure:
        log.info("%s", f"{name}: failed: {failure}")
        return failure
    held_out, _ = held_out_error(metrics)
    measure = point.config.measure
    value = measure.within(metrics["history"][-1], held_out)
    shown = "not measured" if value is None else measure.text(value)
    log.info("%s", f"{name}: {held_out} {measure.name} {shown} after {len(metrics['history'])} epochs")
    return metrics


def finished(point: Point) -> dict[str, Any] | None:
    """Return the metrics of a finished run with exactly these settings."""
    path = point.folder / "metrics.json"
    if not path.exists():
        return None
    try:
        metrics = read_metrics(point.folder)
    except UserError as error:  # its checkpoint holds its progress
        log.info("%s", str(error))
        return None
    same = metrics["config"] == point.config.model_dump(mode="json")
    return metrics if same and len(metrics["history"]) == point.config.epochs else None


def train_point(
    folder: Path, config: TrainConfig, dataset: data.Dataset, piece: float = WHOLE, stage: Stage = silent
) -> dict[str, Any] | Paused:
    """Train one point, or resume it from its folder; return its metrics, or PAUSED after ``piece`` seconds."""
    try:
        return training.train(config, dataset, folder, resume=False, stage=stage, piece=piece).metrics
    except training.StoppedError:
        return PAUSED


def _trained_here(point: Point, data_dir: Path | None, stage: Stage) -> Any:
    return train_point(point.folder, point.config, point.config.load_data(data_dir), stage=stage)


def held_out_error(metrics: Mapping[str, Any]) -> tuple[str, float]:
    """Return which images were held out, and the error on them."""
    kind = "validation" if metrics["test_error"] is None else "test"
    return kind, metrics[f"{kind}_error"]


FIGURES = ("error", "train_error", "rms", "train_rms", "seconds")
"""Figures of a point: fractions, volts, seconds of training."""


def row_of(point: Point, result: dict[str, Any] | UserError) -> dict[str, Any]:
    """Return one line of sweep.csv."""
    row: dict[str, Any] = {**point.varied, "folder": str(point.folder)}
    if isinstance(result, UserError):
        return row | {**dict.fromkeys(FIGURES), "failure": str(result)}
    kind, error = held_out_error(result)
    last = result["history"][-1]
    row |= {"error": error, "train_error": result["train_error"]}
    row |= {"rms": last.get(f"{kind}_rms"), "train_rms": last.get("train_rms")}
    return row | {"seconds": sum(epoch["seconds"] for epoch in result["history"]), "failure": None}


def summary(rows: list[dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    """Combine points that differ only in their seed: mean and standard deviation (None for a single one) of the figures."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(json.dumps([row[name] for name in names]), []).append(row)
    result = []
    for members in groups.values():
        group: dict[str, Any] = {name: members[0][name] for name in names}
        group["points"] = len(members)
        group["failures"] = sum(row["failure"] is not None for row in members)
        for figure in FIGURES:
            values = [row[figure] for row in members if row[figure] is not None]
            group[figure] = mean(values) if values else None
            group[f"{figure}_deviation"] = stdev(values) if len(values) > 1 else None
        result.append(group)
    return result
