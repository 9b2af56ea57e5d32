"""Networks on graphs: the sparse Newton solver and ngspice find the same equilibria, volt by volt."""

from collections.abc import Callable, Iterator
from typing import Any

import networkx as nx
import numpy as np
import pytest

from eqprop_analog import (
    Clamp,
    GraphNetwork,
    GraphNgspiceSolver,
    NgspiceDiode,
    Nudge,
    PiecewiseLinear,
    Shockley,
    SparseNewtonSolver,
    Status,
    UserError,
    edge_contrast,
)
from eqprop_analog.devices import Law
from eqprop_analog.networks.graph.equations import GraphEquations, output_resistance
from eqprop_analog.networks.graph.netlist import compile_graph
from eqprop_analog.networks.graph.topologies import disordered, square_lattice, with_diodes
from eqprop_analog.spice.netlist import static_netlist

VOLTAGE_BOUND = 1e-9
"""Of |ΔV|, as a fraction of the circuit's largest voltage, or of 1 V where that is less."""
LAWS: dict[str, Callable[[np.random.Generator], Law | None]] = {
    "resistors": lambda _: None,
    "ngspice": lambda r: NgspiceDiode(10 ** r.uniform(-15, -7), r.uniform(1, 2), celsius=r.uniform(-40, 125)),
    "shockley": lambda r: Shockley(10 ** r.uniform(-15, -7), r.uniform(1, 2)),
    "piecewise-linear": lambda r: PiecewiseLinear(r.uniform(0, 0.7), 10 ** r.uniform(2, 4)),
    "clamp": lambda r: Clamp(on_resistance=10 ** r.uniform(2, 4)),
}


@pytest.fixture(scope="module")
def solver() -> Iterator[GraphNgspiceSolver]:
    solver = GraphNgspiceSolver()
    yield solver
    solver.close()


def random_network(law: str, seed: int) -> tuple[GraphNetwork, np.ndarray, np.ndarray]:
    """Lattices and disordered graphs of up to 100 nodes, conductances over three decades, some of them 0; inputs, targets."""
    random = np.random.default_rng([list(LAWS).index(law), seed])
    side = int(random.integers(4, 11))
    graph: nx.Graph[Any] = (
        disordered(side * side, random.uniform(3.5, 5), seed)
        if seed % 3 == 0
        else square_lattice(side, side, periodic=seed % 3 == 1)
    )
    nodes = list(graph)
    picked = [nodes[k] for k in random.permutation(len(nodes))[:7]]
    diode = LAWS[law](random)
    for edge in graph.edges:
        graph.edges[edge]["conductance"] = 10 ** random.uniform(-8, -5)
    graph.nodes[picked[6]]["current"] = random.normal(0, 1e-7)
    if diode is not None:
        graph = with_diodes(graph, random.uniform(0.02, 0.2), picked[:4], seed)
    rails = {picked[2]: 0.0, picked[3]: random.uniform(-1, 1)}
    outputs = [picked[4], (picked[5], picked[4])]
    network = GraphNetwork.from_graph(graph, picked[:2], outputs, rails, diode=diode)
    bridges = {frozenset(edge) for edge in nx.bridges(nx.Graph(network.resistors.tolist()))}
    spare = next((e for e, pair in enumerate(network.resistors.tolist()) if frozenset(pair) not in bridges), None)
    if spare is not None:
        network.conductances[spare] = 0.0
    scale = 10 ** random.uniform(-1, 1)
    return network, random.uniform(-scale, scale, (3, 2)), random.uniform(-scale, scale, (3, 2))


def beta_of(network: GraphNetwork) -> float:
    """Three tenths of the limit of definiteness, S."""
    return 0.3 / float(np.linalg.eigvalsh(output_resistance(network))[-1])


@pytest.mark.parametrize("kind", ["conductance", "current"])
@pytest.mark.parametrize(("law", "seed"), [(law, seed) for law in LAWS for seed in range(6)])
def test_sparse_newton_and_ngspice_agree_to_a_nanovolt_in_every_phase(law, seed, kind, solver, caplog):
    network, inputs, targets = random_network(law, seed)
    nudges = [Nudge(targets, sign * beta_of(network), kind) for sign in (1, -1)]
    measured = solver.solve_phases(network, inputs, nudges)
    computed = SparseNewtonSolver().solve_phases(network, inputs, nudges)
    for ours, theirs in zip(computed, measured, strict=True):
        assert ours.status.tolist() == theirs.status.tolist() == [Status.CONVERGED] * 3
        scale = np.maximum(1, np.abs(ours.voltages[0]).max(axis=1))
        assert (np.abs(ours.voltages[0] - theirs.voltages[0]).max(axis=1) / scale).max() <= VOLTAGE_BOUND
        assert theirs.nudge is ours.nudge
    assert caplog.messages == []  # in one sweep, without a second rung
    gradient = edge_contrast(network, *computed[1:])
    assert np.abs(edge_contrast(network, *measured[1:]) - gradient).max() <= 1e-6 * np.abs(gradient).max()


@pytest.mark.parametrize("law", LAWS)
def test_the_plain_program_prints_the_read_nodes_of_a_written_netlist_free_and_nudged(law, run_ngspice):
    network, inputs, targets = random_network(law, 7)
    sample, free = inputs[:1], SparseNewtonSolver().solve(network, inputs[:1])
    for nudge in (
        None,
        *(Nudge(targets[:1], b * beta_of(network), k) for b in (1, -1) for k in ("conductance", "current")),
    ):
        equations = GraphEquations.of(network, sample)
        if nudge is not None:
            equations = equations.nudged([nudge], free)
        done = run_ngspice(static_netlist(compile_graph(network, sample, [equations.injection])))
        assert done.code == 0
        found = SparseNewtonSolver().solve(network, sample, nudge, free).voltages[0][0]
        read = {int(node) for node in network.outputs.ravel() if node >= 0}
        assert done.values == {
            f"v({network.names[node]})": pytest.approx(
                found[node], rel=0, abs=VOLTAGE_BOUND * max(1, np.abs(found).max())
            )
            for node in read
        }


def test_every_device_of_the_circuit_is_an_edge_a_source_or_a_nudge():
    network, inputs, targets = random_network("ngspice", 1)
    circuit = compile_graph(network, inputs[:1], [(1e-8, 1e-8 * targets[:1])])
    degrees = dict(circuit.graph().degree)
    resistors = int((network.conductances > 0).sum())
    kinds = [name for name, kind in circuit.graph().nodes(data="kind") if kind == "device"]
    assert sum(name.startswith("R") for name in kinds) == resistors < len(network.resistors)
    assert sum(name.startswith("Xd") for name in kinds) == len(network.diodes)
    assert sum(name.startswith("V") for name in kinds) == 4
    assert sum(name.startswith("nudge") for name in kinds) == 2
    assert all(degrees[name] == 2 for name in kinds)
    text = static_netlist(circuit)
    assert text.count("\nR") == resistors + 2
    assert len(circuit.probes) == len(network.names)


def test_a_network_changed_into_no_circuit_is_refused_by_both_solvers(solver):
    network, inputs, _ = random_network("resistors", 1)
    network.conductances[...] = 0.0
    for each in (solver, SparseNewtonSolver()):
        with pytest.raises(UserError, match="no path of resistors to an input or a rail"):
            each.solve(network, inputs)


def test_a_nudge_that_makes_the_circuit_indefinite_is_refused_before_ngspice_answers(solver):
    network, inputs, targets = random_network("ngspice", 2)
    for each in (solver, SparseNewtonSolver()):
        with pytest.raises(UserError, match="indefinite at output"):
            each.solve(network, inputs, Nudge(targets, -4 * beta_of(network)))
    with pytest.raises(UserError, match="indefinite at output"):
        compile_graph(network, inputs, [None, (-4 * beta_of(network), targets)])


def test_samples_that_ngspice_cannot_solve_carry_their_status(solver, caplog):
    graph = nx.Graph([("a", "b", {"anode": "a"}), ("b", "g", {"anode": "b"}), ("b", "c"), ("c", "g")])
    network = GraphNetwork.from_graph(graph, ["a"], ["b"], {"g": 0.0}, diode=NgspiceDiode())
    found = solver.solve(network, [[500.0], [-0.5]])
    assert found.status[1] is Status.CONVERGED
    assert not found.good[0]
    assert any("not certified" in message for message in caplog.messages)
