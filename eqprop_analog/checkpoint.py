"""Checkpoints: all that a run needs to go on to the same bits, written in one step after every epoch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eqprop_analog.config import TrainConfig
from eqprop_analog.errors import UserError
from eqprop_analog.files import UNREADABLE, arrays_of, replacing
from eqprop_analog.models import ResistiveNetwork

FORMAT = "eqprop-analog checkpoint 1"
FREE_TO_CHANGE = {"epochs", "workers", "threads", "on_failure", "description"}
"""Settings that a resumed run may have otherwise. None of them enters the mathematics of what is already computed."""


@dataclass(frozen=True)
class Checkpoint:
    """State after some epochs."""

    network: ResistiveNetwork
    """In the precision of training."""
    random: np.random.Generator
    history: list[dict[str, Any]]
    """One entry a finished epoch."""

    def save(self, path: Path, config: TrainConfig) -> None:
        """Write arrays and one JSON text, no pickle; UserError if the folder cannot be written."""
        state = {
            "format": FORMAT,
            "random": self.random.bit_generator.state,
            "history": self.history,
            "config": config.model_dump(mode="json"),
        }
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, state=np.array(json.dumps(state)), **self.network.arrays())

    @classmethod
    def load(cls, path: Path, config: TrainConfig) -> "Checkpoint":
        """Read a checkpoint of a run with this configuration; UserError says what differs or that the file is damaged."""
        network = config.network().astype(config.precision)
        try:
            with arrays_of(path) as file:
                state = json.loads(str(file["state"]))
                if state["format"] != FORMAT:
                    raise UserError(f'{path}: expected format "{FORMAT}", got "{state["format"]}"')
                _require_same(path, state["config"], config.model_dump(mode="json"))
                for name, values in network.arrays().items():
                    values[...] = file[name]
                random = np.random.default_rng()
                random.bit_generator.state = state["random"]
                history = list(state["history"])
        except FileNotFoundError as error:
            raise UserError(f"{path.parent}: no checkpoint to resume from; start without --resume") from error
        except UserError:
            raise
        except UNREADABLE as error:
            raise UserError(f"{path}: not a checkpoint, or a damaged one ({error})") from error
        network.validate()
        if len(history) > config.epochs:
            raise UserError(f"{path}: the run has {len(history)} epochs already; ask for that many --epochs or more")
        return cls(network, random, history)


def _require_same(path: Path, saved: dict[str, Any], asked: dict[str, Any]) -> None:
    defaults = {name: field.default for name, field in TrainConfig.model_fields.items()}
    saved = {**defaults, **saved}  # a setting that came later was at its default
    differing = [name for name in asked if name not in FREE_TO_CHANGE and saved[name] != asked[name]]
    if differing:
        changes = ", ".join(f"{name} = {saved[name]!r} then and {asked[name]!r} now" for name in differing)
        raise UserError(f"{path}: the run was started with other settings ({changes}); use them, or another --output")
