"""A graph that is no circuit is refused by the name of its node."""

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
        (path(AB, ("c", "d", {})), r"node n_c: no path of resistors to an input or a rail \(nor have n_d\)"),
        (path(AB, ("b", "c", {"anode": "b"})), "node n_c: no path of resistors .* diodes and current sources"),
        (path(AB, ("b", "c", {"conductance": 0.0})), "node n_c: no path of resistors"),
        (path(AB, BG, rails={"a": 1.0, "g": 0.0}), "node n_a: two ideal voltage sources in a loop"),
        (path(AB, BG, inputs=["a", "a"]), "node n_a: two ideal voltage sources in a loop"),
        (path(AB, BG, ("b", "b", {})), "node n_b: one of the resistors joins it to itself"),
        (path(AB, BG, ("a", "g", {"anode": "a"})), "node n_a: a diode joins it to n_g, and sources hold both"),
        (path(AB, BG, outputs=[("b", "b")]), "node n_b: one of the outputs joins it to itself"),
        (path(AB, BG, outputs=[]), "outputs: expected at least one"),
        (path(AB, BG, outputs=["z"]), "outputs: expected a node or a pair"),
        (path(AB, BG, outputs=[("a", "z")]), "outputs: 'z' is no node"),
        (path(AB, BG, inputs=["z"]), "inputs: 'z' is no node"),
        (path(AB, BG, rails={"g": np.nan}), r"node n_g: rail voltage is not finite \(nan\)"),
        (path(AB, ("b", "g", {"conductance": -1.0})), "node n_b: conductance 1 to n_g must be .* got -1"),
        (path(AB, ("b", "g", {"conductance": "high"})), "edge b-g: conductance: expected a number, got 'high'"),
        (path(AB, BG, ("b", "a", {"anode": "z"})), "anode is 'z'; name one of the edge's two nodes"),
        (path(AB, BG, ("b", "a", {"anode": "a", "conductance": 1.0})), "a diode has no conductance"),
        (path(AB, BG, ("b", "c"), ("c", "b", {"anode": "b"}), diode=Clamp()), "no bounded slope"),
        (path(AB, BG, ("b", "c"), ("c", "b", {"anode": "b"}), diode=Antiparallel(Shockley())), "antiparallel pair is two"),
        (path(AB, BG, conductance_window=(1.0, 1.0)), "0 <= G_min < G_max"),
        (path(AB, BG, ("B", "b", {})), "nodes 'b' and 'B' would both be called n_b"),
    ],
)  # fmt: skip
def test_a_graph_that_is_no_circuit_is_refused_by_name(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_directed_graphs_are_refused():
    with pytest.raises(UserError, match="undirected"):
        GraphNetwork.from_graph(nx.DiGraph([(0, 1)]), [0], [1])


def test_sources_shorted_by_a_chain_of_diodes_are_called_out_of_bounds():
    network = path(("a", "b", {"anode": "a"}), ("b", "g", {"anode": "b"}), ("b", "c", {}), ("c", "g", {}))()
    found = SparseNewtonSolver().solve(network, [[5.0], [-5.0]])
    assert found.status.tolist() == [Status.OUT_OF_BOUNDS, Status.CONVERGED]
