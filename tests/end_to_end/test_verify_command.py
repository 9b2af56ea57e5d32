"""``eqprop-analog verify``: a run, or any network, against ngspice; the result is then stored with the run."""

import fcntl
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import HopfieldNetwork, ResistiveNetwork
from eqprop_analog.cli import verify
from eqprop_analog.experiments.agreement import confirmed
from eqprop_analog.learning.exact_gradient import implicit_gradient
from eqprop_analog.report.folder import RunFolder


@pytest.fixture
def run_folder(finished_run, tmp_path) -> Path:
    """A finished training without a confirmation in ngspice."""
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
    assert (agreement["form"], agreement["met"]) == ("flat", False)  # stored with the run, too


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


@pytest.fixture
def wired_run(run, preset, dataset) -> Path:
    """A finished training through wires with large voltage drops, without a confirmation in ngspice."""
    options = ["--wire-resistance", "200kohm", "--tile", 8, 8, "--epochs", 1, "--no-verify", "--output", "wired"]
    assert run("train", "--preset", preset, "--data-dir", dataset, *options).code == 0
    return Path("wired")


def test_a_run_through_wires_is_verified_with_its_wires(run, wired_run, dataset, monkeypatch):
    solved = []
    monkeypatch.setattr(
        verify, "confirmed", lambda network, *rest, **more: solved.append(network) or confirmed(network, *rest, **more)
    )
    assert run("verify", wired_run, "--data-dir", dataset, "--samples", 2).code == 0
    (agreement,) = json.loads((wired_run / "metrics.json").read_text())["agreement"]
    assert (agreement["form"], agreement["met"]) == ("flat", True)
    (chip,) = solved
    assert json.loads((wired_run / "metrics.json").read_text())["resistors"] == chip.resistors_in_circuit
    assert (chip.wire_resistance, chip.tile) == (2e5, (8, 8))
    refused = run("verify", wired_run, "--data-dir", dataset, "--samples", 2, "--form", "norton")
    assert refused.code == 2
    assert "wires" in refused.err


def test_a_training_through_more_wires_than_ngspice_solves_is_not_called_verified(run, preset, dataset, monkeypatch):
    for name in ("SPARSE_LIMIT", "KLU_LIMIT"):
        monkeypatch.setattr(f"eqprop_analog.experiments.agreement.{name}", 10)
    options = ["--wire-resistance", "1kohm", "--epochs", 1, "--output", "wired"]
    result = run("train", "--preset", preset, "--data-dir", dataset, *options)
    assert result.code == 0
    assert "not verified" in result.out + result.err
    assert "agreement" not in json.loads(Path("wired/metrics.json").read_text())
    assert not Path("wired/agreement.png").exists()


def test_the_exact_gradient_in_a_report_is_that_through_the_wires(wired_run, dataset):
    run = RunFolder.load(wired_run, Path(dataset))
    exact = implicit_gradient(run.circuit, *run.samples, run.phases[0])["conductance_1"]
    off = {}
    for read_at in ("nodes", "cells"):
        config = run.config.model_copy(update={"read_at": read_at})
        found = config.contrast(run.circuit, run.samples[0], *run.solved(0.1)[1:])["conductance_1"]
        off[read_at] = np.abs(found - exact).max() / np.abs(exact).max()
    assert off["cells"] < 1e-3
    assert off["nodes"] > 0.05
