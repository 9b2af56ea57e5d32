"""Training runs that are killed at random moments, or whose disk is full, and the memory of long runs."""

import contextlib
import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import numpy as np

from eqprop_analog.data import load
from eqprop_analog.errors import UserError
from eqprop_analog.experiments import run
from eqprop_analog.experiments.checkpoint import CHECKPOINT
from eqprop_analog.experiments.config import TrainConfig
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.files import PARTIAL, write_text
from eqprop_analog.learning.trainer import Progress, Stage, silent

Figures = dict[str, Any]
PATIENCE = 300.0
"""Longest time for a small run to start, or to end, seconds."""
REFUSED = 2
"""Exit code of a run that ended with a UserError, as on the command line."""
RESISTIVE = """
dataset = "digits"
layers = [64, 16, 10]
input_gain = 10.0
amplifier_gain = 4.0
beta = 1e-7
conductance_rates = 1e-14
bias_rates = 1e-14
decay = 0.9
batch_size = 4
epochs = 3
limit = 200
"""
HOPFIELD = """
model = "hopfield"
dataset = "digits"
layers = [64, 24, 10]
beta = 0.5
weight_rates = 0.1
batch_size = 8
epochs = 3
limit = 400
"""


@dataclass(frozen=True)
class Trial:
    """A small training run on scikit-learn's digits, and how often it writes checkpoints."""

    name: str
    settings: str
    """Text of a configuration file."""
    seconds: float = 0.0
    """Time between checkpoints, seconds; 0 writes one after every batch."""

    def config(self, folder: Path) -> TrainConfig:
        """The configuration, read from a file that is written into ``folder``."""
        path = folder / "settings.toml"
        write_text(path, self.settings)
        return resolve(str(path), {})


TRIALS = (
    Trial("truncated sweeps, images shifted", RESISTIVE + 'sweeps = 4\nprecision = "float32"\nshift = 1\n'),
    Trial("the same, checkpoints every 0.1 s", RESISTIVE + 'sweeps = 4\nprecision = "float32"\nshift = 1\n', 0.1),
    Trial("converged phases (Newton)", RESISTIVE),
    Trial("converged, checkpoints only after epochs", RESISTIVE, 1e9),
    Trial(
        "Hopfield, persistent states, momentum, random signs",
        HOPFIELD
        + 'dynamics = "gradient-flow"\nstep = 0.5\nfree_steps = 20\nnudged_steps = 4\n'
        + 'persistent = true\nmomentum = 0.9\nnudging = "random-sign"\n',
    ),
    Trial(
        "Hopfield, BPTT, images flipped and shifted",
        HOPFIELD
        + 'dynamics = "discrete-time"\nfree_steps = 20\nmethod = "bptt"\nkind = "output"\n'
        + "shift = 1\nflip = true\nmomentum = 0.9\n",
    ),
    Trial(
        "Hopfield, updates at every step, untied",
        HOPFIELD
        + 'dynamics = "discrete-time"\nfree_steps = 20\nnudged_steps = 4\nnudging = "one-sided"\n'
        + 'update = "continual"\nuntied = true\nsignal = "vector-field"\n',
    ),
    Trial(
        "in ngspice, 2 workers", RESISTIVE.replace("limit = 200", "limit = 60") + 'solver = "ngspice"\nworkers = 2\n'
    ),
)


def _train(config: TrainConfig, folder: Path, seconds: float, stage: Stage = silent) -> None:
    level = run.log.level
    run.log.setLevel(logging.WARNING)
    try:
        run.train(config, load(config.dataset), folder, resume=False, stage=stage, checkpoint_seconds=seconds)
    finally:
        run.log.setLevel(level)


def _apart(config: TrainConfig, folder: Path, seconds: float) -> ForkProcess:
    """Train in a separate process group, forked from this process so that nothing is imported or compiled again."""

    def body() -> None:
        os.setsid()
        try:
            _train(config, folder, seconds)
        except UserError:
            sys.exit(REFUSED)

    process = multiprocessing.get_context("fork").Process(target=body)
    process.start()
    return process


def fingerprint(folder: Path) -> str:
    """SHA-256 of the results of a finished run: network, history without times, and contents of its checkpoint."""
    digest = hashlib.sha256((folder / "network.npz").read_bytes())
    history = json.loads((folder / "metrics.json").read_text())["history"]
    digest.update(json.dumps([{k: v for k, v in entry.items() if k != "seconds"} for entry in history]).encode())
    with np.load(folder / CHECKPOINT, allow_pickle=False) as file:
        for name in sorted(set(file.files) - {"state"}):
            digest.update(name.encode() + file[name].tobytes())
        digest.update(json.dumps(json.loads(str(file["state"]))["random"]).encode())
    return digest.hexdigest()


def killed(trial: Trial, kills: int, random: np.random.Generator, progress: Callable[[int], None]) -> Figures:
    """Kill ``kills`` runs of ``trial``, each at another random moment, and resume each of them to its end.

    Returns the number of kills, the number of those during the writing of a file, and the number of runs whose results are
    bit-identical to those of an undisturbed run. Every second kill waits until a file is being written.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        config = trial.config(folder)
        _train(config, folder / "whole", trial.seconds)
        wanted, length = fingerprint(folder / "whole"), _length(config, folder / "timed", trial.seconds)
        figures: Figures = {"trial": trial.name, "kills": 0, "while_writing": 0, "same_bits": 0, "lost": []}
        while figures["kills"] < kills:
            number = figures["kills"]
            part = folder / f"killed-{number}"
            if not _kill(_apart(config, part, trial.seconds), part, random.uniform(0, length), number % 2 == 1):
                length *= 0.9  # the run had already ended
                continue
            figures["kills"] += 1
            figures["while_writing"] += any(part.glob(f"{PARTIAL}*"))
            again = _apart(config, part, trial.seconds)
            again.join(PATIENCE)
            if again.exitcode == 0 and fingerprint(part) == wanted:
                figures["same_bits"] += 1
            else:
                figures["lost"].append({"kill": number, "exit_code": again.exitcode})
            progress(figures["kills"])
    return figures


def _length(config: TrainConfig, folder: Path, seconds: float) -> float:
    """Seconds from a run's first checkpoint to its end."""
    process = _apart(config, folder, seconds)
    _wait((folder / CHECKPOINT).exists)
    begin = time.monotonic()
    process.join(PATIENCE)
    return time.monotonic() - begin


def _kill(process: ForkProcess, folder: Path, moment: float, writing: bool) -> bool:
    """Send SIGKILL to a run's process group, ``moment`` seconds after its first checkpoint; whether it was still running."""
    _wait((folder / CHECKPOINT).exists)
    time.sleep(moment)
    if writing:
        _wait(lambda: any(folder.glob(f"{PARTIAL}*")) or not process.is_alive())
    if process.is_alive() and process.pid is not None:
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode == -signal.SIGKILL


def _wait(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > end:
            raise UserError(f"a small training run made no progress within {PATIENCE:g} s; is this machine very busy?")
        time.sleep(0.0002)


def filled(
    trial: Trial, times: int, random: np.random.Generator, disk: Path, progress: Callable[[int], None]
) -> Figures:
    """Fill a small disk during ``times`` runs of ``trial``, each at another random moment; then free the disk and resume.

    Returns the number of runs that ended with a UserError, both at first and when resumed with the disk still full, and the
    number of runs whose results are bit-identical to those of a run that always had space.
    """
    filler, folder = disk / "filler", disk / "run"
    with tempfile.TemporaryDirectory() as scratch:
        config = trial.config(Path(scratch))
        _train(config, Path(scratch) / "whole", trial.seconds)
        wanted, length = fingerprint(Path(scratch) / "whole"), _length(config, Path(scratch) / "timed", trial.seconds)
    figures: Figures = {"trial": trial.name, "filled": 0, "refused": 0, "same_bits": 0}
    while figures["filled"] < times:
        process = _apart(config, folder, trial.seconds)
        _wait((folder / CHECKPOINT).exists)
        time.sleep(random.uniform(0, length))
        _fill(filler)
        process.join(PATIENCE)
        if process.exitcode == 0:  # the run had already ended
            length *= 0.9
        else:
            still_full = _apart(config, folder, trial.seconds)
            still_full.join(PATIENCE)
            filler.unlink()
            again = _apart(config, folder, trial.seconds)
            again.join(PATIENCE)
            figures["filled"] += 1
            figures["refused"] += process.exitcode == still_full.exitcode == REFUSED
            figures["same_bits"] += again.exitcode == 0 and fingerprint(folder) == wanted
            progress(figures["filled"])
        filler.unlink(missing_ok=True)
        shutil.rmtree(folder)
    return figures


def _fill(path: Path) -> None:
    """Write until there is no space left."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(512))


def remembered(trial: Trial, epochs: int) -> Figures:
    """Resident memory (bytes) of a run and its workers after each of ``epochs`` epochs, and its growth in the second half.

    The run writes a checkpoint every second.
    """
    curve: list[int] = []

    @contextmanager
    def stage(_description: str, _total: int) -> Iterator[Progress]:
        curve.append(_resident(os.getpid()))
        yield lambda _done, _error: None

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        config = trial.config(folder).model_copy(update={"epochs": epochs})
        _train(config, folder / "run", 1.0, stage)
    after = curve[2::2]  # there are two stages per epoch
    later = after[len(after) // 2 :]
    slope = float(np.polyfit(np.arange(len(later)), later, 1)[0])
    return {"trial": trial.name, "epochs": epochs, "resident_bytes": after, "bytes_per_epoch": slope}


def _resident(process: int) -> int:
    """Resident memory of a process and of all its descendants, bytes."""
    if sys.platform != "linux":
        raise UserError("memory: resident sizes are read from /proc, which only Linux has")
    own = int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    below = [each.read_text().split() for each in Path(f"/proc/{process}/task").glob("*/children")]
    return own + sum(_resident(int(child)) for children in below for child in children)
