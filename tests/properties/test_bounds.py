"""Bounds of skips, durations and sizes: settings that once caused a traceback or an endless run."""

import numpy as np
import pytest

from eqprop_analog import NgspiceSolver, Nudge, ResistiveNetwork
from eqprop_analog.core.equilibrium import Equilibrium, Status
from eqprop_analog.errors import UserError
from eqprop_analog.learning.trainer import PhaseLearner, Rule
from eqprop_analog.learning.update import WeightRates
from eqprop_analog.networks.hopfield.discrete_time import DiscreteTimeSolver
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.hopfield.transient import settle_hopfield
from eqprop_analog.networks.resistive.transient import settle


class FailsOn(DiscreteTimeSolver):
    """The second sample of every batch has no equilibrium."""

    def solve_phases(self, *arguments: object) -> tuple[Equilibrium, ...]:  # type: ignore[override]
        phases = super().solve_phases(*arguments)  # type: ignore[arg-type]
        for phase in phases:
            phase.status[1] = Status.STALLED
        return phases


def test_a_sample_that_is_skipped_takes_its_target_with_it() -> None:
    """The update of a batch with a failed sample is that of the batch without it, including a read-out outside the system."""
    random = np.random.default_rng(0)
    inputs, targets = random.uniform(size=(4, 3)), np.eye(2)[[0, 1, 1, 0]]
    kept = [0, 2, 3]
    rule = Rule(WeightRates((0.1, 0.1, 0.1), (0.1, 0.1, 0.1)), 0.5, "centred", "feedback", "cross-entropy")
    networks = [HopfieldNetwork.dense([3, 4, 3], seed=0, initial="fan-in", classes=2) for _ in range(2)]
    PhaseLearner(networks[0], FailsOn(), rule, skip_failures=True).learn(inputs, targets)
    PhaseLearner(networks[1], DiscreteTimeSolver(), rule).learn(inputs[kept], targets[kept])
    for name, values in networks[0].arrays().items():
        np.testing.assert_allclose(values, networks[1].arrays()[name], rtol=0, atol=1e-12)


def test_some_samples_of_a_nudged_phase_keep_their_own_targets() -> None:
    phase = Equilibrium(
        (np.zeros((3, 2)),), np.zeros(3), np.full(3, Status.CONVERGED), Nudge(np.arange(6.0).reshape(3, 2), 1.0)
    )
    some = phase.select(np.array([True, False, True]))
    assert some.nudge is not None
    assert some.nudge.target.tolist() == [[0, 1], [4, 5]]


@pytest.mark.parametrize("seconds", [1e300, 1e8, 0, -1, np.nan, np.inf])
def test_time_limits_are_what_a_timer_can_count(seconds: float) -> None:
    with pytest.raises(UserError, match="time limit"):
        NgspiceSolver(time_limit=seconds)


@pytest.mark.parametrize("farads", [1.0, 1e-30, np.nan])
def test_capacitances_are_those_of_nodes(farads: float) -> None:
    with pytest.raises(UserError, match="capacitance"):
        settle(ResistiveNetwork.dense([2, 3, 2], seed=0), np.zeros((1, 2)), Nudge([[1.0, 0.0]], 1e-8), farads)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="capacitance"):
        settle_hopfield(HopfieldNetwork.dense([2, 3, 2], seed=0), np.zeros((1, 2)), Nudge([[1.0, 0.0]], 0.1), farads)  # type: ignore[arg-type]


def test_transients_that_would_not_end_are_refused() -> None:
    network = ResistiveNetwork.dense([2, 3, 2], seed=0, conductance_window=(0.0, 1e-4))
    for matrix in network.conductances:
        matrix[...] *= 1e-9
    with pytest.raises(UserError, match="less capacitance"):
        settle(network, np.zeros((1, 2)), Nudge([[1.0, 0.0]], 1e-20), 1e-6)  # type: ignore[arg-type]
