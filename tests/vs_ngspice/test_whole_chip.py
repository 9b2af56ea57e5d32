"""Whole chips with wires in tiles, nonlinear cells, non-ideal amplifiers and diodes have the same equilibria in ngspice."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eqprop_analog import NgspiceSolver, Nudge, ResistiveNetwork, Status
from eqprop_analog.devices.cells import CubicCell, SinhCell
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.newton import NonidealNewtonSolver
from eqprop_analog.networks.nonideal.periphery import Periphery
from eqprop_analog.networks.resistive import random_circuits as study
from eqprop_analog.networks.whole_chip import random_chips
from eqprop_analog.networks.whole_chip.network import WholeChip
from eqprop_analog.networks.whole_chip.newton import WholeChipNewtonSolver
from eqprop_analog.spice.netlist import settings, static_netlist
from eqprop_analog.spice.ngspice.workers import Workers

SLICE = (1, 2, 6, 8, 10, 13, 16)
"""Of the study: each law of a diode and of a cell."""
ROUNDED = (190, 195)
"""Tolerances below what rounding leaves of the first; layer 1 of the second moves by 5e-14 V between the phases."""


@pytest.fixture(scope="module")
def measured() -> Iterator[dict[int, dict[str, Any]]]:
    work = Workers(1, time_limit=60)
    jobs = {number: work.submit(study.measure, 0, number, (), random_chips.draw) for number in SLICE + ROUNDED}
    yield {number: work.result(job) for number, job in jobs.items()}
    work.close()


@pytest.mark.parametrize("number", SLICE)
def test_surrogate_and_ngspice_agree_on_random_chips(number: int, measured: dict[int, dict[str, Any]]) -> None:
    figures = measured[number]
    assert figures["statuses"] == {"ngspice": {"CONVERGED": 9}, "surrogate": {"CONVERGED": 9}}
    assert figures["met"]
    assert figures["messages"] == []
    assert figures["relative_difference"] <= max(1e-9, 100 * figures["between_elimination_orders"])


@pytest.mark.parametrize("number", ROUNDED)
def test_chips_whose_digits_rounding_takes_agree_all_the_same(number: int, measured: dict[int, dict[str, Any]]) -> None:
    figures = measured[number]
    assert figures["statuses"] == {"ngspice": {"CONVERGED": 9}, "surrogate": {"CONVERGED": 9}}
    assert figures["met"]


def test_chips_reach_what_they_are_meant_to_test() -> None:
    cases = [random_chips.draw(0, number) for number in range(16)]
    described = [case.description() for case in cases]
    assert {each["cell"]["law"] for each in described} == {"linear", "sinh", "cubic"}
    ohms = [each["wire_resistance"] for each in described]
    assert min(ohms) < 0.2
    assert 50 < max(ohms) <= 100
    assert {bool(each["link_resistance"]) for each in described} == {True, False}
    assert set().union(*(each["imperfections"] for each in described)) >= {
        *("forward_factor", "return_factor", "offset", "saturation_voltage", "output_resistance", "source_resistance"),
        *("input_conductance", "nudge_factor", "target_offset", "saturation_factor", "emission_factor"),
    }
    several = [case for case in cases if len(list(case.network.crossbars[0].wired.tiles())) > 1]  # type: ignore[attr-defined]
    assert len(several) > 4
    assert random_chips.draw(0, 7).description() == described[7]


def four_tiles(cell: Any) -> tuple[WholeChip, np.ndarray, np.ndarray]:
    """Crossbar 1 in 2 x 2 tiles of 3 x 3 cells."""
    random = np.random.default_rng(5)
    network = ResistiveNetwork.dense([3, 6, 2], seed=5, amplifier_gain=2.0, input_gain=1.5)
    for matrix in network.conductances:
        matrix[...] = 10 ** random.uniform(-6, -4, matrix.shape)
    own = Periphery(offset=0.02, forward_factor=1.1, output_resistance=30.0)
    chip = WholeChip(network, own, 40.0, (3, 3), link_resistance=25.0, cell=cell)
    return chip, random.uniform(-1, 1, (2, 3)), random.uniform(-1, 1, (2, 2))


@pytest.mark.parametrize("cell", [None, SinhCell(0.4), CubicCell(0.5)])
def test_a_written_chip_is_read_by_plain_ngspice_and_every_wire_is_where_the_surrogate_has_it(
    cell: Any, tmp_path: Path
) -> None:
    chip, inputs, targets = four_tiles(cell)
    nudge = Nudge(targets[:1], chip.usual_beta())
    ours = WholeChipNewtonSolver().solve(chip, inputs[:1], nudge).require()
    equations = chip.equations(inputs[:1])
    text = static_netlist(chip.circuit(inputs[:1], [equations.nudged([nudge], None)]))
    assert text.count("\nR1wr_") == text.count("\nR1wc_") == 36
    # Segments at ports have the links' 25 ohms, too: of four tiles of 3 x 3, and of two of 3 x 2.
    assert text.count(" 65.0\n") == 4 * (3 + 3) + 2 * (3 + 2)
    assert "of law" in text or cell is None
    (tmp_path / "chip.cir").write_text(text.replace("op\n", "op\nprint w1r_4_2 w1c_0_5\n", 1))
    done = subprocess.run(
        ["ngspice", "-b", "chip.cir"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    printed = {
        line.split(" = ")[0]: float(line.split(" = ")[1])
        for line in done.stdout.splitlines()
        if line.startswith(("v(o_", "w1"))
    }
    (nodes,) = equations.unknowns(ours.voltages)
    wires = dict(zip(chip.assembly.names, nodes[0].tolist(), strict=True))
    assert [printed["v(o_0)"], printed["v(o_1)"]] == pytest.approx(ours.outputs[0].tolist(), abs=1e-9)
    for net in ("w1r_4_2", "w1c_0_5"):
        assert printed[net] == pytest.approx(wires[net], abs=1e-9)


def test_with_linear_cells_ngspice_has_one_circuit_for_both_networks() -> None:
    chip, inputs, targets = four_tiles(None)
    reduced = NonidealNetwork(chip.ideal, chip.periphery, 40.0, (3, 3), link_resistance=25.0)
    nudges = [Nudge(targets, sign * chip.usual_beta()) for sign in (1, -1)]
    solver = NgspiceSolver()
    try:
        found = [solver.solve_phases(network, inputs, nudges) for network in (chip, reduced)]
    finally:
        solver.close()
    found.append(NonidealNewtonSolver().solve_phases(reduced, inputs, nudges))
    for phases in zip(*found, strict=True):
        assert all(phase.status.tolist() == [Status.CONVERGED] * 2 for phase in phases)
        for other in phases[1:]:
            for one, two in zip(phases[0].voltages, other.voltages, strict=True):
                np.testing.assert_allclose(one, two, rtol=0, atol=1e-9)


def test_tolerances_follow_what_rounding_leaves() -> None:
    network = ResistiveNetwork.dense([4, 10, 3], seed=0, amplifier_gain=10.0, input_gain=10.0)
    chosen = {}
    for siemens in (1e-8, 1e-4):
        for matrix in network.conductances:
            matrix[...] = siemens * np.random.default_rng(0).uniform(0.1, 1, matrix.shape)
        chip = NonidealNetwork(network, wire_resistance=1.0)
        chosen[siemens] = settings(chip.circuit(np.ones((1, 4))))["reltol"]
    assert chosen[1e-4] == 1e-11
    assert 1e-9 < chosen[1e-8] < 1e-7
