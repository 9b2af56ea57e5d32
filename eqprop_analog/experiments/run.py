"""A training run: from a configuration and a data set to a folder with the network, its metrics and plots."""

import logging
import math
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from eqprop_analog import compilation
from eqprop_analog.core import Network, family_of
from eqprop_analog.data import Dataset, OwnDataset
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.batches import Batches, Split, require_fit
from eqprop_analog.experiments.checkpoint import CHECKPOINT, Checkpoint
from eqprop_analog.experiments.config import TrainConfig
from eqprop_analog.experiments.findings import findings
from eqprop_analog.experiments.results import Run, versions, write_metrics
from eqprop_analog.files import locked, write_text
from eqprop_analog.kernels.devices import described
from eqprop_analog.learning.measure import PREDICTIONS
from eqprop_analog.learning.trainer import Pass, Stage, require_finite
from eqprop_analog.plotting.training import learning_curve
from eqprop_analog.report.live import LivePage

Array = np.ndarray
CHECKPOINT_SECONDS = 60.0
"""Seconds between two checkpoints within an epoch, which is the longest work that a killed run loses."""
LONG = 0.6
"""Seconds; if writing a checkpoint takes longer, checkpoints are less frequent, so that they take one hundredth of the time."""
SHARE = 0.05
"""Fraction of an epoch's time; a checkpoint that takes more is not written after every epoch, but only when it is due."""
log = logging.getLogger(__name__)


def train(
    config: TrainConfig,
    dataset: Dataset,
    folder: Path,
    resume: bool,
    stage: Stage,
    checkpoint_seconds: float | None = None,
    piece: float = math.inf,
) -> Run:
    """Train to ``config.epochs`` epochs, write checkpoints during the training, and store all results in ``folder``.

    A run in the folder resumes bit-identically from its checkpoint; ``resume`` requires one. ``checkpoint_seconds``:
    time between two checkpoints within an epoch, by default CHECKPOINT_SECONDS. ``piece``: seconds after which the next
    checkpoint ends the call by StoppedError; another call continues the run.

    Raises UserError for a run of other settings, for a folder that another process trains into or that cannot be
    written, and for data that do not fit the layers.
    """
    require_fit(config.inputs, config.classes, dataset)
    path = folder / CHECKPOINT
    if resume and not path.exists():
        raise UserError(f"{folder}: no checkpoint to resume from; start without --resume")
    with locked(folder):
        split = Split.of(config, dataset)
        random = np.random.default_rng(config.seed)
        training = config.training(len(split.images), len(split.held_out_images), random)
        try:
            checkpoint = Checkpoint(training, random)
            if path.exists():
                checkpoint.restore(path, config, len(split.images), len(split.held_out_images))
                log.info("%s: %s", folder, _state(config, checkpoint))
            record = _Record(
                folder,
                config,
                checkpoint,
                CHECKPOINT_SECONDS if checkpoint_seconds is None else checkpoint_seconds,
                piece,
            )
            if not path.exists():
                record.write()
            write_text(folder / "config.toml", config.toml())
            with threadpool_limits(config.threads), LivePage(folder, config, checkpoint.history, stage) as live:
                while not config.finished(checkpoint.history):
                    _epoch(config, split, checkpoint, record, live.stage)
        finally:
            training.close()
        return _finish(folder, config, dataset, training.network.astype(np.float64), checkpoint.history)


def _state(config: TrainConfig, checkpoint: Checkpoint) -> str:
    """Describe the state of a checkpoint."""
    done, images = len(checkpoint.history), checkpoint.trained.samples
    if config.finished(checkpoint.history):
        return f"finished after {done} epochs; increase --epochs, or give another --output to train from the beginning"
    return f"resuming after {done} of {config.epochs} epochs" + (
        f" and {images:,} {config.samples_word}" if images else ""
    )


def _finish(
    folder: Path, config: TrainConfig, dataset: Dataset, network: Network, history: list[dict[str, Any]]
) -> Run:
    """Write all results of a finished run in addition to its checkpoint."""
    network.save(folder / "network.npz")
    metrics = _metrics(config, history) | _size(network, config.circuit(network))
    held_out = "test_error" if metrics["test_error"] is not None else "validation_error"
    if isinstance(dataset, OwnDataset):
        metrics["data"] = dataset.figures()
    found, figures = findings(config, network, metrics[held_out], history[-1].get(held_out.replace("error", "rms")))
    for finding in found:
        log.warning("%s", finding.text)
    metrics |= figures
    write_metrics(folder, metrics)
    learning_curve(history, folder / "learning_curve.png", config.measure)
    for name, draw in family_of(network).pictures.items():
        draw()(network, folder / name)
    return Run(folder, network, metrics)


class StoppedError(Exception):
    """Raised when a piece of a run is done and its checkpoint is written."""


class _Record:
    """The checkpoints of a run: written at the beginning, after every epoch, and within an epoch when they are due."""

    def __init__(self, folder: Path, config: TrainConfig, checkpoint: Checkpoint, seconds: float, piece: float) -> None:
        self.folder, self.config, self.checkpoint, self._seconds = folder, config, checkpoint, min(seconds, piece)
        self._due, self._took, self._end = time.monotonic() + self._seconds, 0.0, time.monotonic() + piece

    def write(self) -> None:
        """Replace the checkpoint. Raises UserError, and keeps the previous one, if training has diverged."""
        require_finite(self.checkpoint.training.network)
        begin = time.monotonic()
        self.checkpoint.save(self.folder / CHECKPOINT, self.config)
        end = time.monotonic()
        self._took = end - begin
        self._due = end + self._seconds * max(1.0, self._took / LONG)

    def write_if_due(self) -> None:
        """Write a checkpoint between two batches if it is due."""
        if time.monotonic() >= self._due:
            self.write()
            self._stop_if_long()

    def write_after(self, seconds: float, *, last: bool) -> None:
        """Write a checkpoint after an epoch: always after the last one, and after others unless it takes too long."""
        if last or self._took <= SHARE * seconds or time.monotonic() >= self._due:
            self.write()
            if not last:
                self._stop_if_long()

    def _stop_if_long(self) -> None:
        if time.monotonic() >= self._end:
            raise StoppedError


def _epoch(config: TrainConfig, split: Split, checkpoint: Checkpoint, record: _Record, stage: Stage) -> None:
    """Complete the current epoch: training, the test of held-out images, its entry in the history."""
    training, trained, tested = checkpoint.training, checkpoint.trained, checkpoint.tested
    number = len(checkpoint.history) + 1
    order = checkpoint.order(len(split.images), config.passes)[: config.limit]
    with stage(f"epoch {number}/{config.epochs}", len(order), **_how(config)) as shown:
        begin = _working_time()

        def after_batch(done: int, error: float) -> None:
            nonlocal begin
            checkpoint.seconds += _working_time() - begin
            shown(done, config.measure.of(trained) if config.measure is not PREDICTIONS else error)
            record.write_if_due()
            begin = _working_time()

        given = Batches(config, split, order, checkpoint.random, trained.samples)
        checkpoint.learner.run_pass(given, after_batch, trained)
        require_finite(training.network)
    if config.tests(number):
        _test(split, checkpoint, record, stage)
    entry = _entry(number, split.held_out, trained, tested, checkpoint.seconds)
    if config.rule(number - 1).cost == "squared-error":
        for kind, done in (("train", trained), (split.held_out, tested)):
            if done.squares:
                entry[f"{kind}_rms"] = done.rms
    entry |= checkpoint.learner.figures()
    checkpoint.finish_epoch(entry)
    record.write_after(entry["seconds"], last=config.finished(checkpoint.history))
    log.info(
        "epoch %d/%d%s: training error %s, %s%.1f s",
        number,
        config.epochs,
        f" ({config.data_copy})" if config.data_copy else "",
        config.measure.text(config.measure.of(trained)),
        f"{split.held_out} error {config.measure.text(config.measure.of(tested))}, " if tested.samples else "",
        entry["seconds"],
    )


def _working_time() -> float:
    """Return the time, seconds, without the time of compilation."""
    return time.perf_counter() - compilation.total()


def _how(config: TrainConfig) -> dict[str, Any]:
    """Return how a stage names samples and their error, if they are not images with classes."""
    unit = {} if config.samples_word == "images" else {"unit": config.samples_word}
    return unit if config.measure is PREDICTIONS else {**unit, "measure": config.measure}


def _test(split: Split, checkpoint: Checkpoint, record: _Record, stage: Stage) -> None:
    """Complete the test of the current epoch."""
    config, tested = record.config, checkpoint.tested
    with stage(f"  {split.held_out} {config.samples_word}", len(split.held_out_images), **_how(config)) as shown:

        def after_chunk(done: int, error: float) -> None:
            shown(done, config.measure.of(tested) if config.measure is not PREDICTIONS else error)
            record.write_if_due()

        checkpoint.training.evaluate(split.held_out_images, split.held_out_labels, after_chunk, checkpoint.tested)


def _entry(epoch: int, held_out: str, trained: Pass, tested: Pass, seconds: float) -> dict[str, Any]:
    measured = {f"{held_out}_error": tested.error} if tested.samples else {}
    return {
        "epoch": epoch,
        "train_error": trained.error,
        **measured,
        "seconds": seconds,
        "samples": trained.samples,
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
    } | described(str(getattr(config, "device", "cpu")))


def _size(network: Network, circuit: Network) -> dict[str, int]:
    """Return the numbers of free parameters and of resistors in the circuit, several of which may share a parameter."""
    size = {"free_parameters": network.free_parameters}
    return size | {"resistors": circuit.resistors_in_circuit} if network.residual_unit == "A" else size


def _peak_memory() -> int:
    """Return the peak memory of this process, bytes; that of child processes would include memory shared with it."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
