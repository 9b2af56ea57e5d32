"""Training of a Hopfield network from its configuration: the network, the learning rule, the solver and the learners."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.nudge import Kind
from eqprop_analog.core.solver import Solver, close
from eqprop_analog.devices.buffer import buffer_from
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.config import Training, spread
from eqprop_analog.experiments.solvers import SURROGATE, solver_of
from eqprop_analog.learning.persistent import PersistentStates
from eqprop_analog.learning.trainer import Learner, Pass, PhaseLearner, Progress, Rule, evaluate
from eqprop_analog.learning.update import Momentum, WeightRates
from eqprop_analog.networks.hopfield.bptt import BpttLearner
from eqprop_analog.networks.hopfield.continual import ContinualLearner
from eqprop_analog.networks.hopfield.descent import HopfieldDescentSolver
from eqprop_analog.networks.hopfield.discrete_time import DiscreteTimeSolver
from eqprop_analog.networks.hopfield.energy_based import EnergyBasedSolver
from eqprop_analog.networks.hopfield.gradient_flow import GradientFlowSolver
from eqprop_analog.networks.hopfield.leaky_integrator import LeakyIntegratorSolver
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.hopfield.relaxation import Relaxation

if TYPE_CHECKING:
    from eqprop_analog.networks.hopfield.config import HopfieldConfig
    from eqprop_analog.networks.hopfield.on_device import HopfieldOnDevice

Array = np.ndarray

DYNAMICS: Mapping[str, type[Relaxation]] = {
    "gradient-flow": GradientFlowSolver,
    "leaky-integrator": LeakyIntegratorSolver,
    "discrete-time": DiscreteTimeSolver,
    "descent": HopfieldDescentSolver,
    "energy-based": EnergyBasedSolver,
}
"""Classes by the values of the setting ``dynamics``."""
PATIENCE = 5000
"""Duration in time constants after which leaky integrators that have not converged are stalled."""
CHUNK = 200
"""Number of test images that are relaxed together, so that the data of a step stay in the cache."""


def network(config: "HopfieldConfig") -> HopfieldNetwork:
    """A newly initialized network of this configuration and seed, float64."""
    return HopfieldNetwork.build(
        config.joins(),
        config.seed,
        buffer=buffer_from(dict(config.buffer)),
        initial=config.initial,
        untied=config.untied,
        classes=config.head,
        feedback=config.feedback,
    )


def rule(config: "HopfieldConfig", epoch: int) -> Rule:
    """The learning rule in ``epoch`` 0, 1, ..."""
    count = len(config.sizes) - 1 + (config.head is not None)
    weights = spread(config.weight_rates, count)
    biases = weights if config.bias_rates is None else spread(config.bias_rates, count)
    rates = WeightRates(*(_annealed(config, each, epoch) for each in (weights, biases)))
    kind: Kind = config.kind if config.cost == "squared-error" else "feedback"
    return Rule(rates, config.beta, config.nudging, kind, config.cost, config.signal, config.right_within)


def _annealed(config: "HopfieldConfig", rates: tuple[float, ...], epoch: int) -> tuple[float, ...]:
    """Learning rates on a cosine from ``rates`` to their final value, then constant (torch.optim's CosineAnnealingLR)."""
    ends = [min(rate, config.cosine_end) for rate in rates]
    kept, whole = config.annealed(epoch), config.model_copy(update={"cosine": None}).annealed(epoch)
    return tuple(kept * (rate - end) + whole * end for rate, end in zip(rates, ends, strict=True))


def relaxation(config: "HopfieldConfig") -> Relaxation:
    """The NumPy solver of the training phases; it does not compute residuals, each of which would cost a step."""
    kind: type[Relaxation] = DYNAMICS[config.dynamics]
    timed: dict[str, Any] = {} if config.step is None else {"step": config.step}
    if config.dynamics == "leaky-integrator" and config.step is not None:
        timed["max_steps"] = round(PATIENCE / config.step)
    return kind(free_steps=config.free_steps, nudged_steps=config.nudged_steps, check_residual=False, **timed)


def training(config: "HopfieldConfig", samples: int, held_out: int, random: np.random.Generator) -> Training:
    """A newly initialized network, its momentum and, if requested, the states of all images."""
    made = network(config).astype(config.precision)
    momentum = Momentum(made, config.momentum, config.weight_decay)
    kept = [PersistentStates.of(made, count) for count in (samples, held_out)] if config.persistent else [None, None]
    if config.device != "cpu":
        return _on_device()(config, made, momentum, *kept)
    solver = None if config.solver == SURROGATE else solver_of(config.solver, config.workers)
    return HopfieldTraining(config, made, relaxation(config), solver, momentum, random, *kept)


def _on_device() -> "type[HopfieldOnDevice]":
    try:
        from eqprop_analog.networks.hopfield.on_device import HopfieldOnDevice
    except ImportError as error:
        raise UserError(f"device: this needs PyTorch (pip install 'eqprop-analog[torch]'): {error}") from error
    return HopfieldOnDevice


@dataclass(frozen=True)
class HopfieldTraining:
    """A Hopfield network in training, with NumPy or ngspice as the solver."""

    config: "HopfieldConfig"
    network: HopfieldNetwork
    relaxation: Relaxation
    """The solver in NumPy."""
    solver: Solver | None
    """The solver of nudged phases; None: ``solver`` itself."""
    momentum: Momentum
    random: np.random.Generator
    persistent: PersistentStates | None = None
    """States of the training images."""
    held_out: PersistentStates | None = None
    """States of the test images."""

    def learner(self, epoch: int) -> Learner:
        """The gradients of a batch: by nudged phases, or by backpropagation through time."""
        config, rule = self.config, self.config.rule(epoch)
        momentum, kept, solver = self.momentum, self.persistent, self.relaxation
        if config.method != "bptt" and config.update == "once":
            skip = config.on_failure == "skip"
            return PhaseLearner(self.network, self.solver or solver, rule, skip, momentum, self.random, kept)
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
        """Error of the read-outs of the free phase, in the precision of training."""
        tolerance = self.config.right_within
        steps = self.config.test_steps or self.config.free_steps
        solver = self.solver or replace(self.relaxation, free_steps=steps)
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
        """Arrays of the parameters, momenta and states, for a checkpoint."""
        named = dict(self.network.arrays())
        if self.config.momentum:
            named |= self.momentum.arrays()
        if self.persistent is not None and self.held_out is not None:
            named |= self.persistent.arrays()
            named |= {f"held_out_{name}": states for name, states in self.held_out.arrays().items()}
        return named

    def close(self) -> None:
        """Stop the worker processes."""
        close(self.solver)
