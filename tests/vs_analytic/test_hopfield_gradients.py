"""Equilibrium propagation on Hopfield networks against the implicit-function gradient and finite differences of the cost."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from eqprop_analog import Equilibrium, HopfieldDescentSolver, HopfieldNetwork, Nudge, UserError, contrast
from eqprop_analog.core.nudge import cost
from eqprop_analog.devices.buffer import HardSigmoid, Sigmoid
from eqprop_analog.learning.exact_gradient import implicit_gradient
from eqprop_analog.learning.local import differential, learning_signal, vector_field
from eqprop_analog.networks.hopfield.connections import Convolution, Dense

SOLVER = HopfieldDescentSolver(tolerance=3e-15, max_steps=300)
FIRST = Convolution((1, 5, 5), 2, kernel=2, padding=1, pool=2)
CONNECTIONS = {
    "dense": [Dense(4, 6), Dense(6, 5), Dense(5, 3)],
    "pooled": [FIRST, Convolution(FIRST.pooled, 3, kernel=2, pool=2), Dense(3, 3)],
    "not pooled": [Convolution((1, 3, 3), 2, kernel=2), Convolution((2, 2, 2), 3, kernel=2), Dense(3, 3)],
}
NUDGES: dict[str, dict[str, Any]] = {
    "squared error": {},
    "cross-entropy": {"kind": "feedback", "cost": "cross-entropy"},
    "current": {"kind": "current", "cost": "cross-entropy"},
}


def problem(name: str, draw: int = 5, **settings) -> tuple[HopfieldNetwork, np.ndarray, np.ndarray]:
    """Small weights, and biases that keep every node off its corners; three samples."""
    network = HopfieldNetwork.build(CONNECTIONS[name], 2, initial="fan-in", **settings)
    for weights in (*network.weights, *network.returning):
        np.multiply(weights, 0.5, out=weights)
    for bias in network.biases:
        np.add(bias, 0.4, out=bias)
    random = np.random.default_rng(draw)
    return network, random.uniform(size=(3, network.layers[0])), np.eye(network.classes)[[0, 1, 2]]


def phases(network, inputs, targets, betas, **kind) -> list[Equilibrium]:
    free = SOLVER.solve(network, inputs)
    return [free if b == 0 else SOLVER.solve(network, inputs, Nudge(targets, b, **kind), free) for b in betas]


def error(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """Largest over arrays of the largest difference over the array's largest element."""
    assert one.keys() == other.keys()
    return max(float(np.abs(one[name] - other[name]).max() / np.abs(other[name]).max()) for name in other)


def finite_differences(network, inputs, targets, name) -> dict[str, np.ndarray]:
    """dC/dθ by fourth-order central differences through converged free phases."""
    found = {}
    for key, values in network.arrays().items():
        slope = np.empty_like(values)
        for index in np.ndindex(values.shape):
            value, costs = values[index], []
            for shift in (-2, -1, 1, 2):
                values[index] = value + shift * 1e-4
                free = SOLVER.solve(network, inputs)
                costs.append(cost(name, network.readout(free.outputs), targets).mean())
            values[index] = value
            slope[index] = (costs[0] - 8 * costs[1] + 8 * costs[2] - costs[3]) / 12e-4
        found[key] = slope
    return found


@pytest.mark.parametrize(
    "settings", [{}, {"classes": 3}, {"classes": 3, "feedback": 0.3}], ids=["last layer", "head", "weak feedback"]
)
@pytest.mark.parametrize("buffer", [HardSigmoid(), HardSigmoid(0.5), Sigmoid()], ids=repr)
@pytest.mark.parametrize("kind", NUDGES.values(), ids=NUDGES)
def test_contrast_and_implicit_gradient_agree(kind, buffer, settings):
    for name in CONNECTIONS:
        network, inputs, targets = problem(name, buffer=buffer, **settings)
        free, plus, minus = phases(network, inputs, targets, (0, 1e-3, -1e-3), **kind)
        exact = implicit_gradient(network, inputs, targets, free, kind.get("cost", "squared-error"))
        assert error(contrast(network, inputs, plus, minus), exact) < 1e-5


@pytest.mark.parametrize(
    ("name", "settings", "measure"),
    [
        ("dense", {"buffer": Sigmoid()}, "squared-error"),
        ("dense", {"untied": True, "classes": 3}, "cross-entropy"),
        ("pooled", {"classes": 3}, "cross-entropy"),
        ("not pooled", {"untied": True}, "squared-error"),
        ("dense", {"buffer": Sigmoid(), "classes": 3, "feedback": 0.3}, "cross-entropy"),
        ("pooled", {"feedback": 0.2}, "squared-error"),
        (
            "pooled",
            {"untied": True, "draw": 6},
            "squared-error",
        ),  # no winner is near a change, which moves the state by a jump
    ],
)
def test_the_implicit_gradient_is_that_of_finite_differences(name, settings, measure):
    network, inputs, targets = problem(name, **settings)
    free = SOLVER.solve(network, inputs)
    assert free.residual.max() < 1e-14
    exact = implicit_gradient(network, inputs, targets, free, measure)
    assert error(finite_differences(network, inputs, targets, measure), exact) < 1e-6


@pytest.mark.parametrize("betas", [(1, -1), (1, 0), (0, -1)], ids=["centred", "one-sided", "one-sided below"])
@pytest.mark.parametrize("kind", NUDGES.values(), ids=NUDGES)
@pytest.mark.parametrize("classes", [None, 3], ids=["last layer", "head"])
def test_centred_error_falls_as_beta_squared_and_one_sided_as_beta(kind, betas, classes):
    network, inputs, targets = problem("dense", buffer=Sigmoid(), classes=classes)
    free = SOLVER.solve(network, inputs)
    exact = implicit_gradient(network, inputs, targets, free, kind.get("cost", "squared-error"))
    sizes, errors = np.array([3e-2, 1e-2, 3e-3]), []
    for size in sizes:
        plus, minus = phases(network, inputs, targets, [size * beta for beta in betas], **kind)
        errors.append(error(contrast(network, inputs, plus, minus), exact))
    order = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert order == pytest.approx(2 if betas == (1, -1) else 1, abs=0.1)


def test_contrast_is_the_difference_of_hebbian_products():
    network, inputs, targets = problem("dense", classes=3)
    plus, minus = phases(network, inputs, targets, (0.3, -0.3))
    found = contrast(network, inputs, plus, minus)

    def products(phase: Equilibrium, layer: int) -> np.ndarray:
        before = inputs if layer == 0 else phase.voltages[layer - 1]
        return np.einsum("si,sj->ij", before, phase.voltages[layer]) / len(inputs)

    for layer in range(3):
        weight = -(products(plus, layer) - products(minus, layer)) / 0.6
        np.testing.assert_allclose(found[f"weight_{layer + 1}"], weight, atol=1e-13)
        bias = -(plus.voltages[layer] - minus.voltages[layer]).mean(axis=0) / 0.6
        np.testing.assert_allclose(found[f"bias_{layer + 1}"], bias, atol=1e-13)
    wrong = [network.readout(phase.outputs) - targets for phase in (plus, minus)]
    head = sum(phase.outputs.T @ r for phase, r in zip((plus, minus), wrong, strict=True)) / (2 * len(inputs))
    np.testing.assert_allclose(found["head_weight"], head, atol=1e-13)
    np.testing.assert_allclose(found["head_bias"], sum(r.mean(axis=0) for r in wrong) / 2, atol=1e-13)


@pytest.mark.parametrize("feedback", [1.0, 0.3])
def test_the_two_directions_of_a_tied_weight_add_up_to_its_contrast(feedback):
    network, inputs, targets = problem("dense", classes=3, feedback=feedback)
    plus, minus = phases(network, inputs, targets, (0.3, -0.3))
    assert error(vector_field(network, inputs, plus, minus), contrast(network, inputs, plus, minus)) < 1e-12


@pytest.mark.parametrize("name", CONNECTIONS)
def test_weights_that_are_untied_but_equal_share_the_tied_contrast(name):
    tied, inputs, targets = problem(name)
    untied = replace(tied, returning=tuple(weights.copy() for weights in tied.weights[1:]))
    plus, minus = phases(tied, inputs, targets, (1e-3, -1e-3))
    whole, apart = contrast(tied, inputs, plus, minus), vector_field(untied, inputs, plus, minus)
    alike = contrast(untied, inputs, plus, minus)
    exact = implicit_gradient(untied, inputs, targets, SOLVER.solve(untied, inputs))
    for layer in (2, 3):
        both = apart[f"weight_{layer}"] + apart[f"returning_{layer}"]
        np.testing.assert_allclose(both, whole[f"weight_{layer}"], atol=1e-5 * np.abs(both).max())
        np.testing.assert_array_equal(alike[f"weight_{layer}"], whole[f"weight_{layer}"])
        np.testing.assert_array_equal(alike[f"returning_{layer}"], whole[f"weight_{layer}"])
    assert error(apart, exact) < 1e-4  # each direction alone is exact where the weights are equal


def test_the_differential_signal_takes_the_earlier_state_before_the_weight():
    network, inputs, targets = problem("dense", untied=True)
    free, plus = phases(network, inputs, targets, (0, 0.3))
    found = differential(network, inputs, plus, free)
    change = [(p - f) / 0.3 / len(inputs) for p, f in zip(plus.voltages, free.voltages, strict=True)]
    np.testing.assert_allclose(found["weight_2"], -free.voltages[0].T @ change[1], atol=1e-13)
    np.testing.assert_allclose(found["returning_2"], -change[0].T @ free.voltages[1], atol=1e-13)
    np.testing.assert_allclose(found["weight_1"], -inputs.T @ change[0], atol=1e-13)


def slope_of(function, weights: np.ndarray) -> np.ndarray:
    """d function/d weights by central differences; exact for functions that are linear in them, except at a change of winners."""
    slope = np.empty_like(weights)
    for index in np.ndindex(weights.shape):
        value, ends = weights[index], []
        for shift in (1e-6, -1e-6):
            weights[index] = value + shift
            ends.append(function())
        weights[index] = value
        slope[index] = (ends[0] - ends[1]) / 2e-6
    return slope


@pytest.mark.parametrize("nudging", ["centred", "one-sided"])
def test_untied_pooling_learns_as_the_published_code_has_it(nudging):
    """∂/∂W of Σ s'·MaxPool(W ∗ s), each of the two weights at its own winners (Laborieux et al. 2021, published code).

    With the contrast both ends are of one phase, and the two weights share the mean (``same_update``). As a vector field, forward
    weights see the free phase's states before them and returning ones the free phase's behind them.
    """
    network, inputs, targets = problem("pooled", untied=True)
    random, size = np.random.default_rng(1), 0.3
    states = [tuple(random.uniform(size=(3, nodes)) for nodes in network.layers[1:]) for _ in range(3)]
    free, plus, minus = (
        replace(phase, voltages=each)
        for phase, each in zip(phases(network, inputs, targets, (0, size, -size)), states, strict=True)
    )
    other, width = (minus, 2 * size) if nudging == "centred" else (free, size)
    shared = contrast(network, inputs, plus, other)
    field = vector_field(network, inputs, plus, other, free)
    for layer in (2, 3):
        each = network.connections[layer - 1]
        ends = {id(phase): (phase.voltages[layer - 2], phase.voltages[layer - 1]) for phase in (free, plus, other)}

        def change(weights, before, behind, each=each, ends=ends) -> np.ndarray:
            """-1/(β₊ - β₋) times the difference of ⟨Φ⟩, with the states of ``before`` and ``behind``, None those of the phase."""

            def phi() -> float:
                total = 0.0
                for sign, phase in ((1, plus), (-1, other)):
                    s, after = ends[id(before or phase)][0], ends[id(behind or phase)][1]
                    total += sign * float((each.forward(weights, s)[0] * after).sum())
                return -total / width / len(inputs)

            return slope_of(phi, weights)

        forward, returning = network.weights[layer - 1], network.returning[layer - 2]
        both = (change(forward, None, None) + change(returning, None, None)) / 2
        for name in ("weight", "returning"):
            np.testing.assert_allclose(shared[f"{name}_{layer}"], both, atol=1e-8)
        np.testing.assert_allclose(field[f"weight_{layer}"], change(forward, free, None), atol=1e-8)
        np.testing.assert_allclose(field[f"returning_{layer}"], change(returning, None, free), atol=1e-8)


def test_one_nudge_alone_teaches_the_head_by_its_own_phase():
    """As in the published code of Laborieux et al. 2021; two opposite nudges by their mean."""
    network, inputs, targets = problem("dense", classes=3)
    free, plus = phases(network, inputs, targets, (0, 0.3), kind="feedback", cost="cross-entropy")
    read = np.exp(network.readout(plus.outputs))
    slope = (read / read.sum(axis=1, keepdims=True) - targets) / len(inputs)
    found = contrast(network, inputs, plus, free)
    np.testing.assert_allclose(found["head_weight"], plus.outputs.T @ slope, atol=1e-14)
    np.testing.assert_allclose(found["head_bias"], slope.sum(axis=0), atol=1e-14)


def test_what_cannot_be_compared_is_told_in_a_sentence(random_network):
    network, inputs, targets = problem("dense", classes=3)
    free, plus = phases(network, inputs, targets, (0, 0.3))
    with pytest.raises(UserError, match="same beta"):
        contrast(network, inputs, free, free)
    with pytest.raises(UserError, match="expected voltages of shapes"):
        vector_field(network, inputs[:2], plus, free)
    with pytest.raises(UserError, match="must be nudged"):
        network.head_gradient(free, free)
    with pytest.raises(UserError, match='learns from the "contrast"'):
        learning_signal("vector-field", random_network(), inputs, plus, free)
