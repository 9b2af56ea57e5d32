"""Checkpoints: the state from which a run resumes bit-identically, at any batch of any epoch, written atomically."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from pydantic_core import to_jsonable_python

from eqprop_analog.core.network import Network
from eqprop_analog.core.registry import USUAL
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.config import TrainConfig, Training
from eqprop_analog.experiments.records import Count, Epoch, NotNegative, Statuses, Strict, checked, require_history
from eqprop_analog.files import Arrays, loaded_arrays, save_arrays
from eqprop_analog.learning.trainer import Learner, Pass

Array = np.ndarray
FORMAT = "eqprop-analog checkpoint 2"
CHECKPOINT = "checkpoint.npz"
"""Name of the checkpoint in a run's folder."""

State = Mapping[str, Any]
"""State of a random generator, as returned by NumPy."""


class _Pass(Strict):
    samples: Count
    wrong: Count
    statuses: Statuses
    squares: NotNegative = 0.0


class _Saved(Strict):
    """The JSON text of a checkpoint."""

    format: str
    config: dict[str, Any]
    history: list[Epoch]
    random: State
    before: State
    trained: _Pass
    tested: _Pass
    seconds: NotNegative


@dataclass
class Checkpoint:
    """A run in progress: the finished epochs, and the progress of the next one."""

    training: Training
    """The training; its arrays have the precision of training."""
    random: np.random.Generator
    history: list[dict[str, Any]] = field(default_factory=list)
    """One entry per finished epoch."""
    before: State = field(init=False)
    """State of ``random`` before the current epoch, which determines the order of its images."""
    trained: Pass = field(init=False)
    tested: Pass = field(init=False)
    seconds: float = field(init=False)
    """Seconds of the current epoch's training, without tests."""

    def __post_init__(self) -> None:
        """Begin the first epoch."""
        self._begin()

    def _begin(self) -> None:
        vars(self).pop("learner", None)
        self.before = self.random.bit_generator.state
        self.trained, self.tested, self.seconds = Pass(), Pass(), 0.0

    @cached_property
    def learner(self) -> Learner:
        """The learner of the current epoch; made on demand, because a GPU's learner begins with a copy of the parameters."""
        return self.training.learner(len(self.history))

    def finish_epoch(self, entry: dict[str, Any]) -> None:
        """Add an epoch to the history, and begin the next one."""
        self.history.append(entry)
        self._begin()

    def order(self, images: int, passes: int = 1) -> Int[Array, " some"]:
        """Return the order of the images in the passes of the current epoch; call it once, before the next batch."""
        now = self.random.bit_generator.state
        self.random.bit_generator.state = self.before
        order = np.concatenate([self.random.permutation(images) for _ in range(passes)])
        if self.trained.samples:
            self.random.bit_generator.state = now
        return order

    def save(self, path: Path, config: TrainConfig) -> None:
        """Write arrays and one JSON text, without pickle. Raises UserError if the folder cannot be written."""
        state = {
            "config": config.model_dump(mode="json"),
            "history": self.history,
            "random": self.random.bit_generator.state,
            "before": self.before,
            "trained": vars(self.trained),
            "tested": vars(self.tested),
            "seconds": self.seconds,
        }
        arrays = {**self.training.arrays(), **self.learner.arrays()}
        save_arrays(path, FORMAT, state, arrays, text="state")

    def restore(self, path: Path, config: TrainConfig, images: int | None = None, held_out: int | None = None) -> None:
        """Restore the state that a run with this configuration saved; ``images``, ``held_out``: sample counts of its data.

        Raises UserError if the configuration differs, or if the file is damaged, of another version, or of another
        network. The size of every array is checked before the array is read.
        """
        with loaded_arrays(path, FORMAT, text="state", name="checkpoint") as (state, file):
            saved = _checked(path, state, config)
            _require_within(saved, config, images, held_out)
            for name, values in self.training.arrays().items():
                values[...] = _read(file, name, values)
            self.training.network.validate()
            self.history[:] = state["history"]
            self._begin()
            self.learner.restore({name: _read(file, name, like) for name, like in self.learner.arrays().items()})
            self.random.bit_generator.state = saved.before
            self.before = self.random.bit_generator.state
            self.random.bit_generator.state = saved.random
            self.trained, self.tested = (
                Pass(each.samples, each.wrong, Counter(each.statuses), each.squares)
                for each in (saved.trained, saved.tested)
            )
            self.seconds = saved.seconds


def require_same_run(path: Path, config: TrainConfig) -> None:
    """Raise UserError, as ``restore`` does, unless the checkpoint at ``path`` belongs to a run with this configuration."""
    with loaded_arrays(path, FORMAT, text="state", name="checkpoint") as (state, _):
        _checked(path, state, config)


def _checked(path: Path, state: dict[str, Any], config: TrainConfig) -> _Saved:
    saved = checked(_Saved, state, "state")
    _require_same(path, saved.config, config)
    require_history(saved.history, validation=config.validation, every=config.test_every)
    done = len(saved.history)
    if done > config.epochs:
        raise UserError(f"{path}: the run already has {done} epochs; --epochs must be at least that")
    if done == config.epochs and done and saved.history[-1].test_error is saved.history[-1].validation_error is None:
        raise UserError(f"{path}: epoch {done} was not tested (test_every = {config.test_every}); increase --epochs")
    return saved


def _require_within(saved: _Saved, config: TrainConfig, images: int | None, held_out: int | None) -> None:
    """Raise ValueError if more images are done than the data have, or more are wrong than done."""
    most = None if images is None else min(images * config.passes, config.limit or images * config.passes)
    for name, done, all_of_them in (("trained", saved.trained, most), ("tested", saved.tested, held_out)):
        if done.wrong > done.samples or (all_of_them is not None and done.samples > all_of_them):
            raise ValueError(
                f"{name}: {done.wrong:,} of {done.samples:,} images wrong, expected at most {all_of_them or 0:,}"
            )
    for entry in saved.history:
        if most is not None and entry.samples > most:
            raise ValueError(f"history: epoch {entry.epoch} has {entry.samples:,} images, expected at most {most:,}")


def trained_network(path: Path, config: TrainConfig) -> tuple[Network, list[dict[str, Any]]]:
    """Return the network (float64) and the finished epochs of a checkpoint. Raises UserError as ``restore`` does."""
    network = config.network().astype(config.precision)
    with loaded_arrays(path, FORMAT, text="state", name="checkpoint") as (state, file):
        saved = _checked(path, state, config)
        _require_within(saved, config, None, None)
        for name, values in network.arrays().items():
            values[...] = _read(file, name, values)
        network.validate()
    return network.astype(np.float64), list(state["history"])


def _read(file: Arrays, name: str, like: Array) -> Array:
    """Read an array.

    Raises ValueError, before reading, unless dtype and shape are those of ``like``, and if it is not finite.
    """
    shape, dtype = file.form(name)
    if (shape, dtype) != (like.shape, like.dtype):
        raise ValueError(f"{name}: expected {like.dtype} {like.shape}, got {dtype} {shape}")
    values = file[name]
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: contains NaN or infinite values")
    return values


def _dotted(settings: dict[str, Any], table: str) -> dict[str, Any]:
    """Return ``settings`` with the entries of ``table`` under dotted names, beginning with the SHA-256 of the samples."""
    inner = settings.get(table) or {}
    found = {"SHA-256 of the samples": (inner.get("found") or {}).get("sha256")}
    parts = {f"{table}.{key}": each for key, each in inner.items() if key != "found"}
    return found | parts | {name: value for name, value in settings.items() if name != table}


def _require_same(path: Path, saved: dict[str, Any], config: TrainConfig) -> None:
    asked = config.model_dump(mode="json")
    if saved.get("model", USUAL) == asked["model"]:
        fields = type(config).model_fields
        defaults = {name: to_jsonable_python(each.default) for name, each in fields.items() if not each.is_required()}
        saved = {**defaults, **saved}  # a setting that was added later had its default
    else:  # whose settings are entirely different
        saved, asked = {"model": saved.get("model", USUAL)}, {"model": asked["model"]}
    if asked.get("own_data") and (saved.get("own_data") or {}).get("found") == asked["own_data"]["found"]:
        saved["dataset"] = asked["dataset"]  # the same samples under another path
    saved, asked = _dotted(saved, "own_data"), _dotted(asked, "own_data")
    differing = [name for name in asked if name not in config.changeable and saved.get(name) != asked[name]]
    if differing:
        changes = ", ".join(f"{name} = {saved.get(name)!r:.80} then and {asked[name]!r:.80} now" for name in differing)
        raise UserError(
            f"{path}: the run was started with other settings ({changes}); use these settings, or another --output"
        )
