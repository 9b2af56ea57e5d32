"""The circuit as a bipartite graph of nets and devices, and what makes it a circuit that can be solved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from jaxtyping import Int

from eqprop_analog.devices import Law
from eqprop_analog.errors import UserError
from eqprop_analog.spice.elements import GROUND, POINT, SAMPLE, Element

if TYPE_CHECKING:
    import networkx as nx  # imported where a graph is made: worker processes, which start often, make none


@dataclass(frozen=True)
class Section:
    """Elements that belong together, under one heading of the netlist."""

    heading: str
    elements: tuple[Element, ...]


@dataclass(frozen=True)
class Circuit:
    """Sections of elements, with what SPICE must be told about them."""

    title: str
    notes: tuple[str, ...]
    """What the circuit is, in sentences for the netlist's header."""
    sections: tuple[Section, ...]
    models: tuple[str, ...]
    """Subcircuits used, files in ``circuits/`` but for those in ``laws``."""
    options: dict[str, float]
    """Simulator options that the laws need."""
    probes: tuple[str, ...]
    """Nets whose voltages are the result: the nodes of layers 1..L."""
    outputs: tuple[str, ...]
    """The last layer's nets."""
    points: int = 1
    """Length of the sweep; 1 is a static circuit."""
    phases: int = 1
    """Points of each sample, one after the other."""
    jumps: bool = False
    """Whether a source is a discontinuous function of voltages."""
    parameters: Mapping[str, float] = field(default_factory=dict)
    """What is true of the network and not of its circuit: ``.param`` lines that no device uses, for reading the netlist back."""

    laws: Mapping[str, Law] = field(default_factory=dict)
    """By subcircuit the law that has its text (``subcircuit_text``, devices.capabilities)."""

    factors: tuple[float, ...] = ()
    """What each probe's voltage is multiplied by to be the result; () is 1: nets of a reduced circuit may be at a part of it."""

    meters: tuple[str, ...] = ()
    """Voltage sources whose currents belong to the result, too: those of metered diodes."""

    def select(self, samples: Int[np.ndarray, " some"]) -> Self:
        """The sweep of some of its samples, in this order."""
        points = (self.phases * samples[:, None] + np.arange(self.phases)).ravel()
        where = {POINT: points, SAMPLE: samples}
        sections = (
            replace(section, elements=tuple(each.select(where) for each in section.elements))
            for section in self.sections
        )
        return replace(self, sections=tuple(sections), points=len(points))

    @property
    def elements(self) -> Sequence[Element]:
        """All elements in order."""
        return [element for section in self.sections for element in section.elements]

    @property
    def mesh(self) -> int:
        """Cells or sites joined into a mesh: ngspice's own ordering of the matrix fills it, so that KLU's is asked for."""
        return sum(element.mesh for element in self.elements)

    @property
    def rounding(self) -> float:
        """How far rounding may move voltages, over the largest: what no tolerance of Newton's iteration can be below."""
        return max((element.rounding for element in self.elements), default=0.0)

    def graph(self) -> "nx.Graph[str]":
        """Bipartite graph: nets (``kind="net"``) and devices (``kind="device"``), an edge for every connection."""
        import networkx as nx

        graph: nx.Graph[str] = nx.Graph()
        graph.add_node(GROUND, kind="net")
        for element in self.elements:
            for name, nets in element.devices():
                graph.add_node(name, kind="device")
                for net in nets:
                    graph.add_node(net, kind="net")
                    graph.add_edge(name, net)
        return graph

    def check(self) -> None:
        """Raise UserError, naming the net, for values no circuit can have: not finite, negative, an empty column.

        In a layered network that is enough: every node has a conductance from the layer below, down to the sources.
        """
        for element in self.elements:
            element.check()

    def validate(self, *, whole: bool = True) -> None:
        """Raise UserError, naming the net, unless the circuit has one operating point that SPICE can find.

        In order: values, ideal voltage sources in a loop, nets that touch nothing else, nets without a path to ground at
        direct current. If not ``whole``, values alone.
        """
        import networkx as nx

        self.check()
        if not whole:
            return
        self._refuse_source_loops()
        graph = self.graph()
        paths: nx.Graph[str] = nx.Graph()
        paths.add_nodes_from(net for net, kind in graph.nodes(data="kind") if kind == "net")
        for element in self.elements:
            paths.add_edges_from(element.dc_paths())
        grounded = nx.node_connected_component(paths, GROUND)
        for net in paths:
            if net in grounded:
                continue
            if graph.degree(net) < 2:
                (device,) = graph[net]
                raise UserError(f"net {net}: floating, only {device} touches it; connect it or leave it out")
            island = sorted(nx.node_connected_component(paths, net))
            others = f" (nor have {', '.join(n for n in island if n != net)})"[:200] if len(island) > 1 else ""
            raise UserError(
                f"net {net}: no path to ground at direct current{others}; diodes, current sources and amplifier inputs do "
                f"not count"
            )

    def _refuse_source_loops(self) -> None:
        import networkx as nx

        held: nx.utils.UnionFind = nx.utils.UnionFind()
        for element in self.elements:
            for one, other in element.held():
                if held[one] == held[other]:
                    raise UserError(f"net {one}: two ideal voltage sources in a loop with {other}; remove one of them")
                held.union(one, other)
