"""Invalid conductances, tensors and file names are refused in one sentence, without a warning."""

import networkx as nx
import numpy as np
import pytest

from eqprop_analog import GraphNetwork, ResistiveNetwork, SurrogateSolver
from eqprop_analog.core import load_network
from eqprop_analog.core.checks import LARGEST_CONDUCTANCE
from eqprop_analog.errors import UserError
from eqprop_analog.networks.crossbars.wired import WiredCrossbar

X = np.array([[1.0]])


def _resistive(conductance: float) -> None:
    network = ResistiveNetwork.dense([1, 1])
    network.conductances[0][0, 0] = conductance
    SurrogateSolver().solve(network, X)


def _graph(conductance: float) -> None:
    graph = nx.Graph()
    graph.add_edge("in", "out", conductance=conductance)
    SurrogateSolver().solve(GraphNetwork.from_graph(graph, inputs=["in"], outputs=["out"]), X)


def _crossbar(conductance: float) -> None:
    WiredCrossbar(np.full((1, 1), conductance), 0.0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("build", [_resistive, _graph, _crossbar])
def test_conductances_have_a_bound(build):
    build(LARGEST_CONDUCTANCE)
    for beyond in (2 * LARGEST_CONDUCTANCE, 1e300, np.inf):
        with pytest.raises(UserError, match="conductance"):
            build(beyond)
    with pytest.raises(UserError, match=r"conductance_window.* at most 1e\+09 S"):
        ResistiveNetwork.dense([1, 1], conductance_window=(0, 1e300))


@pytest.mark.parametrize("nested", [False, True])
def test_tensors_that_numpy_does_not_know_are_told_the_way_out(nested):
    torch = pytest.importorskip("torch")
    given = torch.ones(1, 1, dtype=torch.bfloat16)
    network = ResistiveNetwork.dense([1, 1])
    with pytest.raises(UserError, match=r"BFloat16.*\.float\(\)"):
        SurrogateSolver().solve(network, list(given) if nested else given)
    assert SurrogateSolver().solve(network, given.float()).good.all()


@pytest.mark.parametrize("name", [None, 3, b"net.npz", "", "a\0b", True], ids=repr)
@pytest.mark.parametrize(
    "use", [ResistiveNetwork.dense([1, 1]).save, ResistiveNetwork.load, GraphNetwork.load, load_network]
)
def test_names_of_files(use, name):
    with pytest.raises(UserError, match="file: expected a name"):
        use(name)
