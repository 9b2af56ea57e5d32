"""``train_mnist.py`` on a small synthetic data set: its files, its messages, and the effect of its options."""

import csv
import io
import json
import struct
import subprocess
import tomllib
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork, SurrogateSolver, cli
from eqprop_analog.cli import train as train_command

AGREE = 1e-9
"""Volts: how far ngspice and the surrogate may be apart."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, dataset_folder, publish, small) -> tuple[Path, dict[str, Any], str]:
    """The run folder, the figures of --json, and what was printed."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "small.toml").write_text(small)
    command = ["train", "--preset", "small.toml", "--data-dir", str(dataset_folder), "--seed", "3"]
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
        publish(patch)
        patch.chdir(folder)
        assert cli.main([*command, "--output", "run", "--json", "figures/out.json"]) == 0
    return folder / "run", json.loads((folder / "figures/out.json").read_text()), out.getvalue()


class TestTrainMnist:
    """One run of two epochs on the synthetic data set, with its verification in ngspice, for several tests."""

    def test_json_holds_every_figure(self, trained):
        folder, figures, _ = trained
        assert figures.keys() >= {
            "test_error",
            "train_error",
            "history",
            "samples_per_second",
            "peak_memory_bytes",
            "statuses",
            "config",
            "seed",
            "versions",
        }
        assert figures == json.loads((folder / "metrics.json").read_text())
        assert figures["seed"] == figures["config"]["seed"] == 3
        assert figures["config"]["layers"] == [16, 8, 3]
        assert figures["versions"].keys() >= {"eqprop-analog", "numpy", "scipy", "PySpice", "python", "ngspice"}
        assert 10**7 < figures["peak_memory_bytes"] < 10**11

    def test_history_has_an_object_an_epoch(self, trained):
        _, figures, _ = trained
        history = figures["history"]
        assert [epoch["epoch"] for epoch in history] == [1, 2]
        assert all(0 <= epoch[error] <= 1 for epoch in history for error in ("train_error", "test_error"))
        assert (figures["train_error"], figures["test_error"]) == (history[1]["train_error"], history[1]["test_error"])
        assert all(epoch["seconds"] > 0 for epoch in history)
        assert figures["samples_per_second"] == pytest.approx(2 * 90 / sum(epoch["seconds"] for epoch in history))

    def test_it_learned(self, trained):
        _, figures, _ = trained
        assert figures["history"][1]["train_error"] < figures["history"][0]["train_error"]
        assert figures["test_error"] < 0.3

    def test_every_equilibrium_is_counted(self, trained):
        _, figures, _ = trained
        assert figures["statuses"] == {"CONVERGED": 2 * (3 * 90 + 45)}
        assert sum((Counter(epoch["statuses"]) for epoch in figures["history"]), Counter()) == figures["statuses"]

    def test_it_was_verified_in_ngspice(self, trained):
        _, figures, _ = trained
        (norton,) = figures["agreement"]  # a training this short leaves the flat form to verify
        assert (norton["form"], norton["samples"]) == ("norton", 20)
        assert norton["largest_difference"] <= AGREE
        assert norton["gradient_difference"] <= 1e-6
        assert norton["same_predictions"] is True

    def test_verification_can_be_left_out(self, run, preset, dataset):
        result = run(
            "train",
            "--preset",
            preset,
            "--data-dir",
            dataset,
            "--output",
            "run",
            "--epochs",
            1,
            "--no-verify",
            "--json",
            "f.json",
        )
        assert (result.code, result.err) == (0, "")
        assert "agreement" not in json.loads(Path("f.json").read_text())

    def test_run_folder_is_complete_and_clean(self, trained):
        folder, _, out = trained
        assert {path.name for path in folder.iterdir()} == {
            "network.npz",
            "checkpoint.npz",
            "metrics.csv",
            "metrics.json",
            "config.toml",
            "learning_curve.png",
            "conductances.png",
            "agreement.png",
            "live.html",
        }
        assert all(path.name in out for path in folder.iterdir())
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o666 & ~current_umask()}

    def test_csv_is_the_history(self, trained):
        folder, figures, _ = trained
        rows = list(csv.DictReader(io.StringIO((folder / "metrics.csv").read_text())))
        for row, epoch in zip(rows, figures["history"], strict=True):
            assert {name: float(value) for name, value in row.items()} == {
                name: epoch[name] for name in epoch if name != "statuses"
            }

    def test_network_is_in_its_window_and_scores_what_is_said(self, trained, dataset):
        folder, figures, _ = trained
        network = ResistiveNetwork.load(folder / "network.npz")
        assert network.layers == (16, 8, 3)
        assert network.input_gain == 10
        assert all(((matrix >= 0) & (matrix <= 1e-4)).all() for matrix in network.conductances)
        images = train_command.data.load("mnist", dataset)
        free = SurrogateSolver().solve(network, images.test_images.astype(float))
        assert np.mean(free.outputs.argmax(axis=1) != images.test_labels) == figures["test_error"]

    @pytest.mark.parametrize("name", ["learning_curve", "conductances", "agreement"])
    def test_plots_are_pictures(self, trained, name):
        folder, _, _ = trained
        content = (folder / f"{name}.png").read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", content[16:24])
        assert 400 <= width <= 4000
        assert 300 <= height <= 2000
        picture = matplotlib.image.imread(folder / f"{name}.png")[..., :3]
        assert picture.shape == (height, width, 3)
        assert 0.005 < np.mean(picture < 0.5) < 0.5

    def test_report_says_what_came_out(self, trained):
        _, figures, out = trained
        assert f"{100 * figures['test_error']:.2f} %" in out
        assert "epoch 2/2: training error" in out

    @pytest.mark.usefixtures("without_ngspice")
    def test_its_config_as_preset_gives_the_same_network(self, trained, run_script, dataset):
        folder, figures, _ = trained
        config = tomllib.loads((folder / "config.toml").read_text())
        assert config == {name: value for name, value in figures["config"].items() if value is not None}
        again = run_script(
            "train_mnist.py", "--preset", folder / "config.toml", "--data-dir", dataset, "--output", "again"
        )
        assert again.code == 0, again.err
        assert Path("again/network.npz").read_bytes() == (folder / "network.npz").read_bytes()


@pytest.mark.usefixtures("without_ngspice")
class TestTrainingOptions:
    @pytest.fixture
    def figures(self, run_script, preset, dataset):
        """Train without verification; the figures of --json."""

        def figures(*arguments: object) -> dict[str, Any]:
            common = ("--preset", preset, "--data-dir", dataset, "--json", "out.json")
            result = run_script("train_mnist.py", *common, *arguments)
            assert (result.code, result.err) == (0, "")
            return json.loads(Path("out.json").read_text())

        return figures

    def test_options_override_the_preset(self, figures):
        came = figures("--layers", 16, 5, 3, "--epochs", 1, "--batch-size", 9, "--seed", 2, "--output", "a/b")
        asked = {"layers": [16, 5, 3], "epochs": 1, "batch_size": 9, "seed": 2}
        assert {name: came["config"][name] for name in asked} == asked
        assert came["seed"] == 2
        assert ResistiveNetwork.load("a/b/network.npz").layers == (16, 5, 3)

    def test_limit_trains_on_so_many_images_an_epoch(self, figures):
        came = figures("--limit", 20, "--output", "run")
        assert [epoch["samples"] for epoch in came["history"]] == [20, 20]
        assert came["statuses"] == {"CONVERGED": 2 * (3 * 20 + 45)}

    def test_validation_holds_images_out_and_leaves_the_test_set_alone(self, figures, monkeypatch):
        monkeypatch.setattr("eqprop_analog.data.VALIDATION", {"mnist": 30})
        came = figures("--validation", "--output", "run")
        assert came["test_error"] is None
        assert 0 <= came["validation_error"] <= 1
        assert all("validation_error" in epoch and "test_error" not in epoch for epoch in came["history"])
        assert [epoch["samples"] for epoch in came["history"]] == [60, 60]
        assert came["statuses"] == {"CONVERGED": 2 * (3 * 60 + 30)}

    def test_layers_alone_override_a_preset_of_another_depth(self, figures, preset):
        preset.write_text(preset.read_text().replace("beta = 1e-7", "beta = 1e-9"))
        assert figures("--layers", 16, 6, 5, 3, "--output", "run")["config"]["layers"] == [16, 6, 5, 3]

    def test_run_folder_is_named_after_preset_and_seed(self, figures):
        figures("--epochs", 1, "--seed", 4)
        assert Path("runs/small-4/network.npz").exists()


def test_training_in_ngspice_and_with_the_surrogate_is_the_same(run_script, preset, dataset, monkeypatch):
    networks = []
    for solver in ("ngspice", "surrogate"):
        common = ("--preset", preset, "--data-dir", dataset, "--epochs", 1, "--limit", 40, "--output", solver)
        result = run_script("train_mnist.py", *common, "--solver", solver)
        assert (result.code, result.err) == (0, "")
        networks.append(ResistiveNetwork.load(f"{solver}/network.npz"))
        monkeypatch.setenv("NGSPICE_LIBRARY_PATH", "/nonexistent/libngspice")  # the surrogate needs none
    measured, computed = networks
    fresh = ResistiveNetwork.dense([16, 8, 3], amplifier_gain=4.0, input_gain=10.0)
    for before, one, other in zip(fresh.conductances, computed.conductances, measured.conductances, strict=True):
        assert np.abs(one - before).max() > 1e-3 * np.abs(before).max()
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=0)
    for one, other in zip(computed.biases, measured.biases, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=0)


def current_umask() -> int:
    return int(subprocess.run(["sh", "-c", "umask"], capture_output=True, text=True, check=True).stdout, 8)
