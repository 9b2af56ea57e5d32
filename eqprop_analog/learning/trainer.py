"""Training by equilibrium propagation with any solver: phases, contrast, update, batch after batch."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.errors import UserError
from eqprop_analog.learning.contrast import contrast
from eqprop_analog.learning.update import Rates, descend
from eqprop_analog.models import ResistiveNetwork
from eqprop_analog.nudging import Cost, Kind, Nudge

Array = np.ndarray
Progress = Callable[[int, float], None]
"""Called after every batch with the samples done and the error so far, a fraction."""


class PhaseSolver(Protocol):
    """What the trainer needs of a solver."""

    def solve_phases(
        self, network: ResistiveNetwork, inputs: Float[Array, "batch inputs"], nudges: Sequence[Nudge]
    ) -> tuple[Equilibrium, ...]:
        """The free equilibrium, then one for each nudge."""
        ...


@dataclass(frozen=True)
class Rule:
    """How phases become an update."""

    rates: Rates
    beta: float
    """Siemens for squared error, amperes for cross-entropy."""
    nudging: Literal["centred", "one-sided"] = "centred"
    kind: Kind = "conductance"
    cost: Cost = "squared-error"

    def nudges(self, targets: Float[Array, "batch outputs"]) -> list[Nudge]:
        """The nudged phases of a batch."""
        betas = (self.beta, -self.beta) if self.nudging == "centred" else (self.beta,)
        return [Nudge(targets, beta, self.kind, self.cost) for beta in betas]


@dataclass(frozen=True)
class Pass:
    """What one pass over data gave."""

    error: float
    """Fraction of wrong predictions."""
    statuses: Counter[str]
    """Equilibria by the name of their status."""


class Learner(Protocol):
    """What a pass over data needs: something that learns from a batch."""

    def learn(
        self, inputs: Float[Array, "batch inputs"], targets: Float[Array, "batch outputs"]
    ) -> tuple[int, Counter[str]]:
        """One update of the network, in place; the wrong predictions of its free phases, and all phases by status."""
        ...


class PhaseError(UserError):
    """A batch holds a sample without an equilibrium."""


@dataclass(frozen=True)
class PhaseLearner:
    """Phases from any solver, their contrast, one step of descent.

    An equilibrium that neither converged nor was truncated on purpose raises PhaseError before the update; with
    ``skip_failures`` its sample is left out of the update instead, and counts as wrong.
    """

    network: ResistiveNetwork
    solver: PhaseSolver
    rule: Rule
    skip_failures: bool = False

    def learn(
        self, inputs: Float[Array, "batch inputs"], targets: Float[Array, "batch outputs"]
    ) -> tuple[int, Counter[str]]:
        """One update from one batch; see Learner."""
        with np.errstate(all="ignore"):  # an equilibrium that overflows says so by its status
            phases = self.solver.solve_phases(self.network, inputs, self.rule.nudges(targets))
        statuses: Counter[str] = Counter()
        for phase in phases:
            _count(phase if self.skip_failures else required(phase), statuses)
        good = np.all([phase.good for phase in phases], axis=0)
        if good.all():
            return self._update(inputs, targets, phases), statuses
        wrong = int((~good).sum())
        if good.any():
            wrong += self._update(inputs[good], targets[good], [phase.select(good) for phase in phases])
        return wrong, statuses

    def _update(
        self,
        inputs: Float[Array, "batch inputs"],
        targets: Float[Array, "batch outputs"],
        phases: Sequence[Equilibrium],
    ) -> int:
        free, plus, *minus = phases
        gradient = contrast(self.network, inputs, plus, minus[0] if minus else free)
        descend(self.network, gradient, self.rule.rates)
        return mistakes(self.network.readout(free.outputs), targets)


def train_pass(
    learner: Learner,
    batches: Iterable[tuple[Float[Array, "batch inputs"], Float[Array, "batch outputs"]]],
    progress: Progress = lambda _done, _error: None,
) -> Pass:
    """One update for every (inputs, targets) batch; targets in volts, one output a class.

    The error is that of the free phases before each update. Raises UserError for a batch that the learner refuses.
    """
    done = wrong = 0
    statuses: Counter[str] = Counter()
    for inputs, targets in batches:
        done += len(inputs)
        try:
            mistaken, found = learner.learn(inputs, targets)
        except PhaseError as error:
            raise UserError(f"after {done} images: {error}; if training diverged, use smaller rates") from error
        wrong += mistaken
        statuses.update(found)
        progress(done, wrong / done)
    return Pass(wrong / max(done, 1), statuses)


def train_epoch(
    network: ResistiveNetwork,
    solver: PhaseSolver,
    rule: Rule,
    batches: Iterable[tuple[Float[Array, "batch inputs"], Float[Array, "batch outputs"]]],
    *,
    skip_failures: bool = False,
) -> Pass:
    """A pass of a PhaseLearner, which ends with finite parameters or UserError."""
    result = train_pass(PhaseLearner(network, solver, rule, skip_failures), batches)
    require_finite(network)
    return result


def require_finite(network: ResistiveNetwork) -> None:
    """Raise UserError if training has diverged."""
    if not all(np.isfinite(values).all() for values in network.arrays().values()):
        raise UserError("training diverged: a conductance or bias is no longer finite; use smaller rates")


def evaluate(
    network: ResistiveNetwork,
    solve: Callable[[ResistiveNetwork, Float[Array, "batch inputs"]], Equilibrium],
    images: Float[Array, "samples inputs"],
    labels: Int[Array, " samples"],
    chunk: int = 1000,
    progress: Progress = lambda _done, _error: None,
) -> Pass:
    """Error of the free phase's predictions over a data set; a sample without an equilibrium counts as wrong."""
    wrong = 0
    statuses: Counter[str] = Counter()
    for begin in range(0, len(images), chunk):
        part = slice(begin, begin + chunk)
        free = solve(network, images[part])
        _count(free, statuses)
        wrong += int((~free.good | (predictions(network.readout(free.outputs)) != labels[part])).sum())
        progress(min(begin + chunk, len(images)), wrong / min(begin + chunk, len(images)))
    return Pass(wrong / max(len(images), 1), statuses)


def required(phase: Equilibrium) -> Equilibrium:
    """``phase``, or PhaseError with its first failed sample's status."""
    try:
        return phase.require()
    except UserError as error:
        raise PhaseError(str(error)) from error


def _count(phase: Equilibrium, statuses: Counter[str]) -> None:
    for status in set(phase.status.tolist()):
        statuses[status.name] += int((phase.status == status).sum())


def predictions(readout: Float[Array, "batch classes"]) -> Int[Array, " batch"]:
    """The class of the largest read-out, or, of a single one, 1 above half a volt and 0 below."""
    return (readout[:, 0] > 0.5).astype(int) if readout.shape[1] == 1 else readout.argmax(axis=1)


def mistakes(readout: Float[Array, "batch classes"], targets: Float[Array, "batch classes"]) -> int:
    """Wrong predictions."""
    return int((predictions(readout) != predictions(targets)).sum())
