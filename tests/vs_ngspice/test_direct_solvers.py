"""Meshes in any circuit are solved by KLU where ngspice has it, other circuits by SPARSE 1.3, with the same voltages."""

import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import NgspiceSolver, ResistiveNetwork, Status
from eqprop_analog.networks.crossbars.wired import WiredCrossbar
from eqprop_analog.networks.hopfield.connections import Convolution
from eqprop_analog.networks.hopfield.discrete_time import DiscreteTimeSolver
from eqprop_analog.networks.hopfield.netlist import default_swing
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.nonideal.netlist import compile_tile
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.newton import NonidealNewtonSolver
from eqprop_analog.networks.nonideal.periphery import Periphery
from eqprop_analog.spice.circuit import Circuit
from eqprop_analog.spice.dialects import DIALECTS
from eqprop_analog.spice.netlist import settings, static_netlist, sweep_netlist
from eqprop_analog.spice.ngspice import library as libngspice
from eqprop_analog.spice.ngspice.workers import Workers

ROWS, COLUMNS = 24, 20


@pytest.fixture
def array() -> WiredCrossbar:
    return WiredCrossbar(10 ** np.random.default_rng(0).uniform(-7, -4, (ROWS, COLUMNS)), 20.0)


@pytest.fixture
def klu() -> bool:
    """Whether the installed libngspice has KLU."""
    work = Workers(1, 60)
    try:
        return bool(work.result(work.submit(libngspice.has_klu)))
    finally:
        work.close()


def said_by_the_program(netlist: str, folder: Path) -> str:
    (folder / "circuit.cir").write_text(netlist)
    done = subprocess.run(
        ["ngspice", "-b", "circuit.cir"], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout + done.stderr


def test_an_array_with_wires_is_where_its_port_matrix_says_and_is_solved_by_klu_where_there_is_one(
    array: WiredCrossbar, klu: bool, tmp_path: Path
) -> None:
    random = np.random.default_rng(1)
    held, into = random.uniform(-5, 5, (3, ROWS)), random.normal(0, 1e-5, (3, COLUMNS))
    ports = array.port_matrix
    expected = np.linalg.solve(ports[ROWS:, ROWS:], (into - held @ ports[:ROWS, ROWS:]).T).T
    work = Workers(1, 60)
    try:
        measured = work.result(work.submit(libngspice.sweep, compile_tile(array, held, into)))
    finally:
        work.close()
    np.testing.assert_allclose(measured, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    said = said_by_the_program(static_netlist(compile_tile(array, held[:1], into[:1])), tmp_path)
    assert ("Using KLU" in said) == klu


def chip() -> NonidealNetwork:
    """Wires, steep diodes, and amplifiers with offsets behind resistances."""
    network = ResistiveNetwork.dense([5, 9, 4], seed=1, amplifier_gain=4.0, input_gain=3.0)
    own = Periphery(offset=0.01, output_resistance=100.0, forward_factor=1.1, source_resistance=50.0)
    return NonidealNetwork(network, own, wire_resistance=20.0, tile=(4, 3))


def test_a_mesh_with_diodes_and_amplifiers_is_solved_by_klu_too(klu: bool, tmp_path: Path) -> None:
    network, inputs = chip(), np.random.default_rng(2).uniform(-1, 1, (1, 5))
    text = static_netlist(network.circuit(inputs))
    said = said_by_the_program(text, tmp_path)
    assert ("Using KLU" in said) == klu
    printed = [float(line.split("=")[1]) for line in said.splitlines() if line.startswith("v(o_")]
    expected = NonidealNewtonSolver().solve(network, inputs).require().outputs[0]
    np.testing.assert_allclose(printed, expected, rtol=0, atol=1e-9)


def test_a_circuit_with_pools_is_solved_by_klu_too(klu: bool, tmp_path: Path) -> None:
    kernels = Convolution((1, 8, 8), 2, 3, pool=2), Convolution((2, 3, 3), 3, 2, pool=2)
    network = HopfieldNetwork.build(kernels, seed=1, initial="fan-in")
    inputs = np.random.default_rng(2).uniform(0, 1, (1, 64))
    found = DiscreteTimeSolver().solve(network, inputs).require()
    equations, swing = network.equations(inputs), default_swing(network)
    guess = np.concatenate(equations.unknowns(found.voltages), axis=1)[0]
    said = said_by_the_program(static_netlist(network.circuit(inputs, [equations]), guess), tmp_path)
    assert ("Using KLU" in said) == klu
    printed = [float(line.split("=")[1]) for line in said.splitlines() if line.startswith("v(op_")]
    np.testing.assert_allclose(printed, swing * found.outputs[0], rtol=0, atol=1e-9)


def test_what_klu_does_not_solve_is_asked_of_sparse(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[dict[str, float]] = []

    def only_sparse(circuit: Circuit, options: Mapping[str, float], guess: object) -> object:
        asked.append(dict(options))
        assert "klu=1" in sweep_netlist(circuit)
        if sweep_netlist(circuit, options).count("klu=0") != 1 or guess is None:
            raise libngspice.SimulationError("no convergence")
        return np.concatenate(NonidealNewtonSolver().solve(network, inputs).voltages, axis=1)

    network, inputs = chip(), np.ones((1, 5))
    monkeypatch.setattr(libngspice, "sweep", only_sparse)
    solver = NgspiceSolver(executor=ThreadPoolExecutor(1))
    assert solver.solve(network, inputs).status.tolist() == [Status.CONVERGED]
    *by_klu, last = asked
    assert last["klu"] == 0
    assert [options.get("klu") for options in by_klu] == [None] * 3
    own = settings(network.circuit(inputs))
    assert by_klu[1] == {name: pytest.approx(10 * own[name]) for name in ("reltol", "vntol", "abstol")}
    assert len(caplog.messages) > 0


def test_a_network_without_wires_is_solved_by_the_other_one(tmp_path: Path) -> None:
    network = ResistiveNetwork.dense([4, 6, 2], seed=0)
    text = static_netlist(network.circuit(np.ones((1, 4))))
    assert "klu" not in text
    assert "Using KLU" not in said_by_the_program(text, tmp_path)


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name not in ("ngspice", "gnucap")])
def test_other_programs_are_not_told(array: WiredCrossbar, dialect: str) -> None:
    circuit = compile_tile(array, np.ones((1, ROWS)), np.zeros((1, COLUMNS)))
    assert "klu" in static_netlist(circuit)
    assert "klu" not in static_netlist(circuit, dialect=DIALECTS[dialect])
