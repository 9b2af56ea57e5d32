"""Drawing of a graph network: edges by conductance, diodes by arrows, sources and read-outs by marks."""

from collections.abc import Mapping
from typing import Any

import networkx as nx
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from eqprop_analog.networks.graph.network import GraphNetwork
from eqprop_analog.networks.graph.reading import GROUND

Array = np.ndarray


def positions(graph: "nx.Graph[Any]") -> Float[Array, "nodes 2"]:
    """Return the positions of nodes: their ``pos``, or a circle."""
    places: Mapping[Any, Any] = nx.get_node_attributes(graph, "pos")
    if len(places) < len(graph):
        places = nx.circular_layout(graph)
    return np.array([places[node] for node in graph], dtype=float)


def draw_network(figure: Figure, axes: Axes, network: GraphNetwork, at: Float[Array, "nodes 2"]) -> None:
    """Draw edges darker and wider with conductance; ``at``: position of each node, in the network's order."""
    low, high = network.conductance_window
    width = 0.4 + 3.2 * np.log(network.conductances / low) / np.log(high / low)
    norm = LogNorm(1e6 * low, 1e6 * high)
    order = np.argsort(network.conductances)  # the widest edges on top
    edges = LineCollection(
        at[network.resistors[order]].tolist(), cmap="Greys", norm=norm, linewidths=width[order].tolist()
    )
    edges.set_array(1e6 * network.conductances[order])
    axes.add_collection(edges)
    for anode, cathode in network.diodes.tolist():
        arrow = {"arrowstyle": "-|>", "color": "tab:red", "linewidth": 0.9, "shrinkA": 4, "shrinkB": 4}
        axes.annotate("", xy=at[cathode].tolist(), xytext=at[anode].tolist(), arrowprops=arrow)
    axes.plot(*at.T, ".", color="0.25", markersize=3)
    for nodes, mark, label in ((network.inputs, "^", "input"), (network.rails, "s", "rail")):
        axes.plot(*at[nodes].T, mark, color="black", markersize=8, label=label)
    for plus, minus in network.outputs.tolist():
        ends = at[[plus] if minus == GROUND else [plus, minus]]
        axes.plot(*ends.T, "o:", color="tab:blue", markersize=6, linewidth=2)
    axes.plot([], [], "o", color="tab:blue", label="output")
    if len(network.diodes):
        axes.plot([], [], color="tab:red", label="diode")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, fontsize=8)
    axes.set(aspect="equal")
    axes.axis("off")
    figure.colorbar(ScalarMappable(norm, "Greys"), ax=axes, label="conductance (µS)", shrink=0.7)
