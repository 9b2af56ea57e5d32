"""Many chips of one specification and of its variations: cases for any executor, with one result file for each case."""

import json
import logging
import math
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import TimeoutError as TimeLimitExceeded
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit
from threadpoolctl import threadpool_limits

from eqprop_analog import data
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.batches import Split
from eqprop_analog.experiments.config import TrainConfig
from eqprop_analog.experiments.records import ChipFigures, read_record
from eqprop_analog.files import replacing, write_text
from eqprop_analog.learning.trainer import Progress, evaluate, silent
from eqprop_analog.networks.resistive.chips.protocols import Recipe, in_software, judged, on_chip
from eqprop_analog.networks.resistive.chips.study import Case, Study
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.surrogate import SurrogateSolver
from eqprop_analog.spice.ngspice.tasks import Shared, Work
from eqprop_analog.spice.ngspice.workers import WorkerLostError

Array = np.ndarray
Stage = Callable[[str, int, str], AbstractContextManager[Progress]]
"""Opens a progress display from a description, the number of items and their name."""
log = logging.getLogger(__name__)


def result_path(folder: Path, case: Case) -> Path:
    """The file of its figures, once it is done."""
    return folder / "chips" / f"{case.key}.json"


def network_path(folder: Path, case: Case) -> Path:
    """The file of its conductances, if they are to be stored."""
    return result_path(folder, case).with_suffix(".npz")


def software_path(folder: Path, case: Case) -> Path:
    """The file of the network that is written into its chip."""
    return folder / "software" / f"{case.software_key}.npz"


def train_software(folder: Path, given: data.Dataset, case: Case) -> None:
    """Train the network that is written into the chip of ``case``; write its file and a file of its figures."""
    begin = time.perf_counter()
    with threadpool_limits(1):
        split = Split.of(case.software, given)
        network, errors = in_software(Recipe(case.software, case.specification.technology.window), split)
        network.save(software_path(folder, case))
        _write(
            software_path(folder, case).with_suffix(".json"),
            _on_ideal(network, split) | {"training_errors": errors},
            begin,
        )


def _on_ideal(network: ResistiveNetwork, split: Split) -> dict[str, Any]:
    """Test error of a network on the ideal circuit."""
    solver = SurrogateSolver(check_residual=False)
    result = evaluate(network, solver.solve, split.held_out_images, split.held_out_labels)
    return {f"{split.held_out}_error": result.error, "statuses": dict(result.statuses)}


def measure(folder: Path, given: data.Dataset, case: Case) -> None:
    """Run one case and write its figures; a chip that fails is a result, too. Raises UserError for damaged files."""
    begin = time.perf_counter()
    with threadpool_limits(1):
        split = Split.of(case.config, given)
        software = None if case.protocol == "in-situ" else ResistiveNetwork.load(software_path(folder, case))
        chip = case.drawn()
        figures: dict[str, Any]
        try:
            errors = on_chip(case.protocol, chip, case.recipe, software, split)
            result = judged(chip, split.held_out_images, split.held_out_labels)
            figures = {f"{split.held_out}_error": result.error, "statuses": dict(result.statuses)}
            figures["training_errors"] = errors
        except (UserError, np.linalg.LinAlgError) as error:
            figures = {"failure": str(error)}
    if case.keep and "failure" not in figures:
        chip.network.astype(np.float64).save(network_path(folder, case))
    _write(result_path(folder, case), figures, begin)


def _write(path: Path, figures: dict[str, Any], begin: float) -> None:
    """Write ``figures`` and the seconds since ``begin`` atomically."""
    write_text(path, json.dumps({**figures, "seconds": time.perf_counter() - begin}, indent=1) + "\n")


def read(folder: Path, case: Case) -> dict[str, Any] | None:
    """The figures of a finished case. Raises UserError for a damaged file."""
    path = result_path(folder, case)
    if not path.exists():
        return None
    figures = read_record(path, ChipFigures, "the figures of a chip", "; delete it to measure that chip again")
    if case.keep and "failure" not in figures and not network_path(folder, case).exists():
        return None
    return figures


def complete(study: Study, folder: Path, data_dir: Path | None, work: Work, stage: Stage = silent) -> None:
    """Run all cases of ``study`` that have no result in ``folder`` yet, after training the networks for their chips.

    Cases that ``work`` abandons, because of the time limit or a lost worker, are logged and remain missing.
    """
    cases = distinct(study)
    software = {case.software_key: case for case in cases if case.protocol != "in-situ"}
    _complete(_TRAINING, software.values(), folder, data_dir, work, stage)
    ready = [case for case in cases if case.protocol == "in-situ" or _trained(folder, case)]
    _complete(_MEASURING, ready, folder, data_dir, work, stage)


def distinct(study: Study) -> list[Case]:
    """Every case once; its conductances are stored if any curve requires it."""
    cases: dict[str, Case] = {}
    for _, _, case in study.cases():
        if case.key not in cases or case.keep:
            cases[case.key] = case
    return list(cases.values())


@dataclass(frozen=True)
class _Step:
    """A step of the study that is carried out for every case."""

    what: str
    task: Callable[[Path, data.Dataset, Case], None]
    done: Callable[[Path, Case], bool]
    config: Callable[[Case], TrainConfig]
    """The configuration that names the data set of the task."""


def _complete(
    step: _Step, cases: Collection[Case], folder: Path, data_dir: Path | None, work: Work, stage: Stage
) -> None:
    missing = [case for case in cases if not step.done(folder, case)]
    if len(missing) < len(cases):
        log.info("%s holds %d of %d %s already", folder, len(cases) - len(missing), len(cases), step.what)
    configs = [step.config(case) for case in missing]
    sets = {config.data_key: Shared(dataset, (config, data_dir)) for config in configs}
    jobs = [
        work.submit_in(folder, [str(software_path(Path(), case))], step.task, sets[config.data_key], case)
        for case, config in zip(missing, configs, strict=True)
    ]
    with stage(step.what, len(cases), step.what.partition(" ")[0]) as progress:
        for number, (case, job) in enumerate(zip(missing, jobs, strict=True), start=len(cases) - len(missing) + 1):
            try:
                work.result(job)
            except (TimeLimitExceeded, WorkerLostError) as error:
                log.warning(
                    "%s on chip %d failed and is missing (%s: %s)",
                    case.protocol,
                    case.chip,
                    type(error).__name__,
                    error,
                )
            progress(number, math.nan)


def _trained(folder: Path, case: Case) -> bool:
    return software_path(folder, case).exists()


def read_software(folder: Path, data_dir: Path | None, case: Case) -> dict[str, Any] | None:
    """Figures of the network that is written into the chip of ``case``, on the ideal circuit; None before it is trained.

    They are stored next to the network; if they are missing, its error is measured. Raises UserError for a damaged file.
    """
    network = software_path(folder, case)
    path = network.with_suffix(".json")
    if not network.exists():
        return None
    if not path.exists():
        begin = time.perf_counter()
        with threadpool_limits(1):
            split = Split.of(case.software, dataset(case.software, data_dir))
            _write(path, _on_ideal(ResistiveNetwork.load(network), split), begin)
    return read_record(path, ChipFigures, "the error of a trained network", "; delete it to measure it again")


def _done(folder: Path, case: Case) -> bool:
    return read(folder, case) is not None


_TRAINING = _Step("networks trained on the ideal circuit", train_software, _trained, lambda case: case.software)
_MEASURING = _Step("chips", measure, _done, lambda case: case.config)


def table(study: Study, folder: Path) -> list[dict[str, Any]]:
    """One row for each finished chip, protocol and point of a curve."""
    rows = []
    for sweep, point, case in study.cases():
        figures = read(folder, case)
        if figures is not None:
            where = {"sweep": sweep.name, "x": point.x, "protocol": case.protocol, "chip": case.chip}
            rows.append({**where, "file": case.key, **figures})
    return rows


def software_table(study: Study, folder: Path, data_dir: Path | None) -> list[dict[str, Any]]:
    """One row for each point with a protocol other than in situ: figures of its software network on the ideal circuit."""
    rows: dict[tuple[str, float], dict[str, Any]] = {}
    for sweep, point, case in study.cases():
        if case.protocol == "in-situ" or (sweep.name, point.x) in rows:
            continue
        figures = read_software(folder, data_dir, case)
        if figures is not None:
            rows[sweep.name, point.x] = {"sweep": sweep.name, "x": point.x, "file": case.software_key, **figures}
    return list(rows.values())


def networks_of_first(study: Study, folder: Path) -> list[str]:
    """Copy the networks of a study's first point to descriptive names, which it returns.

    ideal.npz is the network that is written into the chips; PROTOCOL.npz has the conductances of chip 0 if they were stored.
    """
    named: dict[str, Path] = {}
    for _, _, case in study.cases():
        if case.protocol != "in-situ":
            named.setdefault("ideal.npz", software_path(folder, case))
        if case.keep:
            named.setdefault(f"{case.protocol}.npz", network_path(folder, case))
    there = {name: path for name, path in named.items() if path.exists()}
    for name, path in there.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(path.read_bytes())
    return list(there)


def summary(
    study: Study, rows: Sequence[dict[str, Any]], software: Sequence[dict[str, Any]] = ()
) -> list[dict[str, Any]]:
    """One row for each point and protocol: mean error over chips, its 95 % interval (Student's t), yield at the target error.

    ``software``: the rows of ``software_table``, for the error of the ideal circuit.
    """
    ideal = {(row["sweep"], row["x"]): _error(row) for row in software}
    result = []
    for sweep in study.sweeps:
        for protocol in sweep.protocols:
            for point in sweep.points:
                where = {"sweep": sweep.name, "x": point.x, "protocol": protocol}
                errors = np.array([_error(row) for row in rows if where.items() <= row.items()])
                known = errors[np.isfinite(errors)]
                half = (
                    float(stdtrit(known.size - 1, 0.975) * known.std(ddof=1) / np.sqrt(known.size))
                    if known.size > 1
                    else None
                )
                result.append(
                    where
                    | {
                        "chips": errors.size,
                        "missing": study.chips - errors.size,
                        "failures": int(errors.size - known.size),
                        "mean_error": float(known.mean()) if known.size else None,
                        "interval": half,
                        "yield": float((errors <= study.target_error).mean()) if errors.size else None,
                        "ideal_error": ideal.get((sweep.name, point.x)),
                    }
                )
    return result


def _error(row: dict[str, Any]) -> float:
    return float(row.get("test_error", row.get("validation_error", np.nan)))


def dataset(config: TrainConfig, data_dir: Path | None) -> data.Dataset:
    """The data set of a configuration, read once in every process."""
    return _published(config.dataset, data_dir) if config.own_data is None else config.load_data(data_dir)


@cache
def _published(name: str, data_dir: Path | None) -> data.Dataset:
    return data.load(name, data_dir)
