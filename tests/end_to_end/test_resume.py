"""A run that stops, however it stops, goes on to the same bits as one that never did."""

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eqprop_analog import cli

pytestmark = pytest.mark.usefixtures("without_ngspice", "without_plots")

TRUNCATED = 'sweeps = 4\nprecision = "float32"\nshift = 1\n'
"""How the main network trains, on shifted images."""
BATCHES = 90 // 5
"""Batches of an epoch; a progress report each, and one for the test images after them."""

# conftest.py's synthetic data set becomes the published one, and SIGKILL comes after so many batches, or in place of the
# rename that ends the writing of the n-th checkpoint.
KILLED = """
import contextlib, os, runpy, signal, sys
from pathlib import Path
import eqprop_analog.files
from eqprop_analog import cli
from eqprop_analog.data import publications

conftest, folder, event, left, *arguments = sys.argv[1:]
publications.PUBLICATIONS["mnist"] = runpy.run_path(conftest)["published"](Path(folder))
left = int(left)
replace = os.replace

def count():
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

@contextlib.contextmanager
def counted_stage(description, total):
    yield lambda done, error: count()

def counted_replace(source, destination):
    if Path(destination).name == "checkpoint.npz":
        count()
    replace(source, destination)

if event == "batch":
    cli.console.stage = counted_stage
else:
    eqprop_analog.files.os.replace = counted_replace
sys.exit(cli.main(arguments))
"""


@pytest.fixture
def without_plots(monkeypatch) -> None:
    """Most of a small run's time goes into its plots, which say nothing here."""
    monkeypatch.setattr("eqprop_analog.run.learning_curve", lambda history, path: None)
    monkeypatch.setattr("eqprop_analog.run.conductance_histograms", lambda network, path: None)


@pytest.fixture(params=["truncated", "converged"])
def preset(request, preset) -> Path:
    """Both ways of training: the surrogate's float32 and fixed sweeps, and float64 to convergence."""
    if request.param == "truncated":
        preset.write_text(preset.read_text() + TRUNCATED)
    return preset


@pytest.fixture
def train(run, preset, dataset):
    """Train into a folder under the run's working folder."""
    return lambda output, *more: run("train", "--preset", preset, "--data-dir", dataset, "--output", output, *more)


def state(folder: str) -> dict[str, Any]:
    """All that a run left, to the bit, less the seconds it took and where it was."""
    metrics = json.loads(Path(folder, "metrics.json").read_text())
    for epoch in metrics["history"]:
        del epoch["seconds"]
    with np.load(Path(folder, "checkpoint.npz")) as file:
        saved = {name: file[name].tobytes() for name in file.files if name != "state"}
        random = json.loads(str(file["state"]))["random"]
    return {
        "network": Path(folder, "network.npz").read_bytes(),
        "config": Path(folder, "config.toml").read_text(),
        "history": metrics["history"],
        "checkpoint": saved,
        "random": random,
    }


def test_two_and_two_epochs_are_four(train):
    assert train("whole", "--epochs", 4).code == 0
    assert train("parts", "--epochs", 2).code == 0
    assert Path("parts/network.npz").read_bytes() != Path("whole/network.npz").read_bytes()
    assert train("parts", "--epochs", 4, "--resume").code == 0
    assert state("parts") == state("whole")


def test_resuming_a_finished_run_changes_nothing(train):
    assert train("run").code == 0
    before = state("run")
    result = train("run", "--resume")
    assert (result.code, result.err) == (0, "")
    assert state("run") == before


@pytest.mark.parametrize(
    ("event", "count", "done"),
    [("batch", BATCHES // 2, 0), ("batch", BATCHES + 1 + BATCHES // 3, 1), ("checkpoint", 2, 0), ("checkpoint", 3, 1)],
    ids=["in-epoch-1", "in-epoch-2", "while-saving-epoch-1", "while-saving-epoch-2"],
)
@pytest.mark.parametrize("preset", ["truncated"], indirect=True)
def test_killed_run_goes_on_to_the_same_bits(train, preset, dataset, tmp_path, event, count, done):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    common = ("train", "--preset", preset, "--data-dir", dataset, "--output", "parts")
    killed = subprocess.run(
        [sys.executable, script, Path(__file__).with_name("conftest.py"), dataset, event, str(count), *common],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert killed.stdout.count("training error") == done
    assert not Path("parts/network.npz").exists()
    assert train("whole").code == 0
    assert train("parts", "--resume").code == 0
    assert state("parts") == state("whole")


def test_interrupted_run_says_how_to_go_on_and_does(train, monkeypatch):
    @contextmanager
    def stage(description, total):
        def progress(done, error):
            if description.startswith("epoch 2") and done > 45:
                raise KeyboardInterrupt

        yield progress

    with monkeypatch.context() as patch:
        patch.setattr(cli.console, "stage", stage)
        result = train("parts", "--epochs", 3)
    assert result.code == 130
    assert result.err.startswith("error: interrupted")
    assert "--resume" in result.err
    assert len(result.err.splitlines()) == 1
    assert train("parts", "--epochs", 3, "--resume").code == 0
    assert train("whole", "--epochs", 3).code == 0
    assert state("parts") == state("whole")


@pytest.mark.parametrize("option", ["--threads", "--workers"])
@pytest.mark.parametrize("preset", ["truncated"], indirect=True)
def test_how_it_is_computed_may_change(train, option):
    assert train("run", "--epochs", 1).code == 0
    assert train("run", "--epochs", 2, "--resume", option, 2).code == 0
    assert train("whole", "--epochs", 2).code == 0
    assert Path("run/network.npz").read_bytes() == Path("whole/network.npz").read_bytes()
