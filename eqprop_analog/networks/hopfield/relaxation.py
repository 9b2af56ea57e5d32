"""The base class of all relaxation solvers of Hopfield networks: phases, number of steps, convergence, status."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from eqprop_analog.core.checks import as_batch, require_kind
from eqprop_analog.core.equilibrium import Equilibrium, Layers, Status, statuses
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.errors import UserError
from eqprop_analog.incoming import real_number, require_tolerance, whole_number
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.network import HopfieldNetwork

Array = np.ndarray

TOLERANCE = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-5}
"""Default tolerance for each precision, volts."""
LOOK = 10
"""Steps between two evaluations of the residual, each of which costs about one step."""


@dataclass(frozen=True, eq=False)
class RelaxingBatch:
    """The state of a batch during relaxation, in arrays that are changed in place."""

    equations: HopfieldEquations
    states: Layers
    """s, volts."""
    voltages: Layers
    """The dynamic variables: the nodes' voltages before their buffers, or ``states`` themselves."""
    forces: Layers
    """Work space for u."""

    @classmethod
    def of_states(cls, equations: HopfieldEquations, start: Layers | None) -> Self:
        """A batch whose dynamic variables are the states, with initial values ``start`` or 0 V."""
        zeros = equations.initial()
        states = zeros if start is None else tuple(np.array(s, z.dtype) for s, z in zip(start, zeros, strict=True))
        return cls(equations, states, states, tuple(np.empty_like(s) for s in states))

    @classmethod
    def of_voltages(cls, equations: HopfieldEquations, start: Layers | None) -> Self:
        """A batch whose dynamic variables are the voltages before the buffers.

        Their initial values are 0 V or, with ``start``, the voltages whose buffer outputs are ``start``. A node whose output
        is 0 or 1 V starts at its force without the nudge, limited to the range in which a hard sigmoid has this output.
        """
        batch = cls.of_states(equations, start)
        buffer = equations.network.buffer
        voltages = equations.initial()
        if start is not None:
            low, high = buffer.span
            floor, ceiling = (end if np.isfinite(end) else -end for end in (low, high))
            for v, s, u in zip(voltages, batch.states, equations.free().forces(batch.states), strict=True):
                inside = np.where(s <= 0, np.minimum(u, floor), buffer.inverse(s))
                v[...] = np.where(s >= 1, np.maximum(u, ceiling), inside)
        for v, s in zip(voltages, batch.states, strict=True):
            buffer.output(v, out=s)
        return cls(equations, batch.states, voltages, batch.forces)

    def select(self, samples: Bool[Array, " batch"]) -> Self:
        """The given samples, in new arrays."""
        states = tuple(s[samples] for s in self.states)
        voltages = states if self.voltages is self.states else tuple(v[samples] for v in self.voltages)
        return type(self)(self.equations.select(samples), states, voltages, tuple(np.empty_like(s) for s in states))

    def residual(self) -> Float[Array, " batch"]:
        """Largest |s - ρ(u)| of each sample, volts."""
        return self.equations.distance(self.states, self.equations.forces(self.states, self.forces))


@dataclass(frozen=True)
class ExplicitSteps:
    """s' = s + rate·(ρ(u) - s), or Euler's step of the gradient flow: one step of a free phase, for backpropagation."""

    groups: Sequence[range]
    """Layers (from 0) that are updated at once; later groups use the states that earlier groups have just reached."""
    rate: float = 1.0
    """Fraction of the distance to ρ(u) that a step covers; for a flow, of the distance to gu, unless it ends at a corner."""
    flows: bool = False


@dataclass(frozen=True, kw_only=True)
class Relaxation(ABC):
    """s → ρ(u(s)), iterated for a given number of steps or until converged, in the network's dtype."""

    nudges_outputs: ClassVar[bool] = False
    """Whether the solver supports nudges of kind "output"."""
    free_steps: int | None = None
    """T: number of steps of the free phase (status TRUNCATED); None: iterate until it has converged."""
    nudged_steps: int | None = None
    """K: the same for nudged phases."""
    tolerance: float | None = None
    """Largest |s - ρ(u)| of a converged node, volts (default 1e-12 in float64, 1e-5 in float32)."""
    max_steps: int = 10_000
    """Largest number of steps of a phase without a given number; the status is then STALLED."""
    check_residual: bool = True
    """Whether the residual of truncated phases is computed; otherwise it is NaN."""

    def __post_init__(self) -> None:
        """Raise UserError unless step counts are positive integers and the tolerance is valid."""
        for name in ("free_steps", "nudged_steps", "max_steps"):
            if name == "max_steps" or getattr(self, name) is not None:
                object.__setattr__(self, name, whole_number(getattr(self, name), name, 1))
        require_tolerance(self.tolerance)

    @abstractmethod
    def begin(self, equations: HopfieldEquations, start: Layers | None) -> RelaxingBatch:
        """A batch of the samples of ``equations`` at ``start``, or at 0 V."""

    @abstractmethod
    def advance(self, batch: RelaxingBatch) -> None:
        """Take one step of all samples of ``batch``, in place."""

    def explicit_steps(self, network: HopfieldNetwork) -> ExplicitSteps:
        """The form of each step in ``network``, for backpropagation.

        Raises UserError for dynamics or a buffer through which bptt cannot differentiate.
        """
        raise UserError(
            "bptt: expected discrete time, descent, or the gradient flow of hard sigmoids, got "
            f"{type(self).__name__} with {network.buffer}"
        )

    def solve(
        self,
        network: HopfieldNetwork,
        inputs: ArrayLike,
        nudge: Nudge | None = None,
        start: Equilibrium | None = None,
    ) -> Equilibrium:
        """Equilibrium of each row of ``inputs`` (batch, inputs) from the initial states ``start``, or from 0 V.

        A nudged phase ends in the basin of attraction in which it starts, so it inherits the failures of ``start``. Raises
        UserError if network, inputs, nudge and start do not fit each other.
        """
        require_kind(f"network of {type(self).__name__}", network, HopfieldNetwork)
        network.validate()
        equations = HopfieldEquations.of(network, network.check_inputs(inputs))
        start = equations.begun(start)
        if nudge is None:
            return self.settle(equations, start, self.free_steps, None)
        return self.settle(equations.nudged([nudge], start), start, self.nudged_steps, nudge).inheriting(start)

    def solve_phases(
        self,
        network: HopfieldNetwork,
        inputs: Float[Array, "batch inputs"],
        nudges: Sequence[Nudge],
        start: Equilibrium | None = None,
    ) -> tuple[Equilibrium, ...]:
        """The free phase from ``start`` or 0 V, then every nudged phase from the free equilibrium, solved as one batch.

        For training: ``network`` and ``inputs``, which must have its dtype, are not validated again.
        """
        equations = HopfieldEquations.of(network, as_batch(network, inputs))
        start = equations.begun(start)
        free = self.settle(equations, start, self.free_steps, None)
        if not nudges:
            return (free,)
        together = self.settle(equations.nudged(nudges, free), repeated(free, len(nudges)), self.nudged_steps, None)
        return free, *(phase.inheriting(free) for phase in together.split(nudges))

    def settle(
        self, equations: HopfieldEquations, start: Equilibrium | None, steps: int | None, nudge: Nudge | None
    ) -> Equilibrium:
        """One phase of valid ``equations``: the given number of ``steps``, or until converged."""
        if equations.at_output and not self.nudges_outputs:
            raise UserError(
                'nudge: kind="output" needs DiscreteTimeSolver; other solvers take "conductance" or "feedback"'
            )
        batch = self.begin(equations, None if start is None else start.voltages)
        if steps is None:
            return self._converge(batch, nudge)
        for _ in range(steps):
            self.advance(batch)
        residual = batch.residual() if self.check_residual else np.full(len(equations), np.nan)
        status = np.full(len(equations), Status.TRUNCATED, dtype=object)
        return _bounded(Equilibrium(batch.states, residual, status, nudge))

    def _converge(self, batch: RelaxingBatch, nudge: Nudge | None) -> Equilibrium:
        """Step until every sample has converged; converged samples are no longer computed."""
        bound = TOLERANCE[batch.equations.drive.dtype] if self.tolerance is None else self.tolerance
        states, active = batch.states, np.arange(len(batch.equations))
        residual = np.empty(active.size)
        taken = 0
        while True:
            excess = batch.residual()
            residual[active] = excess
            going = excess > bound
            if not going.all():
                _put(states, active, batch.states)
                active = active[going]
                batch = batch.select(going)
            if not active.size or taken >= self.max_steps:
                break
            for _ in range(min(LOOK, self.max_steps - taken)):
                self.advance(batch)
            taken += LOOK
        _put(states, active, batch.states)
        status = statuses(residual <= bound)
        status[np.isnan(residual)] = Status.OUT_OF_BOUNDS
        return _bounded(Equilibrium(states, residual, status, nudge))


def require_step(step: float) -> None:
    """Raise UserError unless Euler's method with this step is stable on an isolated node and does not overshoot."""
    if not 0 < real_number(step, "step", "time constants") <= 1:
        raise UserError(f"step: expected a number above 0 and at most 1 (time constants), got {step!r}")


def repeated(phase: Equilibrium, times: int) -> Equilibrium:
    """``phase`` repeated ``times`` times along the batch axis."""
    voltages = tuple(np.tile(v, (times, 1)) for v in phase.voltages)
    return Equilibrium(voltages, np.tile(phase.residual, times), np.tile(phase.status, times), phase.nudge)


def _put(states: Layers, samples: Array, values: Layers) -> None:
    for mine, its in zip(states, values, strict=True):
        if mine is not its:
            mine[samples] = its


def _bounded(phase: Equilibrium) -> Equilibrium:
    """``phase``, with the status OUT_OF_BOUNDS for samples with a state that is not finite."""
    finite = np.isfinite(sum(s.sum(axis=1) for s in phase.voltages))
    phase.status[~finite] = Status.OUT_OF_BOUNDS
    return phase
