"""Backpropagation through time against finite differences through the solvers themselves, and against PyTorch's autograd."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from eqprop_analog import (
    DiscreteTimeSolver,
    GradientFlowSolver,
    HopfieldDescentSolver,
    HopfieldNetwork,
    LeakyIntegratorSolver,
    UserError,
)
from eqprop_analog.core.nudge import cost
from eqprop_analog.core.readouts import predictions
from eqprop_analog.devices.buffer import HardSigmoid, Sigmoid
from eqprop_analog.learning.exact_gradient import implicit_gradient
from eqprop_analog.learning.persistent import PersistentStates
from eqprop_analog.learning.trainer import PhaseError, mistakes
from eqprop_analog.learning.update import Momentum, WeightRates
from eqprop_analog.networks.hopfield.bptt import BpttLearner, Unrolling, bptt_gradient
from eqprop_analog.networks.hopfield.connections import Convolution, Dense
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.relaxation import Relaxation

STEPS = 6
DYNAMICS = {
    "discrete time": DiscreteTimeSolver(free_steps=STEPS),
    "part steps": DiscreteTimeSolver(step=0.6, free_steps=STEPS),
    "gradient flow": GradientFlowSolver(step=0.6, free_steps=STEPS),
    "descent": HopfieldDescentSolver(free_steps=STEPS),
}
BUFFERS = {"hard": HardSigmoid(), "half": HardSigmoid(0.5), "smooth": Sigmoid()}
CASES = pytest.mark.parametrize(
    ("dynamics", "buffer"),
    [(d, b) for d in DYNAMICS for b in BUFFERS if (d, b) != ("gradient flow", "smooth")],
)
KINDS = pytest.mark.parametrize("kind", ["dense", "convolutional"])


def network(kind: str, seed: int = 2, **settings: Any) -> HopfieldNetwork:
    """Small, with two hidden layers, most nodes within the span of their buffers; the convolutions pool and pad."""
    if kind == "dense":
        net = HopfieldNetwork.dense([4, 7, 6, 3], seed, initial="fan-in", **settings)
    else:
        images = [Convolution((2, 5, 5), 3, 3, padding=1, pool=2), Convolution((3, 2, 2), 4, 2, padding=1, pool=3)]
        net = HopfieldNetwork.build([*images, Dense(4, 3)], seed, initial="fan-in", **settings)
    return replace(net, biases=tuple(bias + 0.4 / net.buffer.gain for bias in net.biases))


def batch(net: HopfieldNetwork, size: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    return random.uniform(size=(size, net.layers[0])), np.eye(net.classes)[random.integers(net.classes, size=size)]


def differences(array: np.ndarray, value: Callable[[], float], step: float = 1e-6) -> np.ndarray:
    """Central finite differences of ``value`` by some dozen entries of ``array``, NaN at the others."""
    result = np.full_like(array, np.nan)
    flat, found = array.reshape(-1), result.reshape(-1)
    for k in np.random.default_rng(3).permutation(array.size)[:12]:
        kept = flat[k]
        flat[k] = kept + step
        above = value()
        flat[k] = kept - step
        found[k] = (above - value()) / (2 * step)
        flat[k] = kept
    return result


def assert_close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], relative: float) -> None:
    """Each array's largest difference, relative to its largest entry; none of them is zero throughout."""
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].shape == values.shape
        assert np.nanmax(np.abs(values)) > 1e-6, name
        assert np.nanmax(np.abs(found[name] - values)) <= relative * np.abs(found[name]).max(), name


def numerical(net: HopfieldNetwork, solver: Relaxation, inputs, targets, name="squared-error") -> dict[str, np.ndarray]:
    def mean_cost() -> float:
        return float(cost(name, net.readout(solver.solve(net, inputs).outputs), targets).mean())

    return {parameter: differences(values, mean_cost) for parameter, values in net.arrays().items()}


class TestFiniteDifferences:
    @KINDS
    @CASES
    def test_every_parameter_has_the_slope_of_the_cost_after_the_solvers_own_steps(self, kind, dynamics, buffer):
        net, solver = network(kind, buffer=BUFFERS[buffer]), DYNAMICS[dynamics]
        inputs, targets = batch(net)
        assert_close(bptt_gradient(net, solver, inputs, targets), numerical(net, solver, inputs, targets), 1e-5)

    @KINDS
    def test_weak_feedback_has_its_part_of_the_slopes(self, kind):
        net, solver = (
            network(kind, 3, feedback=0.3),
            DYNAMICS["descent"],
        )
        inputs, targets = batch(net)
        assert_close(bptt_gradient(net, solver, inputs, targets), numerical(net, solver, inputs, targets), 1e-5)

    @KINDS
    @pytest.mark.parametrize("dynamics", DYNAMICS)
    def test_untied_weights_have_their_own_slopes_each_way(self, kind, dynamics):
        net, solver = network(kind, 3, untied=True), DYNAMICS[dynamics]
        inputs, targets = batch(net)
        assert_close(bptt_gradient(net, solver, inputs, targets), numerical(net, solver, inputs, targets), 1e-5)

    @KINDS
    def test_cross_entropy_of_a_readout_outside_the_system(self, kind):
        net, solver = network(kind, classes=4), DYNAMICS["discrete time"]
        inputs, targets = batch(net)
        found = bptt_gradient(net, solver, inputs, targets, "cross-entropy")
        assert_close(found, numerical(net, solver, inputs, targets, "cross-entropy"), 1e-5)
        assert "head_weight" in found

    @KINDS
    @pytest.mark.parametrize("dynamics", ["discrete time", "descent"])
    def test_behind_the_buffers_it_is_another_cost_that_has_the_slope(self, kind, dynamics):
        """∫(ρ(u) - y)du of the sigmoid is -¼ Σ [y ln s + (1 - y) ln(1 - s)]."""
        net, solver = network(kind, buffer=Sigmoid()), DYNAMICS[dynamics]
        inputs, targets = batch(net)

        def mean_cost() -> float:
            s = solver.solve(net, inputs).outputs
            return float(-0.25 * (targets * np.log(s) + (1 - targets) * np.log1p(-s)).sum(axis=1).mean())

        slopes = {name: differences(values, mean_cost) for name, values in net.arrays().items()}
        assert_close(bptt_gradient(net, solver, inputs, targets, kind="output"), slopes, 1e-5)

    @KINDS
    def test_behind_hard_buffers_saturated_outputs_have_a_slope_too(self, kind):
        """∫(ρ(u) - y)du is ½s² + (u - s)s - yu, at s = ρ(u) and with s² = s at a corner."""
        net, solver = network(kind), DYNAMICS["discrete time"]
        net.biases[-1][:2] = (-2, 2)
        inputs, targets = batch(net)
        before = replace(solver, free_steps=STEPS - 1)

        def mean_cost() -> float:
            u = HopfieldEquations.of(net, inputs).forces(before.solve(net, inputs).voltages)[-1]
            s = u.clip(0, 1)
            return float((s**2 / 2 + (u - s) * s - targets * u).sum(axis=1).mean())

        assert set(solver.solve(net, inputs).outputs[:, :2].ravel()) == {0, 1}
        slopes = {name: differences(values, mean_cost) for name, values in net.arrays().items()}
        assert_close(bptt_gradient(net, solver, inputs, targets, kind="output"), slopes, 1e-5)
        assert not bptt_gradient(net, solver, inputs, targets)["bias_3"][:2].any()

    @KINDS
    @pytest.mark.parametrize("dynamics", DYNAMICS)
    def test_a_step_contributes_what_parameters_of_its_own_would(self, kind, dynamics):
        net, t = network(kind), 3
        inputs, targets = batch(net)
        changed = net.astype(np.float64)
        back = unrolled(net, dynamics)

        def mean_cost() -> float:
            states = None
            for one, count in ((net, t), (changed, 1), (net, STEPS - t - 1)):
                states = replace(DYNAMICS[dynamics], free_steps=count).solve(one, inputs, start=states)
            return float(cost("squared-error", states.outputs, targets).mean())

        contributions = [back.contribution(step) for step in range(STEPS)]
        assert any(np.abs(values).max() > 1e-3 for values in contributions[t].values())
        for name, values in changed.arrays().items():
            slopes = differences(values, mean_cost)
            known = ~np.isnan(slopes)
            np.testing.assert_allclose(contributions[t][name][known], slopes[known], rtol=0, atol=1e-8)
        total = {name: sum(each[name] for each in contributions) for name in contributions[t]}
        assert_close(back.gradient(), total, 1e-12)

    @KINDS
    @pytest.mark.parametrize("dynamics", DYNAMICS)
    def test_states_before_any_step_and_after_the_last_have_the_slope_of_each_samples_cost(self, kind, dynamics):
        net = network(kind)
        inputs, targets = batch(net)
        back = unrolled(net, dynamics)
        for t in (2, STEPS - 1, STEPS):
            states = back.states
            start = Unrolling(net, DYNAMICS[dynamics], len(inputs), max(1, STEPS - t))
            begun = [layer[t].copy() for layer in states]

            def total_cost(t=t, start=start, begun=begun) -> float:
                start.forward(inputs, begun)
                outputs = begun[-1] if t == STEPS else start.outputs
                return float(cost("squared-error", outputs, targets).sum())

            for found, values in zip(back.state_gradients(t), begun, strict=True):
                slopes = differences(values, total_cost)
                known = ~np.isnan(slopes)
                np.testing.assert_allclose(found[known], slopes[known], rtol=0, atol=1e-8)


def unrolled(net: HopfieldNetwork, dynamics: str) -> Unrolling:
    """Forward and back through all steps."""
    inputs, targets = batch(net)
    back = Unrolling(net, DYNAMICS[dynamics], len(inputs), STEPS)
    back.forward(inputs)
    back.backward(targets)
    return back


class TestTruncation:
    @KINDS
    def test_the_last_steps_alone_are_those_from_where_the_others_ended(self, kind):
        net, solver = network(kind), DYNAMICS["discrete time"]
        inputs, targets = batch(net)
        start = replace(solver, free_steps=STEPS - 4).solve(net, inputs)
        back = Unrolling(net, solver, len(inputs), 4)
        back.forward(inputs, start.voltages)
        back.backward(targets)
        assert_close(bptt_gradient(net, solver, inputs, targets, backward_steps=4), back.gradient(), 1e-12)
        full = bptt_gradient(net, solver, inputs, targets)
        assert np.abs(full["weight_1"] - back.gradient()["weight_1"]).max() > 1e-3 * np.abs(full["weight_1"]).max()

    @KINDS
    @pytest.mark.parametrize("dynamics", DYNAMICS)
    @pytest.mark.parametrize("settings", [{}, {"untied": True}, {"classes": 4}], ids=["tied", "untied", "head"])
    def test_back_from_the_fixed_point_as_far_as_it_goes_is_the_implicit_gradient(self, kind, dynamics, settings):
        net = network(kind, 3, **settings)
        inputs, targets = batch(net)
        solver = replace(DYNAMICS[dynamics], free_steps=None, tolerance=1e-14)
        exact = implicit_gradient(net, inputs, targets, solver.solve(net, inputs).require())
        assert_close(bptt_gradient(net, solver, inputs, targets, backward_steps=1000), exact, 1e-9)

    @pytest.mark.parametrize("steps", [0, 2.5, STEPS + 1])
    def test_steps_that_do_not_exist_are_refused(self, steps):
        net = network("dense")
        with pytest.raises(UserError, match="back"):
            bptt_gradient(net, DYNAMICS["discrete time"], *batch(net), backward_steps=steps)

    def test_a_converging_phase_needs_a_number_of_steps(self):
        net = network("dense")
        with pytest.raises(UserError, match="backward_steps"):
            bptt_gradient(net, DiscreteTimeSolver(), *batch(net))


class TestUnrolling:
    @KINDS
    @CASES
    def test_its_steps_are_the_solvers(self, kind, dynamics, buffer):
        net, solver = network(kind, buffer=BUFFERS[buffer]), DYNAMICS[dynamics]
        inputs, _ = batch(net)
        forward = Unrolling(net, solver, len(inputs), STEPS)
        forward.forward(inputs)
        for t in range(1, STEPS + 1):
            stopped = replace(solver, free_steps=t).solve(net, inputs)
            for states, expected in zip(forward.states, stopped.voltages, strict=True):
                np.testing.assert_allclose(states[t], expected, rtol=0, atol=1e-14)

    @KINDS
    def test_memory_is_two_arrays_of_the_kept_steps_and_one_state(self, kind):
        net = network(kind).astype(np.float32)
        for length in (1, 10, 100):
            room = Unrolling(net, DYNAMICS["discrete time"], 5, length)
            held = sum(array.nbytes for array in (*room.states, *room.forces))
            assert held == (2 * length + 1) * 5 * sum(net.layers[1:]) * 4

    @pytest.mark.parametrize(
        ("solver", "buffer"), [(LeakyIntegratorSolver(), HardSigmoid()), (GradientFlowSolver(), Sigmoid())]
    )
    def test_other_dynamics_are_refused_by_name(self, solver, buffer):
        with pytest.raises(UserError, match=f"{type(solver).__name__} with"):
            Unrolling(network("dense", buffer=buffer), solver, 1, 1)


class TestLearner:
    @KINDS
    def test_it_descends_along_the_gradient_and_counts_its_mistakes(self, kind):
        net, solver = network(kind), DYNAMICS["discrete time"]
        before = {name: values.copy() for name, values in net.arrays().items()}
        inputs, targets = batch(net)
        gradient = bptt_gradient(net, solver, inputs, targets)
        outputs = solver.solve(net, inputs).outputs
        rates = WeightRates((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
        wrong, statuses = BpttLearner(net, solver, rates).learn(inputs, targets)
        assert wrong == mistakes(outputs, targets)
        assert statuses == {"TRUNCATED": len(inputs)}
        expected = {name: before[name] - rates.of(name) * slope for name, slope in gradient.items()}
        assert_close(net.arrays(), expected, 1e-12)

    def test_batches_of_another_size_and_precision_learn_as_well(self):
        net = network("dense").astype(np.float32)
        learner = BpttLearner(net, DYNAMICS["gradient flow"], WeightRates((0.1,) * 3, (0.1,) * 3), backward_steps=3)
        inputs, targets = (array.astype(np.float32) for array in batch(net, 5))
        for part in (slice(0, 5), slice(0, 2)):
            before = net.weights[0].copy()
            assert learner.learn(inputs[part], targets[part])[1].total() == len(inputs[part])
            assert (net.weights[0] != before).any()
        assert {values.dtype for values in net.arrays().values()} == {np.dtype(np.float32)}

    def test_momentum_carries_on(self):
        net, other = network("dense"), network("dense")
        inputs, targets = batch(net)
        rates, solver = WeightRates((0.1,) * 3, (0.1,) * 3), DYNAMICS["discrete time"]
        gradients = []
        learner = BpttLearner(net, solver, rates, momentum=Momentum(net, 0.9))
        for _ in range(2):
            gradients.append(bptt_gradient(net, solver, inputs, targets))
            learner.learn(inputs, targets)
        expected = {
            name: values - 0.1 * (1.9 * gradients[0][name] + gradients[1][name])
            for name, values in other.arrays().items()
        }
        assert_close(net.arrays(), expected, 1e-12)

    def test_persistent_states_are_where_phases_begin_and_end(self):
        net, solver = network("dense"), DYNAMICS["discrete time"]
        inputs, targets = batch(net)
        kept, examples = PersistentStates.of(net, 10), np.array([7, 2, 4])
        learner = BpttLearner(net, solver, WeightRates((0.0,) * 3, (0.0,) * 3), persistent=kept)
        for times in (1, 2):
            learner.learn(inputs, targets, examples)
            expected = replace(solver, free_steps=times * STEPS).solve(net, inputs)
            for mine, its in zip(kept.states, expected.voltages, strict=True):
                np.testing.assert_allclose(mine[examples], its, rtol=0, atol=1e-14)
        assert not np.delete(kept.states[0], examples, axis=0).any()

    @pytest.mark.parametrize("dynamics", ["part steps", "gradient flow"])
    def test_kept_states_are_constants_to_the_gradient(self, dynamics):
        net, solver = network("dense"), DYNAMICS[dynamics]
        inputs, targets = batch(net)
        kept = PersistentStates.of(net, len(inputs))
        for states in kept.states:
            states[...] = 0.3
        start = kept.start(np.arange(3))
        before = net.astype(np.float64)

        def mean_cost() -> float:
            return float(cost("squared-error", solver.solve(before, inputs, start=start).outputs, targets).mean())

        slopes = {name: differences(values, mean_cost) for name, values in before.arrays().items()}
        BpttLearner(net, solver, WeightRates((1.0,) * 3, (1.0,) * 3), persistent=kept).learn(
            inputs, targets, np.arange(3)
        )
        after = net.arrays()
        assert_close({name: values - after[name] for name, values in before.arrays().items()}, slopes, 1e-5)

    def test_a_network_that_has_diverged_is_refused_before_the_update(self):
        net = network("dense")
        net.weights[1][0, 0] = np.nan
        before = net.weights[0].copy()
        with pytest.raises(PhaseError, match="finite"):
            BpttLearner(net, DYNAMICS["discrete time"], WeightRates((0.1,) * 3, (0.1,) * 3)).learn(*batch(net))
        np.testing.assert_array_equal(net.weights[0], before)

    def test_a_small_problem_is_learned(self):
        random = np.random.default_rng(0)
        labels = np.arange(60) % 3
        inputs = np.clip(np.eye(3, 6)[labels] + 0.3 * random.normal(size=(60, 6)), 0, 1)
        net, solver = HopfieldNetwork.dense([6, 12, 3], 0, buffer=Sigmoid()), DiscreteTimeSolver(free_steps=10)
        learner = BpttLearner(net, solver, WeightRates((0.5, 0.5), (0.5, 0.5)))
        for _ in range(40):
            learner.learn(inputs, np.eye(3)[labels])
        assert (predictions(solver.solve(net, inputs).outputs) == labels).mean() >= 0.95


class TestAutograd:
    """PyTorch's own gradients of the same steps, written with its own operators."""

    @staticmethod
    def steps(torch: Any, net: HopfieldNetwork, solver: Relaxation, inputs: Any, parameters: dict[str, Any]) -> Any:
        """The last layer's states after STEPS steps of discrete time or of gradient flow."""
        functional = torch.nn.functional
        shapes = [
            (c.shape, c.pooled) if isinstance(c, Convolution) else ((c.inputs,), (c.outputs,)) for c in net.connections
        ]

        def phi(states: list[Any]) -> Any:
            total, before = 0, inputs
            for layer, (each, (shape, after)) in enumerate(zip(net.connections, shapes, strict=True), start=1):
                weight, bias, s = parameters[f"weight_{layer}"], parameters[f"bias_{layer}"], states[layer - 1]
                if isinstance(each, Convolution):
                    maps = functional.conv2d(before.reshape(-1, *shape), weight, padding=each.padding)
                    maps = functional.max_pool2d(maps, each.pool) + bias[:, None, None]
                else:
                    maps = before.flatten(1) @ weight + bias
                total, before = total + (s.reshape(-1, *after) * maps).sum(), s
            return total

        flows, rate = isinstance(solver, GradientFlowSolver), solver.step
        smooth = isinstance(net.buffer, Sigmoid)
        states = [torch.zeros(len(inputs), nodes, dtype=torch.float64, requires_grad=True) for nodes in net.layers[1:]]
        for _ in range(STEPS):
            forces = torch.autograd.grad(phi(states), states, create_graph=True)
            if flows:
                forces = [s + rate * (u - s) for s, u in zip(states, forces, strict=True)]
            outputs = [torch.sigmoid(4 * (u - 0.5)) if smooth else u.clamp(0, 1) for u in forces]
            if not flows:
                outputs = [s + rate * (rho - s) for s, rho in zip(states, outputs, strict=True)]
            states = outputs
        return states[-1]

    @KINDS
    @pytest.mark.parametrize(
        ("dynamics", "buffer"),
        [
            ("discrete time", "hard"),
            ("discrete time", "smooth"),
            ("part steps", "hard"),
            ("part steps", "smooth"),
            ("gradient flow", "hard"),
        ],
    )
    def test_they_agree(self, kind, dynamics, buffer):
        torch = pytest.importorskip("torch")
        net, solver = network(kind, buffer=BUFFERS[buffer]), DYNAMICS[dynamics]
        inputs, targets = batch(net)
        parameters = {name: torch.tensor(values, requires_grad=True) for name, values in net.arrays().items()}
        outputs = self.steps(torch, net, solver, torch.tensor(inputs), parameters)
        (0.5 * (outputs - torch.tensor(targets)) ** 2).sum(dim=1).mean().backward()
        assert_close(
            bptt_gradient(net, solver, inputs, targets),
            {name: values.grad.numpy() for name, values in parameters.items()},
            1e-12,
        )
