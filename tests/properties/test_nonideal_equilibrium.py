"""Laws that every equilibrium of a network with wires obeys, over random networks, diodes, wires, tiles and nudges."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqprop_analog import (
    Antiparallel,
    Clamp,
    Equilibrium,
    NgspiceDiode,
    Nudge,
    PiecewiseLinear,
    ResistiveNetwork,
    Shockley,
    Status,
    SurrogateSolver,
)
from eqprop_analog.devices import Law
from eqprop_analog.networks.crossbars.square import full
from eqprop_analog.networks.nonideal.equations import NonidealEquations
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.newton import NonidealNewtonSolver, certified
from eqprop_analog.networks.nonideal.periphery import Periphery

SOLVER = NonidealNewtonSolver()
BATCH = 3
FEW = settings(max_examples=30)
LAWS: list[Law] = [
    NgspiceDiode(),
    NgspiceDiode(saturation_current=1e-15, emission=1.5, rail=0.6),
    Shockley(rail=0.2),
    PiecewiseLinear(threshold=0.4, on_resistance=1.0),
    Clamp(),
    Clamp(rail=0.3),
    Antiparallel(NgspiceDiode(rail=0.1)),
    Antiparallel(Clamp(rail=-0.2)),
]


@dataclass(frozen=True)
class Problem:
    """Parameters of a network with inputs; the numbers are drawn with ``seed``."""

    seed: int
    layers: tuple[int, ...]
    law: Law
    ohms: float
    tile: tuple[int, int]
    decades: float
    chip: str = "ideal"
    """Imperfections in addition to the wires: none, those that preserve an energy, all."""

    def random(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stream])

    def network(self) -> NonidealNetwork:
        random, hidden = self.random(0), len(self.layers) - 2
        network = ResistiveNetwork.dense(
            self.layers,
            self.seed,
            diode=self.law,
            amplifier_gain=(random.uniform(1, 20, hidden) ** random.integers(0, 2, hidden)).tolist(),
            input_gain=5.0,
            bias=[random.normal(0, 1e-7, size) for size in self.layers[1:]],
        )
        for matrix in network.conductances:
            matrix[...] = 1e-6 * 10 ** random.uniform(-self.decades / 2, self.decades / 2, matrix.shape)
        return NonidealNetwork(network, self.periphery(network), self.ohms, self.tile)

    def periphery(self, network: ResistiveNetwork) -> Periphery:
        """Spreads far larger than in fabrication; return factors differ little, so that there is one equilibrium."""
        random, hidden = self.random(4), network.layers[1:-1]

        def each(draw: Callable[[int], np.ndarray]) -> list[np.ndarray]:
            return [draw(n) for n in hidden]

        drawn: dict[str, Any] = {}
        if self.chip != "ideal":
            drawn |= {
                "offset": each(lambda n: random.normal(0, 0.05, n)),
                "output_resistance": each(lambda n: 1e5 * random.random(n)),
                "input_conductance": each(lambda n: 1e-6 * random.random(n) * (random.random(n) < 0.5)),
                "source_resistance": 1e5 * random.random(len(network.conductances[0])),
                "nudge_factor": random.uniform(0.5, 1.5, network.layers[-1]),
                "target_offset": random.normal(0, 0.1, network.layers[-1]),
            }
            if isinstance(network.single_diode, NgspiceDiode | Shockley):
                drawn |= {
                    "saturation_factor": each(lambda n: np.exp(random.normal(0, 1, n))),
                    "emission_factor": each(lambda n: np.exp(random.normal(0, 0.1, n))),
                    "celsius": 70.0,
                    "temperature_mismatch": each(lambda n: random.normal(0, 5, n)),
                }
        if self.chip == "all":
            drawn |= {
                "forward_factor": each(lambda n: np.exp(random.normal(0, 0.3, n))),
                "return_factor": each(lambda n: np.exp(random.normal(0, 0.3 if len(hidden) == 1 else 0.003, n))),
                "saturation_voltage": [random.choice([np.inf, 0.3, 3.0]) for _ in hidden],
            }
        return Periphery(**drawn)

    @property
    def inputs(self) -> np.ndarray:
        return self.random(1).uniform(-1, 1, (BATCH, self.layers[0]))

    @property
    def targets(self) -> np.ndarray:
        return self.random(2).uniform(-1, 1, (BATCH, self.layers[-1]))


PROBLEMS = st.builds(
    Problem,
    seed=st.integers(0, 10_000),
    layers=st.lists(st.integers(1, 10), min_size=2, max_size=5).map(tuple),
    law=st.sampled_from(LAWS),
    ohms=st.sampled_from([0.0, 1.0, 100.0, 1e4, 1e6]),
    tile=st.sampled_from([(128, 128), (3, 4)]),
    decades=st.sampled_from([1.0, 4.0]),
    chip=st.sampled_from(["ideal", "reciprocal", "all"]),
)
RECIPROCAL = PROBLEMS.filter(lambda problem: problem.chip != "all")


def stacked(equilibrium: Equilibrium) -> np.ndarray:
    return np.concatenate(equilibrium.voltages, axis=1)


def softest(network: NonidealNetwork) -> float:
    """The beta at which the circuit loses its unique equilibrium, S."""
    outputs = network.layers[-1]
    resistance = np.linalg.inv(network.nodal_matrix)[-outputs:, -outputs:]
    factor = np.broadcast_to(network.periphery.nudge_factor, outputs)
    return 1 / float(np.linalg.eigvals(factor[:, None] * resistance).real.max())


@FEW
@given(PROBLEMS)
def test_every_phase_converges_to_kirchhoffs_law_and_its_residual_is_that_of_its_voltages(problem):
    network = problem.network()
    beta = softest(network)
    nudges = [
        Nudge(problem.targets, sign * 0.3 * beta, kind) for kind in ("conductance", "current") for sign in (1, -1)
    ]
    phases = SOLVER.solve_phases(network, problem.inputs, nudges)
    free = NonidealEquations.of(network, problem.inputs)
    for phase, nudge in zip(phases, [None, *nudges], strict=True):
        assert phase.status.tolist() == [Status.CONVERGED] * BATCH
        assert phase.nudge is nudge
    for equations, some in ((free, phases[:1]), (free.nudged(nudges, phases[0]), phases[1:])):
        v = tuple(np.concatenate(each) for each in zip(*(phase.voltages for phase in some), strict=True))
        residuals = np.concatenate(equations.residuals(v), axis=1)
        np.testing.assert_array_equal(np.abs(residuals).max(axis=1), np.concatenate([phase.residual for phase in some]))
        scale = equations.voltage_scale(v)[:, None]
        for layer, volts in enumerate(v, start=1):  # error of each node in its own equation, volts
            own = volts - equations.root(layer, equations.inflow(layer, v))
            assert np.abs(own / scale).max() <= 1e-13


@FEW
@given(RECIPROCAL)
def test_the_equilibrium_has_the_least_energy(problem):
    network, random = problem.network(), problem.random(3)
    found = SOLVER.solve(network, problem.inputs)
    lowest = network.energy(problem.inputs, found.voltages)
    for size in (1e-4, 1e-2, 1.0):
        elsewhere = tuple(part + size * random.normal(size=part.shape) for part in found.voltages)
        assert (network.energy(problem.inputs, elsewhere) >= lowest - 1e-12 * np.abs(lowest)).all()


@FEW
@given(PROBLEMS)
def test_the_equilibrium_does_not_depend_on_where_it_was_begun(problem):
    network, random = problem.network(), problem.random(3)
    found = SOLVER.solve(network, problem.inputs)
    begin = replace(found, voltages=tuple(3 * random.normal(size=part.shape) for part in found.voltages))
    again, v = SOLVER.solve(network, problem.inputs, start=begin), stacked(found)
    assert again.good.all()
    condition = np.linalg.cond(network.nodal_matrix)
    np.testing.assert_allclose(stacked(again), v, rtol=0, atol=1e-13 * condition * max(1, np.abs(v).max()))


@FEW
@given(PROBLEMS)
def test_every_slope_of_kirchhoffs_law_is_an_m_matrix(problem):
    network, random = problem.network(), problem.random(5)
    v = random.normal(size=(BATCH, sum(network.layers[1:])))
    matrix = network.nodal_matrix
    assert (matrix - np.diag(np.diag(matrix)) <= 1e-15 * matrix.max()).all()
    bent = np.zeros_like(v)
    if network.saturating.size:
        bent[:, network.saturating] = network.droop(v)[1]
    for sample in bent:
        slope = matrix.copy()
        for to, of, block in network.drive_blocks:
            slope[to, of] -= full(block) * sample[of]
        inverse = np.linalg.inv(slope)
        assert (inverse >= -1e-12 * np.abs(inverse).max()).all()


@FEW
@given(PROBLEMS)
def test_without_wires_it_is_the_ideal_network_and_thin_wires_change_it_little(problem):
    problem = replace(problem, ohms=0.0, decades=1.0, chip="ideal")
    network = problem.network()
    ideal = stacked(SurrogateSolver().solve(network.ideal, problem.inputs).require())
    found = stacked(SOLVER.solve(network, problem.inputs).require())
    bound = 1e-13 * np.linalg.cond(network.nodal_matrix) * max(1, np.abs(ideal).max())
    np.testing.assert_allclose(found, ideal, rtol=0, atol=bound)
    thin = stacked(SOLVER.solve(replace(problem, ohms=1e-9).network(), problem.inputs).require())
    np.testing.assert_allclose(thin, ideal, rtol=0, atol=bound + 1e-9 * max(1, np.abs(ideal).max()))


@FEW
@given(PROBLEMS)
def test_a_sample_does_not_see_the_others_of_its_batch(problem):
    network = problem.network()
    together = SOLVER.solve(network, problem.inputs)
    condition = np.linalg.cond(network.nodal_matrix)
    for k in range(BATCH):
        alone = SOLVER.solve(network, problem.inputs[k : k + 1])
        scale = max(1, np.abs(stacked(together)[k]).max())
        np.testing.assert_allclose(stacked(alone)[0], stacked(together)[k], rtol=0, atol=1e-13 * condition * scale)


@FEW
@given(RECIPROCAL, st.floats(0.01, 0.9))
def test_a_nudge_lowers_the_cost_and_its_opposite_raises_it(problem, share):
    network = problem.network()
    beta = share * softest(network)
    free, plus, minus = SOLVER.solve_phases(
        network, problem.inputs, [Nudge(problem.targets, sign * beta) for sign in (1, -1)]
    )
    factor = network.periphery.outputs(network.ideal)
    aim = problem.targets + network.periphery.targets(network.ideal)
    cost = [(factor * (phase.outputs - aim) ** 2).sum(axis=1) for phase in (plus, free, minus)]
    for lower, higher in pairwise(cost):
        assert (lower <= higher * (1 + 1e-9) + 1e-15).all()


def test_a_point_off_equilibrium_is_not_certified():
    problem = Problem(1, (3, 5, 2), NgspiceDiode(), 100.0, (128, 128), 1.0)
    network = problem.network()
    equations, found = NonidealEquations.of(network, problem.inputs), SOLVER.solve(network, problem.inputs)
    shifted = stacked(found)
    shifted[0, 3] += 1e-6
    shifted[1] = 1e7
    shifted[2, 0] = np.nan
    statuses = certified(equations, equations.split(shifted), 1e-13, None).status.tolist()
    assert statuses == [Status.STALLED, Status.OUT_OF_BOUNDS, Status.SIMULATOR_FAILED]
    hurried = NonidealNewtonSolver(max_iterations=1).solve(network, problem.inputs)
    assert hurried.status.tolist() == [Status.STALLED] * BATCH


def test_samples_are_solved_in_pieces_as_they_are_at_once(monkeypatch):
    problem = Problem(2, (3, 5, 2), NgspiceDiode(), 100.0, (128, 128), 1.0)
    network = problem.network()
    at_once = stacked(SOLVER.solve(network, problem.inputs))
    monkeypatch.setattr("eqprop_analog.networks.nonideal.newton.SAMPLE_ELEMENTS", 1)
    np.testing.assert_allclose(stacked(SOLVER.solve(network, problem.inputs)), at_once, rtol=0, atol=1e-13)


def test_steps_are_the_same_by_elimination_as_by_matrix_products(monkeypatch):
    problem = Problem(2, (3, 5, 6, 2), NgspiceDiode(), 100.0, (128, 128), 2.0, "all")
    network = problem.network()
    by_products = SOLVER.solve(network, problem.inputs)
    monkeypatch.setattr("eqprop_analog.networks.nonideal.newton.INNER_STEPS", 0)
    monkeypatch.setattr("eqprop_analog.networks.nonideal.newton.ELEMENTS", 1)
    eliminated = SOLVER.solve(network, problem.inputs)
    assert eliminated.good.all()
    np.testing.assert_allclose(stacked(eliminated), stacked(by_products), rtol=0, atol=1e-12)


@pytest.mark.parametrize("chip", ["ideal", "all"])
def test_sweeps_find_the_equilibrium_where_newtons_steps_lead_astray(chip, monkeypatch):
    problem = Problem(3, (4, 6, 2), NgspiceDiode(), 100.0, (128, 128), 1.0, chip)
    network = problem.network()
    found = SOLVER.solve(network, problem.inputs)
    monkeypatch.setattr("eqprop_analog.networks.nonideal.newton._newton", lambda equations, v, roots: 5 - roots)
    alone = NonidealNewtonSolver(max_iterations=1000).solve(network, problem.inputs)
    assert alone.good.all()
    np.testing.assert_allclose(stacked(alone), stacked(found), rtol=0, atol=1e-10)
