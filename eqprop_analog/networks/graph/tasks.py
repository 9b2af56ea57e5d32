"""Tasks of graph networks: allostery, and the regression of a function, each with a fresh network and a small data set."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import networkx as nx
import numpy as np
from jaxtyping import Float

from eqprop_analog.data.datasets import Dataset
from eqprop_analog.devices import NgspiceDiode
from eqprop_analog.errors import UserError
from eqprop_analog.networks.graph.network import GraphNetwork
from eqprop_analog.networks.graph.newton import SparseNewtonSolver
from eqprop_analog.networks.graph.topologies import disordered, square_lattice, with_diodes

Array = np.ndarray
Name = Literal["allostery", "regression"]
Topology = Literal["disordered", "square", "periodic", "random"]

WINDOW = (1e-8, 1e-5)
"""Siemens."""
INITIAL = (0.5e-6, 1.5e-6)
"""Initial conductance of the allosteric network, siemens; those of the regression are log-uniform in the window."""
DROP = 0.1
"""Target voltage drop of allostery, volts; the source applies 1 V."""
TARGETS = 5
RANGE = 3.0
"""Magnitude of the regression's inputs and rails, volts."""
TRAINED, HELD_OUT = 12, 100
"""Numbers of training and held-out inputs of the regression."""
DIODES = 0.12
"""Fraction of the regression's edges that are diodes."""


@dataclass(frozen=True)
class Task:
    """A fresh network and its task; inputs and targets (the data's labels) are in volts."""

    graph: "nx.Graph[Any]"
    network: GraphNetwork
    data: Dataset


def task(name: Name, topology: Topology, nodes: int, seed: int) -> Task:
    """Return the named task on a graph of that topology. Raises UserError for an impossible number of nodes."""
    return {"allostery": _allostery, "regression": _regression}[name](_graph(topology, nodes, seed), seed)


def parabola(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return 0.1 x² - 0.3, volts, for x in volts: the function of the regression."""
    return 0.1 * x**2 - 0.3


def used_nodes(inputs: int, outputs: int) -> int:
    """Return the number of nodes for inputs, their mirrors, two-node read-outs and two rails."""
    return 2 * inputs + 2 * outputs + 2


def network_for(inputs: int, outputs: int, topology: Topology, nodes: int, seed: int) -> GraphNetwork:
    """Return a network for these numbers of inputs and read-outs: the circuit of the regression with more of them.

    Sources are the nodes of the inputs, followed by those of their mirrors. Raises UserError for too few nodes.
    """
    if nodes < used_nodes(inputs, outputs):
        raise UserError(
            f"nodes: expected at least {used_nodes(inputs, outputs)} for {inputs} inputs and {outputs} read-outs, got {nodes}"
        )
    side = math.isqrt(max(nodes - 1, 0)) + 1
    graph = _graph(topology, side * side if topology in ("square", "periodic") else nodes, seed)
    return _with_diodes(graph, inputs, outputs, np.random.default_rng(seed), seed)[1]


def _graph(topology: Topology, nodes: int, seed: int) -> "nx.Graph[Any]":
    side = math.isqrt(max(nodes, 0))
    if topology in ("square", "periodic"):
        if side < 3 or side * side != nodes:
            raise UserError(f"nodes: expected a square number (9, 16, 25, ...) for a square lattice, got {nodes}")
        return square_lattice(side, side, periodic=topology == "periodic")
    if nodes < 20:
        raise UserError(f"nodes: expected at least 20, got {nodes}")
    return (
        disordered(nodes, seed=seed) if topology == "disordered" else nx.gnm_random_graph(nodes, 6 * nodes, seed=seed)
    )


def _allostery(graph: "nx.Graph[Any]", seed: int) -> Task:
    """1 V between two nodes; DROP across each of TARGETS edges, in the direction of the initial drop.

    Source: Rocks et al. 2017 and 2019, PNAS; Stern et al. 2021, PRX 11, 021045.
    """
    random = np.random.default_rng(seed)
    parts: list[set[Any]] = sorted(nx.biconnected_components(graph), key=len)
    core = sorted(parts[-1])  # dead ends carry no current
    sources = [core[k] for k in random.permutation(len(core))[:2].tolist()]
    inside = nx.subgraph(graph, core)
    edges = [edge for edge in inside.edges if not set(edge) & set(sources)]
    if len(edges) < TARGETS:
        raise UserError(f"nodes: too few edges for {TARGETS} targets; use more nodes")
    targets = [edges[k] for k in random.permutation(len(edges))[:TARGETS].tolist()]
    network = GraphNetwork.from_graph(graph, sources[:1], targets, {sources[1]: 0.0}, conductance_window=WINDOW)
    network.conductances[:] = random.uniform(*INITIAL, len(network.conductances))
    inputs = np.ones((1, 1))
    wanted = DROP * np.where(SparseNewtonSolver().solve(network, inputs).outputs < 0, -1.0, 1.0)
    return Task(graph, network, Dataset("allostery", inputs, wanted, inputs, wanted))


def _regression(graph: "nx.Graph[Any]", seed: int) -> Task:
    """V(plus) - V(minus) = parabola(x), from nodes at x and at -x and rails at ±RANGE, with a fraction of diodes.

    After Dillavou et al. 2024, PNAS 121, e2319718121.
    """
    random = np.random.default_rng(seed)
    mixed, network = _with_diodes(graph, 1, 1, random, seed)
    x, other = np.linspace(-RANGE, RANGE, TRAINED)[:, None], random.uniform(-RANGE, RANGE, (HELD_OUT, 1))
    inputs, held_out = (np.concatenate([values, -values], axis=1) for values in (x, other))
    return Task(mixed, network, Dataset("regression", inputs, parabola(x), held_out, parabola(other)))


def _with_diodes(
    graph: "nx.Graph[Any]", inputs: int, outputs: int, random: np.random.Generator, seed: int
) -> tuple["nx.Graph[Any]", GraphNetwork]:
    """Return a network with a fraction of diodes, sources for inputs and their mirrors, two rails, and two-node read-outs."""
    nodes = list(graph)
    used = [nodes[k] for k in random.permutation(len(nodes))[: used_nodes(inputs, outputs)].tolist()]
    sources, (low, high, *ends) = used[: 2 * inputs], used[2 * inputs :]
    mixed = with_diodes(graph, DIODES, used, seed)
    network = GraphNetwork.from_graph(
        mixed,
        sources,
        list(zip(ends[::2], ends[1::2], strict=True)),
        {low: -RANGE, high: RANGE},
        diode=NgspiceDiode(rail=0.0),
        conductance_window=WINDOW,
    )
    low_log, high_log = map(math.log10, WINDOW)
    network.conductances[:] = 10 ** random.uniform(low_log, high_log, len(network.conductances))
    return mixed, network
