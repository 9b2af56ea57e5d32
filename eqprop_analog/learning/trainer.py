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


def train_epoch(
    network: ResistiveNetwork,
    solver: PhaseSolver,
    rule: Rule,
    batches: Iterable[tuple[Float[Array, "batch inputs"], Float[Array, "batch outputs"]]],
    progress: Progress = lambda _done, _error: None,
    *,
    skip_failures: bool = False,
) -> Pass:
    """One update of ``network``, in place, for every (inputs, targets) batch; targets in volts, one output a class.

    The error is that of the free phases before each update. An equilibrium that neither converged nor was truncated on
    purpose raises UserError before the update; with ``skip_failures`` its sample is left out of the update instead, and
    counts as wrong.
    """
    done = wrong = 0
    statuses: Counter[str] = Counter()
    for inputs, targets in batches:
        with np.errstate(all="ignore"):  # an equilibrium that overflows says so by its status
            phases = solver.solve_phases(network, inputs, rule.nudges(targets))
        done += len(inputs)
        for phase in phases:
            _count(phase if skip_failures else _required(phase, done), statuses)
        good = np.all([phase.good for phase in phases], axis=0)
        if good.all():
            wrong += _learn(network, rule, inputs, targets, phases)
        else:
            wrong += int((~good).sum())
            if good.any():
                some = [phase.select(good) for phase in phases]
                wrong += _learn(network, rule, inputs[good], targets[good], some)
        progress(done, wrong / done)
    if not all(np.isfinite(values).all() for values in network.arrays().values()):
        raise UserError("training diverged: a conductance or bias is no longer finite; use smaller rates")
    return Pass(wrong / max(done, 1), statuses)


def evaluate(
    network: ResistiveNetwork,
    solve: Callable[[ResistiveNetwork, Float[Array, "batch inputs"]], Equilibrium],
    images: Float[Array, "samples inputs"],
    labels: Int[Array, " samples"],
    chunk: int = 1000,
    progress: Progress = lambda _done, _error: None,
) -> Pass:
    """Error of the free phase's largest output over a data set; a sample without an equilibrium counts as wrong."""
    wrong = 0
    statuses: Counter[str] = Counter()
    for begin in range(0, len(images), chunk):
        part = slice(begin, begin + chunk)
        free = solve(network, images[part])
        _count(free, statuses)
        wrong += int((~free.good | (free.outputs.argmax(axis=1) != labels[part])).sum())
        progress(min(begin + chunk, len(images)), wrong / min(begin + chunk, len(images)))
    return Pass(wrong / max(len(images), 1), statuses)


def _required(phase: Equilibrium, done: int) -> Equilibrium:
    try:
        return phase.require()
    except UserError as error:
        raise UserError(f"after {done} images: {error}; if training diverged, use smaller rates") from error


def _learn(
    network: ResistiveNetwork,
    rule: Rule,
    inputs: Float[Array, "batch inputs"],
    targets: Float[Array, "batch outputs"],
    phases: Sequence[Equilibrium],
) -> int:
    """One update from one batch's phases; the wrong predictions of its free phase."""
    free, plus, *minus = phases
    descend(network, contrast(network, inputs, plus, minus[0] if minus else free), rule.rates)
    return _mistakes(free.outputs, targets)


def _count(phase: Equilibrium, statuses: Counter[str]) -> None:
    for status in set(phase.status.tolist()):
        statuses[status.name] += int((phase.status == status).sum())


def predictions(outputs: Float[Array, "batch outputs"]) -> Int[Array, " batch"]:
    """The largest output, or, of a single output, 1 above half the way and 0 below."""
    return (outputs[:, 0] > 0.5).astype(int) if outputs.shape[1] == 1 else outputs.argmax(axis=1)


def _mistakes(outputs: Float[Array, "batch outputs"], targets: Float[Array, "batch outputs"]) -> int:
    """Wrong predictions."""
    return int((predictions(outputs) != predictions(targets)).sum())
