"""``eqprop-analog verify``: a run, or any network, against ngspice on demand; what comes out is the run's from then on."""

import fcntl
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import HopfieldNetwork, ResistiveNetwork


@pytest.fixture
def run_folder(finished_run, tmp_path) -> Path:
    """A finished training that was never confirmed in ngspice."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def test_a_run_gets_its_agreement(run, run_folder, dataset):
    before = json.loads((run_folder / "metrics.json").read_text())
    assert "agreement" not in before
    result = run("verify", "run", "--data-dir", dataset, "--samples", 4, "--json", "out.json")
    assert (result.code, result.err) == (0, "")
    figures, after = (json.loads(Path(path).read_text()) for path in ("out.json", "run/metrics.json"))
    assert after == before | {"agreement": figures["agreement"]}
    norton, flat = figures["agreement"]
    assert [(each["form"], each["samples"], each["met"]) for each in (norton, flat)] == [
        ("norton", 4, True),
        ("flat", 1, True),
    ]
    assert norton["beta"] == before["config"]["beta"]
    assert 0 < max(norton["largest_difference"], 1e-300) <= 1e-9
    assert (run_folder / "agreement.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_any_network_and_one_that_cannot_be(run, tmp_path):
    ResistiveNetwork.dense([4, 3, 2], seed=0).save(tmp_path / "net.npz")
    assert run("verify", "net.npz", "--picture", "net.svg").code == 0
    assert b"<svg" in (tmp_path / "net.svg").read_bytes()
    refused = run("verify", "net.npz", "--picture", "net.gif")
    assert refused.code == 2
    assert ".png" in refused.err


def test_one_form_alone_and_a_bound_that_is_missed(run, run_folder, dataset, monkeypatch):
    monkeypatch.setattr("eqprop_analog.experiments.agreement.LARGEST_DIFFERENCE", -1.0)
    result = run("verify", "run", "--data-dir", dataset, "--samples", 2, "--form", "flat")
    assert result.code == 3
    assert result.err == "not met: ngspice and the surrogate do not agree within the bounds in the table\n"
    (agreement,) = json.loads((run_folder / "metrics.json").read_text())["agreement"]
    assert (agreement["form"], agreement["met"]) == ("flat", False)  # the run says so, too


@pytest.mark.parametrize("kind", [ResistiveNetwork, HopfieldNetwork])
def test_a_network_file_on_inputs_of_ones_own(run, tmp_path, kind):
    kind.dense([4, 6, 2], seed=3).save(tmp_path / "net.npz")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).uniform(size=(3, 4)))
    result = run("verify", "net.npz", "--inputs", "x.npy", "--json", "-", "--quiet")
    assert result.code == 0
    figures = json.loads(result.out)
    assert [each["samples"] for each in figures["agreement"]] == [3, 1]
    assert figures["met"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "--dataset", "mnist"), "a run has its own data set; leave out --dataset"),
        (("run", "--samples", 0), "--samples: expected at least 1, got 0"),
        ((".",), "no finished run (config.toml is missing)"),
        (("none.npz",), "none.npz: no such network file"),
    ],
)
@pytest.mark.usefixtures("run_folder")
def test_bad_input(run, dataset, words, message):
    result = run("verify", *words, "--data-dir", dataset)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert message in result.err


@pytest.mark.parametrize("command", ["verify", "report"])
def test_figures_are_not_put_into_a_run_that_another_process_trains(run, run_folder, dataset, command):
    before = (run_folder / "metrics.json").read_bytes()
    with (run_folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711")
        lock.flush()
        result = run(command, "run", "--data-dir", dataset)
    said = result.err if command == "verify" else (run_folder / "report.html").read_text()
    assert result.code == (2 if command == "verify" else 0)
    assert "run: in use by process 4711" in said
    assert (run_folder / "metrics.json").read_bytes() == before


def test_damaged_metrics(run, run_folder, dataset):
    (run_folder / "metrics.json").write_text("[]")
    result = run("verify", "run", "--data-dir", dataset)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "metrics.json: not the metrics of a run" in result.err


def test_what_would_take_hours_is_not_begun(run, tmp_path, monkeypatch):
    ResistiveNetwork.dense([4, 6, 2]).save(tmp_path / "net.npz")
    monkeypatch.setattr("eqprop_analog.experiments.agreement.NORTON_LIMIT", 11)
    result = run("verify", "net.npz")
    assert result.code == 2
    assert "verify --form norton" in result.err
    assert run("verify", "net.npz", "--form", "norton").code == 0
