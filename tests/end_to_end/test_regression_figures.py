"""The error of a regression is in volts everywhere: progress, tables, curves, report and sweep; on every device."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import dataset_from_arrays, plot_learning_curve, train
from eqprop_analog.cli import console
from eqprop_analog.learning.measure import PREDICTIONS, VOLTS
from eqprop_analog.plotting.sweep import errors_by_setting

PERCENT = re.compile(r"error[^\n|]{0,20}%|%[^\n|]{0,8}error")
X = np.random.default_rng(2).uniform(-1, 1, (60, 2))
SETTINGS = {"layers": [2, 6, 1], "epochs": 2, "batch_size": 4, "precision": "float64", "seed": 3}


def springs():
    return dataset_from_arrays(X, targets=5 * X[:, :1] ** 2 - X[:, 1:], name="springs")


def table(folder: Path) -> Path:
    rows = "".join(f"{u:.4f},{v:.4f},{5 * u * u - v:.4f}\n" for u, v in X)
    (folder / "s.csv").write_text("u,v,force (mN)\n" + rows)
    return folder / "s.csv"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same training by NumPy and by PyTorch."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("regressions")
    devices = ("cpu", "torch-cpu")
    return {device: train(springs(), folder / device, device=device, sweeps=4, **SETTINGS) for device in devices}


def test_torch_measures_the_same_volts(runs) -> None:
    ours, torchs = (runs[device].metrics["history"] for device in ("cpu", "torch-cpu"))
    for one, other in zip(ours, torchs, strict=True):
        for figure in ("train_rms", "test_rms", "train_error", "test_error"):
            assert other[figure] == pytest.approx(one[figure], rel=1e-6)


def test_the_learning_curve_is_in_millivolts(runs) -> None:
    run = runs["cpu"]
    (axes,) = plot_learning_curve(run).axes
    assert "mV" in axes.get_ylabel()
    curve = axes.get_lines()[-1].get_ydata()
    np.testing.assert_allclose(curve, [1e3 * entry["test_rms"] for entry in run.metrics["history"]])
    assert "%" in plot_learning_curve([{"epoch": 1, "train_error": 0.5, "test_error": 0.6}]).axes[0].get_ylabel()


def test_train_report_and_sweep_never_say_error_in_percent(run, tmp_path) -> None:
    given = ("--dataset", table(tmp_path).name, "--target-column", "force (mN)", "--layers", 2, 4, 1, "--epochs", 1)
    done = run("train", *given, "--output", "run", "--no-verify")
    assert done.code == 0, done.err
    assert run("report", "run").code == 0
    page = (tmp_path / "run" / "report.html").read_text()
    live = (tmp_path / "run" / "live.html").read_text() if (tmp_path / "run" / "live.html").exists() else ""
    swept = run("sweep", "--preset", "own-shape", *given, "--vary", "batch_size", 4, 8, "--output", "sweep")
    assert swept.code == 0, swept.err
    for text in (done.out + done.err, swept.out + swept.err, page, live):
        assert not PERCENT.search(text), PERCENT.search(text)
    assert "mV" in page
    assert re.search(r"test \(mV\)", swept.out)
    assert "rms" in (tmp_path / "sweep" / "sweep.csv").read_text().splitlines()[0]


@pytest.mark.parametrize(("measure", "value", "text"), [(PREDICTIONS, 0.125, "12.50 %"), (VOLTS, 0.125, "125 mV")])
def test_progress_is_in_the_unit_of_the_stage(measure, value, text, monkeypatch, capsys) -> None:
    monkeypatch.setattr(console, "LINE_SECONDS", 0.0)
    with console.stage("epoch 1/2", 10, "samples", measure) as advance:
        advance(5, value)
    said = "".join(capsys.readouterr())
    assert "5 of 10 samples" in said
    assert text in said


def test_the_remaining_time_is_estimated_without_the_time_of_compilation(monkeypatch, capsys) -> None:
    clock, compiled = [0.0], [5.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(console.compilation, "total", lambda: compiled[0])
    with console.stage("epoch 1/2", 100, "samples", PREDICTIONS) as advance:
        clock[0], compiled[0] = 41.0, 45.0  # a second of work after 40 s of compilation
        advance(10, math.nan)
    assert "about 9 s left" in "".join(capsys.readouterr())


def test_a_sweeps_picture_has_the_unit(tmp_path) -> None:
    groups = [
        {"beta": k, "rms": 0.01 * k, "rms_deviation": None, "error": 1.0, "error_deviation": None} for k in (1, 2)
    ]
    errors_by_setting(groups, ["beta"], "test", tmp_path / "s.svg", VOLTS)
    assert (tmp_path / "s.svg").stat().st_size
