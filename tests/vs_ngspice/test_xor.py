"""The golden files of ``netlists/``: the same text, the same voltages in plain ngspice, the same network when trained."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eqprop_analog import Nudge, ResistiveNetwork, SurrogateSolver
from eqprop_analog.devices import NgspiceDiode
from eqprop_analog.experiments.agreement import Agreement, compare
from eqprop_analog.networks.resistive.commands.xor import BETA, LEARNED, PATTERNS, TARGETS, learn, write

FOLDER = Path(__file__).parents[2] / "netlists"
BOUND = 1e-9
"""Volts."""
RunNgspice = Callable[[str], Any]
Row = dict[str, str]


@pytest.fixture(scope="module")
def network() -> ResistiveNetwork:
    return ResistiveNetwork.load(FOLDER / "xor.npz")


@pytest.fixture(scope="module")
def agreement(network: ResistiveNetwork) -> Agreement:
    return compare(network, PATTERNS, TARGETS, BETA, "flat")


def solution(folder: Path = FOLDER) -> list[Row]:
    with (folder / "xor_solution.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def row_of(solver: str, beta: float) -> Row:
    """The stored solution of the pattern that the netlists hold, (-1, +1) V."""
    (row,) = (
        row
        for row in solution()
        if (row["solver"], float(row["x_0 (V)"]), float(row["x_1 (V)"]), float(row["beta (S)"]))
        == (solver, -1.0, 1.0, beta)
    )
    return row


def test_the_stored_network_makes_the_stored_files(
    network: ResistiveNetwork, agreement: Agreement, tmp_path: Path
) -> None:
    write(network, agreement, tmp_path)
    for name in ("xor_free.cir", "xor_nudged.cir"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()
    for ours, stored in zip(solution(tmp_path), solution(), strict=True):
        assert list(ours) == list(stored)
        assert ours["solver"] == stored["solver"]
        for name in list(ours)[1:]:
            assert float(ours[name]) == pytest.approx(float(stored[name]), rel=0, abs=BOUND)


@pytest.mark.parametrize(("name", "beta"), [("xor_free.cir", 0.0), ("xor_nudged.cir", BETA)])
@pytest.mark.parametrize("solver", ["surrogate", "ngspice"])
def test_plain_ngspice_prints_the_stored_solution(name: str, beta: float, solver: str, run_ngspice: RunNgspice) -> None:
    done = run_ngspice((FOLDER / name).read_text())
    assert done.code == 0
    assert done.values["v(o_0)"] == pytest.approx(float(row_of(solver, beta)["o_0 (V)"]), rel=0, abs=BOUND)


def test_every_node_of_the_stored_netlist_is_where_the_solution_says(run_ngspice: RunNgspice) -> None:
    nets = ["h1_0", "h1_1", "h1_2", "h1_3", "o_0"]
    prints = "\n".join(f"print v({net})" for net in nets)
    done = run_ngspice((FOLDER / "xor_free.cir").read_text().replace("print v(o_0)", prints))
    for net in nets:
        assert done.values[f"v({net})"] == pytest.approx(
            float(row_of("surrogate", 0.0)[f"{net} (V)"]), rel=0, abs=BOUND
        )


def test_the_stored_solution_has_every_pattern_in_every_phase_from_both_solvers() -> None:
    rows = solution()
    assert len(rows) == 2 * 3 * len(PATTERNS)
    for row, other in zip(rows[:12], rows[12:], strict=True):
        assert (row["solver"], other["solver"]) == ("surrogate", "ngspice")
        assert [row[name] for name in list(row)[1:4]] == [other[name] for name in list(row)[1:4]]
        for name in list(row)[4:]:
            assert float(row[name]) == pytest.approx(float(other[name]), rel=0, abs=BOUND)


def test_the_stored_solution_obeys_the_networks_own_kirchhoff_law(network: ResistiveNetwork) -> None:
    for beta in (0.0, BETA, -BETA):
        found = SurrogateSolver().solve(network, PATTERNS[1:2], Nudge(TARGETS[1:2], beta) if beta else None)
        stored = [float(text) for name, text in row_of("ngspice", beta).items() if name[:2] in ("h1", "o_")]
        np.testing.assert_allclose(np.concatenate(found.voltages, axis=1)[0], stored, rtol=0, atol=BOUND)


def test_the_stored_network_computes_exclusive_or(agreement: Agreement) -> None:
    outputs = agreement.phases[0].outputs
    assert (np.abs(outputs - TARGETS) < LEARNED).all()
    assert agreement.largest_difference <= BOUND
    assert agreement.gradient_difference <= 1e-6
    assert agreement.statuses == {"CONVERGED": 12}


def test_training_with_the_surrogate_from_scratch_gives_the_stored_network(network: ResistiveNetwork) -> None:
    trained, course = learn(0, "surrogate")
    assert 1 < len(course) - 1 < 100
    assert course[0].shape == course[-1].shape == (4,)
    for ours, stored in zip(trained.conductances + trained.biases, network.conductances + network.biases, strict=True):
        np.testing.assert_allclose(ours, stored, rtol=1e-9, atol=0)


def test_training_in_ngspice_from_scratch_learns_the_same_network(network: ResistiveNetwork) -> None:
    trained, _ = learn(0, "ngspice")
    outputs = SurrogateSolver().solve(trained, PATTERNS).outputs
    assert (np.abs(outputs - TARGETS) < LEARNED).all()
    for ours, stored in zip(trained.conductances + trained.biases, network.conductances + network.biases, strict=True):
        np.testing.assert_allclose(ours, stored, rtol=1e-5, atol=0)  # the phases differ by mV, ngspice's rounding by pV


ROW = re.compile(r"^\| `(\w+)` \|.*\| (-?[\d.]+) \|$", re.MULTILINE)


def currents_into(net: str) -> dict[str, float]:
    """Current of every device into a node of ``xor_free.cir``, A, from the values of the file and the stored voltages only."""
    text = (FOLDER / "xor_free.cir").read_text()
    volts = {name[:-4]: float(value) for name, value in row_of("ngspice", 0.0).items() if name.endswith(" (V)")}
    volts |= {"xp_0": -1.0, "xp_1": 1.0, "xn_0": 1.0, "xn_1": -1.0, "rail_p": 0.2}
    volts |= {f"a1_{j}": 4 * volts[f"h1_{j}"] for j in range(4)}
    found, back = {}, 0.0
    for name, one, other, ohms in re.findall(r"^(R\w+) (\S+) (\S+) (\S+)$", text, re.MULTILINE):
        current = (volts[one] - volts[other]) / float(ohms)
        if other == net:
            found[name] = current
        if one == net.replace("h", "a"):
            back -= current / 4
    found |= {name: float(amperes) for name, amperes in re.findall(rf"^(Ib\w+) 0 {net} (\S+)$", text, re.MULTILINE)}
    if net == "h1_0":
        found["Xd1_0"] = -float(NgspiceDiode().current(np.float64(volts["h1_0"])))
        found["Xa1_0"] = back
    return found


@pytest.mark.parametrize(("net", "left"), [("o_0", 0.000000001e-9), ("h1_0", -0.000000008e-9)])
def test_the_hand_check_has_the_files_numbers_and_the_currents_add_up(net: str, left: float) -> None:
    page = (FOLDER / "README.md").read_text()
    (section,) = re.findall(rf"law at {net}, free phase\n(.*?)(?:\n## |\Z)", page, re.DOTALL)
    printed = {name: float(nanoamperes) * 1e-9 for name, nanoamperes in ROW.findall(section)}
    computed = currents_into(net)
    assert printed == pytest.approx(computed, rel=0, abs=0.5000001e-14)
    assert sum(computed.values()) == pytest.approx(left, rel=0, abs=0.5e-18)
    text = (FOLDER / "xor_free.cir").read_text()
    for name, ohms in re.findall(r"^\| `(R\w+)` \|.*\| (\d+\.?\d*) \| \S+ \|$", section, re.MULTILINE):
        (stored,) = re.findall(rf"^{name} \S+ {net} (\S+)$", text, re.MULTILINE)
        assert float(ohms) == pytest.approx(float(stored), rel=1e-9)


def test_the_page_prints_what_ngspice_prints(run_ngspice: RunNgspice) -> None:
    page = (FOLDER / "README.md").read_text()
    shown_outputs = re.findall(r"ngspice -b (\w+\.cir) .*prints v\(o_0\) = (\S+?):?(?:\s|$)", page)
    assert len(shown_outputs) == 2
    for name, shown in shown_outputs:
        done = run_ngspice((FOLDER / name).read_text())
        assert done.values["v(o_0)"] == pytest.approx(float(shown), rel=1e-12)
