"""A training run: from a configuration and a data set to a folder with the network, its metrics and plots."""

import json
import logging
import platform
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from eqprop_analog.batches import Split, batches
from eqprop_analog.checkpoint import Checkpoint
from eqprop_analog.config import Network, TrainConfig
from eqprop_analog.data import Dataset
from eqprop_analog.errors import UserError
from eqprop_analog.files import write_csv, write_text
from eqprop_analog.learning.trainer import Pass, Progress, require_finite, train_pass
from eqprop_analog.models import ResistiveNetwork
from eqprop_analog.plotting.agreement import agreement_of_run
from eqprop_analog.plotting.training import conductance_histograms, learning_curve
from eqprop_analog.verification import Agreement

Array = np.ndarray
Stage = Callable[[str, int], AbstractContextManager[Progress]]
"""Opens a progress display for a stage of so many samples."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    network: Network
    """float64."""
    metrics: dict[str, Any]


def train(config: TrainConfig, dataset: Dataset, folder: Path, resume: bool, stage: Stage) -> Run:
    """Train to ``config.epochs`` epochs, writing a checkpoint after each, and leave everything in ``folder``.

    ``resume`` goes on from the folder's checkpoint, to the same bits as if it had never stopped. Raises UserError for a
    folder that holds a run already, or cannot be written, and for data that do not fit the layers.
    """
    require_fit(config.sizes[0], config.classes, dataset)
    path = folder / "checkpoint.npz"
    if not resume and path.exists():
        raise UserError(f"{folder}: holds a run already; go on with it by --resume, or choose another --output")
    split = Split.of(config, dataset)
    random = np.random.default_rng(config.seed)
    training = config.training(len(split.images), len(split.held_out_images), random)
    try:
        checkpoint = Checkpoint(training, random, [])
        if resume:
            checkpoint.restore(path, config)
        else:
            checkpoint.save(path, config)
        write_text(folder / "config.toml", config.toml())
        with threadpool_limits(config.threads):
            _epochs(config, split, checkpoint, lambda: checkpoint.save(path, config), stage)
    finally:
        training.close()
    network = training.network.astype(np.float64)
    network.save(folder / "network.npz")
    metrics = _metrics(config, checkpoint.history)
    write_metrics(folder, metrics)
    learning_curve(checkpoint.history, folder / "learning_curve.png")
    if isinstance(network, ResistiveNetwork):
        conductance_histograms(network, folder / "conductances.png")
    return Run(folder, network, metrics)


def add_agreement(run: Run, agreements: list[Agreement]) -> None:
    """Put the comparison with ngspice into the run's metrics and draw it."""
    run.metrics["agreement"] = [agreement.figures() for agreement in agreements]
    write_metrics(run.folder, run.metrics)
    agreement_of_run(agreements[0], run.folder / "agreement.png")


def write_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """``metrics.json`` with every figure, ``metrics.csv`` with a line an epoch."""
    write_text(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    rows = [{key: value for key, value in epoch.items() if key != "statuses"} for epoch in metrics["history"]]
    write_csv(folder / "metrics.csv", rows)


def _epochs(config: TrainConfig, split: Split, checkpoint: Checkpoint, save: Callable[[], None], stage: Stage) -> None:
    training, history = checkpoint.training, checkpoint.history
    for epoch in range(len(history), config.epochs):
        order = checkpoint.random.permutation(len(split.images))[: config.limit]
        with stage(f"epoch {epoch + 1}/{config.epochs}", len(order)) as progress:
            begin = time.perf_counter()
            given = batches(config, split, order, checkpoint.random)
            trained = train_pass(training.learner(epoch), given, progress)
            require_finite(training.network)
            seconds = time.perf_counter() - begin
        with stage(f"  {split.held_out} images", len(split.held_out_images)) as progress:
            tested = training.evaluate(split.held_out_images, split.held_out_labels, progress)
        history.append(_entry(epoch + 1, split.held_out, trained, tested, seconds, len(order)))
        save()
        log.info(
            "epoch %d/%d: training error %.2f %%, %s error %.2f %%, %.1f s",
            epoch + 1,
            config.epochs,
            100 * trained.error,
            split.held_out,
            100 * tested.error,
            seconds,
        )


def _entry(epoch: int, held_out: str, trained: Pass, tested: Pass, seconds: float, samples: int) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "train_error": trained.error,
        f"{held_out}_error": tested.error,
        "seconds": seconds,
        "samples": samples,
        "statuses": dict(trained.statuses + tested.statuses),
    }


def _metrics(config: TrainConfig, history: list[dict[str, Any]]) -> dict[str, Any]:
    last = history[-1]
    seconds = sum(epoch["seconds"] for epoch in history)
    statuses: Counter[str] = sum((Counter(epoch["statuses"]) for epoch in history), Counter())
    return {
        "test_error": last.get("test_error"),
        "validation_error": last.get("validation_error"),
        "train_error": last["train_error"],
        "history": history,
        "samples_per_second": sum(epoch["samples"] for epoch in history) / seconds,
        "peak_memory_bytes": _peak_memory(),
        "statuses": dict(statuses),
        "config": config.model_dump(mode="json"),
        "seed": config.seed,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    result = {name: version(name) for name in ("eqprop-analog", "numpy", "scipy", "PySpice")}
    result["python"] = platform.python_version()
    try:
        text = subprocess.run(["ngspice", "--version"], capture_output=True, text=True, check=False, timeout=30).stdout
        result["ngspice"] = next((word for word in text.split() if word.startswith("ngspice-")), "unknown")
    except (OSError, subprocess.TimeoutExpired):
        result["ngspice"] = "not installed"
    return result


def _peak_memory() -> int:
    """Of this process, bytes; what the system says of children counts what they shared with it before they began."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def require_fit(inputs: int, readouts: int, dataset: Dataset) -> None:
    """Raise UserError unless a network of so many inputs and read-outs has the data set's inputs and one read-out a class."""
    pixels, classes = dataset.train_images.shape[1], int(dataset.train_labels.max()) + 1
    if inputs != pixels or readouts != classes:
        raise UserError(
            f"layers: {dataset.name} needs {pixels} inputs and {classes} outputs or pairs of them, got {inputs} and {readouts}"
        )
