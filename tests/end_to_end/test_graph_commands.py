"""Commands for all networks accept networks on graphs; commands for other families name the families that they accept."""

import json
import subprocess
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

from eqprop_analog import GraphNetwork
from eqprop_analog.networks.graph.newton import SparseNewtonSolver

X = np.array([[0.3, -0.8]])


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GraphNetwork:
    monkeypatch.chdir(tmp_path)
    made = nx.MultiGraph(nx.gnm_random_graph(9, 24, seed=1))
    made.add_edge(3, 7, anode=3)
    network = GraphNetwork.from_graph(made, [0, 1], [4, (5, 6)], {2: 0.5})
    network.save("net.npz")
    return network


def test_simulate_agrees_with_the_surrogate(saved: GraphNetwork, run: Any) -> None:
    result = run("simulate", "--network", "net.npz", "--inputs", "0.3,-0.8", "--json", "-")
    assert result.code == 0
    figures = json.loads(result.out)
    assert figures["agreement"]["met"]
    voltages = figures["phases"]["free"]["voltages"]
    expected = SparseNewtonSolver().solve(saved, X).voltages
    for name, values in zip(("nodes", "o"), expected, strict=True):
        np.testing.assert_allclose(voltages[name], values, rtol=0, atol=1e-9)


@pytest.mark.parametrize("phase", ["free", "nudged"])
def test_its_netlist_runs_in_ngspice_as_it_stands(saved: GraphNetwork, run: Any, phase: str) -> None:
    assert (
        run("netlist", "--network", "net.npz", "--inputs", "0.3,-0.8", "--phase", phase, "--output", "a.cir").code == 0
    )
    ran = subprocess.run(["ngspice", "-b", "a.cir"], capture_output=True, text=True, check=True)
    assert f"v({saved.names[4]})" in ran.stdout.lower()


@pytest.mark.parametrize(
    "words",
    [
        ("netlist", "--form", "subcircuits", "--output", "a.cir"),
        ("netlist", "--specification", "everything", "--output", "a.cir"),
        ("netlist", "--form", "norton", "--output", "a.cir"),
        ("energy",),
        ("transient",),
    ],
)
def test_what_it_cannot_do_is_named_and_refused(saved: GraphNetwork, run: Any, words: tuple[str, ...]) -> None:
    result = run(*words, "--network", "net.npz")
    assert result.code == 2
    assert "norton" in result.err if "norton" in words else "resistive" in result.err
    assert list(Path().glob("a.*")) == []
