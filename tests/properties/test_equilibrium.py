"""Laws that every equilibrium obeys, over random networks, inputs and nudges."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eqprop_analog import Equilibrium, Nudge, ResistiveNetwork, Status, SurrogateSolver, UserError
from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.devices import Antiparallel, Clamp, Law, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.networks.resistive.coordinate_descent import sweep
from eqprop_analog.networks.resistive.equations import NodalEquations

SOLVER = SurrogateSolver()
BATCH = 3
LAWS = [
    NgspiceDiode(),
    NgspiceDiode(saturation_current=1e-14, emission=1.5, rail=0.6),
    Clamp(),
    Clamp(rail=-0.3),
    Clamp(on_resistance=1e-6),
    Shockley(),
    PiecewiseLinear(),
    Antiparallel(NgspiceDiode(rail=-0.1)),
    Antiparallel(Shockley(saturation_current=1e-12)),
    Antiparallel(PiecewiseLinear(rail=0.0)),
    Antiparallel(Clamp(rail=-0.3)),
]
IDEAL_CLAMPS = [Clamp(), Clamp(rail=-0.3)]


@dataclass(frozen=True)
class Problem:
    """Parameters of a network with inputs; the numbers are drawn with ``seed``."""

    seed: int
    layers: tuple[int, ...]
    law: Law
    gain: float
    decades: float = 4.0

    def network(self, make) -> ResistiveNetwork:
        gains = self.random(1).permutation([self.gain, 1.0, self.gain**0.5])[: len(self.layers) - 2].tolist()
        bias = 10 ** self.random(2).uniform(-9, -6)
        return make(self.seed, self.layers, diode=self.law, gains=gains, decades=self.decades, zeros=0.2, bias=bias)

    def random(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stream])

    @property
    def inputs(self) -> np.ndarray:
        return self.random(3).uniform(-10, 10, (BATCH, self.layers[0]))

    @property
    def targets(self) -> np.ndarray:
        return self.random(4).uniform(-1, 1, (BATCH, self.layers[-1]))

    def elsewhere(self, network: ResistiveNetwork) -> Equilibrium:
        """Voltages that are not an equilibrium."""
        voltages = tuple(self.random(5).uniform(-2, 2, (BATCH, size)) for size in network.layers[1:])
        return Equilibrium(voltages, np.full(BATCH, np.nan), np.full(BATCH, Status.TRUNCATED))


def problems(
    laws: Sequence[Law] = LAWS, *, hidden: int = 1, decades: float = 4.0, gains: st.SearchStrategy[float] | None = None
) -> st.SearchStrategy[Problem]:
    layers = st.lists(st.integers(1, 12), min_size=2 + hidden, max_size=5).map(tuple)
    gain = st.floats(1, 20) if gains is None else gains
    return st.builds(Problem, st.integers(0, 2**32), layers, st.sampled_from(laws), gain, st.just(decades))


def every_nudge(problem: Problem, network: ResistiveNetwork) -> list[Nudge]:
    """Strong and weak nudges of both signs and kinds; negative conductances up to 0.9 of the limit of definiteness."""
    stiffness = np.linalg.eigvalsh(network.output_stiffness())[0]
    return [
        Nudge(problem.targets, 10 * stiffness),
        Nudge(problem.targets, -0.9 * stiffness),
        Nudge(problem.targets, 0.1 * stiffness, "current"),
        Nudge(problem.targets, -0.1 * stiffness, "current"),
        Nudge(np.eye(network.layers[-1])[[0] * BATCH], 0.1 * stiffness, "current", "cross-entropy"),
    ]


def equations(network: ResistiveNetwork, inputs: np.ndarray, nudge: Nudge | None, free: Equilibrium) -> NodalEquations:
    plain = NodalEquations.of(network, inputs)
    return plain if nudge is None else plain.nudged([nudge], free)


def scale(phase: Equilibrium, inputs: np.ndarray) -> float:
    """Largest voltage of the circuit, at least 1 V."""
    return max(1.0, np.abs(inputs).max(), *(np.abs(v).max() for v in phase.voltages))


def assert_same(one: Layers, other: Layers, within: float) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=within)


def net_currents(
    network: ResistiveNetwork, inputs: np.ndarray, phase: Equilibrium, free: Equilibrium, shift: float
) -> np.ndarray:
    """Current into every node if only this node were ``shift`` volts higher, resistor by resistor (zero at shift 0 by KCL)."""
    drive, result = network.rows(inputs), []
    for layer, v in enumerate(phase.voltages, start=1):
        own = v + shift
        drops = drive[:, :, None] - own[:, None, :]
        current = (network.conductances[layer - 1] * drops).sum(axis=1) + network.biases[layer - 1]
        if layer < network.depth:
            gain, side = network.amplifier_gain[layer - 1], network.polarity(layer)
            onward = network.conductances[layer] * (gain * own[:, :, None] - phase.voltages[layer][:, None, :])
            current -= onward.sum(axis=2) / gain + side * network.diode.current(side * own)
            drive = gain * v
        elif phase.nudge is not None:
            conductance, into = phase.nudge.injection(free.outputs)
            current += into - conductance * own
        result.append(current)
    return np.concatenate(result, axis=1)


@settings(max_examples=100)
@given(problem=problems())
# Near-indefinite nudges, where a whole Newton step is far too long:
@example(problem=Problem(617, (1, 1, 2, 1), NgspiceDiode(), 3.0))
@example(problem=Problem(1186, (2, 2, 5), NgspiceDiode(), 1.0))
@example(problem=Problem(870, (1, 3, 1, 1, 4), Clamp(), 7.0))
@example(problem=Problem(617, (1, 1, 2, 1), Clamp(rail=-0.3), 3.0))
@example(problem=Problem(51478, (1, 1, 3, 4), Clamp(rail=-0.3), 3.0))
@example(problem=Problem(678, (3, 1, 4, 6), Clamp(on_resistance=1e-6), 1.0))
def test_solver_converges_and_converged_means_kirchhoffs_law_holds_at_every_node(random_network, problem):
    """Each node's net current changes sign within 1e-12 of the largest voltage."""
    network, inputs = problem.network(random_network), problem.inputs
    free = SOLVER.solve(network, inputs)
    phases = [SOLVER.solve(network, inputs, nudge, free) for nudge in every_nudge(problem, network)]
    for phase in (free, *phases):
        assert all(status is Status.CONVERGED for status in phase.status)
        within = 1e-12 * scale(phase, inputs)
        assert (net_currents(network, inputs, phase, free, -within) >= 0).all()
        assert (net_currents(network, inputs, phase, free, +within) <= 0).all()


@given(problem=problems())
def test_energy_never_rises_in_a_sweep_of_coordinate_descent(random_network, problem):
    """The nudge's ½gv² - cv counts with the outputs' weight γ_L."""
    network, inputs = problem.network(random_network), problem.inputs
    free = SOLVER.solve(network, inputs)
    for nudge in (None, *every_nudge(problem, network)):
        conductance, current = (0.0, 0.0) if nudge is None else nudge.injection(free.outputs)
        circuit = equations(network, inputs, nudge, free)
        voltages = sweep(circuit, problem.elsewhere(network).voltages)
        energies = []
        for _ in range(4):
            out = voltages[-1]
            pull = (0.5 * conductance * out**2 - current * out).sum(axis=1)
            energies.append(network.energy(inputs, voltages) + network.gammas[-1] * pull)
            voltages = sweep(circuit, voltages)
        size = np.abs(energies).max() + np.abs(network.energy(inputs, circuit.initial())).max()
        assert (np.diff(energies, axis=0) <= 1e-12 * size).all()


@given(problem=problems(decades=2.0))
@example(problem=Problem(3, (1, 1, 1, 1, 1), Clamp(on_resistance=1e-6), 1.0, 2.0))  # starts on the steep side of a kink
def test_equilibrium_does_not_depend_on_the_start(random_network, problem):
    network, inputs = problem.network(random_network), problem.inputs
    free = SOLVER.solve(network, inputs)
    again = SOLVER.solve(network, inputs, start=problem.elsewhere(network))
    assert_same(free.voltages, again.voltages, 1e-9 * scale(free, inputs))
    nudge = every_nudge(problem, network)[1]
    cold, warm = SOLVER.solve(network, inputs, nudge), SOLVER.solve(network, inputs, nudge, free)
    assert_same(cold.voltages, warm.voltages, 1e-9 * scale(cold, inputs))


@given(problem=problems(decades=2.0))
def test_permuting_hidden_nodes_inside_a_half_permutes_their_voltages(random_network, problem):
    network, inputs = problem.network(random_network), problem.inputs
    orders = []
    for size in network.layers[1:-1]:
        half = (size + 1) // 2
        orders.append(
            np.concatenate([problem.random(6).permutation(half), half + problem.random(7).permutation(size - half)])
        )
    orders.append(np.arange(network.layers[-1]))
    before = [np.arange(2 * network.layers[0]), *orders]
    permuted = replace(
        network,
        conductances=tuple(m[i][:, j] for m, i, j in zip(network.conductances, before, orders, strict=False)),
        biases=tuple(b[order] for b, order in zip(network.biases, orders, strict=True)),
    )
    original, moved = SOLVER.solve(network, inputs), SOLVER.solve(permuted, inputs)
    expected = tuple(v[:, order] for v, order in zip(original.voltages, orders, strict=True))
    assert_same(moved.voltages, expected, 1e-9 * scale(original, inputs))


@given(problem=problems(decades=2.0))
def test_exchanging_halves_and_signs_turns_every_voltage_around(random_network, problem):
    """Excitatory and inhibitory nodes are mirror images: so in layers of even size, backwards."""
    layers = (problem.layers[0], *(size + size % 2 for size in problem.layers[1:-1]), problem.layers[-1])
    problem = replace(problem, layers=layers)
    network, inputs = problem.network(random_network), problem.inputs
    matrices = [m[:, ::-1] for m in network.conductances[:-1]] + [network.conductances[-1]]
    mirrored = replace(
        network,
        conductances=(matrices[0], *(m[::-1] for m in matrices[1:])),
        biases=(*(-b[::-1] for b in network.biases[:-1]), -network.biases[-1]),
    )
    original, mirror = SOLVER.solve(network, inputs), SOLVER.solve(mirrored, -inputs)
    expected = (*(-v[:, ::-1] for v in original.voltages[:-1]), -original.outputs)
    assert_same(mirror.voltages, expected, 1e-9 * scale(original, inputs))


@given(problem=problems(IDEAL_CLAMPS, decades=2.0), factor=st.floats(1e-3, 1e3))
def test_scaling_all_conductances_and_currents_changes_no_voltage(random_network, problem, factor):
    network, inputs = problem.network(random_network), problem.inputs
    scaled = replace(
        network,
        conductances=tuple(factor * matrix for matrix in network.conductances),
        biases=tuple(factor * bias for bias in network.biases),
    )
    free = SOLVER.solve(network, inputs)
    assert_same(SOLVER.solve(scaled, inputs).voltages, free.voltages, 1e-9 * scale(free, inputs))
    for nudge in every_nudge(problem, network):
        one = SOLVER.solve(network, inputs, nudge, free)
        other = SOLVER.solve(scaled, inputs, replace(nudge, beta=factor * nudge.beta), free)
        assert_same(one.voltages, other.voltages, 1e-9 * scale(one, inputs))


@given(problem=problems(IDEAL_CLAMPS, decades=2.0), factor=st.floats(1e-3, 1e3))
def test_scaling_all_sources_scales_every_voltage(random_network, problem, factor):
    network, inputs = problem.network(random_network), problem.inputs
    scaled = replace(
        network,
        biases=tuple(factor * bias for bias in network.biases),
        diode=Clamp(rail=factor * network.diode.rail),
        input_gain=factor,
    )
    free = SOLVER.solve(network, inputs)
    expected = tuple(factor * v for v in free.voltages)
    assert_same(SOLVER.solve(scaled, inputs).voltages, expected, 1e-9 * factor * scale(free, inputs))


@given(problem=problems([NgspiceDiode(), Clamp(), Clamp(on_resistance=1e-6)], gains=st.just(1.0)))
def test_without_amplifiers_and_biases_no_node_leaves_the_range_of_its_sources(random_network, problem):
    network, inputs = problem.network(random_network), problem.inputs
    for bias in network.biases:
        bias[...] = 0
    highest = np.maximum(np.abs(inputs).max(axis=1), network.diode.rail)
    for v in SOLVER.solve(network, inputs).voltages:
        assert (np.abs(v).max(axis=1) <= highest * (1 + 1e-12)).all()


@given(problem=problems())
def test_batches_may_be_split_and_reordered(random_network, problem):
    network, inputs = problem.network(random_network), problem.inputs
    nudge = every_nudge(problem, network)[0]
    for given_nudge in (None, nudge):
        whole = SOLVER.solve(network, inputs, given_nudge)
        for samples in ([0], [2, 0], [2, 1, 0]):
            part_nudge = None if given_nudge is None else replace(nudge, target=nudge.target[samples])
            part = SOLVER.solve(network, inputs[samples], part_nudge)
            assert_same(part.voltages, tuple(v[samples] for v in whole.voltages), 1e-12 * scale(whole, inputs))


@given(problem=problems(decades=2.0))
def test_nudge_to_where_the_outputs_already_are_changes_nothing(random_network, problem):
    network, inputs = problem.network(random_network), problem.inputs
    free = SOLVER.solve(network, inputs)
    for nudge in every_nudge(problem, network)[:4]:
        nudged = SOLVER.solve(network, inputs, replace(nudge, target=free.outputs), free)
        assert_same(nudged.voltages, free.voltages, 1e-9 * scale(free, inputs))


@given(problem=problems(decades=2.0))
def test_positive_nudge_lowers_the_cost_and_negative_raises_it(random_network, problem):
    """For every nonlinearity, E + γ_L·β·C is at its minimum for every β."""
    network, inputs = problem.network(random_network), problem.inputs
    stiffness = np.linalg.eigvalsh(network.output_stiffness())[0]

    def cost(phase: Equilibrium) -> np.ndarray:
        return ((phase.outputs - problem.targets) ** 2).sum(axis=1)

    free = SOLVER.solve(network, inputs)
    costs = [cost(SOLVER.solve(network, inputs, Nudge(problem.targets, b * stiffness), free)) for b in (-0.5, 1.0)]
    assert (costs[0] >= cost(free) * (1 - 1e-9)).all()
    assert (costs[1] <= cost(free) * (1 + 1e-9)).all()


@pytest.mark.parametrize("solver", [SOLVER, SurrogateSolver(sweeps=6)], ids=["converged", "truncated"])
@given(problem=problems(hidden=0, decades=2.0))
def test_phases_solved_together_are_those_solved_one_by_one(random_network, solver, problem):
    network, inputs = problem.network(random_network), problem.inputs
    nudges = every_nudge(problem, network)
    free, *nudged = solver.solve_phases(network, inputs, nudges)
    alone = solver.solve(network, inputs)
    assert free.nudge is None
    assert_same(free.voltages, alone.voltages, 1e-10 * scale(alone, inputs))
    for phase, nudge in zip(nudged, nudges, strict=True):
        one = solver.solve(network, inputs, nudge, alone)
        assert phase.nudge is one.nudge is nudge
        assert phase.status.tolist() == one.status.tolist()
        assert_same(phase.voltages, one.voltages, 1e-10 * scale(one, inputs))
        np.testing.assert_allclose(
            phase.residual, one.residual, atol=1e-10 * network.conductances[-1].max() * scale(one, inputs)
        )


@given(problem=problems(decades=1.0))
def test_single_precision_stays_single_and_close_to_double(random_network, problem):
    network, inputs = problem.network(random_network), problem.inputs
    double, single = SOLVER.solve(network, inputs), SOLVER.solve(network.astype(np.float32), inputs)
    assert all(v.dtype == np.float32 for v in single.voltages)
    assert all(status is Status.CONVERGED for status in single.status)
    assert_same(single.voltages, double.voltages, 1e-3 * scale(double, inputs))


@given(problem=problems())
def test_truncated_solutions_say_so_and_measure_their_residual_only_if_asked(random_network, problem):
    network, inputs = problem.network(random_network), problem.inputs
    checked = SurrogateSolver(sweeps=3).solve(network, inputs)
    unchecked = SurrogateSolver(sweeps=3, check_residual=False).solve(network, inputs)
    for phase in (checked, unchecked):
        assert all(status is Status.TRUNCATED for status in phase.status)
        assert phase.require() is phase
    assert np.isfinite(checked.residual).all()
    assert np.isnan(unchecked.residual).all()
    assert_same(checked.voltages, unchecked.voltages, 0)


@given(problem=problems(decades=2.0))
def test_sweeps_never_move_away_from_the_equilibrium(random_network, problem):
    """A node follows the mean of its neighbours: the largest distance, each divided by the gains before it, cannot grow."""
    network, inputs = problem.network(random_network), problem.inputs
    converged = SOLVER.solve(network, inputs)
    circuit = NodalEquations.of(network, inputs)
    voltages, distances = problem.elsewhere(network).voltages, []
    for _ in range(6):
        layers = zip(voltages, converged.voltages, network.gammas, strict=True)
        distances.append(max(np.abs(v - target).max() * gamma**0.5 for v, target, gamma in layers))
        voltages = sweep(circuit, voltages)
    assert (np.diff(distances) <= 1e-9 * scale(converged, inputs)).all()


def test_solver_out_of_iterations_says_stalled_and_is_not_required(random_network):
    network = random_network(1, (2, 4, 2))
    phase = SurrogateSolver(max_iterations=0).solve(network, [[3.0, -4.0]])
    assert phase.status.tolist() == [Status.STALLED]
    assert not phase.good.any()
    with pytest.raises(UserError, match=r"sample 0: STALLED, residual .*e"):
        phase.require()


@pytest.mark.parametrize("status", list(Status))
def test_every_status_explains_itself(status: Status):
    assert len(status.value.split()) >= 5
    assert len({member.value for member in Status}) == len(Status)
