"""``eqprop-analog study`` resumes, writes a report, and ends with exit code 2 if a bound is missed."""

import csv
import json
import shutil
from pathlib import Path

import matplotlib.image
import pytest

from eqprop_analog.cli import main
from eqprop_analog.networks.resistive import random_circuits as study

CIRCUITS = 5


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small study."""
    folder = tmp_path_factory.mktemp("study")
    command = ("study", "--circuits", CIRCUITS, "--output", folder / "out", "--json", folder / "out" / "all.json")
    assert main([str(argument) for argument in command]) == 0
    return folder / "out"


@pytest.fixture
def finished(measured: Path, tmp_path: Path) -> Path:
    """A copy of this folder."""
    return shutil.copytree(measured, tmp_path / "out")


def test_report_holds_every_circuit(finished):
    report = json.loads((finished / "study.json").read_text())
    assert report["met"]
    assert (report["seed"], report["circuits"], report["circuits_not_met"]) == (0, CIRCUITS, [])
    with (finished / "study.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    complete = json.loads((finished / "all.json").read_text())
    for number, (row, circuit) in enumerate(zip(rows, complete["circuit"], strict=True)):
        assert circuit == json.loads(study.path_of(finished, number).read_text())
        assert (int(row["number"]), float(row["largest_difference"])) == (number, circuit["largest_difference"])
    largest = max(circuit["relative_difference"] for circuit in complete["circuit"])
    assert report["relative_difference"]["largest"] == largest
    assert matplotlib.image.imread(finished / "agreement.png").std() > 0.01


def test_the_command_prints_the_report_of_a_finished_study(finished, run):
    result = run("study", "--circuits", CIRCUITS, "--output", "out")
    assert (result.code, result.err) == (0, "")
    assert f"{CIRCUITS} random circuits, {9 * CIRCUITS} equilibria" in result.out
    assert f"{9 * CIRCUITS} CONVERGED" in result.out


def test_goes_on_with_what_is_missing_and_notices_what_missed_its_bound(finished, run):
    gone, spoilt, kept = (study.path_of(finished, number) for number in (1, 2, 3))
    before = {path: path.read_text() for path in (gone, spoilt, kept)}
    gone.unlink()
    spoilt.write_text(json.dumps(json.loads(before[spoilt]) | {"met": False}))
    written = kept.stat().st_mtime_ns
    result = run("study", "--circuits", CIRCUITS, "--output", "out")
    assert result.code == 3
    assert "circuits [2]" in result.err
    assert f"holds {CIRCUITS - 1} of {CIRCUITS} circuits already" in result.out
    again, first = (json.loads(text) for text in (gone.read_text(), before[gone]))
    for figures in (again, first):
        del figures["seconds"]
    assert again == first
    assert kept.stat().st_mtime_ns == written


def test_one_circuit_again_alone(finished, run, tmp_path):
    result = run("study", "--circuit", 3, "--output", "nowhere", "--json", "one.json")
    assert (result.code, result.err) == (0, "")
    alone, together = (json.loads(path.read_text()) for path in (tmp_path / "one.json", study.path_of(finished, 3)))
    assert alone["relative_difference"] == together["relative_difference"]
    assert alone["layers"] == together["layers"]
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_of_another_study_is_refused_and_left_alone(finished, run):
    before = study.path_of(finished, 0).read_text()
    result = run("study", "--circuits", CIRCUITS, "--seed", 1, "--output", "out")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "seed 0, not 1" in result.err
    study.path_of(finished, 0).write_text("{")
    result = run("study", "--circuits", CIRCUITS, "--output", "out")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "not a circuit of an agreement study" in result.err
    study.path_of(finished, 0).write_text(before)


def test_a_circuit_whose_workers_die_is_reported(finished, run):
    study.give_up(finished, 0, 4, "WorkerLostError: 5 workers were lost")
    result = run("study", "--circuits", CIRCUITS, "--output", "out")
    assert result.code == 3
    assert "circuits [4]" in result.err
    assert f"{9 * (CIRCUITS - 1)} CONVERGED, 9 SIMULATOR_FAILED" in result.out


@pytest.mark.parametrize("option", ["--circuits", "--workers"])
def test_less_than_one_is_refused(run, option):
    result = run("study", option, 0)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert f"{option}: expected at least 1, got 0" in result.err
