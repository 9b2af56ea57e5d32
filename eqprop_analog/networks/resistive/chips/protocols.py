"""Three protocols for a network on a chip: in-situ learning, programming a trained network, or both in succession."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.devices.conductance import Window
from eqprop_analog.experiments.batches import Batches, Split
from eqprop_analog.learning.in_situ import InSituLearner
from eqprop_analog.learning.trainer import (
    Learner,
    Pass,
    PhaseLearner,
    Rule,
    evaluate,
    require_finite,
    train_pass,
)
from eqprop_analog.networks.resistive.chips.chip import Chip
from eqprop_analog.networks.resistive.chips.mapping import impedance_scale, mapped, scaled_rule
from eqprop_analog.networks.resistive.config import ResistiveConfig
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.surrogate import SurrogateSolver
from eqprop_analog.networks.resistive.truncated import TruncatedLearner

Array = np.ndarray
Protocol = Literal["in-situ", "ex-situ", "fine-tuned"]
PROTOCOLS: tuple[Protocol, ...] = ("in-situ", "ex-situ", "fine-tuned")


@dataclass(frozen=True)
class Recipe:
    """A training configuration, adapted to the conductance window of a technology."""

    config: ResistiveConfig
    window: Window

    def fresh(self) -> ResistiveNetwork:
        """The untrained network, in the precision of training."""
        return mapped(self.config.network(), self.window).astype(self.config.precision)

    def rule(self, epoch: int) -> Rule:
        """The learning rule in ``epoch`` 0, 1, ..."""
        return scaled_rule(self.config.rule(epoch), self._scale)

    @cached_property
    def _scale(self) -> float:
        return impedance_scale(self.config.network(), self.window)

    def epoch(self, learner: Learner, split: Split, random: np.random.Generator) -> Pass:
        """One pass over the training images in random order."""
        order = random.permutation(len(split.images))[: self.config.limit]
        return train_pass(learner, Batches(self.config, split, order, random))


def in_software(recipe: Recipe, split: Split) -> tuple[ResistiveNetwork, list[float]]:
    """A network trained on the ideal circuit, float64, and the training error of every epoch; UserError if it diverges."""
    config, network = recipe.config, recipe.fresh()
    if (config.kind, config.nudging) == ("conductance", "centred"):
        network.require_definite(-recipe.rule(0).beta)
    random, errors = np.random.default_rng(config.seed), []
    for epoch in range(config.epochs):
        learner: Learner
        if config.sweeps is None:
            learner = PhaseLearner(network, SurrogateSolver(check_residual=False), recipe.rule(epoch))
        else:
            learner = TruncatedLearner(network, recipe.rule(epoch), config.sweeps)
        errors.append(recipe.epoch(learner, split, random).error)
        require_finite(network)
    return network.astype(np.float64), errors


def on_chip(
    protocol: Protocol, chip: Chip, recipe: Recipe, software: ResistiveNetwork | None, split: Split
) -> list[float]:
    """Program or train ``chip``: all epochs in situ from an untrained network, or ``software`` with zero or one more epoch.

    ``software`` is None in situ. The order of images depends on the seed of the recipe and the number of the chip, but not on the
    lot. Fine-tuning uses the learning rates of the last epoch. The devices then drift for the specified time. Returns the
    training error of every epoch on the chip. Raises UserError if training diverges.
    """
    if software is None:
        chip.begin(recipe.fresh())
    else:
        chip.program(software)
    epochs = recipe.config.epochs
    first = {"in-situ": 0, "ex-situ": epochs, "fine-tuned": epochs - 1}[protocol]
    random, errors = np.random.default_rng([recipe.config.seed, chip.number]), []
    for epoch in range(first, epochs):
        learner = InSituLearner(chip, chip.training_solver(recipe.config.sweeps), recipe.rule(epoch))
        errors.append(recipe.epoch(learner, split, random).error)
        require_finite(chip.network)
    if chip.specification.retention:
        chip.age(chip.specification.retention)
    return errors


def judged(chip: Chip, images: Float[Array, "samples inputs"], labels: Int[Array, " samples"]) -> Pass:
    """Error of the readings of the chip's converged free phases."""
    circuit, solver = chip.circuit(np.float64), chip.solver()
    return evaluate(
        chip.network.astype(np.float64),
        lambda _network, inputs: chip.measured(solver.solve(circuit, inputs)),
        images,
        labels,
    )
