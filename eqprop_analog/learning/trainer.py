"""Training by equilibrium propagation with any solver: phases, contrast, update, batch after batch."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar, get_args

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from eqprop_analog.core.checks import as_batch, checked_labels, checked_target
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.network import Network
from eqprop_analog.core.nudge import Cost, Kind, Nudge
from eqprop_analog.core.readouts import predictions
from eqprop_analog.errors import UserError
from eqprop_analog.incoming import one_of, real_number
from eqprop_analog.learning.local import Signal, learning_signal
from eqprop_analog.learning.persistent import PersistentStates
from eqprop_analog.learning.update import LearningRates, Momentum, Parameters, check_rates, descend

Array = np.ndarray
log = logging.getLogger(__name__)
N = TypeVar("N", bound=Network)
N_contra = TypeVar("N_contra", bound=Network, contravariant=True)
Nudging = Literal["centred", "one-sided", "random-sign"]
Progress = Callable[[int, float], None]
"""Called after every batch with the number of samples done and the error so far: a fraction, or the figure of the stage."""
Stage = Callable[..., AbstractContextManager[Progress]]
"""Opens a progress display for a stage with a number of samples; ``unit`` is their name, ``measure`` their error."""


def silent(*_stage: object, **_how: object) -> AbstractContextManager[Progress]:
    """A stage without a display."""
    return nullcontext(lambda _done, _error: None)


class PhaseSolver(Protocol[N_contra]):
    """A solver as the trainer uses it; solvers of Hopfield networks also accept a start of the free phase."""

    def solve_phases(
        self, network: N_contra, inputs: Float[Array, "batch inputs"], nudges: Sequence[Nudge]
    ) -> tuple[Equilibrium, ...]:
        """Return the free equilibrium, followed by one for each nudge."""
        ...


@dataclass(frozen=True)
class Rule:
    """The learning rule: nudge, cost and rates, which turn phases into an update.

    >>> import eqprop_analog as ea
    >>> rule = ea.Rule(ea.Rates((1e-14, 1e-15), (1e-13, 1e-14)), beta=1e-7)  # S²/V², A²/V²; siemens
    >>> rule.nudging, rule.kind, rule.cost
    ('centred', 'conductance', 'squared-error')
    """

    rates: LearningRates
    """Learning rates: Rates (resistive networks), WeightRates (Hopfield networks) or UniformRates."""
    beta: float
    """Strength of the nudge: siemens for squared error, amperes for cross-entropy; dimensionless for a Hopfield network."""
    nudging: Nudging = "centred"
    """"random-sign" (Scellier & Bengio 2017): one-sided, with the sign of β drawn anew for every batch."""
    kind: Kind = "conductance"
    cost: Cost = "squared-error"
    signal: Signal = "contrast"
    """Learning signal of untied weights; see learning.local."""
    tolerance: float | None = None
    """Largest rms error of a sample's read-outs, volts, for it to count as correct; None: its class counts."""

    def __post_init__(self) -> None:
        """Raise UserError for invalid settings."""
        if not all(callable(getattr(self.rates, name, None)) for name in ("scaled", "of")):
            raise UserError(
                "rates: expected Rates(conductances, biases) or, for a Hopfield network, WeightRates(weights, "
                f"biases), got {self.rates!r:.80}"
            )
        object.__setattr__(self, "beta", real_number(self.beta, "beta", "siemens, or amperes for cross-entropy"))
        for name, known in (("nudging", Nudging), ("kind", Kind), ("cost", Cost), ("signal", Signal)):
            one_of(getattr(self, name), name, get_args(known))

    def nudges(self, targets: Float[Array, "batch outputs"], random: np.random.Generator | None = None) -> list[Nudge]:
        """Return the nudges of a batch with these ``targets`` (V).

        ``random`` draws signs. Raises UserError if it is needed and missing.
        """
        betas = {"centred": (self.beta, -self.beta), "one-sided": (self.beta,)}.get(self.nudging)
        if betas is None:
            if random is None:
                raise UserError("nudging: random signs need a random generator")
            betas = (self.beta if random.random() < 0.5 else -self.beta,)
        return [Nudge(targets, beta, self.kind, self.cost) for beta in betas]


@dataclass
class Pass:
    """The results of a pass over data so far."""

    samples: int = 0
    wrong: int = 0
    """Number of wrong predictions."""
    statuses: Counter[str] = field(default_factory=Counter)
    """Number of equilibria by the name of their status."""

    squares: float = 0.0
    """Sum over samples of the squared error, averaged over read-outs, V²; 0 if the learner does not compute it."""

    @property
    def loss(self) -> float:
        """Mean squared error of the read-outs, V²; targets of classes are 1 V at the correct output and 0 V at the others."""
        return self.squares / max(self.samples, 1)

    @property
    def rms(self) -> float:
        """Square root of the loss, volts."""
        return float(np.sqrt(self.loss))

    @property
    def error(self) -> float:
        """Fraction of wrong predictions."""
        return self.wrong / max(self.samples, 1)


class Learner(Protocol):
    """A learner, which a pass over data calls with every batch."""

    renewed: int = 0
    """Number of times that a column without conductances was reinitialized (networks.resistive.initial.renew)."""
    squares: float = 0.0
    """Pass.squares of the last batch."""

    def learn(
        self, inputs: Float[Array, "batch inputs"], targets: Float[Array, "batch outputs"], *examples: Any
    ) -> tuple[int, Counter[str]]:
        """Update the network in place; return the number of wrong predictions of the free phases, and all phases by status.

        ``examples`` are the samples' indices in the data set, if the batch has them.
        """
        ...

    def judged(
        self,
        readout: Float[Array, "batch classes"],
        targets: Float[Array, "batch classes"],
        tolerance: float | None = None,
    ) -> int:
        """Return the number of wrong predictions of a batch's free phase (see Rule.tolerance), and set ``squares``."""
        self.squares = float(squared_errors(readout, targets).sum())
        return mistakes(readout, targets, tolerance)

    def run_pass(self, batches: Iterable[tuple[Array, ...]], progress: Progress, so_far: Pass) -> Pass:
        """Learn from all ``batches``, see train_pass; a learner that holds the data iterates over them itself."""
        return train_pass(self, batches, progress, so_far)

    def arrays(self) -> Mapping[str, Array]:
        """State kept from batch to batch, by name, in addition to experiments.config.Training.arrays."""
        return {}

    def figures(self) -> Mapping[str, float]:
        """Figures of the learner for the epoch's entry in metrics.json."""
        return {}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Resume bit-identically from the result of ``arrays``, with a fresh learner of the network in its state at that time."""
        for name, values in self.arrays().items():
            values[...] = arrays[name]


class PhaseError(UserError):
    """Raised for a batch with a sample without an equilibrium."""


@dataclass
class PhaseLearner(Learner, Generic[N]):
    """A learner that takes phases from any solver, and one gradient step along their contrast.

    An equilibrium that neither converged nor was deliberately truncated raises PhaseError before the update. With
    ``skip_failures``, its sample is left out of the update instead, and counts as wrong.

    >>> import eqprop_analog as ea
    >>> network = ea.ResistiveNetwork.dense([2, 4, 2])
    >>> rule = ea.Rule(ea.Rates((1e-12, 1e-12), (0, 0)), beta=1e-8)  # S²/V², A²/V², siemens
    >>> learner = ea.PhaseLearner(network, ea.SurrogateSolver(), rule)
    """

    network: N
    """The network, which is changed in place."""
    solver: PhaseSolver[N]
    """The solver of its equilibria."""
    rule: Rule
    """The learning rule."""
    skip_failures: bool = False
    momentum: Momentum | None = None
    """Momentum of the updates; None is plain gradient descent."""
    random: np.random.Generator | None = None
    """The random generator for the signs of random-sign nudging."""
    persistent: PersistentStates | None = None
    """Initial and final states of the free phases; needs a solver of Hopfield networks and the examples' indices."""

    def __post_init__(self) -> None:
        """Raise UserError for rates that do not match the network."""
        check_rates(self.rule.rates, self.network)

    def learn(
        self,
        inputs: Float[Array, "batch inputs"],
        targets: Float[Array, "batch outputs"],
        examples: Int[Array, " batch"] | None = None,
    ) -> tuple[int, Counter[str]]:
        """Update from one batch of ``inputs`` and ``targets`` (V); ``examples``: their indices. See Learner."""
        inputs, targets = taken(self.network, inputs, targets)
        with np.errstate(all="ignore"):  # an equilibrium that overflows is marked by its status
            phases = self._phases(inputs, targets, examples)
        statuses: Counter[str] = Counter()
        for phase in phases:
            count_statuses(phase if self.skip_failures else required(phase), statuses)
        good = np.all([phase.good for phase in phases], axis=0)
        if good.all():
            return self._update(inputs, targets, phases), statuses
        wrong = int((~good).sum())
        if good.any():
            wrong += self._update(inputs[good], targets[good], [phase.select(good) for phase in phases])
        return wrong, statuses

    def _phases(
        self,
        inputs: Float[Array, "batch inputs"],
        targets: Float[Array, "batch outputs"],
        examples: Int[Array, " batch"] | None,
    ) -> Sequence[Equilibrium]:
        nudges = self.rule.nudges(targets, self.random)
        if self.persistent is None:
            return self.solver.solve_phases(self.network, inputs, nudges)
        start = self.persistent.start(examples)
        phases = self.solver.solve_phases(self.network, inputs, nudges, start)  # type: ignore[call-arg]
        self.persistent.keep(examples, phases[0])
        return phases

    def _update(
        self,
        inputs: Float[Array, "batch inputs"],
        targets: Float[Array, "batch outputs"],
        phases: Sequence[Equilibrium],
    ) -> int:
        free, plus, *minus = phases
        read = self.network.readout(free.outputs)
        wrong = self.judged(read, targets, self.rule.tolerance)  # of the read-out before its update
        gradient = learning_signal(self.rule.signal, self.network, inputs, plus, minus[0] if minus else free, free)
        self.renewed += descend(self.network, gradient, self.rule.rates, self.momentum)
        return wrong


def taken(
    network: Network, inputs: ArrayLike, targets: ArrayLike
) -> tuple[Float[Array, "batch inputs"], Float[Array, "batch outputs"]]:
    """Return a batch in the precision of training, without copying arrays that have it.

    Raises UserError for an invalid batch.
    """
    batch = as_batch(network, inputs)
    shape = len(batch), network.classes
    if type(targets) is np.ndarray and targets.dtype == batch.dtype and targets.shape == shape:
        return batch, targets
    return batch, checked_target(targets, shape, batch.dtype)


def train_pass(
    learner: Learner,
    batches: Iterable[tuple[Array, ...]],
    progress: Progress = lambda _done, _error: None,
    so_far: Pass | None = None,
) -> Pass:
    """Update for every batch: inputs, targets in volts, one output per class, and the examples' indices if they are needed.

    The error is that of the free phases before each update. The results are added to ``so_far``, if given, before
    ``progress`` is called. Raises UserError for a batch that the learner refuses.
    """
    result, renewed = Pass() if so_far is None else so_far, learner.renewed
    for batch in batches:
        done = result.samples + len(batch[0])
        try:
            mistaken, found = learner.learn(*batch)
        except PhaseError as error:
            raise UserError(f"after {done} images: {error}; if training diverged, use smaller rates") from error
        result.samples, result.wrong = done, result.wrong + mistaken
        result.squares += learner.squares
        result.statuses.update(found)
        progress(done, result.error)
    if learner.renewed > renewed:
        log.warning(
            "an update removed the last conductance of a crossbar's column %d times; every cell of the column was "
            "reset to the mean of an untrained crossbar's conductances. Use smaller rates (--rate-factor) or a "
            "window with G_min > 0",
            learner.renewed - renewed,
        )
    return result


def train_epoch(
    network: N,
    solver: PhaseSolver[N],
    rule: Rule,
    batches: Iterable[tuple[Float[Array, "batch inputs"], Float[Array, "batch outputs"]]],
    *,
    skip_failures: bool = False,
) -> Pass:
    """Run one pass of a PhaseLearner; raises UserError if the parameters are not finite at its end.

    The arguments:

    - network: its arrays are changed in place.
    - solver: finds the phases of every batch.
    - rule: rates, nudge and cost.
    - batches: pairs of inputs (batch, inputs) and targets (batch, read-outs), volts.
    - skip_failures: leave samples without an equilibrium out of the update instead of raising UserError.

    >>> import numpy as np
    >>> import eqprop_analog as ea
    >>> network = ea.ResistiveNetwork.dense([2, 4, 2], diode=ea.Clamp(rail=0.0))
    >>> x = np.random.default_rng(0).uniform(-1, 1, (40, 2))
    >>> y = np.eye(2)[(x[:, 0] > 0).astype(int)]  # 1 V at the correct output
    >>> rule = ea.Rule(ea.Rates((1e-12, 1e-12), (0, 0)), beta=1e-8)
    >>> errors = [ea.train_epoch(network, ea.SurrogateSolver(), rule, [(x, y)]).rms for _ in range(30)]
    >>> errors[-1] < 0.9 * errors[0]  # volts, root mean square
    True
    """
    result = train_pass(PhaseLearner(network, solver, rule, skip_failures), batches)
    require_finite(network)
    return result


def require_finite(network: Parameters) -> None:
    """Raise UserError if training has diverged."""
    if not all(np.isfinite(values).all() for values in network.arrays().values()):
        raise UserError("training diverged: a parameter is no longer finite; use smaller rates")


def evaluate(
    network: N,
    solve: Callable[[N, Float[Array, "batch inputs"]], Equilibrium],
    images: Float[Array, "samples inputs"],
    labels: Int[Array, " samples"],
    chunk: int = 1000,
    progress: Progress = lambda _done, _error: None,
    so_far: Pass | None = None,
    tolerance: float | None = None,
) -> Pass:
    """Return the error of the free phase's predictions over a data set; a sample without an equilibrium counts as wrong.

    ``labels``: class of every sample or, with ``tolerance``, its targets, volts (see Rule). ``so_far``: results of the
    first images, after which the evaluation continues. ``solve``: a function of network and inputs, such as
    SurrogateSolver().solve. ``chunk``: number of samples solved together. ``progress``: called after each chunk.

    >>> import eqprop_analog as ea
    >>> network = ea.ResistiveNetwork.dense([2, 3, 2])
    >>> done = ea.evaluate(network, ea.SurrogateSolver().solve, [[0.1, 0.2], [0.3, 0.4]], [0, 1])
    >>> done.samples, 0 <= done.error <= 1
    (2, True)
    """
    result = Pass() if so_far is None else so_far
    labels = checked_labels(labels, len(images)) if tolerance is None else labels
    for begin in range(result.samples, len(images), chunk):
        part = slice(begin, begin + chunk)
        free = solve(network, images[part])
        count_statuses(free, result.statuses)
        read = network.readout(free.outputs)
        targets = np.eye(network.classes, dtype=read.dtype)[labels[part]] if tolerance is None else labels[part]
        squares = squared_errors(np.where(free.good[:, None], read, 0), targets)
        result.squares += float(squares.sum())
        off = predictions(read) != labels[part] if tolerance is None else squares > tolerance**2
        result.wrong += int((~free.good | off).sum())
        result.samples = min(begin + chunk, len(images))
        progress(result.samples, result.error)
    return result


def required(phase: Equilibrium) -> Equilibrium:
    """Return ``phase``. Raises PhaseError with the status of its first failed sample."""
    try:
        return phase.require()
    except UserError as error:
        raise PhaseError(str(error)) from error


def count_statuses(phase: Equilibrium, statuses: Counter[str]) -> None:
    """Add the phase's samples to ``statuses``, by name."""
    for status in set(phase.status.tolist()):
        statuses[status.name] += int((phase.status == status).sum())


def squared_errors(
    readout: Float[Array, "batch classes"], targets: Float[Array, "batch classes"]
) -> Float[Array, " batch"]:
    """Return every sample's squared error, averaged over its read-outs, V²."""
    off = readout - targets
    return np.einsum("bk,bk->b", off, off) / off.shape[1]


def mistakes(
    readout: Float[Array, "batch classes"], targets: Float[Array, "batch classes"], tolerance: float | None = None
) -> int:
    """Return which predictions are wrong; with ``tolerance`` (volts), whose root mean square error is larger."""
    if tolerance is not None:
        return int((squared_errors(readout, targets) > tolerance**2).sum())
    return int((predictions(readout) != predictions(targets)).sum())
