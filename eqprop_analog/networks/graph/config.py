"""The configuration of the training of a network on a graph."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import numpy as np
from jaxtyping import Float
from pydantic import Field

from eqprop_analog.core import Network
from eqprop_analog.data import Dataset
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.config import (
    TOLERANCE,
    Count,
    NotNegative,
    PhaseTraining,
    Positive,
    Text,
    TrainConfig,
    Training,
)
from eqprop_analog.experiments.solvers import SURROGATE, SolverName, solver_of
from eqprop_analog.learning.trainer import Rule
from eqprop_analog.learning.update import UniformRates
from eqprop_analog.networks.graph.network import GraphNetwork
from eqprop_analog.networks.graph.tasks import Name, Task, Topology, network_for, task, used_nodes
from eqprop_analog.quantities import In

Array = np.ndarray
NODES = 4
"""Times those that inputs, read-outs and rails take: how many a graph has at least, so that others are left to learn with."""


class GraphConfig(TrainConfig):
    """How a network of resistors and diodes on a graph is trained; SI units."""

    changeable: ClassVar[frozenset[str]] = TrainConfig.changeable | {"workers", "on_failure"}

    model: Literal["graph"]
    datasets: ClassVar[tuple[str, ...]] = get_args(Name)
    """Tasks that make the network as well as the data (networks.graph.tasks)."""
    dataset: Text
    """One of these, or a data set of the user's own, whose every input drives a node of the graph and, mirrored, another."""
    input_gain: Annotated[Positive, In("V")] = 1.0
    """Volts at an input of 1; of a data set of the user's own."""
    topology: Topology
    """disordered: random points joined to near ones; square, periodic: lattices; random: Erdős-Rényi, mean degree 12."""
    nodes: int
    """Of the graph."""
    nudging: Literal["centred", "one-sided"] = "centred"
    """Phases under +β and -β, or one under +β beside the free one."""
    kind: Literal["conductance", "current"] = "conductance"
    """A nudge by conductances to the targets, or by constant currents."""
    rate: Positive
    """Of every conductance, S²/V²."""
    enough: NotNegative = 0.0
    """Volts, root mean square over the held-out samples: training ends there, or after all epochs."""
    solver: SolverName = SURROGATE
    """What finds every equilibrium."""
    workers: Count = 1
    """ngspice only: worker processes."""
    on_failure: Literal["stop", "skip"] = "stop"
    """What training does about a sample without a certified equilibrium: end with its status, or leave it out."""
    precision: Literal["float64"] = Field("float64")

    @cached_property
    def task(self) -> Task:
        """The fresh network, its graph and the data. Raises UserError for a number of nodes that the topology cannot have."""
        return task(self.dataset, self.topology, self.nodes, self.seed)  # type: ignore[arg-type]

    @cached_property
    def _network(self) -> GraphNetwork:
        """Looked at, and not changed."""
        return self.task.network if self.found is None else self.network()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Inputs, nodes, read-outs."""
        return self._network.layers

    @property
    def inputs(self) -> int:
        """Of a sample: without the mirrors of the user's own data."""
        return self.sizes[0] if self.found is None else self.found.inputs

    @property
    def classes(self) -> int:
        """Read-outs."""
        return self._network.classes

    @property
    def method_in_words(self) -> str:
        """The solver."""
        return f"with {self.solver}"

    def load_data(self, data_dir: Path | None) -> Dataset:
        """The task's own data. UserError for a folder, since they are in none."""
        if self.own_data is not None:
            return super().load_data(data_dir)
        if data_dir is not None:
            raise UserError(f"--data-dir: {self.dataset} generates its own data; leave it out")
        return self.task.data

    @property
    def data_key(self) -> str:
        """A task's data come with its network."""
        task = (self.topology, self.nodes, self.seed) if self.own_data is None else ()
        return repr((super().data_key, task))

    def prepared(self, images: Float[Array, "samples inputs"]) -> Float[Array, "samples nodes"]:
        """Volts at the nodes: of the user's own data every input times the gain, and then each of them mirrored."""
        if self.own_data is None:
            return images
        volts = self.input_gain * images
        return np.concatenate([volts, -volts], axis=1)

    @property
    def right_within(self) -> float | None:
        """Volts; of a task, and of a regression."""
        return self.tolerance or TOLERANCE if self.own_data is None or self.regression else None

    @classmethod
    def adapted(cls, values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Nodes enough for the inputs and read-outs of the user's own data."""
        if not overrides.get("own_data"):
            return dict(values)
        found = overrides["own_data"]["found"]
        return {
            **values,
            "nodes": max(int(values.get("nodes", 0)), NODES * used_nodes(found["inputs"], found["outputs"])),
        }

    def finished(self, history: list[dict[str, Any]]) -> bool:
        """After all epochs, or once the held-out samples are right enough."""
        close = bool(history) and 0 < self.enough >= history[-1].get(f"{self.held_out}_rms", np.inf)
        return close or super().finished(history)

    def network(self) -> GraphNetwork:
        """A fresh network of this configuration and seed, float64."""
        if self.found is None:
            return task(self.dataset, self.topology, self.nodes, self.seed).network  # type: ignore[arg-type]
        return network_for(self.found.inputs, self.found.outputs, self.topology, self.nodes, self.seed)

    def rule(self, epoch: int) -> Rule:
        """The learning rule in epoch 0, 1, ..."""
        rates = UniformRates(self.rate).scaled(self.annealed(epoch))
        return Rule(rates, self.beta, self.nudging, self.kind, tolerance=self.right_within)

    def circuit_beta(self, network: Network) -> float:
        """A tenth of the safe bound: under the training's, which is far smaller, ngspice's last digits show in the gradient."""
        return network.usual_beta()

    def training(self, samples: int, held_out: int, random: np.random.Generator) -> Training:  # noqa: ARG002
        """A fresh network."""
        solver = self.surrogate() if self.solver == SURROGATE else solver_of(self.solver, self.workers)
        return PhaseTraining(self, self.network(), solver)
