"""Newton's method for layered networks with the imperfections of a chip, and the certificate of their equilibria."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from eqprop_analog.core.certificate import certified
from eqprop_analog.core.checks import require_kind
from eqprop_analog.core.equations import Nodes
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.incoming import require_tolerance, whole_number
from eqprop_analog.networks.nonideal.equations import NonidealEquations
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.resistive.coordinate_descent import sweep
from eqprop_analog.networks.resistive.elimination import solved as eliminated

Array = np.ndarray
Side = Float[Array, "batch nodes"]
"""All unknowns of a sample, concatenated, volts."""

ELEMENTS = 2**22
"""Largest number of matrix elements held at once in direct elimination."""
SAMPLE_ELEMENTS = 2**17
"""Largest number of node voltages that are iterated together."""
ACCURACY = 1e-4
"""Relative residual of the inner iteration; a smaller one would not reduce the number of Newton steps."""
INNER_STEPS = 40
"""Number of inner steps after which direct elimination is cheaper."""
TINY = np.finfo(np.float64).tiny
AIM = 0.01
"""Fraction of the tolerance below which the amplified excess is only rounding."""
STEP_LENGTHS = (1.0, 0.25, 0.0625, 0.015625, 0.0)
"""Fractions of a step that are tried if the full step does not halve the excess."""


@dataclass(frozen=True)
class PhaseSolver(ABC):
    """Solver of the phases of a layered network by an iteration on all unknowns of a sample together."""

    tolerance: float
    max_iterations: int
    taken: ClassVar[tuple[type, Any]]
    """Supported networks and their equations."""

    def __post_init__(self) -> None:
        """Raise UserError for an invalid tolerance or number of iterations."""
        require_tolerance(self.tolerance)
        whole_number(self.max_iterations, "max_iterations")

    def solve(
        self, network: Any, inputs: ArrayLike, nudge: Nudge | None = None, start: Equilibrium | None = None
    ) -> Equilibrium:
        """Equilibrium of each row of ``inputs`` (batch, inputs) from the initial voltages ``start``, or from 0 V.

        Raises UserError if inputs, nudge and start do not define a circuit with a unique equilibrium.
        """
        equations = self._equations(network, inputs)
        start = equations.begun(start)
        begin = _side(equations.initial() if start is None else equations.unknowns(start.voltages))
        if nudge is not None:
            equations = equations.nudged([nudge], start)
        found = self._certified(equations, self._settle(equations, begin), nudge)
        return found.inheriting(start) if nudge is not None and nudge.taken_at_free else found

    def solve_phases(self, network: Any, inputs: ArrayLike, nudges: Sequence[Nudge]) -> tuple[Equilibrium, ...]:
        """The free equilibrium, then one for each nudge, started from the free one and solved as one batch."""
        equations = self._equations(network, inputs)
        rest = self._settle(equations, _side(equations.initial()))
        free = self._certified(equations, rest, None)
        if not nudges:
            return (free,)
        together = equations.nudged(nudges, free)
        moved = self._certified(together, self._settle(together, np.tile(rest, (len(nudges), 1))), None)
        pairs = zip(moved.split(nudges), nudges, strict=True)
        return free, *(phase.inheriting(free) if nudge.taken_at_free else phase for phase, nudge in pairs)

    def _equations(self, network: Any, inputs: ArrayLike) -> Any:
        kind, equations = self.taken
        require_kind(f"network of {type(self).__name__}", network, kind)
        return equations.of(network, network.check_inputs(inputs))

    @abstractmethod
    def _settle(self, equations: Any, begin: Side) -> Side:
        """Voltages of every sample at the end of the iteration."""

    @abstractmethod
    def _certified(self, equations: Any, nodes: Side, nudge: Nudge | None) -> Equilibrium:
        """The equilibria at the final voltages, with their statuses."""


def _side(nodes: Nodes) -> Side:
    return np.concatenate(nodes, axis=1)


@dataclass(frozen=True)
class NonidealNewtonSolver(PhaseSolver):
    """(D + i'(u) + C - B w'(u)) δ = C (v - u) + B (w(u) - w(v)), v ← u + δ: Newton's step from every node's own root.

    u = root(s - C v + B w(v)) is each node's voltage with all other nodes held at v, where D is the diagonal of the nodal matrix
    K and C the rest; therefore steep diodes need no additional iterations. The circuit need not be reciprocal: because K is an
    M-matrix, v ← u is a regular splitting of the slope of F. Without saturation, it brings all nodes closer to the unique
    equilibrium, each in units of (K⁻¹ 1). If the excess |u - v| of a sample is not halved, sweeps of v ← u, layer by layer, start
    from several fractions of the step (including zero), and the result with the smallest excess is used.
    """

    tolerance: float = 1e-13
    """Largest excess of a converged node, relative to the circuit's largest voltage."""
    max_iterations: int = 200
    taken: ClassVar = (NonidealNetwork, NonidealEquations)

    def _certified(self, equations: NonidealEquations, nodes: Side, nudge: Nudge | None) -> Equilibrium:
        return certified(equations, equations.split(nodes), self.tolerance, nudge)

    def _settle(self, equations: NonidealEquations, start: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
        voltages = start.copy()
        samples = max(1, SAMPLE_ELEMENTS // start.shape[1])
        for k in range(0, len(start), samples):
            some = np.arange(k, min(k + samples, len(start)))
            voltages[some] = self._iterate(equations.select(some), voltages[some])
        return voltages

    def _iterate(
        self, equations: NonidealEquations, voltages: Float[Array, "some nodes"]
    ) -> Float[Array, "some nodes"]:
        """The roots at the last iterate; samples are removed when they are done, or within the tolerance without progress.

        Weakly held nodes are farther from the equilibrium than their excess; the previous step gives the ratio.
        """
        active = np.arange(len(voltages))
        some, v, voltages = equations, voltages.copy(), voltages.copy()
        u, excess = some.roots(v)
        for _ in range(self.max_iterations):
            trial = _newton(some, v, u)
            ahead, left = some.roots(trial)
            halved = left < 0.5 * excess
            swept = ~halved & ~(excess <= self.tolerance)
            if swept.any():
                trial[swept] = _descend(some.select(swept), v[swept], trial[swept])
                ahead[swept], left[swept] = some.select(swept).roots(trial[swept])
            moved = halved | swept | (left < excess)
            amplified = np.abs(trial - v).max(axis=1) / (some.scale(some.split(v)) * np.maximum(excess, TINY))
            done = halved & (np.maximum(amplified, 1) * left <= AIM * self.tolerance)
            v[moved], u[moved], excess[moved] = trial[moved], ahead[moved], left[moved]
            going = (halved | swept) & ~done & (excess > 0)
            voltages[active] = u  # the node of an ideal clamp equals its rail to the last bit
            if not going.any():
                break
            if not going.all():
                active, some, v, u, excess = active[going], some.select(going), v[going], u[going], excess[going]
        return voltages


class _Slope:
    """J W² = 1 + (C - B w') W², W = 1/√(D + i'); symmetric in units of √γ if the circuit is reciprocal."""

    def __init__(self, equations: NonidealEquations, voltages: Float[Array, "batch nodes"]) -> None:
        network = equations.network
        self.equations = equations
        weight = 1 / np.sqrt(equations.joined(equations.slopes(equations.split(voltages))))
        scale = np.sqrt(np.repeat(network.gammas, network.layers[1:]))
        self.left, self.right = weight * scale, weight / scale
        self.bent = network.droop(voltages)[1] if network.saturating.size else None

    def times(self, y: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
        """W J W y."""
        moved = self.right * y
        currents = self.equations.coupled(moved)
        if self.bent is not None:
            currents -= self.equations.drooped(self.bent * moved[:, self.equations.network.saturating])
        currents *= self.left
        currents += y
        return currents

    def select(self, samples: Array) -> "_Slope":
        """The slope of the given samples."""
        chosen = object.__new__(_Slope)
        chosen.equations = self.equations.select(samples)
        chosen.left, chosen.right = self.left[samples], self.right[samples]
        chosen.bent = None if self.bent is None else self.bent[samples]
        return chosen

    def matrices(self) -> Float[Array, "batch nodes nodes"]:
        """W J W of every sample."""
        matrix = self.equations.coupling(self.bent, len(self.left))
        matrix *= self.left[:, :, None]
        matrix *= self.right[:, None, :]
        np.einsum("bii->bi", matrix)[:] += 1
        return matrix


def _newton(
    equations: NonidealEquations, voltages: Float[Array, "batch nodes"], roots: Float[Array, "batch nodes"]
) -> Float[Array, "batch nodes"]:
    """u + δ with δ = W y, W J W y = W (inflow(u) - inflow(v)); a clamped node does not move."""  # noqa: D403
    slope = _Slope(equations, roots)
    right = equations.coupled(voltages - roots)
    network = equations.network
    if network.saturating.size:
        right += equations.drooped(network.droop(roots)[0] - network.droop(voltages)[0])
    right *= slope.left
    step, solved = _bicgstab(slope, right)
    hard = np.flatnonzero(~solved)
    samples = max(1, ELEMENTS // right.shape[1] ** 2)
    for k in range(0, len(hard), samples):
        some = hard[k : k + samples]
        step[some] = eliminated(slope.select(some).matrices(), right[some])
    return roots + slope.right * step


def adjoint(
    equations: NonidealEquations, voltages: Float[Array, "batch nodes"], pull: Float[Array, "batch outputs"]
) -> Float[Array, "batch nodes"]:
    """Jᵀ λ = (0, ..., 0, ``pull``): the adjoint λ, with J = -∂F/∂v at ``voltages``."""
    slope, size = _Slope(equations, voltages), voltages.shape[1]
    right = np.concatenate([np.zeros((len(pull), size - pull.shape[1])), pull], axis=1) * slope.right
    found, samples = np.empty_like(right), max(1, ELEMENTS // size**2)
    for k in range(0, len(right), samples):
        some = np.arange(k, min(k + samples, len(right)))
        found[some] = eliminated(slope.select(some).matrices().swapaxes(1, 2), right[some])
    return slope.left * found


def _bicgstab(
    slope: _Slope, right: Float[Array, "batch nodes"]
) -> tuple[Float[Array, "batch nodes"], Bool[Array, " batch"]]:
    """W J W y = right, solved by batched matrix products, and whether ACCURACY was reached; van der Vorst 1992."""
    y, residual, direction = np.zeros_like(right), right.copy(), right.copy()
    left = rho = _dot(right, right)
    goal = ACCURACY**2 * left
    for _ in range(INNER_STEPS):
        image = slope.times(direction)
        length = _ratio(rho, _dot(right, image))
        half = residual - length * image
        turned = slope.times(half)
        other = _ratio(_dot(turned, half), _dot(turned, turned))
        y += length * direction
        y += other * half
        residual = half - other * turned
        left = _dot(residual, residual)
        if (left <= goal).all():
            break
        before, rho = rho, _dot(right, residual)
        direction = residual + _ratio(rho * length, before * other) * (direction - other * image)
    return y, (left <= goal)[:, 0] & np.isfinite(y).all(axis=1)


def _dot(one: Float[Array, "batch nodes"], other: Float[Array, "batch nodes"]) -> Float[Array, "batch 1"]:
    return np.asarray(np.einsum("bi,bi->b", one, other))[:, None]


def _ratio(one: Float[Array, "batch 1"], other: Float[Array, "batch 1"]) -> Float[Array, "batch 1"]:
    return np.divide(one, other, out=np.zeros_like(one), where=other != 0)


def _descend(
    equations: NonidealEquations, voltages: Float[Array, "batch nodes"], ahead: Float[Array, "batch nodes"]
) -> Float[Array, "batch nodes"]:
    """Sweep from a fraction of the step to ``ahead``, or from ``voltages``: the result closest to its own roots."""
    unit = equations.network.reach
    best, least = voltages, np.full(len(voltages), np.inf)
    for length in STEP_LENGTHS:
        trial = _sweep(equations, voltages + length * (ahead - voltages))
        off = (np.abs(equations.roots(trial)[0] - trial) / unit).max(axis=1)
        lower = off < least
        best, least = np.where(lower[:, None], trial, best), np.where(lower, off, least)
    return best


def _sweep(equations: NonidealEquations, voltages: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
    """Set every node to its own root, layer by layer."""
    layers = equations.split(voltages)
    return equations.joined(sweep(equations, layers, range(1, equations.depth + 1)))
