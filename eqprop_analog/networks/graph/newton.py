"""Newton's method for networks on any graph, sparse, and the certificate of their equilibria."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.core.certificate import certified
from eqprop_analog.core.checks import require_kind
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.incoming import require_tolerance, whole_number
from eqprop_analog.networks.graph.equations import GraphEquations, relative
from eqprop_analog.networks.graph.network import GraphNetwork

Array = np.ndarray

LEVEL = 0.1
"""Part of its slope at the beginning to which the energy's slope must fall along a step."""
DOUBLINGS, BISECTIONS = 10, 50
"""Enough to cross any scale."""


@dataclass(frozen=True)
class SparseNewtonSolver:
    """v ← v + t·J⁻¹F(v) with J = -∂F/∂v = Δᵀ diag(G, I', g) Δ (networks.graph.equations), sparse and positive definite.

    t is where the convex energy has levelled off along the step, found by its slope -F·δ, so that it never rises. Without
    diodes one factorisation serves all samples; with them, samples that have not converged are iterated together.
    """

    tolerance: float = 1e-12
    """Largest voltage that Newton's next step would move, over the circuit's largest voltage."""
    max_iterations: int = 200
    """Steps, after which a sample has the status ITERATION_LIMIT."""

    def __post_init__(self) -> None:
        """Raise UserError for bounds that are none."""
        require_tolerance(self.tolerance)
        whole_number(self.max_iterations, "max_iterations")

    def solve(
        self, network: GraphNetwork, inputs: ArrayLike, nudge: Nudge | None = None, start: Equilibrium | None = None
    ) -> Equilibrium:
        """Equilibrium of each row of ``inputs`` (batch, inputs) volts, begun at ``start`` or with free nodes at 0 V.

        Its ``voltages`` are those of all nodes, (batch, nodes), and the read-outs, (batch, outputs). Raises UserError for a
        network, inputs, a nudge or a start that do not make a circuit with one equilibrium.
        """
        require_kind("network of SparseNewtonSolver", network, GraphNetwork)
        network.validate()
        equations = GraphEquations.of(network, network.check_inputs(inputs))
        start = equations.begun(start)
        if nudge is not None:
            equations = equations.nudged([nudge], start)
        found = self._settle(equations, equations.sources if start is None else start.voltages[0], nudge)
        return found.inheriting(start) if nudge is not None and nudge.taken_at_free else found

    def solve_phases(
        self, network: GraphNetwork, inputs: ArrayLike, nudges: Sequence[Nudge]
    ) -> tuple[Equilibrium, ...]:
        """The free equilibrium, then one for each nudge, begun at the free one."""
        free = self.solve(network, inputs)
        return free, *(self.solve(network, inputs, nudge, free) for nudge in nudges)

    def _settle(
        self, equations: GraphEquations, start: Float[Array, "batch nodes"], nudge: Nudge | None
    ) -> Equilibrium:
        voltages = equations.held(start)
        error = np.full(len(voltages), np.inf)
        active: Array = np.arange(len(voltages))
        higher: GraphEquations | None = equations
        while higher is not None and active.size:
            self._iterate(higher, voltages, error, active)
            across = equations.network.drops(voltages[active])[1]
            active = active[(error[active] <= self.tolerance) & (across > higher.ceiling).any(axis=1)]
            higher = higher.raised()
        return certified(equations, (voltages,), self.tolerance, nudge, error, mend=True)

    def _iterate(self, equations: GraphEquations, voltages: Array, error: Array, active: Array) -> None:
        """Newton's steps of the ``active`` samples' ``voltages``, and how far the last one went, ``error``; in place."""
        for _ in range(self.max_iterations):
            some = equations if len(active) == len(voltages) else equations.select(active)
            v = voltages[active]
            current = some.residuals(v)
            step = some.response(v, current)
            error[active] = relative(step, v)
            moving = ~(error[active] <= self.tolerance)
            length = np.ones(len(active))
            if moving.any():
                begin = -(current[moving] * step[moving][:, some.network.free]).sum(axis=1)
                length[moving] = _length(some.select(moving), v[moving], step[moving], begin)
            voltages[active] = v + length[:, None] * step
            active = active[moving]
            if not active.size:
                break


def _length(
    equations: GraphEquations,
    voltages: Float[Array, "batch nodes"],
    step: Float[Array, "batch nodes"],
    begin: Float[Array, " batch"],
) -> Float[Array, " batch"]:
    """t: where the energy has levelled off along the step, by doubling and bisection, and is certainly no higher.

    The slope grows with t, for the energy is convex, and the energy falls while its slope is negative. The whole step may end
    where it is positive, if that and the slope at the middle add up to less than none. ``begin``: the slope at t = 0, watts.
    """
    low, high = np.zeros(len(step)), np.ones(len(step))
    ahead = _slope(equations, voltages, step, high)
    for _ in range(DOUBLINGS):
        steep = ahead < LEVEL * begin
        if not steep.any():
            break
        low, high = np.where(steep, high, low), np.where(steep, 2 * high, high)
        ahead = _slope(equations, voltages, step, high)
    rising = ahead > 0
    if rising.any():
        level = (high == 1) & (ahead <= -LEVEL * begin)
        rising &= ~(level & (_slope(equations, voltages, step, 0.5 * high) + ahead <= 0))
    length = np.where(rising, low, high)
    for _ in range(BISECTIONS):
        if not rising.any():
            break
        middle = np.where(rising, 0.5 * (low + high), length)
        here = _slope(equations, voltages, step, middle)
        falling = here <= 0
        low, high = np.where(rising & falling, middle, low), np.where(rising & ~falling, middle, high)
        length = np.where(rising, low, length)
        rising &= ~falling | (here < LEVEL * begin)
    return length


def _slope(equations: GraphEquations, voltages: Array, step: Array, length: Float[Array, " batch"]) -> Array:
    """dE/dt of each sample, watts, ``length`` t along its step."""
    current = equations.residuals(voltages + length[:, None] * step)
    return -(current * step[:, equations.network.free]).sum(axis=1)
