"""Laws of learning on Hopfield networks: updates, signs, persistent states, continual updates, learners of a whole pass."""

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
    contrast,
)
from eqprop_analog.devices.buffer import Sigmoid
from eqprop_analog.learning.persistent import PersistentStates
from eqprop_analog.learning.trainer import PhaseLearner, Rule, evaluate, train_pass
from eqprop_analog.learning.update import Momentum, WeightRates, descend
from eqprop_analog.networks.hopfield.connections import Convolution, Dense
from eqprop_analog.networks.hopfield.continual import ContinualLearner

LAYERS = (6, 8, 5, 3)


def fresh(**settings) -> HopfieldNetwork:
    network = HopfieldNetwork.dense(LAYERS, 1, **settings)
    for bias in network.biases:
        np.add(bias, 0.2, out=bias)
    return network


def rates(rate: float, network: HopfieldNetwork) -> WeightRates:
    count = network.depth + (network.head is not None)
    return WeightRates((rate,) * count, (2 * rate,) * count)


def data(batch: int = 6, inputs: int = LAYERS[0], classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    return random.uniform(size=(batch, inputs)), np.eye(classes)[random.integers(classes, size=batch)]


def change(network: HopfieldNetwork, before: dict[str, np.ndarray], rate: float) -> dict[str, np.ndarray]:
    """-Δθ/rate."""
    return {name: (before[name] - values) / rate for name, values in network.arrays().items()}


def copies(network: HopfieldNetwork) -> dict[str, np.ndarray]:
    return {name: values.copy() for name, values in network.arrays().items()}


def distance(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(one[name] - other[name]).max() / np.abs(other[name]).max()) for name in other)


@pytest.mark.parametrize("settings", [{}, {"classes": 3}, {"untied": True, "classes": 3}], ids=["plain", "head", "all"])
def test_every_parameter_descends_at_its_own_rate(settings):
    network = fresh(**settings)
    layers = tuple(10.0 ** -(l + 1) for l in range(network.depth + ("classes" in settings)))
    random, before = np.random.default_rng(0), copies(network)
    gradient = {name: random.normal(size=values.shape) for name, values in before.items()}
    slopes = {name: slope.copy() for name, slope in gradient.items()}
    descend(network, gradient, WeightRates(layers, tuple(3 * rate for rate in layers)).scaled(0.5))
    expected = {f"weight_{l}": layers[l - 1] for l in (1, 2, 3)} | {f"bias_{l}": 3 * layers[l - 1] for l in (1, 2, 3)}
    expected |= {f"returning_{l}": layers[l - 1] for l in (2, 3)} | {
        "head_weight": layers[-1],
        "head_bias": 3 * layers[-1],
    }
    for name, values in network.arrays().items():
        np.testing.assert_allclose(values, before[name] - 0.5 * expected[name] * slopes[name], rtol=1e-12, atol=1e-15)


def test_momentum_and_weight_decay_by_hand_over_three_steps():
    network = fresh()
    theta, mean = copies(network), {name: 0 * values for name, values in network.arrays().items()}
    optimizer, random = Momentum(network, 0.9, 0.01), np.random.default_rng(0)
    for _ in range(3):
        gradient = {name: random.normal(size=values.shape) for name, values in theta.items()}
        for name, slope in gradient.items():
            mean[name] = 0.9 * mean[name] + slope + 0.01 * theta[name]
            theta[name] = theta[name] - (0.1 if name.startswith("weight") else 0.2) * mean[name]
        descend(network, gradient, rates(0.1, network), optimizer)
    for name, values in network.arrays().items():
        np.testing.assert_allclose(values, theta[name], rtol=1e-12)
        np.testing.assert_allclose(optimizer.arrays()[f"momentum_{name}"], mean[name], rtol=1e-12)


def test_learning_goes_on_to_the_same_bits_from_saved_arrays():
    """Network, momentum and persistent states, written and read back between two batches."""
    inputs, targets = data()

    def learner(network: HopfieldNetwork) -> PhaseLearner:
        solver = GradientFlowSolver(free_steps=4, nudged_steps=3)
        rule = Rule(rates(0.1, network), 0.5, "one-sided")
        return PhaseLearner(
            network, solver, rule, momentum=Momentum(network, 0.9), persistent=PersistentStates.of(network, 10)
        )

    def arrays(of: PhaseLearner) -> dict[str, np.ndarray]:
        return of.network.arrays() | of.momentum.arrays() | of.persistent.arrays()

    whole, first, second = (learner(fresh()) for _ in range(3))
    examples = np.array([9, 0, 3, 4, 7, 1])
    for _ in range(2):
        whole.learn(inputs, targets, examples)
    first.learn(inputs, targets, examples)
    for name, values in arrays(second).items():
        values[...] = arrays(first)[name].copy()
    second.learn(inputs, targets, examples)
    for name, values in arrays(whole).items():
        np.testing.assert_array_equal(values, arrays(second)[name])
    assert distance(whole.network.arrays(), fresh().arrays()) > 1e-3


def test_persistent_states_begin_where_each_example_ended():
    network = fresh()
    inputs, targets = data()
    kept, solver = PersistentStates.of(network, 10), GradientFlowSolver(free_steps=3, nudged_steps=1)
    still = PhaseLearner(network, solver, Rule(rates(0.0, network), 0.5), persistent=kept)
    examples = np.array([9, 0, 3, 4, 7, 1])
    still.learn(inputs, targets, examples)
    for number, few in enumerate((examples[:4], examples[:2]), start=2):
        still.learn(inputs[: len(few)], targets[: len(few)], few)
        expected = replace(solver, free_steps=3 * number).solve(network, inputs[: len(few)])
        for kept_states, states in zip(kept.states, expected.voltages, strict=True):
            np.testing.assert_allclose(kept_states[few], states, atol=1e-14)
    assert all((states[[2, 5, 6, 8]] == 0).all() for states in kept.states)
    with pytest.raises(UserError, match="expected the indices"):
        still.learn(inputs, targets)


def test_random_signs_come_from_the_generator_and_from_nothing_else():
    rule = Rule(rates(0.1, fresh()), 0.5, "random-sign")
    _, targets = data()

    def signs(seed: int) -> list[float]:
        random = np.random.default_rng(seed)
        return [nudge.beta for _ in range(40) for nudge in rule.nudges(targets, random)]

    assert signs(0) == signs(0)
    assert signs(0) != signs(1)
    assert set(signs(0)) == {0.5, -0.5}
    with pytest.raises(UserError, match="random signs need a random generator"):
        rule.nudges(targets)


@pytest.mark.parametrize("beta", [0.1, -0.1])
def test_a_one_sided_learner_descends_the_contrast_of_its_two_phases(beta):
    network, (inputs, targets) = fresh(), data()
    solver = DiscreteTimeSolver(free_steps=20, nudged_steps=5)
    rule = Rule(rates(0.1, network), beta, "one-sided")
    free, plus = solver.solve_phases(network, inputs, rule.nudges(targets))
    expected = fresh()
    descend(expected, contrast(network, inputs, plus, free), rule.rates)
    wrong, statuses = PhaseLearner(network, solver, rule).learn(inputs, targets)
    assert wrong == (free.outputs.argmax(axis=1) != targets.argmax(axis=1)).sum()
    assert statuses == {"TRUNCATED": 2 * len(inputs)}
    for name, values in network.arrays().items():
        np.testing.assert_array_equal(values, expected.arrays()[name])


@pytest.mark.parametrize("untied", [False, True], ids=["tied", "untied"])
@pytest.mark.parametrize("signal", ["contrast", "vector-field"])
def test_continual_updates_add_up_to_those_of_the_end_as_the_rates_vanish(signal, untied):
    """The difference falls as the rate. The local products of all moments add up to those at the end if they are symmetric."""
    inputs, targets = data()
    solver = LeakyIntegratorSolver(free_steps=60, nudged_steps=12)
    errors = []
    for rate in (1e-3, 1e-4):
        network = fresh(untied=untied)
        rule = Rule(rates(rate, network), 0.3, "one-sided", signal=signal)
        before = copies(network)
        free, plus = solver.solve_phases(network, inputs, rule.nudges(targets))
        expected = contrast(network, inputs, plus, free)
        wrong, statuses = ContinualLearner(network, solver, rule).learn(inputs, targets)
        assert statuses == {"TRUNCATED": 2 * len(inputs)}
        assert wrong == (free.outputs.argmax(axis=1) != targets.argmax(axis=1)).sum()
        found = change(network, before, rate)
        if untied and signal == "vector-field":
            for layer in (2, 3):
                found[f"weight_{layer}"] += found.pop(f"returning_{layer}")
                expected.pop(f"returning_{layer}")
        expected = {name: (2 if name.startswith("bias") else 1) * slope for name, slope in expected.items()}
        errors.append(distance(found, expected))
    assert errors[0] < 0.3
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.2)


def test_spike_timing_adds_up_to_the_contrast_as_rates_and_time_steps_vanish():
    """∫ s_pre ds_post + s_post ds_pre is the change of the product; in steps ε the sum is off by O(ε)."""
    inputs, targets = data()
    errors = []
    for step in (0.1, 0.05, 0.025):
        network = fresh()
        solver = GradientFlowSolver(step=step, free_steps=round(30 / step), nudged_steps=round(5 / step))
        rule = Rule(rates(1e-9, network), 1.0, "one-sided", signal="differential")
        free, plus = solver.solve_phases(network, inputs, rule.nudges(targets))
        expected = contrast(network, inputs, plus, free)
        before = copies(network)
        ContinualLearner(network, solver, rule).learn(inputs, targets)
        found = change(network, before, 1e-9)
        errors.append(max(distance({n: found[n]}, {n: expected[n]}) for n in expected if n.startswith("weight")))
    assert errors[0] < 0.1
    assert np.diff(np.log(errors)) == pytest.approx(-np.log(2), rel=0.15)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rule": {"nudging": "centred"}}, 'continual updates need "one-sided" or "random-sign"'),
        ({"solver": {"nudged_steps": None}}, "nudged_steps: continual updates need"),
        ({"network": {"classes": 3}}, "read-out: continual updates need"),
    ],
)
def test_what_continual_updates_cannot_do_is_told_in_a_sentence(changes: dict[str, Any], sentence):
    network = fresh(**changes.get("network", {}))
    rule = Rule(**{"rates": rates(0.1, network), "beta": 0.5, "nudging": "one-sided"} | changes.get("rule", {}))
    solver = DiscreteTimeSolver(**{"free_steps": 5, "nudged_steps": 5} | changes.get("solver", {}))
    with pytest.raises(UserError, match=sentence):
        ContinualLearner(network, solver, rule)


SETTINGS: dict[str, Any] = {
    "2017": (GradientFlowSolver(free_steps=10, nudged_steps=4), {"nudging": "random-sign", "beta": 1.0}, {}),
    "2019": (
        DiscreteTimeSolver(free_steps=15, nudged_steps=6),
        {"nudging": "one-sided", "beta": 0.2},
        {"buffer": Sigmoid()},
    ),
    "descent": (HopfieldDescentSolver(free_steps=6, nudged_steps=3), {"beta": 0.5}, {}),
    "2021": (
        DiscreteTimeSolver(free_steps=15, nudged_steps=8),
        {"kind": "feedback", "cost": "cross-entropy", "beta": 0.5},
        {"classes": 3},
    ),
    "untied, both directions alike": (
        DiscreteTimeSolver(free_steps=30, nudged_steps=8),
        {"beta": 0.2},
        {"untied": True},
    ),
    "vector field": (
        DiscreteTimeSolver(free_steps=30, nudged_steps=8),
        {"signal": "vector-field", "beta": 0.2},
        {"untied": True},
    ),
    "continual": (LeakyIntegratorSolver(free_steps=40, nudged_steps=6), {"nudging": "one-sided", "beta": 0.5}, {}),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_recipe_learns_to_tell_three_patterns_apart(name):
    solver, rule, settings = SETTINGS[name]
    network = HopfieldNetwork.dense((12, 30, 3) if "classes" not in settings else (12, 30, 20), 3, **settings)
    random = np.random.default_rng(0)
    labels = random.integers(3, size=60)
    prototypes = random.uniform(size=(3, 12)) > 0.5
    inputs = np.clip(prototypes[labels] + 0.2 * random.normal(size=(60, 12)), 0, 1)
    rule = Rule(rates(0.05 if name == "continual" else 0.1, network), **rule)
    if name == "continual":
        learner: Any = ContinualLearner(network, solver, rule)
    else:
        learner = PhaseLearner(network, solver, rule, random=random)
    batches = [(inputs[k : k + 10], np.eye(3)[labels[k : k + 10]]) for k in range(0, 60, 10)]
    errors = [train_pass(learner, batches).error for _ in range(40)]
    assert errors[0] > 0.2
    assert errors[-1] < 0.1
    assert evaluate(network, solver.solve, inputs, labels, chunk=13).error < 0.1


def test_a_convolutional_network_learns_where_a_bar_lies():
    first = Convolution((1, 6, 6), 8, kernel=3, padding=1, pool=2)
    network = HopfieldNetwork.build([first, Dense(72, 2)], 0, initial="fan-in")
    random = np.random.default_rng(0)
    labels, images = random.integers(2, size=40), 0.2 * random.uniform(size=(40, 6, 6))
    for image, label in zip(images, labels, strict=True):
        line = random.integers(6)
        image[(line, slice(None)) if label else (slice(None), line)] += 0.8
    batches = [(images[k : k + 10].reshape(10, -1), np.eye(2)[labels[k : k + 10]]) for k in range(0, 40, 10)]
    solver = HopfieldDescentSolver(free_steps=8, nudged_steps=4)
    learner = PhaseLearner(network, solver, Rule(rates(0.3, network), 0.5))
    errors = [train_pass(learner, batches).error for _ in range(15)]
    assert errors[0] > 0.2
    assert errors[-1] < 0.1
