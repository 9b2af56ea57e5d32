"""Spectre's netlists, which do not run here, read by a reader of that language: every element, and the equilibrium."""

import re
import subprocess
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from vs_readers import spectre

from eqprop_analog import (
    Clamp,
    GraphNetwork,
    HopfieldNetwork,
    NgspiceDiode,
    Nudge,
    ResistiveNetwork,
    Shockley,
    SurrogateSolver,
)
from eqprop_analog.devices import Antiparallel, Law, PiecewiseLinear
from eqprop_analog.devices.buffer import Sigmoid
from eqprop_analog.networks.resistive.hierarchy import hierarchical_netlist
from eqprop_analog.spice.dialects import NGSPICE, control, pairs
from eqprop_analog.spice.netlist import TOLERANCES, static_netlist
from eqprop_analog.spice.programs import PROGRAMS

SPECTRE = PROGRAMS["spectre"]
X, Y, BETA = np.array([[0.3, -0.8, 0.5]]), np.array([[1.0, 0.0]]), 1e-8
"""Inputs; targets, volts; siemens."""
AGREE = 1e-9
"""Volts."""


def network(diode: Law | None = None) -> ResistiveNetwork:
    return ResistiveNetwork.dense([3, 5, 4, 2], 5, diode=diode, amplifier_gain=(4.0, 1.0), bias=1e-8, bias_row=-1.0)


def solved(lines: list[str], outputs: tuple[str, ...], folder: Path) -> np.ndarray:
    """Outputs (V) of SPICE lines in ngspice."""
    ending = ["op", *(f"print v({net})" for net in outputs)]
    text = "\n".join([*lines, f".options {pairs(TOLERANCES)}", *control(ending, outputs[-1]), ".end", ""])
    (folder / "read.cir").write_text(text)
    out = subprocess.run(["ngspice", "-b", "read.cir"], cwd=folder, capture_output=True, text=True, check=False)
    found = dict(re.findall(r"v\((\w+)\) = (\S+)", out.stdout))
    assert found.keys() == set(outputs), out.stdout + out.stderr
    return np.array([float(found[net]) for net in outputs])


@pytest.mark.parametrize(
    "diode",
    [NgspiceDiode(), Shockley(1e-12, 1.7, 0.3), Clamp(0.1, 50.0), PiecewiseLinear(), Antiparallel(Shockley(rail=-0.1))],
    ids=lambda law: type(law).__name__,
)
def test_what_is_read_back_has_the_networks_equilibrium(diode: Law, tmp_path: Path) -> None:
    made = network(diode)
    solver = SurrogateSolver()
    phase = solver.solve(made, X, nudge=Nudge(Y, BETA))
    circuit = made.circuit(X, [made.equations(X).nudged([Nudge(Y, BETA)], None)], "flat")
    top = spectre.read(static_netlist(circuit, dialect=SPECTRE))
    assert top.saved == tuple(circuit.outputs)
    volts = solved(spectre.spice(top), top.saved, tmp_path)
    np.testing.assert_allclose(volts, phase.outputs[0], rtol=0, atol=AGREE * 10)


def test_every_resistor_source_and_device_is_read_back() -> None:
    made = network()
    top = spectre.read(static_netlist(made.circuit(X, form="flat"), dialect=SPECTRE))
    of = {name: [each for each in top.instances.values() if each.master == name] for name in ("resistor", "isource")}
    assert len(of["resistor"]) == sum(int((matrix > 0).sum()) for matrix in made.conductances)
    for l, matrix in enumerate(made.conductances, start=1):
        for i, j in np.argwhere(matrix):
            assert float(top.instances[f"R{l}_{i}_{j}"].parameters["r"]) == 1 / matrix[i, j]
    assert [float(each.parameters["dc"]) for each in of["isource"]] == [value for bias in made.biases for value in bias]
    diodes = [each for each in top.instances.values() if each.master == "eq_diode"]
    assert len(diodes) == 9
    assert float(top.options["temp"]) == 27


def test_a_hopfield_network_and_a_graph_can_be_read_back(tmp_path: Path) -> None:
    hopfield = HopfieldNetwork.dense([3, 4, 2], 1, buffer=Sigmoid(), initial="fan-in")
    graph = GraphNetwork.from_graph(nx.cycle_graph(5), [0], [2], {3: 0.0})
    for made, x in ((hopfield, X), (graph, np.array([[1.0]]))):
        circuit = made.circuit(x, form=made.forms[0])
        guess = np.full(len(circuit.probes), 0.25)
        texts = [static_netlist(circuit, guess, dialect) for dialect in (NGSPICE, SPECTRE)]
        top = spectre.read(texts[1])
        assert top.guesses == dict.fromkeys(circuit.probes, "0.25")
        ours = solved(spectre.spice(top), top.saved, tmp_path)
        (tmp_path / "own.cir").write_text(texts[0])
        out = subprocess.run(["ngspice", "-b", "own.cir"], cwd=tmp_path, capture_output=True, text=True, check=False)
        found = dict(re.findall(r"v\((\w+)\) = (\S+)", out.stdout))
        np.testing.assert_allclose(ours, [float(found[net]) for net in top.saved], rtol=0, atol=AGREE)


def test_subcircuits_and_their_testbench_are_read_back(tmp_path: Path) -> None:
    made = network()
    injection = made.equations(X).nudged([Nudge(Y, BETA)], None).injection
    written = hierarchical_netlist(made, X, injection, "network.scs", SPECTRE)
    top = spectre.read(written.testbench, {"network.scs": written.network})
    assert top.analyses["phases"] == {
        "dev": "Vphase",
        "param": "dc",
        "start": "0",
        "stop": "1",
        "step": "1",
        "maxiters": "500",
    }
    free = SurrogateSolver().solve(made, X).outputs[0]
    lines = [f".param {key}={value}" for key, value in top.parameters.items()] + spectre.spice(top)[1:]
    np.testing.assert_allclose(solved(["* read back", *lines], top.saved, tmp_path), free, rtol=0, atol=AGREE)


def test_the_command_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eqprop_analog import cli

    monkeypatch.chdir(tmp_path)
    assert cli.main(["netlist", "--layers", "3", "4", "2", "--dialect", "spectre", "--output", "net.scs"]) == 0
    assert spectre.read(Path("net.scs").read_text()).saved == ("o_0", "o_1")
