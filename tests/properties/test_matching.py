"""The theorem of Ernoult et al. 2019: equality under its conditions up to powers of β, and no equality otherwise."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqprop_analog import (
    DiscreteTimeSolver,
    GradientFlowSolver,
    HopfieldDescentSolver,
    HopfieldNetwork,
    Nudge,
    UserError,
)
from eqprop_analog.devices.buffer import HardSigmoid, Sigmoid
from eqprop_analog.networks.hopfield.bptt import Unrolling
from eqprop_analog.networks.hopfield.connections import Convolution, Dense
from eqprop_analog.networks.hopfield.matching import Match, estimate_errors, match, relative_difference

BOUND = 1e-6
BETA = 1e-5
STEPS = 20
KINDS = pytest.mark.parametrize("kind", ["dense", "convolutional"])
DISCRETE = DiscreteTimeSolver()


def network(kind: str, seed: int = 0, **options: Any) -> HopfieldNetwork:
    """A toy network, its outputs mostly within the span of their buffers; the convolutions pool."""
    if kind == "dense":
        net = HopfieldNetwork.dense([8, 16, 12, 5], seed, initial="fan-in", **options)
    else:
        images = [Convolution((2, 6, 6), 4, 3, pool=2), Convolution((4, 2, 2), 6, 2, padding=1, pool=3), Dense(6, 5)]
        net = HopfieldNetwork.build(images, seed, initial="fan-in", **options)
    net.biases[-1][:] += 0.5
    return net


def batch(net: HopfieldNetwork, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.uniform(size=(2, net.layers[0])), np.eye(net.classes)[random.integers(net.classes, size=2)]


def nudges(targets: np.ndarray, beta: float = BETA, nudging: str = "centred", **options: Any) -> list[Nudge]:
    return [Nudge(targets, b, **options) for b in ((beta, -beta) if nudging == "centred" else (beta,))]


def matched(
    net: HopfieldNetwork, *nudging: Any, seed: int = 0, solver=DISCRETE, steps: int = STEPS, **options: Any
) -> Match:
    inputs, targets = batch(net, seed)
    return match(net, solver, inputs, nudges(targets, *nudging, **options), steps)


def worst(result: Match) -> float:
    return max(result.differences().values())


def states(values: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [array for name, array in values.items() if name.startswith("state")]


class TestExact:
    @KINDS
    @pytest.mark.parametrize(
        "solver",
        [DISCRETE, DiscreteTimeSolver(step=0.5), GradientFlowSolver(step=0.3)],
        ids=["discrete time", "part steps", "gradient flow"],
    )
    @settings(max_examples=5)
    @given(seed=st.integers(0, 1000), gain=st.sampled_from([0.5, 1.0]))
    def test_every_update_of_every_array_is_the_gradient_as_many_steps_back(self, kind, solver, seed, gain):
        net = network(kind, seed, buffer=HardSigmoid(gain))
        result = matched(net, seed=seed, solver=solver)
        assert worst(result) <= BOUND
        assert result.updates.keys() == {*(f"state_{l}" for l in (1, 2, 3)), *net.arrays()}
        for name, values in net.arrays().items():
            assert result.updates[name].shape == (STEPS, *values.shape)
        assert np.abs(result.gradients["state_3"][0]).max() > 0

    @KINDS
    @settings(max_examples=5)
    @given(seed=st.integers(0, 1000))
    def test_it_holds_for_smooth_buffers_too_because_the_nudge_stands_inside(self, kind, seed):
        net = network(kind, seed, buffer=Sigmoid())
        assert worst(matched(net, seed=seed)) <= BOUND

    @KINDS
    def test_cross_entropy_of_a_readout_outside_the_system(self, kind):
        net = network(kind, classes=3)
        result = matched(net, kind="feedback", cost="cross-entropy")
        assert worst(result) <= BOUND
        assert not any(name.startswith("head") for name in result.updates)

    @KINDS
    def test_nodes_within_the_span_change_by_the_gradient_of_their_state_and_saturated_ones_not_at_all(self, kind):
        net = network(kind)
        result = matched(net)
        free = DISCRETE.solve(net, batch(net)[0]).require()
        saturated = [(s == 0) | (s == 1) for s in free.voltages]
        assert sum(s.sum() for s in saturated) > 2
        for updates, gradients, at_corner in zip(
            states(result.updates), states(result.state_gradients), saturated, strict=True
        ):
            assert not updates[:, at_corner].any()
            inside = gradients[:, ~at_corner]
            assert np.abs(updates[:, ~at_corner] - inside).max() <= BOUND * np.abs(inside).max()

    @KINDS
    def test_a_nudge_behind_hard_buffers_as_published_matches_where_no_output_is_saturated(self, kind):
        net = network(kind)
        net = replace(net, weights=tuple(0.4 * w for w in net.weights), biases=tuple(0 * b + 0.5 for b in net.biases))
        outputs = DISCRETE.solve(net, batch(net)[0]).require().outputs
        assert ((outputs > 0) & (outputs < 1)).all()
        assert worst(matched(net, kind="output")) <= BOUND

    @KINDS
    @pytest.mark.parametrize("buffer", [HardSigmoid(), Sigmoid()], ids=["hard", "smooth"])
    @pytest.mark.parametrize("step", [1, 0.5])
    def test_a_nudge_behind_the_buffers_matches_bptt_of_a_cost_behind_them_saturated_outputs_and_all(
        self, kind, buffer, step
    ):
        net, solver = network(kind, buffer=buffer), DiscreteTimeSolver(step=step)
        net.biases[-1][:2] = (-2, 2)
        result = matched(net, kind="output", solver=solver)
        inputs, targets = batch(net)
        free = solver.solve(net, inputs).require()
        back = Unrolling(net, solver, len(inputs), STEPS)
        back.forward(inputs, free.voltages)
        back.backward(targets, kind="output")
        for updates, forces in zip(states(result.updates), back.forces, strict=True):
            assert relative_difference(updates, -forces[::-1]) <= BOUND
        for name, updates in result.updates.items():
            if not name.startswith("state"):
                total = back.gradient()[name]
                assert relative_difference(-updates.sum(axis=0), total) <= BOUND

    def test_the_error_travels_one_layer_a_step(self):
        net = network("dense")
        result = matched(net)
        for back, side in enumerate(reversed(states(result.updates))):
            assert not side[:back].any()
            assert side[back].any()


class TestDeparture:
    """β from 1e-4 to 1e-3, for which no node passes a corner with these seeds."""

    BETAS = (1e-4, 1e-3)

    def slope(self, errors: list[float]) -> float:
        return float(np.diff(np.log(errors))[0] / np.diff(np.log(self.BETAS))[0])

    @pytest.mark.parametrize("buffer", [HardSigmoid(), Sigmoid()], ids=["hard", "smooth"])
    @KINDS
    def test_updates_part_with_beta_one_sided_and_with_its_square_centred(self, kind, buffer):
        net = network(kind, buffer=buffer)
        for nudging, order in (("one-sided", 1), ("centred", 2)):
            errors = [worst(matched(net, beta, nudging)) for beta in self.BETAS]
            assert self.slope(errors) == pytest.approx(order, abs=0.05)

    def test_over_three_decades_where_nothing_has_corners(self):
        net = network("dense", buffer=Sigmoid())
        for nudging, order in (("one-sided", 1), ("centred", 2)):
            errors = [worst(matched(net, beta, nudging)) for beta in (1e-4, 1e-1)]
            assert np.log10(errors[1] / errors[0]) / 3 == pytest.approx(order, abs=0.05)

    @KINDS
    def test_converged_phases_are_biased_alike_and_one_sided_ones_far_more(self, kind):
        net = network(kind)
        found = [estimate_errors(net, DISCRETE, *batch(net), beta) for beta in self.BETAS]
        assert self.slope([each["one-sided"] for each in found]) == pytest.approx(1, abs=0.05)
        assert self.slope([each["centred"] for each in found]) == pytest.approx(2, abs=0.05)
        assert found[1]["one-sided"] > 100 * found[1]["centred"]


class TestElsewhere:
    @KINDS
    def test_untied_weights_do_not_match(self, kind):
        net = network(kind, 3, untied=True)
        result = matched(net)
        assert worst(result) > 0.1
        assert relative_difference(result.updates["state_1"], result.gradients["state_1"]) > 0.1

    def test_smooth_buffers_do_not_match_the_gradients_of_their_states(self):
        net = network("dense", buffer=Sigmoid())
        result = matched(net)
        for updates, gradients in zip(states(result.updates), states(result.state_gradients), strict=True):
            assert relative_difference(updates, gradients) > 0.1

    def test_layers_that_take_turns_match_in_the_sum_alone(self):
        net = network("dense")
        result = matched(net, solver=HopfieldDescentSolver(), steps=200)
        assert worst(result) > 0.1
        for name, updates in result.updates.items():
            assert relative_difference(updates.sum(axis=0), result.gradients[name].sum(axis=0)) <= BOUND

    def test_a_nudge_behind_smooth_buffers_as_published_matches_in_neither(self):
        net = network("dense", buffer=Sigmoid())
        result = matched(net, kind="output")
        assert min(result.differences().values()) > 0.1
        pairs = zip(states(result.updates), states(result.state_gradients), strict=True)
        assert max(relative_difference(updates, gradients) for updates, gradients in pairs) > 0.1

    def test_a_network_without_a_fixed_point_in_reach_is_refused(self):
        net = network("dense", 0)
        net = replace(net, weights=tuple(20 * weights for weights in net.weights))
        with pytest.raises(UserError, match="STALLED"):
            matched(net, solver=DiscreteTimeSolver(max_steps=300))

    def test_no_steps_and_no_nudge_are_refused(self):
        net = network("dense")
        inputs, targets = batch(net)
        for some, steps in ((nudges(targets), 0), ([], STEPS)):
            with pytest.raises(UserError, match="match: expected"):
                match(net, DISCRETE, inputs, some, steps)
