"""The configuration of the training of a graph network."""

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
"""Smallest ratio of nodes to those of inputs, read-outs and rails, so that enough nodes remain for learning."""


class GraphConfig(TrainConfig):
    """Training of a network of resistors and diodes on a graph; SI units."""

    changeable: ClassVar[frozenset[str]] = TrainConfig.changeable | {"workers", "on_failure"}

    model: Literal["graph"]
    datasets: ClassVar[tuple[str, ...]] = get_args(Name)
    """Tasks that define both the network and the data (networks.graph.tasks)."""
    dataset: Text
    """A task, or a user's data set, each of whose inputs drives one node of the graph and, mirrored, another one."""
    input_gain: Annotated[Positive, In("V")] = 1.0
    """Voltage at an input of 1 of a user's data set, volts."""
    topology: Topology
    """disordered: random points connected to near ones; square, periodic: lattices; random: Erdős-Rényi, mean degree 12."""
    nodes: int
    """Number of nodes of the graph."""
    nudging: Literal["centred", "one-sided"] = "centred"
    """Nudged phases: under +β and -β (centred), or only under +β (one-sided)."""
    kind: Literal["conductance", "current"] = "conductance"
    """A nudge by conductances to the targets, or by constant currents."""
    rate: Positive
    """Learning rate of every conductance, S²/V²."""
    enough: NotNegative = 0.0
    """Root mean square error on the held-out samples, volts, at which training ends before all epochs are done."""
    solver: SolverName = SURROGATE
    """Solver of every equilibrium."""
    workers: Count = 1
    """Number of worker processes; ngspice only."""
    on_failure: Literal["stop", "skip"] = "stop"
    """Treatment of a sample without a certified equilibrium: end the training with its status, or leave it out."""
    precision: Literal["float64"] = Field("float64")

    @cached_property
    def task(self) -> Task:
        """The fresh network, its graph and the data. Raises UserError for a number of nodes that the topology cannot have."""
        return task(self.dataset, self.topology, self.nodes, self.seed)  # type: ignore[arg-type]

    @cached_property
    def _network(self) -> GraphNetwork:
        """The network, which must not be changed."""
        return self.task.network if self.found is None else self.network()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of inputs, nodes and read-outs."""
        return self._network.layers

    @property
    def inputs(self) -> int:
        """Number of inputs of a sample, without the mirrored inputs of a user's data."""
        return self.sizes[0] if self.found is None else self.found.inputs

    @property
    def classes(self) -> int:
        """Read-outs."""
        return self._network.classes

    @property
    def method_in_words(self) -> str:
        """The solver, in words."""
        return f"with {self.solver}"

    def load_data(self, data_dir: Path | None) -> Dataset:
        """Return the data of the task. Raises UserError for a folder, because a task generates its data."""
        if self.own_data is not None:
            return super().load_data(data_dir)
        if data_dir is not None:
            raise UserError(f"--data-dir: {self.dataset} generates its own data; leave it out")
        return self.task.data

    @property
    def data_key(self) -> str:
        """A key of the data; those of a task depend on its network."""
        task = (self.topology, self.nodes, self.seed) if self.own_data is None else ()
        return repr((super().data_key, task))

    def prepared(self, images: Float[Array, "samples inputs"]) -> Float[Array, "samples nodes"]:
        """Return the node voltages, volts: for a user's data, the inputs times the gain, followed by their mirrored values."""
        if self.own_data is None:
            return images
        volts = self.input_gain * images
        return np.concatenate([volts, -volts], axis=1)

    @property
    def right_within(self) -> float | None:
        """Tolerance of a task or a regression, volts."""
        return self.tolerance or TOLERANCE if self.own_data is None or self.regression else None

    @classmethod
    def adapted(cls, values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Set a sufficient number of nodes for the inputs and read-outs of a user's data."""
        if not overrides.get("own_data"):
            return dict(values)
        found = overrides["own_data"]["found"]
        return {
            **values,
            "nodes": max(int(values.get("nodes", 0)), NODES * used_nodes(found["inputs"], found["outputs"])),
        }

    def finished(self, history: list[dict[str, Any]]) -> bool:
        """Return whether all epochs are done, or the held-out error is small enough."""
        close = bool(history) and 0 < self.enough >= history[-1].get(f"{self.held_out}_rms", np.inf)
        return close or super().finished(history)

    def network(self) -> GraphNetwork:
        """Return a fresh network of this configuration and seed, float64."""
        if self.found is None:
            return task(self.dataset, self.topology, self.nodes, self.seed).network  # type: ignore[arg-type]
        return network_for(self.found.inputs, self.found.outputs, self.topology, self.nodes, self.seed)

    def rule(self, epoch: int) -> Rule:
        """Return the learning rule in epoch 0, 1, ..."""
        rates = UniformRates(self.rate).scaled(self.annealed(epoch))
        return Rule(rates, self.beta, self.nudging, self.kind, tolerance=self.right_within)

    def circuit_beta(self, network: Network) -> float:
        """Return a tenth of the stability bound; at the training's far smaller β, rounding in ngspice affects the gradient."""
        return network.usual_beta()

    def training(self, samples: int, held_out: int, random: np.random.Generator) -> Training:  # noqa: ARG002
        """Return the training of a fresh network."""
        solver = self.surrogate() if self.solver == SURROGATE else solver_of(self.solver, self.workers)
        return PhaseTraining(self, self.network(), solver)
