"""A data set of the user's own in commands: training, verify, report, sweep and every family of networks; see test_own_data."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork, SurrogateSolver
from eqprop_analog.experiments.presets import resolve


def parabola_table(folder: Path) -> Path:
    x = np.random.default_rng(3).uniform(-1, 1, (60, 2))
    rows = "".join(f"{u:.4f},{v:.4f},{20 + 5 * u * u - v:.4f}\n" for u, v in x)
    path = folder / "springs.csv"
    path.write_text("u,v,force (mN)\n" + rows)
    return path


class TestCommands:
    """A data set of the user's own, from train to verify and report, for every family of networks."""

    @pytest.fixture
    def trained(self, run, tmp_path):
        parabola_table(tmp_path)
        given = ("train", "--dataset", "springs.csv", "--target-column", "force (mN)", "--output", "run")
        done = run(*given, "--layers", 2, 8, 1, "--epochs", 3)
        assert done.code == 0, done.err
        return given, done

    def test_the_run_tells_of_this_data_set(self, trained, tmp_path):
        folder = tmp_path / "run"
        metrics = json.loads((folder / "metrics.json").read_text())
        settings = tomllib.loads((folder / "config.toml").read_text())
        assert "springs.csv" in trained[1].out
        assert "force (mN)" in trained[1].out
        assert Path(settings["dataset"]) == tmp_path / "springs.csv"
        assert settings["own_data"]["found"]["task"] == "regression"
        assert metrics["agreement"][0]["met"]
        last, targets = metrics["history"][-1], metrics["data"]["targets"]
        assert 0 < last["test_rms"] < 1
        assert targets["names"] == ["force (mN)"]
        # the error is that of the saved network on the file's own rows, in the file's own unit
        config = resolve(str(folder / "config.toml"), {})
        dataset = config.load_data(None)
        network = ResistiveNetwork.load(folder / "network.npz")
        volts = SurrogateSolver().solve(network, dataset.test_images).outputs
        wanted = dataset.targets.back(dataset.test_labels)
        off = dataset.targets.back(volts) - wanted
        assert np.sqrt((off**2).mean()) == pytest.approx(last["test_rms"] * targets["unit"][0], rel=1e-3)

    def test_verify_report_and_resume_know_it(self, trained, run, tmp_path):
        given, _ = trained
        assert run("verify", "run", "--samples", 2, "--form", "norton").code == 0
        assert run(*given, "--layers", 2, 8, 1, "--epochs", 4, "--no-verify").code == 0
        assert run("report", "run").code == 0
        assert "springs.csv" in (tmp_path / "run" / "report.html").read_text()
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "springs.csv").rename(tmp_path / "elsewhere" / "springs.csv")
        lost = run("verify", "run", "--samples", 2)
        assert lost.code == 2
        assert "--data-dir" in lost.err
        assert run("verify", "run", "--samples", 2, "--form", "norton", "--data-dir", "elsewhere").code == 0

    def test_another_file_of_that_name_is_refused(self, trained, run, tmp_path):
        path = tmp_path / "springs.csv"
        path.write_text(path.read_text().replace("\n0", "\n-0", 1) + "0.5,0.5,22\n")
        for command in (("verify", "run"), (*trained[0], "--layers", 2, 8, 1, "--epochs", 5)):
            done = run(*command)
            assert done.code == 2
            assert "SHA-256" in done.err

    def test_a_configuration_file_and_a_sweep_take_it(self, run, tmp_path):
        parabola_table(tmp_path)
        settings = (
            'dataset = "springs.csv"\nlayers = [2, 4, 1]\nepochs = 1\nown_data = {target_column = "force (mN)"}\n'
        )
        (tmp_path / "mine.toml").write_text(settings)
        assert resolve("mine.toml", {}).epochs == 1, "the file's own"
        done = run("sweep", "--preset", "mine.toml", "--vary", "seed", 0, 1, "--output", "runs")
        assert done.code == 0, done.err
        given = ("--dataset", "springs.csv", "--target-column", "force (mN)", "--layers", 2, 4, 1, "--epochs", 1)
        assert run("sweep", "--preset", "own-shape", *given, "--vary", "seed", 0, "--output", "more").code == 0
        counts = [len(json.loads((tmp_path / each / "sweep.json").read_text())["points"]) for each in ("runs", "more")]
        assert counts == [2, 1]

    @pytest.mark.parametrize(
        "options",
        [
            ("--preset", "hopfield-1h", "--layers", 2, 6, 1),
            ("--preset", "regression", "--limit", 12),
            ("--solver", "ngspice", "--layers", 2, 5, 1, "--limit", 8),
        ],
        ids=["hopfield", "graph", "ngspice"],
    )
    def test_every_family_takes_it(self, run, tmp_path, options):
        parabola_table(tmp_path)
        given = ("train", "--dataset", "springs.csv", "--target-column", "force (mN)", "--output", "run", "--no-verify")
        done = run(*given, *options, "--epochs", 2)
        assert done.code == 0, done.err
        history = json.loads((tmp_path / "run" / "metrics.json").read_text())["history"]
        assert all(0 < epoch[name] < 2 for epoch in history for name in ("train_rms", "test_rms"))

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (("--dataset", "springs.csv"), ["--target-column"]),
            (("--dataset", "springz.csv"), ["springz.csv", "no such file"]),
            (("--dataset", "mnits"), ["mnist", "iris"]),
            (("--dataset", "digits", "--target-column", "1"), ["digits", "target_column"]),
            (("--dataset", "springs.csv", "--target-column", "1", "--cost", "x"), ["--cost"]),
            (("--dataset", "springs.csv", "--target-column", "1", "--test-fraction", "1.5"), ["test_fraction", "1.5"]),
            (("--dataset", "springs.csv", "--target-column", "1", "--layers", 3, 4, 1), ["2 inputs", "3"]),
        ],
    )
    def test_a_refusal_leaves_nothing_behind(self, run, tmp_path, options, words):
        parabola_table(tmp_path)
        done = run("train", *options, "--output", "run")
        assert done.code == 2
        for word in words:
            assert word in done.err, done.err
        assert not (tmp_path / "run").exists()
