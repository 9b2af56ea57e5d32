"""The content of a run's folder, finished or not."""

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
"""Number of test images that the report solves."""


@dataclass(frozen=True)
class RunFolder:
    """A run as stored in its folder."""

    folder: Path
    data_dir: Path | None
    config: TrainConfig
    network: Network
    """float64; for an unfinished run, that of its last checkpoint."""
    history: list[dict[str, Any]]
    """The finished epochs."""
    metrics: dict[str, Any]
    """The run's metrics; empty unless the run is finished."""
    loaded: Dataset | None = None
    """The run's data set, if it is loaded already."""

    @classmethod
    def load(cls, folder: Path, data_dir: Path | None = None, dataset: Dataset | None = None) -> Self:
        """Read a run. Raises UserError if there is none, or if it cannot be read."""
        if not (folder / "config.toml").exists():
            raise UserError(f"{folder}: this folder contains no run (expected config.toml, which train writes)")
        config = resolve(str(folder / "config.toml"), {})
        metrics = read_metrics(folder) if (folder / "metrics.json").exists() else {}
        path = folder / "network.npz"
        if metrics and config.finished(metrics["history"]) and path.exists():
            return cls(folder, data_dir, config, network_of_run(path, config), metrics["history"], metrics, dataset)
        if not (folder / CHECKPOINT).exists():
            raise UserError(
                f"{folder}: this folder contains no run (expected {CHECKPOINT} or network.npz, which train writes)"
            )
        return cls(folder, data_dir, config, *trained_network(folder / CHECKPOINT, config), {}, dataset)

    @cached_property
    def circuit(self) -> Network:
        """See TrainConfig.circuit."""
        return self.config.circuit(self.network)

    @property
    def finished(self) -> bool:
        """Whether all requested epochs are trained."""
        return bool(self.metrics)

    @cached_property
    def dataset(self) -> Dataset:
        """The run's data set. Raises UserError if it is not available or does not fit the network."""
        dataset = self.loaded or self.config.load_data(self.data_dir)
        require_fit(self.config.inputs, self.config.classes, dataset)
        return dataset

    @cached_property
    def samples(self) -> tuple[Float[Array, "images inputs"], Float[Array, "images classes"]]:
        """The first test images as network inputs, and their targets, volts. Raises UserError without the data set."""
        return first_test_images(self.config, self.dataset, IMAGES)

    @cached_property
    def phases(self) -> tuple[Equilibrium, ...]:
        """Equilibria of the samples: free, and under the run's nudges of +β and -β; see ``solved``."""
        return self.solved(1.0)

    def solved(self, factor: float) -> tuple[Equilibrium, ...]:
        """Converged equilibria of the samples: free, and under ``factor`` times the run's ±β. Raises UserError."""
        images, targets = self.samples
        betas = (factor * self.config.beta, -factor * self.config.beta)
        rule = self.config.rule(0)
        nudges = [Nudge(targets, beta, rule.kind, rule.cost) for beta in betas]
        found = self.config.surrogate().solve_phases(self.network, images, nudges)
        return tuple(phase.require() for phase in found)

    @property
    def circuit_beta(self) -> float:
        """β of a nudge that is stable in the circuit for any cost: the run's, or a tenth of the guaranteed stability bound."""
        return self.config.circuit_beta(self.network)


def network_of_run(path: Path, config: TrainConfig) -> Network:
    """Load the trained network in ``path``, float64. Raises UserError if it does not match the configuration."""
    network = families()[config.model].network.load(path)
    if (network.layers, network.classes) != (config.sizes, config.classes):
        raise UserError(
            f"{path}: expected layers {list(config.sizes)} and {config.classes} classes, as in config.toml, got "
            f"{list(network.layers)} and {network.classes}"
        )
    return network
