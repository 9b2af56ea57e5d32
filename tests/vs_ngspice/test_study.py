"""The agreement study: a part of it, its random draws, and the detection of a disagreement."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from eqprop_analog import NgspiceSolver, SurrogateSolver
from eqprop_analog.devices import LAWS, Antiparallel
from eqprop_analog.networks.resistive import random_circuits as study
from eqprop_analog.spice.ngspice.workers import Workers

SLICE = range(12)
DRAWN = range(160)


@pytest.fixture(scope="module")
def measured() -> Iterator[dict[int, dict[str, Any]]]:
    """A part of the study that the command runs by default."""
    work = Workers(1, time_limit=60)
    jobs = {number: work.submit(study.measure, 0, number) for number in SLICE}
    yield {number: work.result(job) for number, job in jobs.items()}
    work.close()


@pytest.mark.parametrize("number", SLICE)
def test_surrogate_and_ngspice_agree_to_rounding(number: int, measured: dict[int, dict[str, Any]]) -> None:
    figures = measured[number]
    assert figures["statuses"] == {"ngspice": {"CONVERGED": 9}, "surrogate": {"CONVERGED": 9}}
    assert figures["met"]
    assert figures["relative_difference"] <= 1e-9
    assert figures["gradient_difference"] <= 1e-7
    assert figures["gradients_bound_by_rounding"] < figures["gradients"]
    assert json.loads(json.dumps(figures)) == figures


def test_half_of_the_circuits_agree_to_a_tenth_of_a_picovolt(measured: dict[int, dict[str, Any]]) -> None:
    figures = study.summary(list(measured.values()))
    assert figures["met"]
    assert figures["relative_difference"]["median"] <= 1e-13
    assert figures["equilibria"] == 9 * len(SLICE)


def test_the_third_answer_in_a_row_leaves_rounding_alone_of_ngspices_tolerances(ngspice: NgspiceSolver) -> None:
    case = study.draw(0, 31)
    computed = SurrogateSolver().solve_phases(case.network.in_spice(), case.inputs, case.nudges)
    patient = NgspiceSolver(repeats=3)
    first, third = (solver.solve_phases(case.network, case.inputs, case.nudges) for solver in (ngspice, patient))
    patient.close()
    assert 1e-13 < study._difference(first, computed)[1] < 1e-10
    assert study._difference(third, computed)[1] < 2e-14


def test_every_law_is_drawn_single_and_in_pairs() -> None:
    cases = [study.draw(0, number) for number in range(len(study.kinds()))]
    drawn = [(type(case.network.single_diode), isinstance(case.network.diode, Antiparallel)) for case in cases]
    assert sorted(map(str, drawn)) == sorted(
        str((law, pair)) for law in LAWS.values() if hasattr(law, "drawn") for pair in (False, True)
    )


def test_circuits_reach_what_they_are_meant_to_test() -> None:
    cases = [study.draw(0, number) for number in DRAWN]
    networks = [case.network for case in cases]
    assert {network.depth for network in networks} == {2, 3, 4, 5}
    widths = [width for network in networks for width in network.layers]
    assert (min(widths), max(widths)) == (1, study.WIDEST)
    gains = [gain for network in networks for gain in network.amplifier_gain]
    assert min(gains) == 1
    assert 19 < max(gains) <= 20
    nonzero = np.concatenate([matrix[matrix > 0] for network in networks for matrix in network.conductances])
    assert nonzero.min() < 1.01e-8
    assert nonzero.max() > 0.99e-4
    rows = [np.abs(case.network.input_gain * case.inputs).max() for case in cases]
    assert 9 < max(rows) <= 10
    assert {(nudge.kind, nudge.cost) for case in cases for nudge in case.nudges} == {
        ("conductance", "squared-error"),
        ("current", "squared-error"),
        ("current", "cross-entropy"),
    }
    assert {(network.bias_row != 0, network.outputs) for network in networks} == {
        (row, outputs) for row in (False, True) for outputs in ("single", "pairs")
    }
    assert {network.diode == network.in_spice().diode for network in networks} == {True, False}  # ideal clamps too


def test_a_circuit_is_the_same_whichever_others_are_drawn() -> None:
    again = [study.draw(5, number) for number in (3, 2, 3)]
    first, other, second = (case.network.conductances[0] for case in again)
    np.testing.assert_array_equal(first, second)
    assert first.shape != other.shape or (first != other).any()
    assert (study.draw(6, 3).network.layers, again[0].network.layers) != (again[0].network.layers,) * 2


@pytest.mark.parametrize(("shift", "met"), [(0.0, True), (1e-11, True), (3e-9, False)])
def test_a_node_beyond_the_bound_is_seen(shift: float, met: bool) -> None:
    case = study.draw(0, 4)
    computed = SurrogateSolver().solve_phases(case.network.in_spice(), case.inputs, case.nudges)
    free = computed[0]
    moved = replace(free, voltages=(free.voltages[0] + shift, *free.voltages[1:]))
    figures = study._agreement(case, (moved, *computed[1:]), computed)
    assert figures["met"] is met
    assert figures["largest_difference"] == pytest.approx(shift, rel=1e-4)
    assert figures["gradient_difference"] == 0


def test_a_gradient_beyond_the_bound_is_seen_where_the_voltages_are_within_theirs() -> None:
    case = study.draw(0, 4)
    computed = SurrogateSolver().solve_phases(case.network.in_spice(), case.inputs, case.nudges)
    plus = computed[1]
    moved = replace(plus, voltages=(plus.voltages[0] + 1e-10, *plus.voltages[1:]))
    figures = study._agreement(case, (computed[0], moved, computed[2]), computed)
    assert figures["relative_difference"] <= study.LARGEST_DIFFERENCE
    assert figures["gradient_difference"] > study.LARGEST_GRADIENT_DIFFERENCE
    assert not figures["met"]


def test_a_circuit_without_an_equilibrium_is_no_success() -> None:
    good = {"relative_difference": 0.0, "gradient_difference": 0.0, "condition": 1.0, "voltage_bound": 1e-9}
    good |= {"gradients": 4, "gradients_bound_by_rounding": 0, "gradient_roundings": 0.0, "met": True, "number": 0}
    statuses = {"ngspice": {"CONVERGED": 9}, "surrogate": {"CONVERGED": 9}}
    bad = {"number": 1, "met": False, "statuses": {"ngspice": {"STALLED": 9}, "surrogate": {"CONVERGED": 9}}}
    assert study.summary([good | {"statuses": statuses}])["met"]
    figures = study.summary([good | {"statuses": statuses}, bad])
    assert not figures["met"]
    assert figures["circuits_not_met"] == [1]
    assert figures["statuses"]["ngspice"] == {"CONVERGED": 9, "STALLED": 9}
