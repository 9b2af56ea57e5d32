"""Training of a resistive network from its configuration: the network, the learning rule, the solver and the learners."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.core.solver import Solver, close
from eqprop_analog.devices import law_from
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.config import spread
from eqprop_analog.experiments.solvers import SURROGATE, solver_of
from eqprop_analog.learning.trainer import Learner, Pass, PhaseLearner, Progress, Rule, evaluate
from eqprop_analog.learning.update import Rates
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.surrogate import SurrogateSolver
from eqprop_analog.networks.resistive.truncated import TruncatedLearner

if TYPE_CHECKING:
    from eqprop_analog.networks.nonideal.in_situ import WiredSolver
    from eqprop_analog.networks.resistive.config import ResistiveConfig
    from eqprop_analog.networks.resistive.truncated_torch import TorchLearner

Array = np.ndarray


def network(config: "ResistiveConfig") -> ResistiveNetwork:
    """A newly initialized network of this configuration and seed, float64."""
    settings: dict[str, Any] = {
        "diode": law_from(config.diode),
        "amplifier_gain": config.amplifier_gain,
        "input_gain": config.input_gain,
        "conductance_window": config.conductance_window,
        "bias_row": config.bias_row,
        "outputs": config.outputs,
    }
    if config.connections is None:
        return ResistiveNetwork.dense(config.layers or (), config.seed, **settings)
    return ResistiveNetwork.convolutional(config.image_shape, config.connections, config.seed, **settings)


def rule(config: "ResistiveConfig", epoch: int) -> Rule:
    """The learning rule in ``epoch`` 0, 1, ..."""
    crossbars = len(config.crossbars())
    rates = Rates(spread(config.conductance_rates, crossbars), spread(config.bias_rates, crossbars))
    annealed = rates.scaled(config.annealed(epoch))
    return Rule(annealed, config.beta, config.nudging, config.kind, config.cost, tolerance=config.right_within)


def wired_solver(config: "ResistiveConfig", *, training: bool = False) -> "WiredSolver":
    """The solver of the circuit with wires; for training it is less exact, and compiled if this is faster."""
    from eqprop_analog.networks.nonideal.in_situ import TRAINING_TOLERANCE, WiredSolver, worth_compiling

    solver = WiredSolver(
        config.wire_resistance, config.tile, link_resistance=config.link_resistance, cell=config.cell_law
    )
    if not training:
        return solver
    compiled = config.cell_law is None and worth_compiling(config.layers or ())
    return replace(solver, tolerance=TRAINING_TOLERANCE, compiled=compiled)


def training(config: "ResistiveConfig") -> "ResistiveTraining":
    """A newly initialized network in training; UserError if a negative nudge would make its circuit indefinite."""
    made = network(config).astype(config.precision)
    if (config.method, config.kind, config.nudging) == ("equilibrium-propagation", "conductance", "centred"):
        made.require_definite(-config.beta)
    if config.wired:
        wired = wired_solver(config)
        return ResistiveTraining(config, made, wired, wired)
    if config.solver != SURROGATE:
        solver = solver_of(config.solver, config.workers)
        return ResistiveTraining(config, made, solver, solver)
    if config.device != "cpu":
        _torch_learner(config, made).require_possible(made, rule(config, 0), config.torch_device, config.method)
    steps = SurrogateSolver(sweeps=config.sweeps, check_residual=False)
    return ResistiveTraining(config, made, steps, SurrogateSolver(sweeps=config.test_sweeps))


@dataclass
class ResistiveTraining:
    """A resistive network in training: only its parameters are kept between batches."""

    config: "ResistiveConfig"
    own: ResistiveNetwork
    """The parameters, unless a GPU holds newer ones."""
    solver: Solver
    tester: Solver
    on_gpu: "TorchLearner | None" = None

    @property
    def network(self) -> ResistiveNetwork:
        """The current network, in the precision of training."""
        if self.on_gpu is not None:
            self.on_gpu.finish()
        return self.own

    def learner(self, epoch: int) -> Learner:
        """The learner; truncated phases have separate ones, which do the same in place or on a GPU."""
        config, rule = self.config, self.config.rule(epoch)
        if config.wired:
            from eqprop_analog.networks.nonideal.in_situ import WiredLearner

            return WiredLearner(self.network, wired_solver(config, training=True), rule, config.read_at)
        if config.device != "cpu" and config.sweeps is not None:
            learner = self._begun(rule, config.sweeps)
            learner.rule = rule
            return learner
        if config.sweeps is not None and config.on_failure == "stop":  # which "implicit" asks for
            return TruncatedLearner(self.network, rule, config.sweeps, config.method)
        return PhaseLearner(self.network, self.solver, rule, config.on_failure == "skip")

    def _begun(self, rule: Rule, sweeps: int) -> "TorchLearner":
        """The learner in PyTorch, which is created at first use."""
        if self.on_gpu is None:
            kind = _torch_learner(self.config, self.own)
            self.on_gpu = kind(self.own, rule, sweeps, self.config.method, self.config.torch_device)
        return self.on_gpu

    def evaluate(
        self,
        images: Float[Array, "samples inputs"],
        labels: Int[Array, " samples"] | Float[Array, "samples targets"],
        progress: Progress,
        so_far: Pass | None = None,
    ) -> Pass:
        """Error of the read-outs of the free phase: in float64, or for classes in PyTorch in the precision of training."""
        config = self.config
        if config.device != "cpu" and config.sweeps and config.test_sweeps and labels.ndim == 1:
            learner = self._begun(config.rule(0), config.sweeps)
            return learner.evaluate(images, labels, config.test_sweeps, progress, so_far)
        network, tolerance = self.network.astype(np.float64), self.config.right_within
        return evaluate(
            network, self.tester.solve, images, labels, progress=progress, so_far=so_far, tolerance=tolerance
        )

    def arrays(self) -> Mapping[str, Array]:
        """The parameters."""
        return self.network.arrays()

    def close(self) -> None:
        """Stop the worker processes."""
        close(self.solver)


def _torch_learner(config: "ResistiveConfig", network: ResistiveNetwork) -> "type[TorchLearner]":
    """The learner in PyTorch; on a GPU with fused kernels if these support the network and the rule."""
    try:
        from eqprop_analog.networks.resistive.truncated_torch import TorchLearner
    except ImportError as error:
        raise UserError(f"device: training on a GPU needs PyTorch with CUDA (pip install torch): {error}") from error
    if config.device != "cuda" or config.regression or find_spec("triton") is None:
        return TorchLearner
    from eqprop_analog.networks.resistive.fused_torch import FusedLearner

    return FusedLearner if FusedLearner.possible(network, config.rule(0), config.method) else TorchLearner
