"""The surrogate: the circuit's equilibria in vectorized NumPy, without a circuit simulator."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from eqprop_analog.core.certificate import certified, largest
from eqprop_analog.core.checks import as_batch
from eqprop_analog.core.equilibrium import Equilibrium, Layers, Status
from eqprop_analog.core.network import Network
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.core.registry import family_of
from eqprop_analog.core.solver import Solver
from eqprop_analog.errors import UserError
from eqprop_analog.incoming import require_tolerance, whole_number
from eqprop_analog.networks.resistive.coordinate_descent import sweep
from eqprop_analog.networks.resistive.equations import NodalEquations
from eqprop_analog.networks.resistive.newton import colours, newton_step

Array = np.ndarray
log = logging.getLogger(__name__)

TOLERANCE = {np.dtype(np.float64): 1e-13, np.dtype(np.float32): 1e-5}
"""Default tolerance by precision, about a hundred roundings."""
STEP_LENGTHS = tuple(4.0**-k for k in range(9))
"""Fractions of a Newton step that are tried if the full step does not halve the excess."""
ACCURACY = 1e-4
"""Relative residual of a Newton step's linear solve; a smaller one saves no iteration."""
AIM = 0.01
"""Fraction of the tolerance; errors decrease quadratically, so that one more step reaches rounding."""
ELEMENTS = 2**19
"""Number of node voltages that are iterated together."""

Samples = Bool[Array, " batch"] | Int[Array, " some"]


@dataclass(frozen=True)
class SurrogateSolver:
    """F(v) = 0 (NodalEquations) by Newton steps safeguarded by coordinate descent, or by a fixed number of sweeps.

    Each iteration tries a Newton step followed by a sweep, and keeps it for the samples whose excess (core.Equations) it
    halves; the others take the best of shorter steps and none, each followed by a sweep, under which the convex energy
    always decreases. Converged samples cost nothing more. Arrays have the network's dtype.

    Networks of another family are solved by the family's own solver in NumPy (core.Family.surrogate), which has no settings here.

    >>> import eqprop_analog as ea
    >>> network = ea.ResistiveNetwork.dense([2, 3, 2])
    >>> free = ea.SurrogateSolver().solve(network, [[0.1, 0.2], [0.3, 0.4]])  # (samples, inputs), times the input gain volts
    >>> [v.shape for v in free.voltages], free.status[0].name
    ([(2, 3), (2, 2)], 'CONVERGED')
    """

    tolerance: float | None = None
    """Largest KCL residual of a converged node, as the correcting voltage over the circuit's largest voltage
    (default 1e-13 in float64, 1e-5 in float32)."""
    max_iterations: int = 200
    """Largest number of iterations, after which a sample that has not converged is STALLED."""
    sweeps: int | None = None
    """Stop after this number of sweeps of coordinate descent instead, with status TRUNCATED."""
    check_residual: bool = True
    """Whether truncated phases report their residual."""

    def __post_init__(self) -> None:
        """Raise UserError for invalid settings."""
        require_tolerance(self.tolerance)
        whole_number(self.max_iterations, "max_iterations")
        if self.sweeps is not None:
            whole_number(self.sweeps, "sweeps", 1)

    def solve(
        self,
        network: Network,
        inputs: ArrayLike,
        nudge: Nudge | None = None,
        start: Equilibrium | None = None,
    ) -> Equilibrium:
        """Return the equilibrium of each row of ``inputs`` (batch, inputs), starting at ``start`` or at 0 V.

        Raises UserError if network, inputs, nudge and start do not form a circuit with a unique equilibrium.
        """
        if (own := self._own_solver(network)) is not None:
            return own.solve(network, inputs, nudge, start)
        network.validate()
        equations: Any = network.equations(network.check_inputs(inputs))
        start = equations.begun(start)
        if nudge is not None:
            equations = equations.nudged([nudge], start)
        found = self._settle(equations, equations.initial() if start is None else start.voltages, nudge)
        return found.inheriting(start) if self._derived([] if nudge is None else [nudge]) else found

    def solve_phases(
        self, network: Network, inputs: Float[Array, "batch inputs"], nudges: Sequence[Nudge]
    ) -> tuple[Equilibrium, ...]:
        """Return the free phase, followed by the nudged phases, started at the free one and solved as one batch.

        For training: ``network``, and ``inputs`` of its dtype, must already be valid.
        """
        if (own := self._own_solver(network)) is not None:
            return own.solve_phases(network, inputs, nudges)
        equations: Any = network.equations(as_batch(network, inputs))
        free = self._settle(equations, equations.initial(), None)
        stacked = tuple(np.tile(v, (len(nudges), 1)) for v in free.voltages)
        together = self._settle(equations.nudged(nudges, free), stacked, None)
        derived_from = free if self._derived(nudges) else None
        return free, *(phase.inheriting(derived_from) for phase in together.split(nudges))

    def _own_solver(self, network: Network) -> Solver | None:
        """Return the solver of another family of networks. Raises UserError for settings that it does not have."""
        own, usual = family_of(network).surrogate(), SurrogateSolver()
        if own == usual:
            return None
        if self != usual:
            raise UserError(
                f"SurrogateSolver: its settings apply to layered resistive networks; for a {network.family} network, "
                f"leave them out, or use {type(own).__name__} with its settings"
            )
        return own

    def _derived(self, nudges: Sequence[Nudge]) -> bool:
        """Return whether errors of the start remain in these phases: in nudges computed there, and after few sweeps."""
        return any(nudge.taken_at_free or self.sweeps is not None for nudge in nudges)

    def _settle(self, equations: NodalEquations, voltages: Layers, nudge: Nudge | None) -> Equilibrium:
        batch = len(equations.drive)
        if self.sweeps is None:
            return self._converge(equations, voltages, nudge)
        for _ in range(self.sweeps):
            voltages = sweep(equations, voltages)
        residual = np.full(batch, np.nan)
        if self.check_residual:
            residual = largest(equations.residuals(voltages))
        finite = np.isfinite(voltages[-1]).all(
            axis=1
        )  # a voltage that is not finite in any layer has reached the outputs
        status = np.array([Status.OUT_OF_BOUNDS, Status.TRUNCATED])[finite.astype(int)]
        return Equilibrium(voltages, residual, status, nudge)

    def _converge(self, equations: NodalEquations, start: Layers, nudge: Nudge | None) -> Equilibrium:
        bound = self.tolerance if self.tolerance is not None else TOLERANCE[equations.drive.dtype]
        point = _Point.swept(equations, start)
        active = np.flatnonzero(point.excess != 0)
        samples = max(1, ELEMENTS // sum(equations.network.layers[1:]))
        for iteration in range(self.max_iterations):
            if not active.size:
                log.debug("surrogate: %d samples after a sweep and %d Newton steps", len(point.excess), iteration)
                break
            unfinished = []
            for k in range(0, active.size, samples):
                some = active[k : k + samples]
                improved, finished = _iterate(equations.select(some), point.select(some), bound)
                point.put(some, improved)
                unfinished.append(some[~finished])
            active = np.concatenate(unfinished)
        return certified(equations, point.voltages, bound, nudge, mend=True)


@dataclass(frozen=True)
class _Point:
    """Voltages after a sweep, and the residuals of the layers that the sweep did not update last."""

    voltages: Layers
    currents: Layers
    """F, amperes."""
    excess: Float[Array, " batch"]

    @classmethod
    def swept(cls, equations: NodalEquations, voltages: Layers) -> Self:
        """Return the point after a sweep from ``voltages``."""
        stay, leave = colours(equations.network)
        voltages = sweep(equations, voltages, (*stay, *leave))
        return cls(voltages, *equations.imbalance_of(voltages, stay))

    def select(self, samples: Samples) -> "_Point":
        """Return some of the samples."""
        return _Point(_of(self.voltages, samples), _of(self.currents, samples), self.excess[samples])

    def put(self, samples: Samples, other: "_Point") -> None:
        """Replace some of the samples by ``other``."""
        for mine, its in zip((*self.voltages, *self.currents), (*other.voltages, *other.currents), strict=True):
            mine[samples] = its
        self.excess[samples] = other.excess


def _iterate(equations: NodalEquations, point: _Point, bound: float) -> tuple[_Point, Bool[Array, " batch"]]:
    """Do a Newton step and a sweep if this halves the excess, else the best of shorter steps; return which samples are done.

    Weakly connected nodes are farther from the equilibrium than their excess. The step shows by which factor, so that a
    sample is done if the excess times this factor is below ``bound``, or if rounding keeps it from decreasing.
    """
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        step = newton_step(equations, point.voltages, point.currents, ACCURACY)
        trial = _Point.swept(equations, _along(point.voltages, step, 1))
        halved = trial.excess < 0.5 * point.excess
        rounded = ~halved & (point.excess <= bound)
        refused = ~halved & ~rounded
        if refused.any():
            trial.put(refused, _descend(equations.select(refused), _of(point.voltages, refused), _of(step, refused)))
        worse = rounded & ~(trial.excess <= point.excess)
        trial.put(worse, point.select(worse))
        amplification = largest(step) / (equations.voltage_scale(point.voltages) * point.excess)
        return trial, rounded | (np.maximum(amplification, 1) * trial.excess <= AIM * bound)


def _descend(equations: NodalEquations, voltages: Layers, step: Layers) -> _Point:
    """Do a sweep from ``voltages``, or from a fraction of ``step`` if that ends at a lower energy."""
    best = _Point.swept(equations, voltages)
    lowest = equations.energy(best.voltages)
    for length in STEP_LENGTHS:
        trial = _Point.swept(equations, _along(voltages, step, length))
        energy = equations.energy(trial.voltages)
        lower = energy < lowest
        lowest[lower] = energy[lower]
        best.put(lower, trial.select(lower))
    return best


def _along(voltages: Layers, step: Layers, length: float) -> Layers:
    return tuple(v + length * d for v, d in zip(voltages, step, strict=True))


def _of(layers: Layers, samples: Samples) -> Layers:
    return tuple(v[samples] for v in layers)
