"""The theorem of Ernoult et al. 2019: step by step, the updates of equilibrium propagation are the gradients of BPTT.

Start at a fixed point s* of the free phase, with D = ρ′(u*) and H = ∂u/∂s at s*, and take steps s' = ρ(u(s) - β ∂C/∂s).
For β → 0

    nudged, forward     Δ_s(t) = (s_{t+1} - s_t)/β:     Δ_s(0) = -D ∂C/∂s    Δ_s(t + 1) = D H Δ_s(t)
    free, backward      δ(t) = dC/du, t steps back:     δ(0) = D ∂C/∂s       δ(t + 1) = D Hᵀ δ(t)

so that Δ_s(t) = -δ(t). Therefore Δ_θ(t) = (∂Φ/∂θ(s_{t+1}) - ∂Φ/∂θ(s_t))/β = -dC/dθ_t for every parameter, where θ_t is the θ
used in the step that is t steps before the end. The theorem requires

- a fixed point: otherwise D, H and s change from step to step;
- H = Hᵀ, that is, u = ∂Φ/∂s of one function Φ: tied weights, with or without max pooling. Untied weights do not match;
- layers that are updated simultaneously. If they are updated in turn, backpropagation visits them in the opposite order, and
  only the sums over t agree;
- β → 0: a finite β leaves an error of O(β), and the mean over ±β an error of O(β²), as long as no node passes a corner of the
  hard sigmoid and no pool changes its winner.

It holds for any ρ, because the nudge is applied inside ρ. The gradients with respect to the states differ: -dC/ds = Δ_s only
where ρ′ = 1 (in discrete time, at the unsaturated nodes of a hard sigmoid of gain 1). If the nudge is applied after ρ, as by
Ernoult et al. (kind "output"), Δ_s(0) = -∂C/∂s: hard sigmoids still match where no output is saturated. Smooth ones match
neither gradient; they follow the gradients of another cost (see nudging). Partial steps and the gradient flow match as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.core.checks import checked_target
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.nudge import Cost, Nudge
from eqprop_analog.errors import UserError
from eqprop_analog.learning.contrast import contrast
from eqprop_analog.learning.exact_gradient import implicit_gradient
from eqprop_analog.networks.hopfield.bptt import Unrolling
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.hopfield.relaxation import Relaxation

Array = np.ndarray
Nudging = Literal["centred", "one-sided"]

FIXED = 1e-14
"""Largest |s - ρ(u)| of a fixed point, volts; the error that it causes in an update is this value divided by β."""


@dataclass(frozen=True, eq=False)
class Match:
    """Both sides of the theorem for t = 0, 1, ..., by name: ``state_<l>`` (steps, batch, nodes) and every parameter."""

    updates: dict[str, Array]
    """Δ_s(t) of each sample (dimensionless: volts divided by β in volts), and the batch mean of Δ_θ(t)."""
    gradients: dict[str, Array]
    """-dC/du and -dC/dθ_t, t steps before the end."""
    state_gradients: dict[str, Array]
    """-dC/ds of ``state_<l>``, t steps before the end; equal to -dC/du where ρ′ = 1."""

    def differences(self) -> dict[str, float]:
        """Largest |update - gradient| over all t, relative to the largest |gradient|, for each array."""
        return {name: relative_difference(self.updates[name], values) for name, values in self.gradients.items()}


def match(
    network: HopfieldNetwork, solver: Relaxation, inputs: ArrayLike, nudges: Sequence[Nudge], steps: int
) -> Match:
    """Updates of ``steps`` nudged steps of ``solver`` from the fixed point, and gradients of as many steps backward from it.

    ``inputs`` (batch, inputs); ``nudges`` have the same target and cost: one of +β is one-sided; two of ±β are centred, and the
    updates are the mean over both. A read-out outside the system is not compared. Raises UserError if no fixed point is reached,
    or if networks.hopfield.bptt does not support the solver.
    """
    if steps < 1 or not nudges:
        raise UserError(f"match: expected at least one step and one nudge, got {steps} and {len(nudges)}")
    batch = network.check_inputs(inputs)
    free = replace(solver, free_steps=None, tolerance=FIXED).solve(network, batch).require()
    unrolling = Unrolling(network, solver, len(batch), steps)
    unrolling.forward(batch, free.voltages)
    unrolling.backward(checked_target(nudges[0].target, (len(batch), network.classes), batch.dtype), nudges[0].cost)
    back = range(steps - 1, -1, -1)
    gradients = {f"state_{l}": -forces[::-1] for l, forces in enumerate(unrolling.forces, start=1)}
    gradients |= _stacked([unrolling.contribution(t) for t in back], -1)
    states = [unrolling.state_gradients(t + 1) for t in back]
    one_step = replace(solver, nudged_steps=1, check_residual=False)
    sides = [_updates(network, one_step, batch, free, nudge, steps) for nudge in nudges]
    return Match(
        {name: np.mean([side[name] for side in sides], axis=0) for name in gradients},
        gradients,
        {f"state_{l}": -np.array(values) for l, values in enumerate(zip(*states, strict=True), start=1)},
    )


def _updates(
    network: HopfieldNetwork,
    solver: Relaxation,
    inputs: Float[Array, "batch inputs"],
    free: Equilibrium,
    nudge: Nudge,
    steps: int,
) -> dict[str, Array]:
    """Δ_s(t) and Δ_θ(t) of ``steps`` calls of ``solver``, each of which takes one nudged step."""
    before = free
    states: list[tuple[Array, ...]] = []
    parameters: list[dict[str, Array]] = []
    for _ in range(steps):
        after = solver.solve(network, inputs, nudge, before)
        states.append(tuple((s - r) / nudge.beta for s, r in zip(after.voltages, before.voltages, strict=True)))
        parameters.append(contrast(network, inputs, after, replace(before, nudge=None)))
        before = after
    named = {f"state_{l}": np.array(values) for l, values in enumerate(zip(*states, strict=True), start=1)}
    return named | _stacked(parameters, -1)


def _stacked(steps: Sequence[dict[str, Array]], sign: int) -> dict[str, Array]:
    return {name: sign * np.array([step[name] for step in steps]) for name in steps[0]}


def estimate_errors(
    network: HopfieldNetwork,
    solver: Relaxation,
    inputs: ArrayLike,
    targets: Float[Array, "batch classes"],
    beta: float,
    cost: Cost = "squared-error",
) -> dict[Nudging, float]:
    """Difference between the contrast of converged phases and dC/dθ of the free equilibrium: the bias due to ``beta``.

    It is the largest difference in a parameter array relative to the array's largest gradient, and of these the maximum over all
    arrays. A read-out outside the system is omitted. Raises UserError if a phase does not converge.
    """
    batch = network.check_inputs(inputs)
    nudges = [Nudge(targets, sign * beta, "feedback", cost) for sign in (1, -1)]
    settling = replace(solver, free_steps=None, nudged_steps=None, tolerance=FIXED)
    free, plus, minus = settling.solve_phases(network, batch, nudges)
    exact = implicit_gradient(network, batch, targets, free.require(), cost)

    def error(other: Equilibrium) -> float:
        found = contrast(network, batch, plus, other)
        return max(relative_difference(found[name], values) for name, values in exact.items() if name[:4] != "head")

    return {"one-sided": error(free), "centred": error(minus)}


def relative_difference(values: Float[Array, "..."], exact: Float[Array, "..."]) -> float:
    """Largest |values - exact| relative to the largest |exact|."""
    difference, scale = float(np.abs(values - exact).max()), float(np.abs(exact).max())
    return difference / scale if scale else difference
