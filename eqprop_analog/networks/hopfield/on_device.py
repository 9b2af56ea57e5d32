"""Training of a Hopfield network on a device with PyTorch: data, phases and parameters stay on it; checkpoints are copies."""

from __future__ import annotations  # annotations can be read without PyTorch

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from eqprop_analog.core.equilibrium import Status
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.batches import Batches
from eqprop_analog.kernels.torch.control import ControlEvaluator, ControlTrainer
from eqprop_analog.kernels.torch.motions import Motion, Sweep
from eqprop_analog.kernels.torch.network import TorchNetwork
from eqprop_analog.kernels.torch.training import Evaluator, HopfieldTrainer, Settings, Stages
from eqprop_analog.learning.persistent import PersistentStates
from eqprop_analog.learning.trainer import Learner, Pass, Progress
from eqprop_analog.learning.update import Momentum
from eqprop_analog.networks.hopfield.network import HopfieldNetwork

if TYPE_CHECKING:
    from eqprop_analog.networks.hopfield.config import HopfieldConfig

Array = np.ndarray

SECONDS = 0.5
"""Seconds between two progress reports; each one waits until the device has finished all queued work."""
CHUNK = 500
"""Number of images that are tested together."""


@dataclass
class HopfieldOnDevice:
    """A network, its momentum and its states; after the first batch the device holds the current ones."""

    config: HopfieldConfig
    own: HopfieldNetwork
    momentum: Momentum
    persistent: PersistentStates | None = None
    held_out: PersistentStates | None = None
    trainer: HopfieldTrainer | None = field(init=False, default=None)
    evaluator: Evaluator | None = field(init=False, default=None)
    ahead: bool = field(init=False, default=False)
    """Whether the device has learned since its arrays were last copied."""

    def __post_init__(self) -> None:
        """Raise UserError if the requested GPU does not exist; make convolutions deterministic."""
        if self.config.device == "cuda" and not torch.cuda.is_available():
            raise UserError("device: PyTorch finds no GPU; train on the CPU, or install PyTorch with CUDA")
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        torch.backends.cudnn.allow_tf32 = self.config.phases == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = self.config.phases == "tf32"
        torch.set_num_threads(self.config.threads)

    @property
    def device(self) -> str:
        """The device on which it trains."""
        return "cuda" if self.config.device == "cuda" else "cpu"

    @property
    def network(self) -> HopfieldNetwork:
        """The current network, in the precision of training."""
        self._follow()
        return self.own

    def _follow(self) -> None:
        """Copy the current parameters, momentum and states from the device."""
        if not self.ahead or self.trainer is None:
            return
        found = self.trainer.arrays()
        kept = [*self.own.arrays().items(), *self.momentum.arrays().items()]
        kept += self.persistent.arrays().items() if self.persistent else ()
        for name, values in kept:
            values[...] = found[name].reshape(values.shape)
        self.ahead = False

    def settings(self, *, test: bool = False) -> Settings:
        """The settings of the kernels; images are prepared before they reach the kernels, so the mean is already subtracted."""
        config = self.config
        motion = Motion(config.dynamics, config.over_relaxation if config.step is None else config.step)
        steps = config.test_steps if test and config.test_steps else config.free_steps
        free: Stages = ((motion, steps or 1),)
        nudged: Stages = ((motion, config.nudged_steps or 1),)
        if config.directed:
            free = self._directed("forward", motion, steps or 1)
            nudged = self._directed("backward", motion, config.nudged_steps or 1)
        return Settings(
            batch=config.batch_size,
            free=free,
            nudged=nudged,
            beta=config.beta,
            nudging=config.nudging,
            cost=config.cost,
            behind=config.kind == "output" and config.cost == "squared-error",
            differences=config.differences,
            frozen=config.phases == "half" if config.frozen is None else config.frozen,
            precision="float32" if config.phases == "tf32" else config.phases or config.precision,
            fused=config.fused,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            flip=config.flip,
            shift=config.shift,
            edge=config.edge,
            erase=0 if test else config.erase,
            persistent=config.persistent,
            seed=config.seed,
        )

    @staticmethod
    def _directed(way: Sweep, motion: Motion, steps: int) -> Stages:
        """A first sweep in direction ``way`` without over-relaxation, followed by the remaining sweeps."""
        return (Motion("descent", 1.0, way), 1), (motion, steps - 1)

    def prepared(self, images: Float[Array, "samples inputs"], network: TorchNetwork) -> Tensor:
        """All images of a data set on the device, as maps if the first connection expects maps or if images are shifted."""
        config = self.config
        moves = config.shift or config.flip or config.erase or config.mirrored
        shape = (len(images), *(config.image_shape if moves else network.input_shape))
        return torch.from_numpy(np.ascontiguousarray(images, config.precision)).to(self.device).reshape(shape)

    def begun(self, images: Float[Array, "samples inputs"], labels: Int[Array, " samples"]) -> HopfieldTrainer:
        """The trainer, which is created at first use from the copies of parameters, momentum and states."""
        if self.trainer is None:
            network = TorchNetwork(self.own, self.device)
            given = network, self.settings(), self.prepared(images, network), torch.from_numpy(labels).to(self.device)
            control = self.config.method == "feed-forward"
            made = ControlTrainer(*given, activation=self.config.activation) if control else HopfieldTrainer(*given)
            for name, values in self.momentum.arrays().items():
                made.momentum[name.removeprefix("momentum_")].copy_(torch.from_numpy(values))
            for mine, values in zip(made.states, self.persistent.states if self.persistent else (), strict=True):
                mine.copy_(torch.from_numpy(values).reshape(mine.shape))
            self.trainer = made
        return self.trainer

    def learner(self, epoch: int) -> Learner:
        """The learning rule of ``epoch`` 0, 1, ..."""
        return DeviceLearner(self, epoch)

    def evaluate(
        self,
        images: Float[Array, "samples inputs"],
        labels: Int[Array, " samples"],
        progress: Progress,
        so_far: Pass | None = None,
    ) -> Pass:
        """Error of the predictions of the free phase, or of the control network, in the precision of training."""
        result = Pass() if so_far is None else so_far
        evaluator = self._evaluator(images, labels)
        evaluator.wrong.zero_()
        evaluator.squares.zero_()
        before, squares, looked = result.wrong, result.squares, time.monotonic()
        for begin in range(result.samples, len(images), CHUNK):
            size = min(CHUNK, len(images) - begin)
            evaluator.run(begin, size)
            result.samples = begin + size
            if result.samples == len(images) or time.monotonic() > looked + SECONDS:
                self._keep_held_out(evaluator)
                result.wrong, result.squares = before + int(evaluator.wrong), squares + float(evaluator.squares)
                progress(result.samples, result.error)
                looked = time.monotonic()
        if self.config.method != "feed-forward":
            result.statuses[Status.TRUNCATED.name] = result.samples
        return result

    def _evaluator(self, images: Float[Array, "samples inputs"], labels: Int[Array, " samples"]) -> Evaluator:
        """Predictions with the trainer's own parameters if there is one, because its captured graphs read those arrays."""
        network = TorchNetwork(self.own, self.device) if self.trainer is None else self.trainer.network
        if self.evaluator is None or self.evaluator.network is not network or len(self.evaluator.images) != len(images):
            given = network, self.settings(test=True), self.prepared(images, network)
            answers = torch.from_numpy(labels).to(self.device)
            control = self.config.method == "feed-forward"
            self.evaluator = (
                ControlEvaluator(*given, answers, CHUNK, self.config.mirrored, activation=self.config.activation)
                if control
                else Evaluator(*given, answers, CHUNK, self.config.mirrored)
            )
            for mine, values in zip(self.evaluator.states, self.held_out.states if self.held_out else (), strict=True):
                mine.copy_(torch.from_numpy(values).reshape(mine.shape))
        return self.evaluator

    def _keep_held_out(self, evaluator: Evaluator) -> None:
        for values, mine in zip(self.held_out.states if self.held_out else (), evaluator.states, strict=True):
            values[...] = mine.cpu().numpy().reshape(values.shape)

    def arrays(self) -> Mapping[str, Array]:
        """Copies of the parameters, momenta and states, from which the next ``begun`` starts."""
        self._follow()
        named = self.own.arrays() | self.momentum.arrays()
        if self.persistent is not None and self.held_out is not None:
            named |= self.persistent.arrays()
            named |= {f"held_out_{name}": states for name, states in self.held_out.arrays().items()}
        return named

    def close(self) -> None:
        """Do nothing: there are no worker processes."""


@dataclass(frozen=True)
class DeviceLearner(Learner):
    """An epoch on the device; its order, flips, shifts and signs depend on the seed and the epoch alone."""

    training: HopfieldOnDevice
    epoch: int

    def learn(self, inputs: Array, targets: Array, *examples: Any) -> tuple[int, Counter[str]]:  # noqa: ARG002
        """Raise UserError, because the device forms batches from the images that it holds."""
        raise UserError("device: expected all images of a data set, got a single batch; use run_pass")

    def run_pass(self, batches: Iterable[tuple[Array, ...]], progress: Progress, so_far: Pass) -> Pass:
        """Train on the rest of the epoch; ``batches`` only defines the images, and none are read from it."""
        if not isinstance(batches, Batches):
            raise UserError(f"device: expected Batches of a data set, got {type(batches).__name__}")
        training, config, split = self.training, self.training.config, batches.split
        trainer = training.begun(split.images, split.labels)
        rates = config.rule(self.epoch).rates
        trainer.begin_epoch(self.epoch, {name: rates.of(name) for name in trainer.rates})
        trainer.epoch.at.fill_(so_far.samples)
        trainer.epoch.wrong.fill_(so_far.wrong)
        trainer.epoch.squares.fill_(so_far.squares)
        phases = 0 if config.method == "feed-forward" else 1 + len(trainer.settings.betas)
        count, many = len(batches.order), 1
        while so_far.samples < count:
            begin = time.monotonic()
            trainer.advance(many, count)
            done = min(so_far.samples + many * config.batch_size, count)
            training.ahead = True
            so_far.statuses[Status.TRUNCATED.name] += phases * (done - so_far.samples)
            so_far.samples, so_far.wrong = done, int(trainer.epoch.wrong)
            so_far.squares = float(trainer.epoch.squares)
            progress(done, so_far.error)
            many = max(1, min(2 * many, round(many * SECONDS / (time.monotonic() - begin + 1e-9))))
        return so_far
