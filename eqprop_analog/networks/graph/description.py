"""The description of a graph network in the report."""

from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import numpy as np

from eqprop_analog.devices import in_words
from eqprop_analog.networks.graph.drawing import draw_network
from eqprop_analog.networks.graph.network import GraphNetwork
from eqprop_analog.plotting.sheet import engineering
from eqprop_analog.plotting.style import drawing
from eqprop_analog.plotting.training import conductances
from eqprop_analog.report.description import Description
from eqprop_analog.report.page import Table


def _tables(network: GraphNetwork) -> Iterator[Table]:
    low, high = network.conductance_window
    used = network.conductances[network.conductances > 0]
    held = f"{len(network.inputs)} at inputs, {len(network.rails)} at rails"
    yield Table(
        "Network",
        ("part", "number", "description"),
        [
            ("nodes", f"{len(network.names)}", f"held by ideal sources: {held}"),
            (
                "resistors",
                f"{len(network.resistors)}",
                f"{engineering(used.min(), 'S')} to {engineering(used.max(), 'S')}",
            ),
            ("diodes", f"{len(network.diodes)}", in_words(network.diode)),
            ("read-outs", f"{len(network.outputs)}", "voltages of nodes, or differences of two"),
            ("current sources", f"{np.count_nonzero(network.currents)}", "constant"),
            ("conductance window", "", f"{engineering(low, 'S')} to {engineering(high, 'S')}"),
        ],
    )


def _histograms(network: GraphNetwork, path: Path) -> str:
    with drawing(path, (5, 3.7)) as figure:
        conductances(figure.subplots(), network.conductances, network.conductance_window, "resistors")
    return "conductances"


def _levels(network: GraphNetwork) -> list[tuple[str, float]]:
    return [("rail", float(volts)) for volts in network.rail_volts]


def _picture(network: GraphNetwork, path: Path) -> str:
    graph = nx.Graph(network.resistors.tolist() + network.diodes.tolist())
    graph.add_nodes_from(range(len(network.names)))
    places = nx.spring_layout(graph, seed=0)
    with drawing(path, (7, 6)) as figure:
        draw_network(figure, figure.subplots(), network, np.array([places[k] for k in range(len(places))]))
    return "The network: dark and wide lines are large conductances, arrows are diodes; inputs, rails and read-outs are marked."


DESCRIPTION = Description(_tables, _histograms, levels=_levels, picture=_picture)
