"""The circuit as a bipartite graph of nets and devices, and the checks that it can be solved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from jaxtyping import Int

from eqprop_analog.devices import Law
from eqprop_analog.errors import UserError
from eqprop_analog.spice.elements import GROUND, POINT, SAMPLE, Element

if TYPE_CHECKING:
    import networkx as nx  # imported where a graph is built: worker processes, which start often, build none


@dataclass(frozen=True)
class Section:
    """A group of elements under one heading of the netlist."""

    heading: str
    elements: tuple[Element, ...]


@dataclass(frozen=True)
class Circuit:
    """Sections of elements, with the options and models that SPICE needs."""

    title: str
    notes: tuple[str, ...]
    """A description of the circuit, in sentences for the netlist's header."""
    sections: tuple[Section, ...]
    models: tuple[str, ...]
    """Names of the subcircuits, which are files in ``circuits/`` except for those in ``laws``."""
    options: dict[str, float]
    """Simulator options that the laws need."""
    probes: tuple[str, ...]
    """Nets whose voltages are measured: the nodes of layers 1..L."""
    outputs: tuple[str, ...]
    """The last layer's nets."""
    points: int = 1
    """Number of points of the sweep; 1 is a static circuit."""
    phases: int = 1
    """Number of consecutive points of each sample."""
    jumps: bool = False
    """Whether a source is a discontinuous function of voltages."""
    parameters: Mapping[str, float] = field(default_factory=dict)
    """Properties of the network apart from its circuit: ``.param`` lines that no device uses, for reading the netlist back."""

    laws: Mapping[str, Law] = field(default_factory=dict)
    """The law with the text of a subcircuit, by its name (``subcircuit_text``, devices.capabilities)."""

    factors: tuple[float, ...] = ()
    """What each probe's voltage is multiplied by to be the result; () is 1: nets of a reduced circuit may be at a part of it."""

    meters: tuple[str, ...] = ()
    """Voltage sources whose currents are measured, too: those of metered diodes."""

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
        """Number of cells or sites in a mesh; ngspice's ordering of the matrix fills it, so that KLU is requested."""
        return sum(element.mesh for element in self.elements)

    @property
    def rounding(self) -> float:
        """Relative change of voltages due to rounding: a lower bound for tolerances of Newton's iteration."""
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
        """Raise UserError, which names the net, for invalid values: not finite, negative, an empty column.

        This is sufficient in a layered network: every node has a conductance from the layer below, down to the sources.
        """
        for element in self.elements:
            element.check()

    def validate(self, *, whole: bool = True) -> None:
        """Raise UserError, which names the net, unless the circuit has a unique operating point that SPICE can find.

        The checks are, in order: values, loops of ideal voltage sources, nets with a single connection, nets without a DC path
        to ground. If not ``whole``, only values are checked.
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
                raise UserError(f"net {net}: floating, only {device} is connected to it; connect it or leave it out")
            island = sorted(nx.node_connected_component(paths, net))
            others = f" (nor from {', '.join(n for n in island if n != net)})"[:200] if len(island) > 1 else ""
            raise UserError(
                f"net {net}: no DC path to ground{others}; diodes, current sources and amplifier inputs do not count"
            )

    def _refuse_source_loops(self) -> None:
        import networkx as nx

        held: nx.utils.UnionFind = nx.utils.UnionFind()
        for element in self.elements:
            for one, other in element.held():
                if held[one] == held[other]:
                    raise UserError(
                        f"net {one}: two ideal voltage sources form a loop with {other}; remove one of them"
                    )
                held.union(one, other)
