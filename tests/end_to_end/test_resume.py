"""A run that is stopped in any way resumes bit-identically to one that was not stopped."""

import errno
import fcntl
import json
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork, cli
from eqprop_analog.experiments import run as trained
from eqprop_analog.networks.resistive import training as resistive
from eqprop_analog.networks.resistive.truncated import TruncatedLearner

pytestmark = [pytest.mark.usefixtures("without_ngspice", "without_plots"), pytest.mark.compiled]

TRUNCATED = 'sweeps = 4\nprecision = "float32"\nshift = 1\n'
"""How the main network trains, on shifted images."""
BATCHES = 90 // 5
"""Batches of an epoch; a progress report each, and one for the test images after them."""

# conftest.py's synthetic data set replaces the published one, and SIGKILL is sent after a number of batches, or instead of
# the rename that completes the n-th checkpoint. The last number is the interval of checkpoints in seconds; 0 is every batch.
KILLED = """
import contextlib, os, runpy, signal, sys
from pathlib import Path
import eqprop_analog.files
from eqprop_analog import cli
from eqprop_analog.experiments import run
from eqprop_analog.data import publications

conftest, folder, event, left, seconds, *arguments = sys.argv[1:]
sys.path.insert(0, str(Path(conftest).parents[1]))
run.CHECKPOINT_SECONDS = float(seconds)
run.SHARE = float("inf")  # after every epoch, however slow the disk
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
    """Most of the time of a small run is spent on its plots, which are not needed here."""
    monkeypatch.setattr("eqprop_analog.experiments.run.learning_curve", lambda *_: None)
    monkeypatch.setattr(
        "eqprop_analog.networks.resistive.histograms.conductance_histograms", lambda network, path: None
    )


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


@pytest.fixture
def stopped(train, monkeypatch):
    """Stop a training, with a checkpoint after every batch, after a number of batches and chunks of test images."""

    class Stop(BaseException):
        pass

    def stopped(output: str, count: int) -> None:
        left = count

        @contextmanager
        def stage(description, total):
            def progress(done, error):
                nonlocal left
                left -= 1
                if left == 0:
                    raise Stop

            yield progress

        with monkeypatch.context() as patch:
            patch.setattr(cli.console, "stage", stage)
            patch.setattr(trained, "CHECKPOINT_SECONDS", 0.0)
            with pytest.raises(Stop):
                train(output)

    return stopped


def state(folder: str) -> dict[str, Any]:
    """All results of a run, bit by bit, without its times and its folder."""
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
    ("count", "place"),
    [
        (1, "0 of 2 epochs"),
        (7, "0 of 2 epochs and 30 images"),
        (BATCHES + 1, "0 of 2 epochs and 90 images"),
        (BATCHES + 2, "1 of 2 epochs"),
        (2 * BATCHES, "1 of 2 epochs and 80 images"),
        (2 * BATCHES + 2, "1 of 2 epochs and 90 images"),
    ],
)
def test_run_stopped_within_an_epoch_goes_on_from_its_last_batch_to_the_same_bits(train, stopped, count, place):
    stopped("parts", count)
    result = train("parts")
    assert result.code == 0, result.err
    assert f"parts: resuming after {place}\n" in result.out
    assert train("whole").code == 0
    assert state("parts") == state("whole")


@pytest.mark.parametrize("preset", ["truncated"], indirect=True)
def test_run_whose_parameters_are_on_a_gpu_goes_on_from_those_of_the_checkpoint(preset, train, stopped, monkeypatch):
    class Elsewhere(TruncatedLearner):
        """Trains a copy of the network, as TorchLearner does."""

        def __init__(self, network, rule, sweeps, method, _device):
            super().__init__(network.astype(np.float32), rule, sweeps, method)
            self.followed = network

        @staticmethod
        def require_possible(*_settings):
            """Anything is possible here."""

        def finish(self):
            for theirs, mine in zip(self.followed.arrays().values(), self.network.arrays().values(), strict=True):
                theirs[...] = mine

    monkeypatch.setattr(resistive, "_torch_learner", lambda *_: Elsewhere)
    preset.write_text('device = "cuda"\n' + preset.read_text())
    stopped("parts", BATCHES + 7)
    assert train("parts").code == 0
    assert train("whole").code == 0
    assert state("parts") == state("whole")


@pytest.mark.parametrize(
    ("preset", "event", "count", "seconds", "done"),
    [
        ("converged", "batch", BATCHES // 2, 60, 0),
        ("truncated", "batch", BATCHES + 1 + BATCHES // 3, 0, 1),
        ("converged", "checkpoint", 2, 60, 0),
        ("converged", "checkpoint", BATCHES + 12, 0, 1),
    ],
    ids=["in-epoch-1", "in-epoch-2", "while-saving-epoch-1", "while-saving-in-epoch-2"],
    indirect=["preset"],
)
def test_killed_run_goes_on_to_the_same_bits(train, preset, dataset, tmp_path, event, count, seconds, done):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    common = ("train", "--preset", preset, "--data-dir", dataset, "--output", "parts")
    given = (Path(__file__).with_name("conftest.py"), dataset, event, str(count), str(seconds), *common)
    killed = subprocess.run(
        [sys.executable, script, *given], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=180
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert killed.stdout.count("training error") == done
    assert not Path("parts/network.npz").exists()
    assert train("whole").code == 0
    assert train("parts").code == 0
    assert state("parts") == state("whole")
    assert {path.name for path in Path("parts").iterdir()} == {path.name for path in Path("whole").iterdir()}


@pytest.mark.parametrize("preset", ["converged"], indirect=True)
class TestFolder:
    def test_run_killed_before_its_last_files_gets_them(self, train, monkeypatch):
        class Killed(BaseException):
            pass

        def killed(*arguments):
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(trained, "_finish", killed)
            with pytest.raises(Killed):
                train("run")
        assert not Path("run/network.npz").exists()
        result = train("run")
        assert result.code == 0
        assert "run: finished after 2 epochs" in result.out
        assert "--epochs" in result.out
        assert train("whole").code == 0
        assert state("run") == state("whole")

    def test_resume_finds_the_usual_folder_and_its_settings(self, run, preset, dataset, monkeypatch):
        monkeypatch.setitem(cli.train.DEFAULT_PRESETS, "surrogate", str(preset))
        assert run("train", "--data-dir", dataset, "--limit", 30, "--epochs", 1).code == 0
        assert run("train", "--data-dir", dataset, "--resume", "--epochs", 2).code == 0
        metrics = json.loads(Path("runs/small-0/metrics.json").read_text())
        assert [epoch["samples"] for epoch in metrics["history"]] == [30, 30]

    def test_second_run_in_a_folder_is_refused_and_names_the_first(self, train):
        assert train("run", "--epochs", 1).code == 0
        with Path("run/.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write("4711")
            lock.flush()
            result = train("run")
        assert result.code == 2
        assert "run: in use by process 4711; wait for it, stop it, or choose another folder" in result.err
        assert train("run").code == 0

    def test_files_half_written_by_a_killed_run_are_removed(self, train):
        Path("run").mkdir()
        Path("run/.partial-checkpoint-abc.npz").write_bytes(b"PK half")
        Path("run/.lock").write_text("4711")
        assert train("run").code == 0
        assert not [path for path in Path("run").iterdir() if path.name.startswith(".")]

    @pytest.mark.parametrize("count", [1, 3, 25])
    def test_full_disk_costs_nothing_that_was_saved(self, train, monkeypatch, count):
        left = count

        def full(handle):
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(trained, "CHECKPOINT_SECONDS", 0.0)
            patch.setattr("os.fsync", full)
            result = train("run")
        assert result.code == 2
        assert re.search("No space left on device; .*intact", result.err)
        assert train("run").code == 0
        assert train("whole").code == 0
        assert state("run") == state("whole")

    def test_run_that_diverges_keeps_its_last_good_checkpoint(self, train, monkeypatch):
        assert train("run", "--epochs", 1).code == 0
        before = Path("run/checkpoint.npz").read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr("eqprop_analog.learning.trainer.Learner.run_pass", lambda *arguments: None)
            patch.setattr(ResistiveNetwork, "arrays", lambda network: {"bias_1": np.array([np.nan])})
            patch.setattr(trained.Checkpoint, "restore", lambda *arguments: None)
            assert "training diverged" in train("run").err
        assert Path("run/checkpoint.npz").read_bytes() == before


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
    assert "the same command again" in result.err
    assert len(result.err.splitlines()) == 1
    assert train("parts", "--epochs", 3).code == 0
    assert train("whole", "--epochs", 3).code == 0
    assert state("parts") == state("whole")


@pytest.mark.parametrize("option", ["--threads", "--workers"])
@pytest.mark.parametrize("preset", ["truncated"], indirect=True)
def test_how_it_is_computed_may_change(train, option):
    assert train("run", "--epochs", 1).code == 0
    assert train("run", "--epochs", 2, "--resume", option, 2).code == 0
    assert train("whole", "--epochs", 2).code == 0
    assert Path("run/network.npz").read_bytes() == Path("whole/network.npz").read_bytes()
