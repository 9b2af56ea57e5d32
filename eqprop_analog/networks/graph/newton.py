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
"""Fraction of its initial value to which the energy's slope must decrease along a step."""
DOUBLINGS, BISECTIONS = 10, 50
"""Numbers of doublings and bisections, enough for any scale."""


@dataclass(frozen=True)
class SparseNewtonSolver:
    """v ← v + t·J⁻¹F(v) with J = -∂F/∂v = Δᵀ diag(G, I', g) Δ (networks.graph.equations), sparse and positive definite.

    t minimizes the convex energy along the step approximately, found by its slope -F·δ, so that the energy never
    increases. Without diodes, one factorization serves all samples; with diodes, the samples that have not converged
    are iterated together.

    >>> import networkx as nx
    >>> import eqprop_analog as ea
    >>> network = ea.GraphNetwork.from_graph(nx.path_graph(4), inputs=[0], outputs=[2], rails={3: 0.0})
    >>> free = ea.SparseNewtonSolver().solve(network, [[3.0]])  # volts
    >>> free.status[0].name, free.outputs.round(9).tolist()
    ('CONVERGED', [[1.0]])
    """

    tolerance: float = 1e-12
    """Largest voltage of the next Newton step, over the circuit's largest voltage."""
    max_iterations: int = 200
    """Largest number of steps, after which a sample has the status STALLED."""

    def __post_init__(self) -> None:
        """Raise UserError for invalid settings."""
        require_tolerance(self.tolerance)
        whole_number(self.max_iterations, "max_iterations")

    def solve(
        self, network: GraphNetwork, inputs: ArrayLike, nudge: Nudge | None = None, start: Equilibrium | None = None
    ) -> Equilibrium:
        """Return the equilibrium of each row of ``inputs`` (batch, inputs; V), starting at ``start`` or with free nodes at 0 V.

        Its ``voltages`` are those of all nodes, (batch, nodes), and the read-outs, (batch, outputs). Raises UserError
        if network, inputs, nudge and start do not form a circuit with a unique equilibrium.
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
        """Return the free equilibrium, followed by one for each nudge, started at the free one."""
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
        """Do Newton steps of the ``active`` samples' ``voltages``, and store the size of the last one in ``error``; in place."""
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
    """Return t, the approximate minimum of the energy along the step, by doubling and bisection; the energy does not increase.

    The slope increases with t because the energy is convex, and the energy decreases while its slope is negative. The
    whole step is accepted with a positive slope at its end if the sum with the slope at the middle is negative.
    ``begin``: the slope at t = 0, watts.
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
    """Return dE/dt of each sample, watts, at ``length`` t along its step."""
    current = equations.residuals(voltages + length[:, None] * step)
    return -(current * step[:, equations.network.free]).sum(axis=1)
