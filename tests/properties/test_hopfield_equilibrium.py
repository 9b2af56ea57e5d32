"""Laws of every method for the equilibrium of a Hopfield network."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqprop_analog import (
    DiscreteTimeSolver,
    Equilibrium,
    GradientFlowSolver,
    HopfieldDescentSolver,
    HopfieldNetwork,
    LeakyIntegratorSolver,
    Nudge,
    ResistiveNetwork,
    Status,
    SurrogateSolver,
    UserError,
)
from eqprop_analog.devices.buffer import HardSigmoid, Sigmoid
from eqprop_analog.networks.hopfield.connections import Convolution, Dense
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.minima import compare_minima
from eqprop_analog.networks.hopfield.relaxation import Relaxation

KINDS: list[type[Relaxation]] = [GradientFlowSolver, LeakyIntegratorSolver, DiscreteTimeSolver, HopfieldDescentSolver]
EVERY = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)

buffers = st.one_of(st.builds(HardSigmoid, st.floats(0.3, 1.5)), st.builds(Sigmoid, st.floats(0.3, 1.5)))
seeds = st.integers(0, 2**31)
depths = st.sampled_from([(3, 2), (3, 5, 2), (2, 4, 3, 2), (2, 3, 4, 3, 2)])
nudges: st.SearchStrategy[Any] = st.sampled_from(
    [None, ("conductance", "squared-error"), ("feedback", "cross-entropy"), ("current", "cross-entropy")]
)
betas = st.floats(-0.9, 0.9).filter(lambda beta: abs(beta) > 0.01)


def scaled(network: HopfieldNetwork, size: float) -> HopfieldNetwork:
    """The network with every weight times ``size`` and biases that centre its nodes."""
    return replace(
        network,
        weights=tuple(size * weights for weights in network.weights),
        returning=tuple(size * weights for weights in network.returning),
        biases=tuple(np.full_like(bias, 0.5) for bias in network.biases),
    )


def data(network: HopfieldNetwork, seed: int, batch: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.uniform(size=(batch, network.layers[0])), np.eye(network.classes)[
        random.integers(network.classes, size=batch)
    ]


def distance(one: Equilibrium, other: Equilibrium) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(one.voltages, other.voltages, strict=True))


@given(seed=seeds, layers=depths, buffer=buffers, nudge=nudges, beta=betas, classes=st.sampled_from([None, 2]))
def test_where_weights_are_small_all_ways_end_at_one_fixed_point(seed, layers, buffer, nudge, beta, classes):
    """With column and row sums below the inverse of the steepest slope, there is one minimum, and the map is a contraction."""
    network = HopfieldNetwork.dense(layers, seed % 1000, buffer=buffer, classes=classes)
    largest = max(
        np.abs(weights).sum(axis=axis).max()
        for weights in (*network.weights, *(network.head or ())[:1])
        for axis in (0, 1)
    )
    network = scaled(network, 0.3 / (largest * buffer.gain))
    if network.head is not None:
        network = replace(network, head=(network.head[0] / largest, network.head[1]))
    inputs, targets = data(network, seed)
    found = []
    for kind in KINDS:
        solver = kind(tolerance=1e-13)
        phase = solver.solve(network, inputs)
        if nudge is not None:
            small = beta * min(1, 0.5 / buffer.gain)
            phase = solver.solve(network, inputs, Nudge(targets, small, *nudge), phase)
        assert set(phase.status) == {Status.CONVERGED}
        assert phase.residual.max() <= 1e-13
        found.append(phase)
    assert max(distance(phase, found[0]) for phase in found) < 1e-11


@pytest.mark.parametrize("name", ["dense", "pooled"])
@given(
    seed=seeds,
    buffer=buffers,
    kind=st.sampled_from([GradientFlowSolver, LeakyIntegratorSolver, HopfieldDescentSolver]),
    nudge=nudges,
    beta=st.floats(-3, 3).filter(lambda beta: abs(beta) > 0.01),
    size=st.floats(0.1, 3),
    feedback=st.sampled_from([1.0, 0.4]),
)
def test_the_energy_falls_at_every_step(name, seed, buffer, kind, nudge, beta, size, feedback):
    """Of descent at any size; of flows in small enough steps. From a random start, under any nudge, with and without pooling."""
    if name == "dense":
        connections = [Dense(3, 6), Dense(6, 4), Dense(4, 2)]
    else:
        first = Convolution((1, 5, 5), 2, kernel=2, padding=1, pool=2)
        connections = [first, Convolution(first.pooled, 3, kernel=2, pool=2), Dense(3, 2)]
    network = scaled(HopfieldNetwork.build(connections, seed % 1000, buffer=buffer, feedback=feedback), size)
    inputs, targets = data(network, seed)
    random = np.random.default_rng(seed)
    start = tuple(random.uniform(0.02, 0.98, (4, nodes)) for nodes in network.layers[1:])
    equations = HopfieldEquations.of(network, inputs)
    if nudge is not None:
        free = Equilibrium(start, np.zeros(4), np.full(4, Status.TRUNCATED, dtype=object))
        equations = equations.nudged([Nudge(targets, beta, *nudge)], free)
    solver = kind() if kind is HopfieldDescentSolver else kind(step=0.01)
    motion = solver.begin(equations, start)
    energies = [equations.energy(motion.states)]
    for _ in range(12):
        solver.advance(motion)
        energies.append(equations.energy(motion.states))
    assert np.diff(energies, axis=0).max() <= 1e-12 * network.shares[0]
    assert all((s >= 0).all() and (s <= 1).all() for s in motion.states)


@EVERY
@given(seed=seeds, layers=depths, untied=st.booleans())
def test_the_residual_is_the_largest_distance_from_the_output_of_the_force(kind, seed, layers, untied):
    network = HopfieldNetwork.dense(layers, seed % 1000, untied=untied)
    inputs, _ = data(network, seed)
    phase = kind(free_steps=3).solve(network, inputs)
    assert set(phase.status) == {Status.TRUNCATED}
    forces = network.forces(network.drive(inputs), phase.voltages)
    away = [np.abs(s - np.clip(u, 0, 1)).max(axis=1) for s, u in zip(phase.voltages, forces, strict=True)]
    np.testing.assert_allclose(phase.residual, np.max(away, axis=0), atol=1e-14)


@EVERY
def test_steps_written_out(kind):
    """Two steps from 0 V by the equations of the class, of two layers."""
    network = HopfieldNetwork.dense([3, 4, 2], 3, initial="fan-in")
    x, _ = data(network, 1)
    (w1, w2), (b1, b2) = network.weights, network.biases
    h, o = np.zeros((4, 4)), np.zeros((4, 2))

    def force(h, o):
        return x @ w1 + b1 + o @ w2.T, h @ w2 + b2

    u, v = h, o
    for _ in range(2):
        if kind is DiscreteTimeSolver:
            h, o = (np.clip(f, 0, 1) for f in force(h, o))
        elif kind is GradientFlowSolver:
            h, o = (np.clip(s + 0.5 * (f - s), 0, 1) for s, f in zip((h, o), force(h, o), strict=True))
        elif kind is LeakyIntegratorSolver:
            u, v = (s + 0.5 * (f - s) for s, f in zip((u, v), force(h, o), strict=True))
            h, o = np.clip(u, 0, 1), np.clip(v, 0, 1)
        else:
            h = np.clip(force(h, o)[0], 0, 1)
            o = np.clip(force(h, o)[1], 0, 1)
    found = kind(free_steps=2).solve(network, x)
    np.testing.assert_allclose(found.voltages[0], h, atol=1e-15)
    np.testing.assert_allclose(found.voltages[1], o, atol=1e-15)


@EVERY
@pytest.mark.parametrize("steps", [None, 4])
def test_phases_solved_together_are_those_solved_one_by_one(kind, steps):
    network = scaled(HopfieldNetwork.dense([3, 6, 4, 2], 1), 0.5)
    inputs, targets = data(network, 2)
    solver = kind(free_steps=steps, nudged_steps=steps)
    both = [Nudge(targets, 0.3), Nudge(targets, -0.3)]
    free, *nudged = solver.solve_phases(network, inputs, both)
    assert distance(free, solver.solve(network, inputs)) == 0
    for nudge, phase in zip(both, nudged, strict=True):
        assert phase.nudge is nudge
        alone = solver.solve(network, inputs, nudge, free)
        assert distance(phase, alone) < 1e-14
        assert list(phase.status) == list(alone.status)
    assert distance(*nudged) > 1e-3
    assert solver.solve_phases(network, inputs, [])[0].nudge is None


@EVERY
def test_a_start_is_gone_on_from(kind):
    """Three steps and three more equal six; a converged start does not change."""
    network = scaled(HopfieldNetwork.dense([3, 6, 4, 2], 1, buffer=Sigmoid()), 0.5)
    inputs, _ = data(network, 2)
    three = kind(free_steps=3).solve(network, inputs)
    assert (
        distance(kind(free_steps=3).solve(network, inputs, start=three), kind(free_steps=6).solve(network, inputs))
        < 1e-13
    )
    there = kind().solve(network, inputs)
    assert distance(kind(free_steps=5).solve(network, inputs, start=there), there) < 1e-11


@EVERY
@pytest.mark.parametrize("buffer", [HardSigmoid(), Sigmoid()], ids=repr)
def test_saturated_nodes_can_be_begun_at_and_left_again(kind, buffer):
    network = scaled(HopfieldNetwork.dense([3, 6, 2], 1, buffer=buffer), 0.5)
    inputs, targets = data(network, 2)
    ends = tuple(np.tile([0.0, 1.0], (4, nodes // 2)) for nodes in network.layers[1:])
    start = Equilibrium(ends, np.zeros(4), np.full(4, Status.TRUNCATED, dtype=object))
    solver = kind(tolerance=1e-12)
    assert distance(solver.solve(network, inputs, start=start), solver.solve(network, inputs)) < 1e-10
    nudge = Nudge(targets, 0.4)
    assert distance(solver.solve(network, inputs, nudge, start), solver.solve(network, inputs, nudge)) < 1e-10


@EVERY
def test_each_sample_converges_as_it_would_alone(kind):
    network = HopfieldNetwork.dense([3, 8, 5, 2], 4)
    inputs, _ = data(network, 3, batch=6)
    together = kind(tolerance=1e-10, max_steps=500).solve(network, inputs)
    for sample in range(6):
        alone = kind(tolerance=1e-10, max_steps=500).solve(network, inputs[[sample]])
        assert alone.status[0] is together.status[sample]
        for one, other in zip(alone.voltages, together.voltages, strict=True):
            np.testing.assert_allclose(one[0], other[sample], atol=1e-12)


@EVERY
def test_float32_stays_float32_and_ends_where_float64_does(kind):
    network = scaled(HopfieldNetwork.dense([20, 30, 20, 5], 1), 0.25)
    inputs, targets = data(network, 2)
    single = network.astype(np.float32)
    for nudge in (None, Nudge(targets, 0.3)):
        exact, rounded = kind().solve(network, inputs, nudge), kind().solve(single, inputs, nudge)
        assert set(rounded.status) == {Status.CONVERGED}
        assert all(s.dtype == np.float32 for s in rounded.voltages)
        assert distance(exact, rounded) < 1e-4


def test_a_phase_that_does_not_converge_is_stalled():
    network = HopfieldNetwork.dense([2, 3, 3, 2], 1)
    inputs, _ = data(network, 1)
    phase = GradientFlowSolver(max_steps=3).solve(network, inputs)
    assert set(phase.status) == {Status.STALLED}
    with pytest.raises(UserError, match="sample 0: STALLED, residual"):
        phase.require()


def test_the_map_may_alternate_where_descent_converges():
    """Two nodes that inhibit each other."""
    network = HopfieldNetwork.dense([1, 1, 1], 0)
    for values, number in ((network.weights[0], 0.0), (network.weights[1], -2.0)):
        values[...] = number
    for bias in network.biases:
        bias[...] = 1.0
    assert DiscreteTimeSolver(max_steps=50).solve(network, [[0.0]]).status[0] is Status.STALLED
    assert HopfieldDescentSolver(max_steps=50).solve(network, [[0.0]]).status[0] is Status.CONVERGED


def test_a_network_of_not_a_number_is_refused_or_says_so_by_its_status():
    network = HopfieldNetwork.dense([2, 3, 2], 0)
    network.weights[1][0, 0] = np.nan
    with pytest.raises(UserError, match="weights 2: a value is not finite"):
        DiscreteTimeSolver().solve(network, np.ones((1, 2)))
    for steps in (None, 3):
        (phase,) = DiscreteTimeSolver(free_steps=steps).solve_phases(network, np.ones((1, 2)), [])
        assert phase.status[0] is Status.OUT_OF_BOUNDS


def test_unchecked_truncated_phases_have_no_residual():
    network = HopfieldNetwork.dense([2, 3, 2], 0)
    phase = DiscreteTimeSolver(free_steps=2, check_residual=False).solve(network, np.ones((1, 2)))
    assert np.isnan(phase.residual).all()


def test_minima_are_compared_sample_by_sample():
    """Two nodes that excite each other: each minimum is reached from its side, and similar dynamics end in the same one."""
    network = scaled(HopfieldNetwork.dense([3, 6, 2], 1), 0.5)
    inputs, _ = data(network, 1)
    ways = GradientFlowSolver(), HopfieldDescentSolver()
    found = compare_minima(network, inputs, *(way.solve(network, inputs) for way in ways))
    assert found.same.all()
    assert found.same_prediction.all()
    assert np.abs(found.energy).max() < 1e-10
    stopped = HopfieldDescentSolver(free_steps=1).solve(network, inputs)
    early = compare_minima(network, inputs, ways[0].solve(network, inputs), stopped)
    assert early.good.all()
    assert not early.same.any()
    assert (early.energy > 0).all()
    switch = HopfieldNetwork.dense([1, 1, 1], 0)  # two nodes that inhibit each other: the first one wins
    switch.weights[0][...], switch.weights[1][...] = 0.0, -2.0
    for bias in switch.biases:
        bias[...] = 1.0
    switch.biases[0][...] = 1 - 1e-3  # the flow lets the stronger one win, descent the first
    found = compare_minima(switch, [[0.0]], *(way.solve(switch, [[0.0]]) for way in ways))
    assert found.good.all()
    assert not found.same.any()
    assert found.distance[0] == pytest.approx(1)
    assert found.energy[0] == pytest.approx((1 - 0.999**2) / 2)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: GradientFlowSolver(step=0), "step: expected a number above 0 and at most 1"),
        (lambda: LeakyIntegratorSolver(step=1.5), "step: expected a number above 0 and at most 1"),
        (lambda: DiscreteTimeSolver(free_steps=0), "free_steps must be an integer of at least 1, got 0"),
        (lambda: HopfieldDescentSolver(max_steps=2.5), "max_steps must be an integer of at least 1, got 2.5"),
    ],
)
def test_solvers_that_are_none_are_refused(wrong, sentence):
    with pytest.raises(UserError, match=sentence):
        wrong()


def test_phases_that_do_not_fit_are_told_in_a_sentence():
    network, solver = HopfieldNetwork.dense([2, 3, 2], 0), DiscreteTimeSolver(free_steps=2, nudged_steps=2)
    inputs, targets = np.ones((3, 2)), np.eye(2)[[0, 1, 0]]
    free = solver.solve(network, inputs)
    plus = solver.solve(network, inputs, Nudge(targets, 0.1), free)
    current = Nudge(targets, 0.1, "current")
    for arguments, sentence in (
        ((np.ones((2, 2)), None, free), r"start: expected voltages of shapes \[\(2, 3\), \(2, 2\)\]"),
        ((inputs, Nudge(np.eye(3), 0.1), free), r"expected a target of shape \(3, 2\), got \(3, 3\)"),
        ((inputs, current, None), "pass it as start=free"),
        ((inputs, current, plus), "start, got a nudged"),
    ):
        with pytest.raises(UserError, match=sentence):
            solver.solve(network, *arguments)
    with pytest.raises(UserError, match="same kind and cost"):
        solver.solve_phases(network, inputs, [Nudge(targets, 0.1), Nudge(targets, 0.1, "feedback")])


def test_resistors_take_no_feedback():
    network = ResistiveNetwork.dense([2, 3, 2], 0)
    x, y = np.ones((1, 2)), np.eye(2)[:1]
    with pytest.raises(UserError, match='kind="feedback" is for Hopfield networks'):
        SurrogateSolver().solve(network, x, Nudge(y, 1e-8, "feedback"))


@pytest.mark.parametrize("untied", [False, True], ids=["tied", "untied"])
def test_an_image_settles_alike_alone_and_in_a_batch(untied):
    """In float32, where the maps of the first steps are constant in space and every pooling window is a tie up to rounding."""
    first = Convolution((3, 16, 16), 12, kernel=3, padding=1, pool=2)
    second = Convolution(first.pooled, 16, kernel=3, padding=1, pool=2)
    third = Convolution(second.pooled, 20, kernel=3, padding=1, pool=2)
    network = HopfieldNetwork.build(
        [first, second, third], 3, buffer=HardSigmoid(0.5), initial="fan-in", untied=untied, classes=4
    ).astype(np.float32)
    images = np.random.default_rng(0).normal(size=(5, 768)).astype(np.float32)
    solver = DiscreteTimeSolver(free_steps=30, check_residual=False)
    together = solver.solve(network, images)
    for number in range(5):
        alone = solver.solve(network, images[number : number + 1])
        for one, all_of_them in zip(alone.voltages, together.voltages, strict=True):
            np.testing.assert_allclose(one[0], all_of_them[number], atol=1e-6)
