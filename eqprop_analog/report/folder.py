"""What a run's folder holds, finished or not."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float

from eqprop_analog.core import Network, families
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.data import Dataset
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.batches import first_test_images, require_fit
from eqprop_analog.experiments.checkpoint import CHECKPOINT, trained_network
from eqprop_analog.experiments.config import TrainConfig
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.experiments.records import read_metrics

Array = np.ndarray

IMAGES = 50
"""Test images that the report solves."""


@dataclass(frozen=True)
class RunFolder:
    """A run as its folder has it."""

    folder: Path
    data_dir: Path | None
    config: TrainConfig
    network: Network
    """float64; of an unfinished run as of its last checkpoint."""
    history: list[dict[str, Any]]
    """Finished epochs."""
    metrics: dict[str, Any]
    """Empty unless the run is finished."""

    @classmethod
    def load(cls, folder: Path, data_dir: Path | None = None) -> Self:
        """Read it; UserError if there is no run, or what there is cannot be read."""
        if not (folder / "config.toml").exists():
            raise UserError(f"{folder}: no run is here (expected config.toml, as train writes it)")
        config = resolve(str(folder / "config.toml"), {})
        metrics = read_metrics(folder) if (folder / "metrics.json").exists() else {}
        path = folder / "network.npz"
        if metrics and config.finished(metrics["history"]) and path.exists():
            return cls(folder, data_dir, config, network_of_run(path, config), metrics["history"], metrics)
        if not (folder / CHECKPOINT).exists():
            raise UserError(f"{folder}: no run is here (expected {CHECKPOINT} or network.npz, as train writes them)")
        return cls(folder, data_dir, config, *trained_network(folder / CHECKPOINT, config), {})

    @cached_property
    def circuit(self) -> Network:
        """See TrainConfig.circuit."""
        return self.config.circuit(self.network)

    @property
    def finished(self) -> bool:
        """Whether every epoch asked for is trained."""
        return bool(self.metrics)

    @cached_property
    def dataset(self) -> Dataset:
        """The run's own. Raises UserError where it cannot be had or does not fit."""
        dataset = self.config.load_data(self.data_dir)
        require_fit(self.config.inputs, self.config.classes, dataset)
        return dataset

    @cached_property
    def samples(self) -> tuple[Float[Array, "images inputs"], Float[Array, "images classes"]]:
        """The first test images as the network takes them, and their targets, volts. Raises UserError without the data set."""
        return first_test_images(self.config, self.dataset, IMAGES)

    @cached_property
    def phases(self) -> tuple[Equilibrium, ...]:
        """Equilibria of the samples: free, and under the run's own nudge of +β and -β; see ``solved``."""
        return self.solved(1.0)

    def solved(self, factor: float) -> tuple[Equilibrium, ...]:
        """Converged equilibria of the samples: free, and under ``factor`` times the run's own ±β. Raises UserError."""
        images, targets = self.samples
        betas = (factor * self.config.beta, -factor * self.config.beta)
        rule = self.config.rule(0)
        nudges = [Nudge(targets, beta, rule.kind, rule.cost) for beta in betas]
        found = self.config.surrogate().solve_phases(self.network, images, nudges)
        return tuple(phase.require() for phase in found)

    @property
    def circuit_beta(self) -> float:
        """β of a nudge that a circuit takes whatever the run's own cost is: the run's, or a tenth of what is certainly borne."""
        return self.config.circuit_beta(self.network)


def network_of_run(path: Path, config: TrainConfig) -> Network:
    """The trained network in ``path``, float64; UserError if it is not one of this configuration."""
    network = families()[config.model].network.load(path)
    if (network.layers, network.classes) != (config.sizes, config.classes):
        raise UserError(
            f"{path}: expected layers {list(config.sizes)} and {config.classes} classes, as in config.toml, got "
            f"{list(network.layers)} and {network.classes}"
        )
    return network
