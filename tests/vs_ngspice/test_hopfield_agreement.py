"""Hopfield circuits in ngspice against NumPy from the same basin: every node, every buffer, every nudge."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqprop_analog import Equilibrium, HopfieldNetwork, LeakyIntegratorSolver, Nudge, Status, UserError
from eqprop_analog.core import nudge as nudging
from eqprop_analog.devices.buffer import Buffer, HardSigmoid, Sigmoid
from eqprop_analog.learning.trainer import PhaseLearner, Rule
from eqprop_analog.learning.update import WeightRates
from eqprop_analog.networks.hopfield.connections import Convolution, Dense
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.netlist import compile_hopfield, default_swing, loads
from eqprop_analog.networks.hopfield.ngspice import HopfieldNgspiceSolver

BOUND = 1e-9
"""Volts."""
SURROGATE = LeakyIntegratorSolver(tolerance=1e-13)
FINE = LeakyIntegratorSolver(tolerance=1e-13, step=0.05, max_steps=50_000)
"""Steps that follow the circuit's own dynamics, which long ones can leave where weights are untied."""
BUFFERS = {"hard": HardSigmoid(), "half": HardSigmoid(0.5), "logistic": Sigmoid()}
LAYERS = ([5, 4, 3], [6, 5, 4, 3], [6, 5, 5, 4, 3])
BATCH = 4


@pytest.fixture(scope="module")
def solver() -> Iterator[HopfieldNgspiceSolver]:
    solver = HopfieldNgspiceSolver()
    yield solver
    solver.close()


@pytest.fixture(scope="module")
def flat() -> Iterator[HopfieldNgspiceSolver]:
    solver = HopfieldNgspiceSolver(form="flat")
    yield solver
    solver.close()


def random_network(
    seed: int, layers: Sequence[int], buffer: Buffer | None = None, scale: float = 1.0, **settings: bool | int
) -> HopfieldNetwork:
    random = np.random.default_rng(seed)
    net = HopfieldNetwork.dense(layers, seed, buffer=buffer, **settings)
    for weights in (*net.weights, *net.returning):
        weights[...] *= scale
    for bias in net.biases:
        bias[...] = random.uniform(-0.2, 0.6, bias.shape)
    return net


def samples(net: HopfieldNetwork, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed + 1)
    targets = np.eye(net.classes)[random.integers(net.classes, size=BATCH)]
    return random.uniform(-0.5, 1, (BATCH, net.layers[0])), targets


def difference(one: Equilibrium, other: Equilibrium) -> float:
    return max(float(np.abs(v - w).max()) for v, w in zip(one.voltages, other.voltages, strict=True))


@pytest.mark.parametrize("untied", [False, True], ids=["tied", "untied"])
@pytest.mark.parametrize("buffer", BUFFERS)
@pytest.mark.parametrize("layers", LAYERS, ids=["1", "2", "3"])
def test_ngspice_finds_the_surrogates_free_and_nudged_states(
    layers: list[int], buffer: str, untied: bool, solver: HopfieldNgspiceSolver
):
    net = random_network(3, layers, BUFFERS[buffer], untied=untied)
    inputs, targets = samples(net, 3)
    nudges = [Nudge(targets, 0.5), Nudge(targets, -0.5)]
    measured = solver.solve_phases(net, inputs, nudges)
    for found, expected in zip(measured, SURROGATE.solve_phases(net, inputs, nudges), strict=True):
        assert set(found.status) == set(expected.status) == {Status.CONVERGED}
        assert difference(found, expected) < BOUND
        assert found.residual.max() < BOUND
    assert difference(measured[1], measured[0]) > 1e-3
    assert [phase.nudge for phase in measured] == [None, *nudges]


@pytest.mark.parametrize(("classes", "name"), [(None, "outputs"), (4, "head")])
@pytest.mark.parametrize(
    ("kind", "cost"),
    [
        ("conductance", "squared-error"),
        ("feedback", "squared-error"),
        ("feedback", "cross-entropy"),
        ("current", "squared-error"),
        ("current", "cross-entropy"),
    ],
)
def test_every_nudge_pulls_as_its_equation_says(
    kind: str, cost: str, classes: int | None, name: str, solver: HopfieldNgspiceSolver
):
    net = random_network(5, [6, 5, 3], Sigmoid(), classes=classes)
    inputs, targets = samples(net, 5)
    nudges = [Nudge(targets, beta, kind, cost) for beta in (0.3, -0.3)]  # type: ignore[arg-type]
    measured = solver.solve_phases(net, inputs, nudges)
    expected = SURROGATE.solve_phases(net, inputs, nudges)
    for found, computed in zip(measured, expected, strict=True):
        assert set(found.status) == {Status.CONVERGED}
        assert difference(found, computed) < BOUND
    plus, minus = (nudging.cost(cost, net.readout(phase.outputs), targets) for phase in measured[1:])  # type: ignore[arg-type]
    assert (plus < minus).all()


def disturbed(found: Equilibrium) -> Equilibrium:
    """Every state a little closer to ½ V."""
    return replace(found, voltages=tuple(s + 1e-4 * (0.5 - s) for s in found.voltages))


@settings(max_examples=12)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.3, 4.0), layers=st.sampled_from(LAYERS), untied=st.booleans())
@pytest.mark.parametrize("buffer", BUFFERS)
def test_whatever_ngspice_certifies_is_a_fixed_point_that_the_dynamics_come_back_to(
    buffer: str, seed: int, scale: float, layers: list[int], untied: bool, solver: HopfieldNgspiceSolver
):
    net = random_network(seed, layers, BUFFERS[buffer], scale, untied=untied)
    inputs, targets = samples(net, seed)
    for nudge in (None, Nudge(targets, 0.2)):
        found = solver.solve(net, inputs, nudge)
        good = found.good
        if not untied:
            assert good.all()
        if good.any():
            again = FINE.solve(net, inputs[good], nudge and Nudge(targets[good], 0.2), disturbed(found.select(good)))
            assert difference(found.select(good), again) < BOUND


def test_flat_and_norton_form_have_the_same_states(solver: HopfieldNgspiceSolver, flat: HopfieldNgspiceSolver):
    net = random_network(7, [8, 5, 4, 3])
    inputs, targets = samples(net, 7)
    for one, other in zip(
        *(each.solve_phases(net, inputs, [Nudge(targets, 0.4)]) for each in (solver, flat)), strict=True
    ):
        assert set(one.status) == set(other.status) == {Status.CONVERGED}
        assert difference(one, other) < BOUND


def test_states_do_not_depend_on_the_buffers_swing(solver: HopfieldNgspiceSolver):
    net = random_network(8, [5, 4, 3])
    inputs, _ = samples(net, 8)
    wide = HopfieldNgspiceSolver(swing=30.0)
    assert difference(solver.solve(net, inputs), wide.solve(net, inputs)) < BOUND
    wide.close()


def test_a_sample_has_the_same_states_in_any_batch(solver: HopfieldNgspiceSolver):
    net = random_network(2, [6, 5, 4, 3], scale=3.0)
    inputs, _ = samples(net, 2)
    whole, turned = solver.solve(net, inputs), solver.solve(net, inputs[::-1])
    for v, w in zip(whole.voltages, turned.voltages, strict=True):
        np.testing.assert_allclose(v, w[::-1], rtol=0, atol=BOUND)
    alone = solver.solve(net, inputs[2:3])
    assert difference(whole.select(np.arange(BATCH) == 2), alone) < BOUND


@pytest.mark.parametrize("untied", [False, True], ids=["tied", "untied"])
def test_learning_in_ngspice_takes_the_surrogates_steps(untied: bool, solver: HopfieldNgspiceSolver):
    rule = Rule(WeightRates((0.1, 0.05), (0.1, 0.05)), beta=0.5)
    nets = [random_network(6, [5, 4, 3], Sigmoid(), untied=untied) for _ in range(2)]
    learners = [PhaseLearner(nets[0], solver, rule), PhaseLearner(nets[1], SURROGATE, rule)]
    for seed in range(5):
        inputs, targets = samples(nets[0], seed)
        wrong = {learner.learn(inputs, targets)[0] for learner in learners}
        assert len(wrong) == 1
    begin = random_network(6, [5, 4, 3], Sigmoid(), untied=untied).arrays()
    for name, values in nets[0].arrays().items():
        np.testing.assert_allclose(values, nets[1].arrays()[name], rtol=0, atol=1e-9)
        assert np.abs(values - begin[name]).max() > 1e-3


def bistable() -> HopfieldNetwork:
    """Two nodes that excite each other: u = 1.5 s' - 0.25, with equilibria at (0, 0), at (1, 1) and, unstable, at ½."""
    weights = (np.zeros((1, 1)), np.array([[1.5]]))
    return HopfieldNetwork((Dense(1, 1), Dense(1, 1)), weights, (np.array([-0.25]), np.array([-0.25])))


@pytest.mark.parametrize(("begin", "rest"), [(0.4, 0.0), (0.6, 1.0)])
def test_of_two_minima_the_start_decides(begin: float, rest: float, solver: HopfieldNgspiceSolver):
    net, inputs = bistable(), np.zeros((1, 1))
    states = tuple(np.full((1, 1), begin) for _ in range(2))
    start = Equilibrium(states, np.zeros(1), np.array([Status.TRUNCATED], dtype=object))
    found = solver.solve(net, inputs, start=start)
    assert found.status.tolist() == [Status.CONVERGED]
    np.testing.assert_allclose(found.voltages, rest, atol=1e-12)


def test_a_point_that_the_circuit_would_leave_is_unstable(solver: HopfieldNgspiceSolver):
    net, inputs = bistable(), np.zeros((1, 1))
    half = tuple(np.full((1, 1), 0.5) for _ in range(2))
    equations = HopfieldEquations.of(net, inputs)
    assert not equations.stable(half)
    assert equations.stable(tuple(np.full((1, 1), -0.25) for _ in range(2)))
    start = Equilibrium(half, np.zeros(1), np.array([Status.TRUNCATED], dtype=object))
    assert solver.solve(net, inputs, start=start).status.tolist() == [Status.UNSTABLE]


def test_an_oscillator_has_no_equilibrium(solver: HopfieldNgspiceSolver):
    """Two layers of two nodes that rotate each other by 90°: the only fixed point, ½ V everywhere, is an unstable spiral."""
    forward, back = 2.5 * np.eye(2), 2.5 * np.array([[0.0, 1.0], [-1.0, 0.0]])
    biases = (0.5 - 0.5 * back.sum(axis=1), 0.5 - 0.5 * forward.sum(axis=0))
    net = HopfieldNetwork((Dense(1, 2), Dense(2, 2)), (np.zeros((1, 2)), forward), biases, Sigmoid(), (back,))
    half = HopfieldEquations.of(net, np.zeros((1, 1))).forces((np.full((1, 2), 0.5),) * 2)
    np.testing.assert_allclose(half, 0.5)
    assert not FINE.solve(net, np.zeros((1, 1))).good.any()
    assert solver.solve(net, np.zeros((1, 1))).status[0] in (Status.UNSTABLE, Status.SIMULATOR_FAILED)


@pytest.mark.parametrize("untied", [False, True], ids=["tied", "untied"])
@pytest.mark.parametrize("form", ["norton", "flat"])
def test_convolutions_agree(form: str, untied: bool, solver: HopfieldNgspiceSolver, flat: HopfieldNgspiceSolver):
    one = Convolution((1, 5, 5), channels=2, kernel=2)
    two = Convolution(one.pooled, channels=2, kernel=3, padding=1)
    net = HopfieldNetwork.build([one, two, Dense(two.sizes[1], 3)], 4, initial="fan-in", untied=untied)
    inputs, targets = samples(net, 4)
    measured = (solver if form == "norton" else flat).solve_phases(net, inputs, [Nudge(targets, 0.4)])
    for found, expected in zip(measured, SURROGATE.solve_phases(net, inputs, [Nudge(targets, 0.4)]), strict=True):
        assert set(found.status) == {Status.CONVERGED}
        assert difference(found, expected) < BOUND


@pytest.mark.parametrize("form", ["norton", "flat"])
@pytest.mark.parametrize("convolved", [False, True], ids=["dense", "convolved"])
def test_weak_feedback_is_a_smaller_conductance_on_the_way_back(
    form: str, convolved: bool, solver: HopfieldNgspiceSolver, flat: HopfieldNgspiceSolver
):
    one = Convolution((1, 4, 4), channels=2, kernel=2)
    connections = [one, Dense(one.sizes[1], 4), Dense(4, 3)] if convolved else [Dense(6, 5), Dense(5, 4), Dense(4, 3)]
    net = HopfieldNetwork.build(connections, 4, initial="fan-in", feedback=0.3)
    inputs, targets = samples(net, 4)
    measured = (solver if form == "norton" else flat).solve_phases(net, inputs, [Nudge(targets, 0.4)])
    full = SURROGATE.solve(replace(net, feedback=1.0), inputs)
    for found, expected in zip(measured, SURROGATE.solve_phases(net, inputs, [Nudge(targets, 0.4)]), strict=True):
        assert set(found.status) == {Status.CONVERGED}
        assert difference(found, expected) < BOUND
        assert difference(found, full) > 1e-3


@given(seed=st.integers(0, 10_000), layers=st.sampled_from(LAYERS), untied=st.booleans())
def test_every_node_has_the_same_conductance_in_all(seed: int, layers: list[int], untied: bool):
    net = random_network(seed, layers, scale=2.0, untied=untied)
    inputs, _ = samples(net, seed)
    for form in ("flat", "norton"):
        circuit = compile_hopfield(net, inputs[:1], form=form)  # type: ignore[arg-type]
        total = dict.fromkeys(circuit.probes, 0.0)
        for element in circuit.elements:
            for line in element.lines():
                name, one, other, *rest = line.split()
                if name.startswith("R"):
                    (node,) = {one, other} & set(total)
                    total[node] += 1 / float(rest[0])
        np.testing.assert_allclose(list(total.values()), 1e-6, rtol=1e-12)


def test_a_swing_that_leaves_no_leak_is_refused_with_one_that_does():
    net = random_network(1, [4, 3, 2], scale=3.0)
    least = max(load.max() for load in loads(net))
    inputs = np.zeros((1, 4))
    with pytest.raises(UserError, match=rf"sum to {least:.6g},.*no leak.*{default_swing(net):g} V"):
        compile_hopfield(net, inputs, swing=0.999 * least)
    compile_hopfield(net, inputs, swing=1.001 * least)
    assert default_swing(net) >= 1.25 * least
