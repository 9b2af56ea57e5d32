"""The configuration of the training of a network on a graph."""

from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from eqprop_analog.core import Network
from eqprop_analog.data import Dataset
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.config import Count, NotNegative, PhaseTraining, Positive, TrainConfig, Training
from eqprop_analog.learning.trainer import Rule
from eqprop_analog.learning.update import UniformRates
from eqprop_analog.networks.graph.network import GraphNetwork
from eqprop_analog.networks.graph.tasks import Name, Task, Topology, task
from eqprop_analog.spice.ngspice.solver import NgspiceSolver


class GraphConfig(TrainConfig):
    """How a network of resistors and diodes on a graph is trained; SI units."""

    changeable: ClassVar[frozenset[str]] = TrainConfig.changeable | {"workers", "on_failure"}

    model: Literal["graph"]
    dataset: Name  # type: ignore[assignment]
    """What it learns: it makes the network as well as the data (networks.graph.tasks)."""
    topology: Topology
    """disordered: random points joined to near ones; square, periodic: lattices; random: Erdős-Rényi, mean degree 12."""
    nodes: int
    nudging: Literal["centred", "one-sided"] = "centred"
    kind: Literal["conductance", "current"] = "conductance"
    rate: Positive
    """Of every conductance, S²/V²."""
    tolerance: Positive
    """Volts, root mean square over a sample's outputs: within it the sample counts as right."""
    enough: NotNegative = 0.0
    """Volts, root mean square over the held-out samples: training ends there, or after all epochs."""
    solver: Literal["surrogate", "ngspice"] = "surrogate"
    workers: Count = 1
    """ngspice only: worker processes."""
    on_failure: Literal["stop", "skip"] = "stop"
    """What training does about a sample without a certified equilibrium: end with its status, or leave it out."""
    precision: Literal["float64"] = Field("float64")

    @cached_property
    def task(self) -> Task:
        """The fresh network, its graph and the data. Raises UserError for a number of nodes that the topology cannot have."""
        return task(self.dataset, self.topology, self.nodes, self.seed)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Inputs, nodes, read-outs."""
        return self.task.network.layers

    @property
    def classes(self) -> int:
        """Read-outs."""
        return self.task.network.classes

    @property
    def method_in_words(self) -> str:
        """The solver."""
        return f"with {self.solver}"

    def load_data(self, data_dir: Path | None) -> Dataset:
        """The task's own data. UserError for a folder, since they are in none."""
        if data_dir is not None:
            raise UserError(f"--data-dir: {self.dataset} makes its data itself; leave it out")
        return self.task.data

    def finished(self, history: list[dict[str, Any]]) -> bool:
        """After all epochs, or once the held-out samples are right enough."""
        close = bool(history) and 0 < self.enough >= history[-1].get(f"{self.held_out}_rms", np.inf)
        return close or super().finished(history)

    def network(self) -> GraphNetwork:
        """A fresh network of this configuration and seed, float64."""
        return task(self.dataset, self.topology, self.nodes, self.seed).network

    def rule(self, epoch: int) -> Rule:
        """The learning rule in epoch 0, 1, ..."""
        rates = UniformRates(self.rate).scaled(self.annealed(epoch))
        return Rule(rates, self.beta, self.nudging, self.kind, tolerance=self.tolerance)

    def circuit_beta(self, network: Network) -> float:
        """A tenth of the safe bound: under the training's, which is far smaller, ngspice's last digits show in the gradient."""
        return network.usual_beta()

    def training(self, samples: int, held_out: int, random: np.random.Generator) -> Training:  # noqa: ARG002
        """A fresh network."""
        solver = NgspiceSolver(self.workers) if self.solver == "ngspice" else self.surrogate()
        return PhaseTraining(self, self.network(), solver)
