"""Lattices and disordered graphs have the requested properties, or are refused."""

import networkx as nx
import pytest

from eqprop_analog import (
    UserError,
)
from eqprop_analog.networks.graph.topologies import disordered, square_lattice, with_diodes


class TestTopologies:
    def test_periodic_lattices_have_four_neighbours_everywhere(self):
        graph = square_lattice(4, 5, periodic=True)
        assert {degree for _, degree in graph.degree} == {4}
        assert square_lattice(4, 5).number_of_edges() == 4 * 4 + 3 * 5

    @pytest.mark.parametrize("seed", range(3))
    def test_disordered_graphs_are_connected_plane_and_as_dense_as_asked(self, seed):
        graph = disordered(60, 4.4, seed)
        assert nx.is_connected(graph)
        assert nx.check_planarity(graph)[0]
        assert graph.number_of_edges() == 132
        assert nx.utils.graphs_equal(graph, disordered(60, 4.4, seed))
        assert not nx.utils.graphs_equal(graph, disordered(60, 4.4, seed + 10))

    def test_diodes_leave_a_resistive_path_and_join_no_two_sources(self):
        graph, held = disordered(60, 4.4, 1), [3, 14, 15, 9]
        result = with_diodes(graph, 0.3, held, 5)
        diodes = [(one, other) for one, other, anode in result.edges(data="anode") if anode is not None]
        assert len(diodes) == round(0.3 * 132)
        assert all(result.edges[edge]["anode"] in edge for edge in diodes)
        resistive = nx.create_empty_copy(graph)
        resistive.add_edges_from(edge for edge in graph.edges if edge not in diodes)
        assert nx.is_connected(resistive)
        for part in nx.connected_components(nx.Graph(diodes)):
            assert len(part & set(held)) <= 1
        assert not any("anode" in settings for _, _, settings in graph.edges(data=True))

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: square_lattice(1, 1), "at least two nodes, got 1 x 1"),
            (lambda: disordered(3), "at least 4 nodes"),
            (lambda: disordered(20, 1.0), "coordination of at least 1.9"),
            (lambda: disordered(20, 7.0), "coordination must be at most"),
            (lambda: with_diodes(nx.path_graph(5), 0.5, []), "expected a fraction from 0 to 0 here, got 0.5"),
        ],
    )
    def test_graphs_that_cannot_be_are_refused(self, make, message):
        with pytest.raises(UserError, match=message):
            make()
