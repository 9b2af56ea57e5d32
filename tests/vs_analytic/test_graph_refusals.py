"""A graph that is not a circuit is refused, and the error names the node."""

from collections.abc import Callable

import networkx as nx
import numpy as np
import pytest

from eqprop_analog import (
    Antiparallel,
    Clamp,
    GraphNetwork,
    Shockley,
    SparseNewtonSolver,
    Status,
    UserError,
)


def path(*edges: tuple[object, ...], **sources: object) -> Callable[[], GraphNetwork]:
    """A maker of a small network, to be refused."""
    settings = {"inputs": ["a"], "outputs": ["b"], "rails": {"g": 0.0}} | sources

    def make() -> GraphNetwork:
        graph = nx.MultiGraph()
        graph.add_nodes_from("abg")
        graph.add_edges_from(edges)
        return GraphNetwork.from_graph(graph, **settings)

    return make


AB, BG = ("a", "b", {}), ("b", "g", {})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (path(AB, ("c", "d", {})), r"node n_c: no path of resistors to an input or a rail \(the same holds for n_d\)"),
        (path(AB, ("b", "c", {"anode": "b"})), "node n_c: no path of resistors .* diodes and current sources"),
        (path(AB, ("b", "c", {"conductance": 0.0})), "node n_c: no path of resistors"),
        (path(AB, BG, rails={"a": 1.0, "g": 0.0}), "node n_a: two ideal voltage sources"),
        (path(AB, BG, inputs=["a", "a"]), "node n_a: two ideal voltage sources"),
        (path(AB, BG, ("b", "b", {})), "node n_b: one of the resistors connects it to itself"),
        (path(AB, BG, ("a", "g", {"anode": "a"})), "node n_a: a diode connects it to n_g"),
        (path(AB, BG, outputs=[("b", "b")]), "node n_b: one of the outputs connects it to itself"),
        (path(AB, BG, outputs=[]), "outputs: expected at least one"),
        (path(AB, BG, outputs=["z"]), "outputs: expected a node or a pair"),
        (path(AB, BG, outputs=[("a", "z")]), "outputs: 'z' is not a node"),
        (path(AB, BG, inputs=["z"]), "inputs: 'z' is not a node"),
        (path(AB, BG, rails={"g": np.nan}), r"rail g: expected a finite number \(volts\), got nan"),
        (path(AB, ("b", "g", {"conductance": -1.0})), "node n_b: conductance 1 to n_g must be .* got -1"),
        (path(AB, ("b", "g", {"conductance": "high"})), "edge b-g: conductance: expected a finite number .siemens., got 'high'"),
        (path(AB, BG, ("b", "a", {"anode": "z"})), "anode is 'z'; expected one of the edge's two nodes"),
        (path(AB, BG, ("b", "a", {"anode": "a", "conductance": 1.0})), "a diode has no conductance"),
        (path(AB, BG, ("b", "c"), ("c", "b", {"anode": "b"}), diode=Clamp()), "unbounded slope"),
        (path(AB, BG, ("b", "c"), ("c", "b", {"anode": "b"}), diode=Antiparallel(Shockley())), "antiparallel pair use two"),
        (path(AB, BG, conductance_window=(1.0, 1.0)), "0 <= G_min < G_max"),
        (path(AB, BG, ("B", "b", {})), "nodes 'b' and 'B' would both be called n_b"),
        (path(("a", "b", {"weight": 3e-6}), BG), 'edge a-b: attribute "weight" is not understood.*conductance.*resistance'),
        (path(("a", "b", {"Conductance": 3e-6}), BG), 'edge a-b: attribute "Conductance" is not understood'),
        (path(AB, BG, ("b", "c"), ("b", "c", {"anod": "b"})), 'edge b-c: attribute "anod" is not understood'),
        (path(AB, BG, ("b", "c"), ("b", "c", {"anode": "b", "diode": "clamp"})), 'attribute "diode" is not understood'),
        (path(AB, BG, ("b", "c"), ("b", "c", {"anode": "b", "resistance": 1e6})), "a diode has no resistance"),
        (path(("a", "b", {"resistance": 1e6, "conductance": 1e-6}), BG), "edge a-b: both a conductance and a resistance"),
        (path(("a", "b", {"resistance": 0.0}), BG), "edge a-b: resistance must be positive and finite, got 0 ohm"),
        (path(("a", "b", {"resistance": -1e6}), BG), "edge a-b: resistance must be positive and finite, got -1e"),
        (path(("a", "b", {"conductance": True}), BG), "edge a-b: conductance: expected a finite number .siemens., got True"),
        (path(AB, BG, conductance_window=(1e-5, 1e-3)), "edge a-b: no conductance .*1e-06 S lies outside"),
        (path(AB, BG, conductance_window=1e-3), r"conductance_window: expected 2 numbers .siemens."),
        (path(AB, BG, rails=["g"]), "rails: expected volts by node"),
        (path(AB, BG, inputs="a"), r"inputs: expected a list of nodes .* got one node \('a'\)"),
        (path(AB, BG, inputs={"a": 1.0}), "inputs: expected a list of nodes .* got dict"),
        (path(AB, BG, inputs={"a"}), "inputs: expected a list of nodes in the order of their values, got set"),
        (path(AB, BG, outputs=3), "outputs: expected a list of nodes .* got int"),
        (path(AB, BG, diode="shockley"), "diode: expected a law, got the"),
        (path(AB, BG, diode=Shockley), "diode: expected a law, got the"),
    ],
)  # fmt: skip
def test_a_graph_that_is_no_circuit_is_refused_by_name(make, message):
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (nx.DiGraph([(0, 1)]), "undirected"),
        (nx.MultiDiGraph([(0, 1)]), "undirected"),
        ({0: [1]}, "expected a networkx Graph or MultiGraph, got dict"),
        (nx.Graph([(0, 1)], resistance=1e6), 'attribute "resistance" of the whole graph has no meaning'),
    ],
)
def test_what_is_no_undirected_graph_is_refused(graph, message):
    with pytest.raises(UserError, match=message):
        GraphNetwork.from_graph(graph, [0], [1])


@pytest.mark.parametrize("attribute", ["voltage", "Current", "bias"])
def test_an_attribute_of_a_node_that_says_nothing_is_refused(attribute):
    graph = nx.Graph([("a", "b")])
    graph.nodes["b"][attribute] = 1e-9
    with pytest.raises(
        UserError, match=f'node b: attribute "{attribute}" is not understood; a node may have a current'
    ):
        GraphNetwork.from_graph(graph, ["a"], ["b"])


@pytest.mark.parametrize("ends", [({"conductance": 3e-6}, {}), ({"resistance": 1e6 / 3}, {"resistance": 1e6})])
def test_a_divider_by_conductances_or_resistances_divides_three_to_one(ends):
    """V(b) = V(a) G_1/(G_1 + G_2), by hand."""
    graph = nx.Graph([("a", "b", ends[0]), ("b", "g", ends[1])])
    network = GraphNetwork.from_graph(graph, ["a"], ["b"], {"g": 0.0})
    assert SparseNewtonSolver().solve(network, [[1.0]]).outputs[0, 0] == pytest.approx(0.75, rel=1e-12)


def test_sources_shorted_by_a_chain_of_diodes_are_called_out_of_bounds():
    network = path(("a", "b", {"anode": "a"}), ("b", "g", {"anode": "b"}), ("b", "c", {}), ("c", "g", {}))()
    found = SparseNewtonSolver().solve(network, [[5.0], [-5.0]])
    assert found.status.tolist() == [Status.OUT_OF_BOUNDS, Status.CONVERGED]
