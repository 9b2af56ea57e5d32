"""Graphs for networks of learning resistors: lattices, disordered packings, and diodes among their edges.

Any other ``networkx`` graph can be used, too, such as ``networkx.gnm_random_graph`` (Erdős-Rényi).
"""

from collections.abc import Collection, Hashable
from itertools import combinations
from typing import Any

import networkx as nx
import numpy as np
from scipy.spatial import Delaunay

from eqprop_analog.errors import UserError


def square_lattice(rows: int, columns: int, *, periodic: bool = False) -> "nx.Graph[Any]":
    """Return nodes (row, column), each connected to its four neighbours; ``periodic`` connects opposite borders, too.

    Nodes have ``pos``, (x, y) in lattice spacings; rows are bowed if ``periodic``, so that a drawing shows the closing
    edges. Raises UserError for a lattice of fewer than two nodes.
    """
    if min(rows, columns) < 1 or rows * columns < 2:
        raise UserError(f"lattice: expected at least two nodes, got {rows} x {columns}")
    graph: nx.Graph[Any] = nx.grid_2d_graph(rows, columns, periodic=periodic)
    for row, column in graph:
        bow = (_arch(row, rows), _arch(column, columns)) if periodic else (0.0, 0.0)
        graph.nodes[row, column]["pos"] = (column + bow[0], bow[1] - row)
    return graph


def _arch(place: int, count: int) -> float:
    """Return 0 at both ends, 0.5 in the middle."""
    return 2 * place * (count - 1 - place) / max(1, count - 1) ** 2


def disordered(nodes: int, coordination: float = 4.5, seed: int = 0) -> "nx.Graph[Any]":
    """Return random nodes 0, 1, ... in the unit square, connected to near ones like the grains of a jammed packing; planar.

    The graph consists of the shortest spanning tree of the points' Delaunay triangulation and its shortest edges, until
    nodes have ``coordination`` neighbours on average, as in the flow networks of Rocks et al. 2019, PNAS 116, 2506.
    Nodes have ``pos``, (x, y). Raises UserError for fewer than four nodes, or a coordination that no connected planar
    graph has.
    """
    edges = round(coordination * nodes / 2)
    if nodes < 4 or not nodes - 1 <= edges:
        raise UserError(
            f"disordered: expected at least 4 nodes and a coordination of at least {2 - 2 / max(nodes, 1):.3g}, got {nodes} "
            f"nodes and {coordination:g}"
        )
    points = np.random.default_rng(seed).uniform(size=(nodes, 2))
    triangles = Delaunay(points).simplices.tolist()
    near: nx.Graph[Any] = nx.Graph()
    near.add_nodes_from((k, {"pos": tuple(point)}) for k, point in enumerate(points.tolist()))
    for one, other in (pair for triangle in triangles for pair in combinations(triangle, 2)):
        near.add_edge(one, other, length=float(np.hypot(*(points[one] - points[other]))))
    if edges > near.number_of_edges():
        most = 2 * near.number_of_edges() / nodes
        raise UserError(
            f"disordered: coordination must be at most {most:.3g} with these {nodes} nodes, got {coordination:g}"
        )
    graph: nx.Graph[Any] = nx.create_empty_copy(near)
    graph.add_edges_from(nx.minimum_spanning_edges(near, weight="length", data=False))
    for one, other, _ in sorted(near.edges(data="length"), key=lambda edge: edge[2]):
        if graph.number_of_edges() == edges:
            break
        graph.add_edge(one, other)
    return graph


def with_diodes(graph: "nx.Graph[Any]", share: float, held: Collection[Hashable], seed: int = 0) -> "nx.Graph[Any]":
    """Return a copy in which a random fraction ``share`` of the edges are diodes in random directions; the others are resistors.

    Resistors still connect all nodes. No path of diodes connects two nodes of ``held``, because it would short sources
    or pin a read-out. Raises UserError if too few edges remain.
    """
    random = np.random.default_rng(seed)
    weighted: nx.Graph[Any] = nx.Graph()
    weighted.add_weighted_edges_from((*edge, random.random()) for edge in graph.edges)
    tree = {frozenset(edge) for edge in nx.minimum_spanning_edges(weighted, data=False)}
    free = [edge for edge in graph.edges if frozenset(edge) not in tree]
    count, drawn = round(share * graph.number_of_edges()), 0
    result = graph.copy()
    joined: nx.utils.UnionFind = nx.utils.UnionFind(graph)
    for k in random.permutation(len(free)).tolist():
        one, other = free[k]
        sources = {joined[node] for node in held}
        shorts = joined[one] != joined[other] and {joined[one], joined[other]} <= sources
        if drawn == count or shorts:
            continue
        joined.union(one, other)
        for name in ("conductance", "resistance"):
            result.edges[one, other].pop(name, None)
        result.edges[one, other]["anode"] = (one, other)[int(random.integers(2))]
        drawn += 1
    if drawn != count:
        raise UserError(
            f"diodes: expected a fraction from 0 to {drawn / graph.number_of_edges():.3g} here, got {share:g}"
        )
    return result
