"""Currents that flow only through diodes, and nudges near the bound: the right voltages by one scalar equation, certified."""

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from scipy.optimize import brentq

from eqprop_analog import GraphNetwork, NgspiceDiode, Nudge, PiecewiseLinear, Shockley, SparseNewtonSolver, Status
from eqprop_analog.devices import Law
from eqprop_analog.networks.graph.equations import output_resistance

LEAK = 1e-9
"""Siemens to ground of each node between two diodes."""
LAWS: list[Law] = [
    NgspiceDiode(),
    Shockley(1e-12),
    PiecewiseLinear(threshold=0.1, on_resistance=10.0, off_resistance=1e12),
]


def chain(law: Law, diodes: int) -> GraphNetwork:
    """Diodes in series from the input to ground."""
    graph = nx.MultiGraph()
    nodes = ["a", *(f"m{k}" for k in range(diodes - 1)), "g"]
    for one, other in pairwise(nodes):
        graph.add_edge(one, other, anode=one)
    for node in nodes[1:-1]:
        graph.add_edge(node, "g", conductance=LEAK)
    return GraphNetwork.from_graph(graph, ["a"], nodes[1:-1], {"g": 0.0}, diode=law, conductance_window=(0.0, 1e-3))


def carried(law: Law, w: float) -> float:
    return -float(law.current(np.array([law.rail - w]))[0])


def by_hand(law: Law, diodes: int, volts: float) -> list[float]:
    """Node voltages, by the current that reaches ground through the last diode: each node adds its leakage current."""

    def upwards(last: float) -> list[float]:
        drops, voltages = [last], [last]
        for _ in range(diodes - 1):
            flowing = carried(law, drops[-1]) + LEAK * voltages[-1]
            drops.append(brentq(lambda w, i=flowing: carried(law, w) - i, -1, volts + 1, xtol=1e-16, rtol=1e-15))
            voltages.append(voltages[-1] + drops[-1])
        return voltages

    last = brentq(lambda w: upwards(w)[-1] - volts, 0, volts, xtol=1e-16, rtol=1e-15)
    return upwards(last)[-2::-1]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("diodes", "volts"), [(2, 0.8), (2, 1.2), (3, 1.5), (4, 0.4)])
def test_diodes_in_series_between_sources_share_their_voltage(law: Law, diodes: int, volts: float):
    found = SparseNewtonSolver().solve(chain(law, diodes), [[volts]])
    assert found.status.tolist() == [Status.CONVERGED]
    np.testing.assert_allclose(found.outputs[0], by_hand(law, diodes, volts), rtol=0, atol=1e-12)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("closeness", [1e-3, 1e-4, 1e-6, 1e-9])
@pytest.mark.parametrize("target", [-0.5, 0.5])
def test_a_nudge_near_the_bound_of_definiteness_is_solved(law: Law, closeness: float, target: float):
    """One free node: (g_a + g_0 - β)v - I(v_a - v) = g_a·v_a - β·y, whose root is found by bracketing."""
    graph = nx.MultiGraph([("a", "b", {"conductance": 2e-6}), ("b", "g", {"conductance": 1e-6})])
    graph.add_edge("a", "b", anode="a")
    network = GraphNetwork.from_graph(graph, ["a"], ["b"], {"g": 0.0}, diode=law)
    bound = 1 / output_resistance(network)[0, 0]
    beta = -bound * (1 - closeness)
    found = SparseNewtonSolver().solve(network, [[0.3]], Nudge([[target]], beta))

    def surplus(v: float) -> float:
        return float(np.clip(3e-6 * v - 2e-6 * 0.3 - carried(law, 0.3 - v) - beta * (target - v), -1e300, 1e300))

    root = brentq(surplus, -1e10, 1e10, xtol=1e-15, rtol=1e-15, maxiter=1000)
    scale = max(1.0, abs(root))
    if closeness < 1e-6 and found.status[0] is Status.ILL_CONDITIONED:
        return  # hundreds of megavolts, of which rounding leaves that much
    assert found.status.tolist() == [Status.CONVERGED]
    np.testing.assert_allclose(found.outputs[0, 0], root, rtol=0, atol=1e-9 * scale)
