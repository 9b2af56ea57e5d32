"""Checkpoints: all that a run needs to go on to the same bits, written in one step after every epoch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eqprop_analog.config import TrainConfig, Training
from eqprop_analog.errors import UserError
from eqprop_analog.files import loaded_arrays, save_arrays

FORMAT = "eqprop-analog checkpoint 1"


@dataclass(frozen=True)
class Checkpoint:
    """State after some epochs."""

    training: Training
    """Its arrays are in the precision of training."""
    random: np.random.Generator
    history: list[dict[str, Any]]
    """One entry a finished epoch."""

    def save(self, path: Path, config: TrainConfig) -> None:
        """Write arrays and one JSON text, no pickle; UserError if the folder cannot be written."""
        state = {
            "random": self.random.bit_generator.state,
            "history": self.history,
            "config": config.model_dump(mode="json"),
        }
        save_arrays(path, FORMAT, state, self.training.arrays(), text="state")

    def restore(self, path: Path, config: TrainConfig) -> None:
        """Become what a run with this configuration saved; UserError says what differs or that the file is damaged."""
        if not path.exists():
            raise UserError(f"{path.parent}: no checkpoint to resume from; start without --resume")
        with loaded_arrays(path, FORMAT, text="state", name="checkpoint") as (state, file):
            _require_same(path, state["config"], config)
            for name, values in self.training.arrays().items():
                values[...] = file[name]
            self.random.bit_generator.state = state["random"]
            self.history[:] = state["history"]
        self.training.network.validate()
        done = len(self.history)
        if done > config.epochs:
            raise UserError(f"{path}: the run has {done} epochs already; ask for that many --epochs or more")


def _require_same(path: Path, saved: dict[str, Any], config: TrainConfig) -> None:
    asked = config.model_dump(mode="json")
    defaults = {name: field.default for name, field in type(config).model_fields.items()}
    saved = {**defaults, **saved}  # a setting that came later was at its default
    differing = [name for name in asked if name not in config.free_to_change and saved.get(name) != asked[name]]
    if differing:
        changes = ", ".join(f"{name} = {saved.get(name)!r} then and {asked[name]!r} now" for name in differing)
        raise UserError(f"{path}: the run was started with other settings ({changes}); use them, or another --output")
