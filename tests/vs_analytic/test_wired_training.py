"""Training in place through wires: its contrast, its update, its limit of ideal wires, and its refusals."""

from dataclasses import replace

import numpy as np
import pytest

from eqprop_analog import Nudge, Rates, ResistiveNetwork, Rule, SurrogateSolver
from eqprop_analog.devices.cells import SinhCell
from eqprop_analog.errors import UserError
from eqprop_analog.learning.trainer import PhaseError, PhaseLearner
from eqprop_analog.networks.nonideal import in_situ
from eqprop_analog.networks.nonideal.in_situ import WiredLearner, WiredSolver
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.newton import NonidealNewtonSolver

RULE = Rule(Rates((1e-15, 1e-15), (1e-15, 1e-15)), beta=2e-7)
OHMS = 2e5
"""r G N² is about 5."""


def network():
    return ResistiveNetwork.dense([12, 10, 3], seed=3, amplifier_gain=4.0, input_gain=5.0)


def batch():
    random = np.random.default_rng(0)
    return random.uniform(-1, 1, (6, 12)), np.eye(3)[random.integers(0, 3, 6)]


@pytest.mark.parametrize("read_at", ["nodes", "cells"])
def test_an_update_is_the_rate_times_the_contrast_of_the_circuit_with_wires(read_at):
    inputs, targets = batch()
    before, learning = network(), network()
    chip = NonidealNetwork(before, wire_resistance=OHMS, tile=(8, 8))
    phases = [WiredSolver(OHMS, (8, 8)).solve(before, inputs, Nudge(targets, beta)) for beta in (2e-7, -2e-7)]
    expected = (chip.contrast if read_at == "nodes" else chip.cell_contrast)(inputs, *phases)
    WiredLearner(learning, WiredSolver(OHMS, (8, 8)), RULE, read_at).learn(inputs, targets)
    for was, now, slope in zip(before.conductances, learning.conductances, expected.conductances, strict=True):
        np.testing.assert_allclose(
            now, np.maximum(was - 1e-15 * slope, 0), rtol=0, atol=1e-9 * np.abs(1e-15 * slope).max()
        )


def test_cells_read_the_gradient_of_the_cost_and_nodes_something_else():
    """Central differences of the cost through the wires, cell by cell."""
    inputs, targets = batch()
    made, solver = network(), WiredSolver(OHMS, (8, 8), 1e-14)

    def cost(conductances):
        free = solver.solve(replace(made, conductances=conductances), inputs)
        return 0.5 * ((free.outputs - targets) ** 2).sum(axis=1).mean()

    nudges = [Nudge(targets, beta) for beta in (1e-9, -1e-9)]
    _, plus, minus = solver.solve_phases(made, inputs, nudges)
    cells, nodes = (contrast(inputs, plus, minus) for contrast in (solver.chip(made).cell_contrast, made.contrast))
    at = [np.argwhere(matrix > 0)[::7] for matrix in made.conductances]
    for layer, places in enumerate(at):
        for i, j in places:
            around = []
            for sign in (1, -1):
                changed = [matrix.copy() for matrix in made.conductances]
                changed[layer][i, j] += sign * 1e-10
                around.append(cost(tuple(changed)))
            slope = (around[0] - around[1]) / 2e-10
            largest = np.abs(cells.conductances[layer]).max()
            assert abs(cells.conductances[layer][i, j] - slope) < 1e-4 * largest
    assert np.abs(cells.conductances[0] - nodes.conductances[0]).max() > 0.05 * np.abs(cells.conductances[0]).max()


def test_thin_wires_learn_as_none():
    inputs, targets = batch()
    ideal, wired = network(), network()
    PhaseLearner(ideal, SurrogateSolver(), RULE).learn(inputs, targets)
    WiredLearner(wired, WiredSolver(1e-3), RULE, "cells").learn(inputs, targets)
    for one, other, before in zip(ideal.conductances, wired.conductances, network().conductances, strict=True):
        np.testing.assert_allclose(other - before, one - before, rtol=0, atol=1e-7 * np.abs(one - before).max())


def test_contrasts_are_computed_twice_at_the_first_update_and_after_so_many(monkeypatch):
    monkeypatch.setattr(in_situ, "CHECK_EVERY", 2)
    inputs, targets = batch()
    learner = WiredLearner(network(), WiredSolver(OHMS, tolerance=1e-10), RULE)
    for _ in range(5):
        learner.learn(inputs, targets)
    assert learner.figures()["contrast_checks"] == 3
    assert 0 <= learner.figures()["contrast_deviation"] < 1e-6
    again = WiredLearner(network(), WiredSolver(OHMS, tolerance=1e-10), RULE)
    again.restore({name: values.copy() for name, values in learner.arrays().items()})
    assert again.figures() == learner.figures()


@pytest.mark.parametrize(
    ("solver", "setting"),
    [(WiredSolver(OHMS), "wire_resistance"), (WiredSolver(0.0, cell=SinhCell(0.5)), "cell")],
    ids=["wires", "cells"],
)
def test_a_contrast_that_deviates_ends_training_before_its_update(monkeypatch, solver, setting):
    monkeypatch.setattr(in_situ, "LARGEST_DEVIATION", -1.0)
    made = network()
    with pytest.raises(UserError, match=f"^{setting}:"):
        WiredLearner(made, solver, RULE).learn(*batch())
    np.testing.assert_array_equal(made.conductances[0], network().conductances[0])


def test_a_phase_that_does_not_converge_is_no_update(monkeypatch):
    made = network()
    monkeypatch.setattr(in_situ, "newton_for", lambda cell, tolerance: NonidealNewtonSolver(tolerance, 1))
    with pytest.raises(PhaseError):
        WiredLearner(made, WiredSolver(OHMS, tolerance=1e-15), RULE).learn(*batch())
    np.testing.assert_array_equal(made.conductances[0], network().conductances[0])


def test_a_contrast_that_is_zero_deviates_by_nothing():
    learner = WiredLearner(network(), WiredSolver(OHMS), RULE)
    learner.learn(np.zeros((2, 12)), np.zeros((2, 3)))
    assert learner.figures() == {"contrast_checks": 1, "contrast_deviation": 0.0}
