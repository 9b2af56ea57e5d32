"""Equilibrium propagation against the implicit-function gradient and against finite differences of the cost."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp

from eqprop_analog import Equilibrium, Gradient, Nudge, ResistiveNetwork, SurrogateSolver, UserError, contrast
from eqprop_analog.devices import Antiparallel, Clamp, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.learning.exact_gradient import implicit_gradient

US = 1e-6
SOLVER = SurrogateSolver()
LAWS = pytest.mark.parametrize("diode", [NgspiceDiode(), Clamp()], ids=["ngspice", "clamp"])
OTHER_LAWS = pytest.mark.parametrize(
    "diode",
    [
        *(Shockley(), PiecewiseLinear(on_resistance=1e5), Antiparallel(Clamp(-0.5, 1e5))),
        *(Antiparallel(NgspiceDiode(rail=-0.1)), Antiparallel(Shockley(rail=0.0))),
    ],
    ids=["shockley", "piecewise-linear", "pair of clamps", "pair of ngspice", "pair of shockley"],
)
DEPTHS = pytest.mark.parametrize(
    ("layers", "gains"),
    [((2, 2), ()), ((2, 3, 2), (4.0,)), ((2, 3, 3, 2), (3.0, 2.0)), ((2, 3, 2, 3, 2), (3.0, 1.0, 2.0))],
    ids=["0 hidden", "1 hidden", "2 hidden", "3 hidden"],
)


def problem(random_network, layers, gains, diode, **settings) -> tuple[ResistiveNetwork, np.ndarray, np.ndarray]:
    """Network with biases, a batch of inputs in which diodes of both halves conduct, targets that sum to 1."""
    network = random_network(1, layers, gains=gains, diode=diode, bias=1e-6, **settings)
    random = np.random.default_rng(2)
    targets = np.eye(network.classes)[random.integers(network.classes, size=3)]
    return network, random.uniform(-5, 5, (3, layers[0])), targets


def nudged(network, inputs, targets, betas, **kind) -> list[Equilibrium]:
    free = SOLVER.solve(network, inputs).require()
    return [free if b == 0 else SOLVER.solve(network, inputs, Nudge(targets, b, **kind), free).require() for b in betas]


def layers_of(gradient: Gradient) -> list[np.ndarray]:
    return [*gradient.conductances, *gradient.biases]


def error(one: Gradient, other: Gradient) -> float:
    """Largest over layers of the largest difference over the layer's largest element."""
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(layers_of(one), layers_of(other), strict=True))


def squared_error(outputs: np.ndarray, targets: np.ndarray) -> float:
    return 0.5 * ((outputs - targets) ** 2).sum(axis=1).mean()


def cross_entropy(outputs: np.ndarray, targets: np.ndarray) -> float:
    return (targets * (logsumexp(outputs, axis=1, keepdims=True) - outputs)).sum(axis=1).mean()


def finite_differences(network: ResistiveNetwork, inputs, targets, cost) -> Gradient:
    """dC/dθ by fourth-order central differences, one parameter at a time."""

    def slope(parameter: np.ndarray, index: tuple[int, ...], step: float) -> float:
        value, costs = parameter[index], []
        for shift in (-2, -1, 1, 2):
            parameter[index] = value + shift * step
            costs.append(cost(network.readout(SOLVER.solve(network, inputs).require().outputs), targets))
        parameter[index] = value
        return (costs[0] - 8 * costs[1] + 8 * costs[2] - costs[3]) / (12 * step)

    def slopes(parameters: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        step = 3e-4 * US
        return tuple(np.array([slope(p, k, step) for k in np.ndindex(p.shape)]).reshape(p.shape) for p in parameters)

    network = network.astype(float)
    return Gradient(slopes(network.conductances), slopes(network.biases))


@LAWS
@DEPTHS
def test_contrast_implicit_gradient_and_finite_differences_agree(random_network, layers, gains, diode):
    network, inputs, targets = problem(random_network, layers, gains, diode)
    beta = 1e-4 * np.linalg.eigvalsh(network.output_stiffness())[0]
    free, plus, minus = nudged(network, inputs, targets, (0, beta, -beta))
    implicit = implicit_gradient(network, inputs, targets, free)
    assert error(contrast(network, inputs, plus, minus), implicit) < 1e-6
    assert error(finite_differences(network, inputs, targets, squared_error), implicit) < 1e-6


@OTHER_LAWS
def test_they_agree_for_every_law_and_for_the_bias_row(random_network, diode):
    network, inputs, targets = problem(random_network, (1, 2, 2), (3.0,), diode, bias_row=-2.0)
    beta = 1e-4 * np.linalg.eigvalsh(network.output_stiffness())[0]
    free, plus, minus = nudged(network, inputs, targets, (0, beta, -beta))
    implicit = implicit_gradient(network, inputs, targets, free)
    assert error(contrast(network, inputs, plus, minus), implicit) < 1e-6
    assert error(finite_differences(network, inputs, targets, squared_error), implicit) < 1e-6
    assert implicit.conductances[0].shape == (3, 2)
    assert np.abs(implicit.conductances[0][-1]).max() > 0.1 * np.abs(implicit.conductances[0]).max()


@pytest.mark.parametrize(
    ("cost", "formula"),
    [("squared-error", squared_error), ("cross-entropy", cross_entropy)],
    ids=["squared", "entropy"],
)
@pytest.mark.parametrize("layers", [(2, 4), (1, 2, 2, 4)], ids=["0 hidden", "2 hidden"])
def test_pairs_of_outputs_have_the_gradient_of_a_cost_of_their_differences(random_network, layers, cost, formula):
    gains, settings = (3.0, 2.0)[: len(layers) - 2], {"outputs": "pairs", "bias_row": 1.0}
    network, inputs, targets = problem(random_network, layers, gains, Shockley(), **settings)
    beta = 1e-4 * US
    free, plus, minus = nudged(network, inputs, targets, (0, beta, -beta), kind="current", cost=cost)
    implicit = implicit_gradient(network, inputs, targets, free, cost)
    assert error(contrast(network, inputs, plus, minus), implicit) < 1e-6
    assert error(finite_differences(network, inputs, targets, formula), implicit) < 1e-6


def test_a_pair_of_outputs_takes_no_conductance_to_a_target(random_network):
    network, inputs, targets = problem(random_network, (2, 3, 4), (1.0,), NgspiceDiode(), outputs="pairs")
    with pytest.raises(UserError, match='pairs of outputs use kind="current"'):
        SOLVER.solve(network, inputs, Nudge(targets, 1e-8))
    free = SOLVER.solve(network, inputs)
    with pytest.raises(UserError, match=r"expected a target of shape \(3, 2\), got \(3, 4\)"):
        SOLVER.solve(network, inputs, Nudge(np.zeros((3, 4)), 1e-8, "current"), free)


@pytest.mark.parametrize(
    ("cost", "formula"),
    [("squared-error", squared_error), ("cross-entropy", cross_entropy)],
    ids=["squared", "entropy"],
)
@LAWS
def test_current_nudging_gives_the_gradient_of_any_cost(random_network, diode, cost, formula):
    network, inputs, targets = problem(random_network, (2, 3, 3, 3), (3.0, 2.0), diode)
    beta = 1e-4 * US
    free, plus, minus = nudged(network, inputs, targets, (0, beta, -beta), kind="current", cost=cost)
    implicit = implicit_gradient(network, inputs, targets, free, cost)
    assert error(contrast(network, inputs, plus, minus), implicit) < 1e-6
    assert error(finite_differences(network, inputs, targets, formula), implicit) < 1e-6


@pytest.mark.parametrize("phases", [(1, -1), (1, 0), (0, -1)], ids=["centred", "one-sided", "one-sided below"])
@pytest.mark.parametrize(
    "kind",
    [{}, {"kind": "current"}, {"kind": "current", "cost": "cross-entropy"}],
    ids=["conductance", "current", "cross-entropy"],
)
def test_centred_error_falls_as_beta_squared_and_one_sided_as_beta(random_network, kind, phases):
    """Three crossbars, gains 3 and 2: slopes of log error over log beta."""
    network, inputs, targets = problem(random_network, (3, 4, 4, 2), (3.0, 2.0), NgspiceDiode())
    stiffness = np.linalg.eigvalsh(network.output_stiffness())[0]
    exact = implicit_gradient(
        network, inputs, targets, SOLVER.solve(network, inputs), kind.get("cost", "squared-error")
    )
    betas = stiffness * np.array([1e-2, 3e-3, 1e-3])
    errors = []
    for beta in betas:
        plus, minus = nudged(network, inputs, targets, [beta * phase for phase in phases], **kind)
        errors.append(error(contrast(network, inputs, plus, minus), exact))
    order = np.polyfit(np.log(betas), np.log(errors), 1)[0]
    assert order == pytest.approx(2 if phases == (1, -1) else 1, abs=0.1)


@LAWS
def test_contrast_is_the_mean_difference_of_squared_drops(random_network, diode):
    """(γ_l/γ_L)/(2β)·½⟨Δ₊² - Δ₋²⟩ with Δ = a - v, written out resistor by resistor."""
    gains = (3.0, 2.0)
    network, inputs, targets = problem(random_network, (2, 3, 3, 2), gains, diode)
    network = replace(network, input_gain=2.0)
    beta = 0.1 * US
    plus, minus = nudged(network, inputs, targets, (beta, -beta))
    literal = literal_contrast(network, inputs, plus, minus)
    for ours, theirs in zip(contrast(network, inputs, plus, minus).conductances, literal, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())


def literal_contrast(network: ResistiveNetwork, inputs, plus: Equilibrium, minus: Equilibrium) -> list[np.ndarray]:
    result = []
    for layer in range(network.depth):
        squares = []
        for phase in (plus, minus):
            before = phase.voltages[layer - 1]
            drive = (
                network.rows(inputs)
                if layer == 0
                else np.asarray(network.amplifier_gain[layer - 1], before.dtype) * before
            )
            squares.append((drive[:, :, None] - phase.voltages[layer][:, None, :]) ** 2)
        weight = np.prod(np.square(network.amplifier_gain[layer:])) / (plus.nudge.beta - minus.nudge.beta)
        result.append(weight * (0.5 * squares[0].mean(axis=0) - 0.5 * squares[1].mean(axis=0)))
    return result


def test_contrast_in_single_precision_keeps_what_the_difference_of_squares_loses(random_network):
    """The same single-precision voltages, 10 V inputs and a small nudge; double precision judges both."""
    network = random_network(3, (4, 6, 3), gains=(2.0,), bias=1e-7)
    random = np.random.default_rng(4)
    inputs = random.uniform(5, 10, (8, 4)).astype(np.float32)
    phases = nudged(network, inputs, random.uniform(0, 1, (8, 3)), (1e-3 * US, -1e-3 * US))
    single = [replace(phase, voltages=tuple(v.astype(np.float32) for v in phase.voltages)) for phase in phases]
    same = [replace(phase, voltages=tuple(v.astype(np.float64) for v in phase.voltages)) for phase in single]
    exact = contrast(network, inputs, *same).conductances
    ours = contrast(network.astype(np.float32), inputs, *single).conductances
    literal = literal_contrast(network.astype(np.float32), inputs, *single)
    assert all(matrix.dtype == np.float32 for matrix in ours)

    def worst(matrices) -> float:
        return max(np.abs(m - e).max() / np.abs(e).max() for m, e in zip(matrices, exact, strict=True))

    assert worst(ours) < 1e-4
    assert worst(literal) > 1e-2


@pytest.mark.parametrize("betas", [(1e-7, 1e-7), (0, 0)])
def test_phases_of_equal_beta_are_refused(random_network, betas):
    network, inputs, targets = problem(random_network, (2, 3, 2), (1.0,), NgspiceDiode())
    with pytest.raises(ValueError, match="same beta"):
        contrast(network, inputs, *nudged(network, inputs, targets, betas))
