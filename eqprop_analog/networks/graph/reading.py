"""Reading of a circuit from a ``networkx`` graph: nothing is ignored, and unknown attributes are refused by name."""

import math
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np
from jaxtyping import Int

from eqprop_analog.errors import UserError
from eqprop_analog.incoming import real_number

Array = np.ndarray
Node = Hashable

INITIAL = 1e-6
"""Conductance, siemens, of an edge with neither a conductance nor a resistance."""
GROUND = -1
"""Index of ground as the second node of a read-out."""
OF_EDGES = ("conductance", "resistance", "anode")
OF_NODES = ("current", "pos")
"""Known attributes; ``pos`` is the position in a drawing."""


class GraphReader:
    """The nodes of a graph by their indices, and its attributes. Every method raises UserError."""

    def __init__(self, graph: "nx.Graph[Any]", window: tuple[float, float]) -> None:
        """``window``: (G_min, G_max), siemens, which must contain the default of an edge without a value."""
        if not isinstance(graph, nx.Graph):
            raise UserError(f"graph: expected a networkx Graph or MultiGraph, got {type(graph).__name__}")
        if graph.is_directed():
            raise UserError(
                "graph: expected an undirected graph; the edge attribute anode=node gives the direction of a diode"
            )
        for name in (*OF_EDGES, "weight", "current"):
            if name in graph.graph:
                raise UserError(
                    f'graph: attribute "{name}" of the whole graph has no meaning; give it to every edge or node'
                )
        self.graph, self.window = graph, window
        self.index: dict[Node, int] = {label: k for k, label in enumerate(graph)}

    def names(self) -> tuple[str, ...]:
        """Return the names of nodes in netlists, such as n_3_4 for node (3, 4)."""
        names: dict[str, Node] = {}
        for label in self.graph:
            name = "_".join(["n", *re.findall(r"[a-z0-9]+", str(label).lower())])
            if name in names:
                raise UserError(
                    f"nodes {names[name]!r} and {label!r} would both be called {name} in a netlist; rename one"
                )
            names[name] = label
        return tuple(names)

    def branches(self) -> tuple[list[tuple[int, int]], list[float], list[tuple[int, int]]]:
        """Return (tail, head) and siemens of every resistor, and (anode, cathode) of every diode."""
        resistors, conductances, diodes = [], [], []
        for one, other, settings in self.graph.edges(data=True):
            known(settings, OF_EDGES, f"edge {one}-{other}", ADVICE_EDGE)
            if "anode" in settings:
                diodes.append(self._ends(one, other, settings))
            else:
                resistors.append((self.index[one], self.index[other]))
                conductances.append(self._conductance(f"edge {one}-{other}", settings))
        return resistors, conductances, diodes

    def currents(self) -> list[float]:
        """Return the current into every node, amperes."""
        for node, settings in self.graph.nodes(data=True):
            known(settings, OF_NODES, f"node {node}", ADVICE_NODE)
        return [
            real_number(i, f"node {k}: current", "amperes") for k, i in self.graph.nodes(data="current", default=0.0)
        ]

    def listed(self, nodes: Any, what: str) -> list[Any]:
        """Return ``nodes`` as a list. Raises UserError for unordered collections and for a single node."""
        single = isinstance(nodes, str) or (isinstance(nodes, Hashable) and nodes in self.index)
        if single or isinstance(nodes, Mapping | set | frozenset) or not isinstance(nodes, Iterable):
            kind = "one node" if single else type(nodes).__name__
            raise UserError(
                f"{what}: expected a list of nodes in the order of their values, got {kind} ({nodes!r:.60})"
            )
        return list(nodes)

    def find(self, label: Any, where: str) -> int:
        """Return the index of a node."""
        try:
            return self.index[label]
        except (KeyError, TypeError) as error:
            raise UserError(f"{where}: {label!r} is not a node of the graph") from error

    def readout(self, output: Any) -> tuple[int, int]:
        """Return the indices of (plus, minus)."""
        if isinstance(output, Hashable) and output in self.index:
            return self.index[output], GROUND
        if isinstance(output, tuple) and len(output) == 2:
            return self.find(output[0], "outputs"), self.find(output[1], "outputs")
        raise UserError(f"outputs: expected a node or a pair (plus, minus) of nodes of the graph, got {output!r}")

    def _ends(self, one: Node, other: Node, settings: Mapping[str, Any]) -> tuple[int, int]:
        """Return the indices of (anode, cathode)."""
        for name in ("conductance", "resistance"):
            if name in settings:
                raise UserError(
                    f"edge {one}-{other}: a diode has no {name}; add a parallel resistor as another edge of a MultiGraph"
                )
        anode = settings["anode"]
        if not isinstance(anode, Hashable) or anode not in (one, other):
            raise UserError(f"edge {one}-{other}: anode is {anode!r}; expected one of the edge's two nodes")
        return (self.index[one], self.index[other]) if anode == one else (self.index[other], self.index[one])

    def _conductance(self, edge: str, settings: Mapping[str, Any]) -> float:
        if len(settings) > 1:
            raise UserError(f"{edge}: both a conductance and a resistance are given; leave out one of them")
        if "resistance" in settings:
            ohms = real_number(settings["resistance"], f"{edge}: resistance", "ohms")
            if not (ohms > 0 and math.isfinite(1 / ohms)):
                raise UserError(f"{edge}: resistance must be positive and finite, got {ohms:g} ohm")
            return 1 / ohms
        if "conductance" in settings:
            return real_number(settings["conductance"], f"{edge}: conductance", "siemens")
        low, high = self.window
        if not low <= INITIAL <= high:
            raise UserError(
                f"{edge}: no conductance is given, and the default of {INITIAL:g} S lies outside the "
                f"conductance_window ({low:g}, {high:g}) S; give the edge a conductance"
            )
        return INITIAL


ADVICE_EDGE = (
    "a resistor has a conductance (siemens) or a resistance (ohms); a diode has anode=node, and the law of all diodes is "
    "from_graph's diode. Rename the attribute or remove it"
)
ADVICE_NODE = (
    "a node may have a current (amperes into it) and a pos for drawings; voltages are given by inputs and rails. Rename the "
    "attribute or remove it"
)


def known(settings: Mapping[str, Any], names: Sequence[str], owner: str, advice: str) -> None:
    """Raise UserError for an attribute that is not among ``names``."""
    for name in settings:
        if name not in names:
            raise UserError(f'{owner}: attribute "{name!s:.40}" is not understood; {advice}')


def integers(values: Iterable[Any], *columns: int) -> Int[Array, "..."]:
    """Return an array of indices with ``columns`` columns."""
    return np.array(list(values), dtype=np.intp).reshape(-1, *columns)
