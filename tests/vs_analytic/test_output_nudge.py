"""Nudges behind the output buffers, and parts of steps of the discrete-time map (Ernoult et al. 2019)."""

import numpy as np
import pytest

from eqprop_analog import DiscreteTimeSolver, HopfieldDescentSolver, HopfieldNetwork, Nudge, UserError, contrast
from eqprop_analog.devices.buffer import Sigmoid
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.netlist import compile_hopfield

RNG = np.random.default_rng(0)
NETWORK = HopfieldNetwork.dense([5, 6, 4, 3], seed=1, buffer=Sigmoid(), initial="fan-in")
INPUTS = RNG.uniform(size=(7, 5))
TARGETS = np.eye(3)[RNG.integers(0, 3, 7)]


def test_the_nudged_state_is_where_buffer_and_target_share_the_output():
    nudge = Nudge(TARGETS, 0.3, kind="output")
    phase = DiscreteTimeSolver().solve(NETWORK, INPUTS, nudge)
    assert phase.good.all()
    assert phase.residual.max() < 1e-12
    u = HopfieldEquations.of(NETWORK, INPUTS).forces(phase.voltages)
    expected = (NETWORK.buffer.output(u[-1]) + 0.3 * TARGETS) / 1.3
    np.testing.assert_allclose(phase.outputs, expected, atol=1e-11)
    for s, force in zip(phase.voltages[:-1], u[:-1], strict=True):
        np.testing.assert_allclose(s, NETWORK.buffer.output(force), atol=1e-11)


def test_its_contrast_is_the_gradient_of_a_logistic_cost():
    """With the sigmoid of gain 1: -¼ Σ [y ln s + (1 - y) ln(1 - s)], by central differences of the free equilibrium."""
    solver = DiscreteTimeSolver()
    _, plus, minus = solver.solve_phases(NETWORK, INPUTS, [Nudge(TARGETS, b, kind="output") for b in (1e-4, -1e-4)])
    slopes = contrast(NETWORK, INPUTS, plus, minus)

    def cost() -> float:
        s = solver.solve(NETWORK, INPUTS).outputs
        return float(-0.25 * (TARGETS * np.log(s) + (1 - TARGETS) * np.log1p(-s)).sum(axis=1).mean())

    for name, values in NETWORK.arrays().items():
        for place in [tuple(RNG.integers(0, n) for n in values.shape) for _ in range(3)]:
            kept = values[place]
            values[place] = kept + 1e-5
            above = cost()
            values[place] = kept - 1e-5
            below = cost()
            values[place] = kept
            assert slopes[name][place] == pytest.approx((above - below) / 2e-5, rel=1e-4, abs=1e-9), (name, place)


@pytest.mark.parametrize("kind", ["conductance", "output"])
def test_parts_of_steps_lead_to_the_same_equilibrium(kind):
    nudge = Nudge(TARGETS, 0.3, kind=kind)
    whole, half = (DiscreteTimeSolver(step=step).solve(NETWORK, INPUTS, nudge) for step in (1.0, 0.5))
    for one, other in zip(whole.voltages, half.voltages, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-11)


def test_one_part_of_a_step_is_that_part_of_a_whole_one():
    nudge = Nudge(TARGETS, 0.3, kind="output")
    start = DiscreteTimeSolver(free_steps=2).solve(NETWORK, INPUTS)
    whole, part = (
        DiscreteTimeSolver(nudged_steps=1, step=step).solve(NETWORK, INPUTS, nudge, start) for step in (1, 0.3)
    )
    for s, one, other in zip(start.voltages, whole.voltages, part.voltages, strict=True):
        np.testing.assert_allclose(other, s + 0.3 * (one - s), atol=1e-14)


def test_it_is_refused_where_it_is_not_meant():
    with pytest.raises(UserError, match=r'kind="output" .*DiscreteTimeSolver'):
        HopfieldDescentSolver().solve(NETWORK, INPUTS, Nudge(TARGETS, 0.3, kind="output"))
    with pytest.raises(UserError, match="squared error only"):
        Nudge(TARGETS, 0.3, kind="output", cost="cross-entropy")
    with pytest.raises(UserError, match="step: expected a number above 0"):
        DiscreteTimeSolver(step=0)
    equations = HopfieldEquations.of(NETWORK, INPUTS).nudged([Nudge(TARGETS, 0.3, kind="output")], None)
    with pytest.raises(UserError, match="energy: "):
        equations.energy(equations.initial())
    with pytest.raises(UserError, match="a circuit is nudged before its buffers"):
        compile_hopfield(NETWORK, INPUTS, equations)
