"""A Hopfield network in training, by NumPy or in ngspice."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.learning.persistent import PersistentStates
from eqprop_analog.learning.trainer import Learner, Pass, PhaseLearner, Progress, evaluate
from eqprop_analog.learning.update import Momentum
from eqprop_analog.networks.hopfield.bptt import BpttLearner
from eqprop_analog.networks.hopfield.continual import ContinualLearner
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.hopfield.ngspice import HopfieldNgspiceSolver
from eqprop_analog.networks.hopfield.relaxation import Relaxation

if TYPE_CHECKING:
    from eqprop_analog.networks.hopfield.config import HopfieldConfig

Array = np.ndarray

CHUNK = 200
"""Test images that are relaxed together: what a step touches stays in the cache."""


@dataclass(frozen=True)
class HopfieldTraining:
    """A Hopfield network in training."""

    config: "HopfieldConfig"
    network: HopfieldNetwork
    solver: Relaxation | HopfieldNgspiceSolver
    momentum: Momentum
    random: np.random.Generator
    persistent: PersistentStates | None = None
    """States of the training images."""
    held_out: PersistentStates | None = None
    """States of the others."""

    def learner(self, epoch: int) -> Learner:
        """By nudged phases, or back through time."""
        config, rule = self.config, self.config.rule(epoch)
        momentum, kept, solver = self.momentum, self.persistent, self.solver
        if isinstance(solver, HopfieldNgspiceSolver) or (config.method != "bptt" and config.update == "once"):
            skip = config.on_failure == "skip"
            return PhaseLearner(self.network, solver, rule, skip, momentum, self.random, kept)
        if config.method == "bptt":
            back = config.backward_steps
            learner = BpttLearner(
                self.network,
                solver,
                rule.rates,
                config.cost,
                kind=config.kind,
                backward_steps=back,
                momentum=momentum,
                persistent=kept,
            )
            learner.tolerance = rule.tolerance
            return learner
        return ContinualLearner(self.network, solver, rule, momentum, self.random, kept)

    def evaluate(
        self,
        images: Float[Array, "samples inputs"],
        labels: Int[Array, " samples"] | Float[Array, "samples targets"],
        progress: Progress,
        so_far: Pass | None = None,
    ) -> Pass:
        """Error of the free phase's read-outs, in the precision of training."""
        solver, tolerance = self.solver, self.config.right_within
        if isinstance(solver, Relaxation):
            solver = replace(solver, free_steps=self.config.test_steps or self.config.free_steps)
        kept = self.held_out
        if kept is None:
            return evaluate(self.network, solver.solve, images, labels, CHUNK, progress, so_far, tolerance)
        todo = np.arange(0 if so_far is None else so_far.samples, len(images))
        parts = iter(np.split(todo, range(CHUNK, len(todo), CHUNK)))

        def go_on(network: HopfieldNetwork, some: Array) -> Equilibrium:
            examples = next(parts)
            free = solver.solve(network, some, start=kept.start(examples))
            kept.keep(examples, free)
            return free

        return evaluate(self.network, go_on, images, labels, CHUNK, progress, so_far, tolerance)

    def arrays(self) -> Mapping[str, Array]:
        """Parameters, momenta, states."""
        named = dict(self.network.arrays())
        if self.config.momentum:
            named |= self.momentum.arrays()
        if self.persistent is not None and self.held_out is not None:
            named |= self.persistent.arrays()
            named |= {f"held_out_{name}": states for name, states in self.held_out.arrays().items()}
        return named

    def close(self) -> None:
        """Let go of worker processes."""
        if isinstance(self.solver, HopfieldNgspiceSolver):
            self.solver.close()
