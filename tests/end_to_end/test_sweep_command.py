"""``eqprop-analog sweep``: a grid is checked, trained, reported and drawn; finished points are not trained again."""

import csv
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import matplotlib.image
import pytest

from eqprop_analog import ResistiveNetwork
from eqprop_analog.experiments.sweep import value_of

PROGRAM = Path(sys.executable).with_name("eqprop-analog")
GRID = ("--vary", "beta", "1e-7", "2e-7", "--vary", "seed", 0, 1)


@pytest.fixture
def sweep(run, preset, dataset):
    """Sweep over the synthetic data set."""
    return lambda *more: run(
        "sweep", "--preset", preset, "--data-dir", dataset, "--epochs", 1, "--limit", 30, "--output", "s", *more
    )


def test_every_point_is_a_run_and_the_figures_are_theirs(sweep, run, preset, dataset):
    result = sweep(*GRID, "--json", "out.json")
    assert (result.code, result.err) == (0, "")
    figures = json.loads(Path("out.json").read_text())
    assert figures == json.loads(Path("s/sweep.json").read_text())
    assert run("report", "s").code == 0
    page = Path("s/report.html").read_text()
    assert all(f">{100 * group['error']:.2f}" in page for group in figures["groups"][:1])
    assert page.count("<img") == 2  # of the last epoch, and the curves
    assert figures["varied"] == {"beta": [1e-7, 2e-7], "seed": [0, 1]}
    assert figures["fixed"] == {"epochs": 1, "limit": 30}
    found = {}
    for row in figures["points"]:
        metrics = json.loads(Path(row["folder"], "metrics.json").read_text())
        assert (metrics["config"]["beta"], metrics["config"]["seed"]) == (row["beta"], row["seed"])
        assert (metrics["test_error"], metrics["train_error"]) == (row["error"], row["train_error"])
        found.setdefault(row["beta"], []).append(row["error"])
    assert [(g["beta"], g["points"], g["error"], g["error_deviation"]) for g in figures["groups"]] == [
        (beta, 2, pytest.approx(statistics.mean(errors)), pytest.approx(statistics.stdev(errors)))
        for beta, errors in found.items()
    ]
    rows = list(csv.DictReader(Path("s/sweep.csv").read_text().splitlines()))
    assert [float(row["error"]) for row in rows] == [row["error"] for row in figures["points"]]
    assert all(matplotlib.image.imread(f"s/{name}.png").shape[1] > 400 for name in ("sweep", "curves"))

    common = ("--preset", preset, "--data-dir", dataset, "--epochs", 1, "--limit", 30)
    assert run("train", *common, "--seed", 1, "--output", "alone").code == 0
    alone, point = (ResistiveNetwork.load(f"{folder}/network.npz") for folder in ("alone", "s/beta=1e-07,seed=1"))
    assert all((a == b).all() for a, b in zip(alone.conductances, point.conductances, strict=True))


def test_what_is_finished_is_left_and_more_epochs_go_on(sweep):
    assert sweep("--vary", "seed", 0, 1).code == 0
    before = {path: path.stat().st_mtime_ns for path in Path("s").glob("*/network.npz")}
    again = sweep("--vary", "seed", 0, 1, 2)
    assert "2 of 3 points are finished already" in again.out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "after 2 epochs" in sweep("--vary", "seed", 0, "--epochs", 2).out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--vary", "colour", 1, 2), "colour=1: configuration: colour"),
        (("--vary", "beta", "1e-7", "-1"), "beta=-1: configuration: beta: .*greater than 0"),
        (("--vary", "beta", "1e-7", "1e-7"), "--vary beta: the same value is given twice"),
        (("--vary", "beta", "1e-7", "--vary", "beta", "1e-6"), "--vary beta: the same value is given twice"),
        (("--vary", "beta"), "--vary beta: expected at least one value"),
        (("--vary", "epochs", 1, 2), "--vary epochs: it is also set by --epochs"),
        (("--vary", "layers", "[16, 3]", "[15, 3]"), "layers: mnist needs 16 inputs"),
        (("--vary", "seed", 0, "--workers", 0), "--workers: expected at least 1, got 0"),
    ],
)
def test_bad_points_are_refused_before_anything_is_trained(sweep, words, message):
    result = sweep(*words)
    assert result.code == 2
    assert re.search(message, result.err), result.err
    assert len(result.err.splitlines()) == 1
    assert not Path("s").exists()


def test_a_folder_of_other_settings_is_refused_before_its_table_is_lost(sweep):
    assert sweep("--vary", "seed", 0, 1).code == 0
    table = Path("s/sweep.csv").read_bytes()
    result = sweep("--vary", "seed", 0, 1, 2, "--limit", 20)
    assert result.code == 2
    assert "started with other settings (limit = 30 then and 20 now)" in result.err
    assert Path("s/sweep.csv").read_bytes() == table
    assert not Path("s/seed=2").exists()


def test_a_point_that_diverges_leaves_the_others(sweep, monkeypatch):
    monkeypatch.setattr("eqprop_analog.networks.resistive.config.ABSURD_BIAS_RATE", float("inf"))
    result = sweep("--vary", "bias_rates", "1e-15", "1e300")
    assert result.code == 3
    assert "1 of 2 points failed; the first error was: " in result.err
    good, bad = json.loads(Path("s/sweep.json").read_text())["points"]
    assert (good["failure"], bad["error"]) == (None, None)
    assert "diverged" in bad["failure"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-7", 1e-7), ("3", 3), ("true", True), ("[16, 3]", [16, 3]), ("cross-entropy", "cross-entropy"), ('"3"', "3")],
)
def test_values_are_as_in_toml(text, value):
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


def test_interrupted_workers_end_and_the_command_says_how_to_go_on(tmp_path):
    pytest.importorskip("sklearn", reason="its digits are the data that worker processes find")
    command = [PROGRAM, "sweep", "--preset", "digits-hopfield-ngspice", "--solver", "surrogate", "--output", "s"]
    command += ["--vary", "seed", "0", "1", "--limit", "20", "--workers", "2"]
    begin = {"cwd": tmp_path, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    begin["preexec_fn"] = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it
    with subprocess.Popen([*command, "--epochs", "100000"], start_new_session=True, **begin) as process:
        begun = [tmp_path / f"s/seed={seed}/checkpoint.npz" for seed in (0, 1)]
        while not all(path.exists() for path in begun) and process.poll() is None:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does on ^C
        try:
            out, err = process.communicate(timeout=60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, "Traceback" in out + err) == (130, False), err
    assert re.fullmatch(r"error: interrupted; run the same command again .*\n", err)
    assert not (tmp_path / "s" / "sweep.json").exists()
