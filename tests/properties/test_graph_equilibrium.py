"""Laws that every equilibrium of a network on a graph obeys, over random graphs, conductances, diodes, sources and nudges."""

from dataclasses import dataclass, replace
from typing import Any

import networkx as nx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from eqprop_analog import (
    Clamp,
    Equilibrium,
    GraphNetwork,
    NgspiceDiode,
    Nudge,
    PiecewiseLinear,
    Shockley,
    SparseNewtonSolver,
    Status,
)
from eqprop_analog.devices import Law
from eqprop_analog.networks.graph.equations import GraphEquations, output_resistance
from eqprop_analog.networks.graph.topologies import disordered, square_lattice

SOLVER = SparseNewtonSolver()
BATCH = 3
FEW = settings(max_examples=20)
LAWS: list[Law | None] = [
    None,
    NgspiceDiode(),
    NgspiceDiode(saturation_current=1e-14, emission=1.5, rail=0.6),
    Shockley(),
    PiecewiseLinear(threshold=0.4, on_resistance=1e3),
    Clamp(on_resistance=100.0),
]


@dataclass(frozen=True)
class Problem:
    """Parameters of a network with inputs; the numbers are drawn with ``seed``."""

    seed: int
    topology: str
    size: int
    law: Law | None
    decades: float
    currents: bool = True

    def random(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, stream])

    def graph(self) -> "nx.MultiGraph[Any]":
        size = self.size
        if self.topology == "disordered":
            plain = disordered(size * size, 3.4, self.seed)
        elif self.topology == "random":
            plain = nx.gnm_random_graph(size * size, 3 * size * size, seed=self.seed)
            nx.add_path(plain, plain)  # connected
        else:
            plain = square_lattice(size, size, periodic=self.topology == "periodic")
        return nx.MultiGraph(plain)

    def network(self) -> GraphNetwork:
        """Resistors on the edges of the graph, some with parallel diodes, and none that short-circuits sources."""
        random, graph = self.random(0), self.graph()
        nodes = [list(graph)[k] for k in random.permutation(len(graph)).tolist()]
        edges = list(graph.edges(keys=True))
        for edge in edges:
            graph.edges[edge]["conductance"] = 1e-6 * 10 ** random.uniform(-self.decades / 2, self.decades / 2)
        held = set(nodes[:4])
        for one, other, _ in edges:
            if self.law is not None and random.random() < 0.3 and not {one, other} & held:
                graph.add_edge(one, other, anode=(one, other)[int(random.integers(2))])
        if self.law is not None:
            near = next((one, other) for one, other, _ in edges if len({one, other} & held) == 1)
            graph.add_edge(*near, anode=near[int(random.integers(2))])
        if self.currents:
            graph.nodes[nodes[4]]["current"] = 10 ** random.uniform(-8, -6)
        rails = {nodes[2]: 0.0, nodes[3]: random.uniform(-2, 2)}
        return GraphNetwork.from_graph(graph, nodes[:2], [nodes[5], (nodes[6], nodes[7])], rails, diode=self.law)

    @property
    def inputs(self) -> np.ndarray:
        return self.random(1).uniform(-10, 10, (BATCH, 2))

    @property
    def targets(self) -> np.ndarray:
        return self.random(2).uniform(-1, 1, (BATCH, 2))

    def elsewhere(self, network: GraphNetwork) -> Equilibrium:
        """Voltages that are not an equilibrium."""
        voltages = self.random(3).uniform(-12, 12, (BATCH, len(network.names)))
        return Equilibrium((voltages, voltages[:, :2]), np.full(BATCH, np.nan), np.full(BATCH, Status.STALLED))


def problems(
    *, decades: float = 4.0, laws: list[Law | None] = LAWS, currents: bool = True
) -> st.SearchStrategy[Problem]:
    topology = st.sampled_from(["square", "periodic", "disordered", "random"])
    seeds = st.integers(0, 2**32 - 1)
    return st.builds(
        Problem, seeds, topology, st.integers(3, 7), st.sampled_from(laws), st.just(decades), st.just(currents)
    )


def every_nudge(problem: Problem, network: GraphNetwork) -> list[Nudge]:
    """Strong and weak nudges of both signs and kinds; negative ones up to 0.9 of the limit of definiteness."""
    stiffness = 1 / float(np.linalg.eigvalsh(output_resistance(network))[-1])
    return [
        Nudge(problem.targets, 10 * stiffness),
        Nudge(problem.targets, -0.9 * stiffness),
        Nudge(problem.targets, 0.1 * stiffness, "current"),
        Nudge(np.eye(2)[[0, 1, 0]], -0.1 * stiffness, "current", "cross-entropy"),
    ]


def scale(phase: Equilibrium) -> np.ndarray:
    return np.maximum(1.0, np.abs(phase.voltages[0]).max(axis=1))[:, None]


def assert_same(one: Equilibrium, other: Equilibrium, within: float = 1e-9) -> None:
    assert (np.abs(one.voltages[0] - other.voltages[0]) <= within * scale(one)).all()


def net_currents(network: GraphNetwork, phase: Equilibrium, free: Equilibrium, shift: np.ndarray) -> np.ndarray:
    """Current into every node if only this node were ``shift`` volts higher, device by device (zero at shift 0 by KCL)."""
    v = phase.voltages[0]
    total = np.tile(network.currents, (len(v), 1))
    devices = [(pair, lambda w, g=g: g * w) for pair, g in zip(network.resistors, network.conductances, strict=True)]
    law = network.diode
    devices += [(pair, lambda w: -law.current(law.rail - w)) for pair in network.diodes]
    if phase.nudge is not None:
        conductance, into = phase.nudge.injection(free.outputs)
        columns = np.broadcast_to(into, phase.outputs.shape).T
        devices += [
            (pair, lambda w, y=y: conductance * w - y) for pair, y in zip(network.outputs, columns, strict=True)
        ]
    for (one, other), current in devices:
        behind = v[:, other] if other >= 0 else 0.0
        total[:, one] -= current(v[:, one] + shift - behind)
        if other >= 0:
            total[:, other] += current(v[:, one] - (behind + shift))
    return total[:, network.free]


@settings(max_examples=40)
@given(problem=problems())
def test_solver_converges_and_converged_means_kirchhoffs_law_holds_at_every_node(problem):
    """Each node's net current changes sign within 1e-11 of the largest voltage."""
    network = problem.network()
    free = SOLVER.solve(network, problem.inputs)
    phases = [SOLVER.solve(network, problem.inputs, nudge, free) for nudge in every_nudge(problem, network)]
    for phase in (free, *phases):
        assert phase.status.tolist() == [Status.CONVERGED] * BATCH
        within = 1e-11 * scale(phase)[:, 0]
        assert (net_currents(network, phase, free, -within) >= 0).all()
        assert (net_currents(network, phase, free, +within) <= 0).all()
        np.testing.assert_allclose(
            phase.residual, np.abs(net_currents(network, phase, free, 0 * within)).max(axis=1), atol=1e-16, rtol=1e-3
        )


@FEW
@given(problem=problems())
def test_energy_never_rises_in_a_step_of_newtons_method(problem):
    network, one_step = problem.network(), SparseNewtonSolver(max_iterations=1)
    for nudge in (None, *every_nudge(problem, network)[:2]):
        equations = GraphEquations.of(network, problem.inputs)
        if nudge is not None:
            equations = equations.nudged([nudge], None)
        phase = problem.elsewhere(network)
        energies = [equations.energy(equations.held(phase.voltages[0]))]
        for _ in range(8):
            phase = one_step.solve(network, problem.inputs, nudge, phase)
            energies.append(equations.energy(phase.voltages[0]))
        size = np.abs(energies).max(axis=0)
        assert (np.diff(energies, axis=0) <= 1e-13 * size).all()
        assert (energies[-1] < energies[0]).all()


@FEW
@given(problem=problems())
def test_equilibrium_has_the_least_energy_of_all_voltages_that_the_sources_allow(problem):
    network = problem.network()
    equations = GraphEquations.of(network, problem.inputs)
    found = SOLVER.solve(network, problem.inputs).voltages[0]
    least = equations.energy(found)
    random = problem.random(4)
    for size in (1e-3, 1e-1, 1.0):
        other = equations.held(found + size * random.normal(size=found.shape))
        assert (equations.energy(other) >= least).all()


@FEW
@given(problem=problems())
def test_equilibrium_does_not_depend_on_the_start(problem):
    network = problem.network()
    cold = SOLVER.solve(network, problem.inputs)
    warm = SOLVER.solve(network, problem.inputs, start=problem.elsewhere(network))
    assert_same(cold, warm)


@FEW
@given(problem=problems(laws=[None]), weights=st.tuples(st.floats(-3, 3), st.floats(-3, 3)))
def test_networks_of_resistors_superpose(problem, weights):
    """The response to a sum of sources is the sum of the responses; rails and currents are sources too."""
    network = problem.network()
    quiet = replace(network, rail_volts=0 * network.rail_volts, currents=0 * network.currents)
    a, b = weights
    one, other = problem.inputs, problem.random(5).uniform(-10, 10, (BATCH, 2))
    parts = [SOLVER.solve(quiet, x).voltages[0] for x in (one, other)]
    own = SOLVER.solve(network, np.zeros((BATCH, 2))).voltages[0]
    whole = SOLVER.solve(network, a * one + b * other)
    assert (np.abs(a * parts[0] + b * parts[1] + own - whole.voltages[0]) <= 1e-10 * 10 * scale(whole)).all()


@FEW
@given(problem=problems(currents=False))
def test_without_currents_no_node_leaves_the_range_of_its_sources(problem):
    """The maximum principle, with diodes too: they pass current down the potential only."""
    network = problem.network()
    v = SOLVER.solve(network, problem.inputs).voltages[0]
    held = v[:, network.held]
    slack = 1e-10 * np.abs(held).max()
    assert (v <= held.max(axis=1, keepdims=True) + slack).all()
    assert (v >= held.min(axis=1, keepdims=True) - slack).all()


@FEW
@given(problem=problems())
def test_renaming_and_reordering_nodes_and_edges_moves_voltages_along(problem):
    network = problem.network()
    order = problem.random(6).permutation(len(network.names))  # order[k] is the new index of node k
    edges = problem.random(7).permutation(len(network.resistors))
    outputs = np.where(network.outputs >= 0, order[network.outputs], network.outputs)
    renamed = replace(
        network,
        names=tuple(f"n_{k}" for k in range(len(order))),
        resistors=order[network.resistors[edges]][:, ::-1],
        conductances=network.conductances[edges],
        diodes=order[network.diodes[::-1]],
        inputs=order[network.inputs],
        rails=order[network.rails],
        currents=network.currents[np.argsort(order)],
        outputs=outputs,
    )
    for nudge in (None, every_nudge(problem, network)[1]):
        one, other = (SOLVER.solve(each, problem.inputs, nudge) for each in (network, renamed))
        assert (np.abs(other.voltages[0][:, order] - one.voltages[0]) <= 1e-10 * scale(one)).all()
        assert (np.abs(other.outputs - one.outputs) <= 1e-10 * scale(one)).all()


@FEW
@given(problem=problems(laws=[None]), factor=st.floats(1e-3, 1e3))
def test_scaling_all_conductances_and_currents_changes_no_voltage_of_resistors(problem, factor):
    network = problem.network()
    scaled = replace(network, conductances=factor * network.conductances, currents=factor * network.currents)
    nudge = every_nudge(problem, network)[1]
    assert_same(SOLVER.solve(network, problem.inputs), SOLVER.solve(scaled, problem.inputs))
    stronger = replace(nudge, beta=factor * nudge.beta)
    assert_same(SOLVER.solve(network, problem.inputs, nudge), SOLVER.solve(scaled, problem.inputs, stronger))


@FEW
@given(problem=problems())
def test_turning_every_diode_and_source_around_turns_every_voltage_around(problem):
    network = problem.network()
    mirror = replace(
        network, diodes=network.diodes[:, ::-1], rail_volts=-network.rail_volts, currents=-network.currents
    )
    one, other = SOLVER.solve(network, problem.inputs), SOLVER.solve(mirror, -problem.inputs)
    assert (np.abs(one.voltages[0] + other.voltages[0]) <= 1e-10 * scale(one)).all()


@FEW
@given(problem=problems(), share=st.floats(0.01, 0.99))
def test_a_resistor_split_into_two_side_by_side_changes_nothing(problem, share):
    network = problem.network()
    parts = np.append(network.conductances, (1 - share) * network.conductances[0])
    parts[0] *= share
    split = replace(network, resistors=np.append(network.resistors, network.resistors[:1], axis=0), conductances=parts)
    assert_same(SOLVER.solve(network, problem.inputs), SOLVER.solve(split, problem.inputs))


@FEW
@given(problem=problems())
def test_batches_may_be_split_and_reordered(problem):
    network = problem.network()
    nudge = every_nudge(problem, network)[0]
    for whole_nudge in (None, nudge):
        whole = SOLVER.solve(network, problem.inputs, whole_nudge)
        for samples in ([0], [2, 0]):
            part_nudge = None if whole_nudge is None else replace(nudge, target=nudge.target[samples])
            part = SOLVER.solve(network, problem.inputs[samples], part_nudge)
            assert (np.abs(part.voltages[0] - whole.voltages[0][samples]) <= 1e-10 * scale(part)).all()


@FEW
@given(problem=problems())
def test_nudge_to_where_the_outputs_already_are_changes_nothing(problem):
    network = problem.network()
    free = SOLVER.solve(network, problem.inputs)
    for nudge in every_nudge(problem, network)[:3]:
        there = replace(nudge, target=free.outputs)
        assert_same(SOLVER.solve(network, problem.inputs, there, free), free)


@FEW
@given(problem=problems())
def test_positive_nudge_lowers_the_cost_and_negative_raises_it(problem):
    network = problem.network()
    free = SOLVER.solve(network, problem.inputs)
    strong, negative = every_nudge(problem, network)[:2]
    before, lower, higher = (
        ((phase.outputs - problem.targets) ** 2).sum(axis=1)
        for phase in (free, *(SOLVER.solve(network, problem.inputs, nudge, free) for nudge in (strong, negative)))
    )
    assert (lower <= before * (1 + 1e-9)).all()
    assert (higher >= before * (1 - 1e-9)).all()
