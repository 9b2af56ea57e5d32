"""Newton's method for layered networks whose crossbars have wires, dense, and the certificate of their equilibria."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from eqprop_analog.equilibrium import Equilibrium, Status, statuses
from eqprop_analog.models.wired_network import WiredEquations, WiredNetwork
from eqprop_analog.nudging import Nudge
from eqprop_analog.solvers.certificate import RUNAWAY

Array = np.ndarray

ELEMENTS = 2**22
"""Elements held at once, of the samples' matrices where they are eliminated."""
SAMPLE_ELEMENTS = 2**17
"""Node voltages iterated together."""
ACCURACY = 1e-4
"""What conjugate gradients may leave of a step's right side; less gains no iteration."""
CONJUGATE_STEPS = 40
"""After which elimination is cheaper."""
STEP_LENGTHS = (1.0, 0.25, 0.0625, 0.015625)
"""Parts of a step that are tried where the whole does not halve the excess."""


@dataclass(frozen=True)
class WiredNewtonSolver:
    """(D + i'(u) + C) δ = C (v - u), v ← u + δ: Newton's step from where every node satisfies its own equation.

    u = root(s - C v) is each node's voltage with its neighbours held at v (D the diagonal of the nodal matrix, C the rest), so
    that steep diodes cost no iterations. A sample whose excess |u - v| is not halved takes instead what ends lowest of parts of
    the step and none, each followed by a sweep of coordinate descent node by node, under which the convex energy falls.
    """

    tolerance: float = 1e-13
    """Largest excess of a converged node, over the circuit's largest voltage."""
    max_iterations: int = 200

    def solve(
        self, network: WiredNetwork, inputs: ArrayLike, nudge: Nudge | None = None, start: Equilibrium | None = None
    ) -> Equilibrium:
        """Equilibrium of each row of ``inputs`` (batch, inputs), begun at ``start`` or at 0 V.

        Raises UserError for inputs, a nudge or a start that do not make a circuit with one equilibrium.
        """
        equations = WiredEquations.of(network, network.check_inputs(inputs))
        begin = np.zeros_like(equations.source) if start is None else equations.joined(start)
        if nudge is not None:
            equations = equations.nudged(nudge, start)
        return certified(equations, self._settle(equations, begin), self.tolerance, nudge)

    def solve_phases(
        self, network: WiredNetwork, inputs: ArrayLike, nudges: Sequence[Nudge]
    ) -> tuple[Equilibrium, ...]:
        """The free equilibrium, then one for each nudge, begun at the free one."""
        free = self.solve(network, inputs)
        return free, *(self.solve(network, inputs, nudge, free) for nudge in nudges)

    def _settle(self, equations: WiredEquations, start: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
        voltages = start.copy()
        samples = max(1, SAMPLE_ELEMENTS // start.shape[1])
        for k in range(0, len(start), samples):
            some = np.arange(k, min(k + samples, len(start)))
            voltages[some] = self._iterate(equations.select(some), voltages[some])
        return voltages

    def _iterate(self, equations: WiredEquations, voltages: Float[Array, "some nodes"]) -> Float[Array, "some nodes"]:
        """The roots at the last iterate; samples that gain no more and are within the tolerance leave the iteration."""
        active = np.arange(len(voltages))
        some, v, voltages = equations, voltages.copy(), voltages.copy()
        u, excess = _excess(some, v)
        for _ in range(self.max_iterations):
            trial = _newton(some, v, u)
            ahead, left = _excess(some, trial)
            halved = left < 0.5 * excess
            swept = ~halved & ~(excess <= self.tolerance)
            if swept.any():
                trial[swept] = _descend(some.select(swept), v[swept], trial[swept])
                ahead[swept], left[swept] = _excess(some.select(swept), trial[swept])
            moved = halved | swept | (left < excess)
            v[moved], u[moved], excess[moved] = trial[moved], ahead[moved], left[moved]
            going = (halved | swept) & (excess > 0)
            voltages[active] = u  # an ideal clamp's node sits on its rail to the last bit
            if not going.any():
                break
            if not going.all():
                active, some, v, u, excess = active[going], some.select(going), v[going], u[going], excess[going]
        return voltages


def certified(
    equations: WiredEquations, voltages: Float[Array, "batch nodes"], tolerance: float, nudge: Nudge | None
) -> Equilibrium:
    """``voltages`` of all nodes with the residual (A) and status that the equations give; CONVERGED is excess <= tolerance."""
    with np.errstate(invalid="ignore", over="ignore"):
        status = statuses(_excess(equations, voltages)[1] <= tolerance)
        residual = np.abs(equations.residuals(voltages)).max(axis=1)
        height = np.abs(voltages).max(axis=1)
    status[height > RUNAWAY * equations.driving_voltage()] = Status.OUT_OF_BOUNDS
    status[~np.isfinite(height)] = Status.SIMULATOR_FAILED
    return Equilibrium(equations.layers(voltages), residual, status, nudge)


def _excess(
    equations: WiredEquations, voltages: Float[Array, "batch nodes"]
) -> tuple[Float[Array, "batch nodes"], Float[Array, " batch"]]:
    """Every node's own root, volts, and how far any node is from it, over the circuit's largest voltage."""
    roots = equations.root(equations.inflow(voltages))
    return roots, np.abs(roots - voltages).max(axis=1) / equations.voltage_scale(voltages)


def _newton(
    equations: WiredEquations, voltages: Float[Array, "batch nodes"], roots: Float[Array, "batch nodes"]
) -> Float[Array, "batch nodes"]:
    """u + δ with δ = W y, (1 + W C W) y = W C (v - u), W = 1/√(D + i'): symmetric in units of √γ; a clamped node stays."""  # noqa: D403
    scale = np.sqrt(equations.gammas)
    weight = 1 / np.sqrt(equations.slopes(roots))
    coupling = scale[:, None] * equations.coupling / scale
    right = weight * (((voltages - roots) * scale) @ coupling)
    step = np.empty_like(right)
    samples = max(1, ELEMENTS // right.shape[1] ** 2)
    for k in range(0, len(right), samples):
        some = slice(k, k + samples)
        step[some], solved = _conjugate_gradients(coupling, weight[some], right[some])
        hard = k + np.flatnonzero(~solved)
        if hard.size:
            matrix = weight[hard, :, None] * coupling * weight[hard, None, :]
            matrix[:, *np.diag_indices(matrix.shape[1])] += 1
            step[hard] = np.linalg.solve(matrix, right[hard, :, None])[:, :, 0]
    return roots + weight * step / scale


def _conjugate_gradients(
    coupling: Float[Array, "nodes nodes"], weight: Float[Array, "batch nodes"], right: Float[Array, "batch nodes"]
) -> tuple[Float[Array, "batch nodes"], Bool[Array, " batch"]]:
    """(1 + W C W) y = right by matrix products of the whole batch, and where ACCURACY was met; Hestenes & Stiefel 1952."""
    y, residual, direction = np.zeros_like(right), right.copy(), right.copy()
    square = (residual**2).sum(axis=1)
    goal = ACCURACY**2 * square
    for _ in range(CONJUGATE_STEPS):
        if (square <= goal).all():
            break
        image = direction + weight * ((weight * direction) @ coupling)
        curvature = (direction * image).sum(axis=1)
        length = np.divide(square, curvature, out=np.zeros_like(square), where=(square > goal) & (curvature > 0))
        y += length[:, None] * direction
        residual -= length[:, None] * image
        before, square = square, (residual**2).sum(axis=1)
        direction = (
            residual + np.divide(square, before, out=np.zeros_like(square), where=before > 0)[:, None] * direction
        )
    return y, square <= goal


def _descend(
    equations: WiredEquations, voltages: Float[Array, "batch nodes"], ahead: Float[Array, "batch nodes"]
) -> Float[Array, "batch nodes"]:
    """A sweep from ``voltages``, or from part of the way to ``ahead`` where that ends at a lower energy."""
    best = _sweep(equations, voltages)
    lowest = equations.energy(best)
    for length in STEP_LENGTHS:
        trial = _sweep(equations, voltages + length * (ahead - voltages))
        energy = equations.energy(trial)
        lower = energy < lowest
        best[lower], lowest[lower] = trial[lower], energy[lower]
    return best


def _sweep(equations: WiredEquations, voltages: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
    """Every node in turn to its own root."""
    swept = voltages.copy()
    polarity, total, law = equations.polarity, equations.total, equations.network.ideal.diode
    for node, row in enumerate(equations.coupling):
        inflow: Bool[Array, " batch"] = equations.source[:, node] - swept @ row
        if node < len(polarity):
            swept[:, node] = polarity[node] * law.solve(total[node], polarity[node] * inflow)
        else:
            swept[:, node] = inflow / total[node]
    return swept
