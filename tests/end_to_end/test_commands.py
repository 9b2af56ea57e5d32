"""The commands do what their help says, on small shapes: netlist, simulate, train, xor, and the help itself."""

import csv
import io
import json
import os
import re
import shlex
import struct
import subprocess
import sys
import tomllib
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from eqprop_analog import Nudge, ResistiveNetwork, SurrogateSolver, cli
from eqprop_analog.cli import train as train_command
from eqprop_analog.config import DEFAULT_PRESETS, resolve

REPOSITORY = Path(__file__).parents[2]
AGREE = 1e-9
"""Volts: how far ngspice and the surrogate may be apart."""


def options(command: str) -> list[Any]:
    return cli.parser()._subparsers._group_actions[0].choices[command]._actions


def in_ngspice(path: Path) -> dict[str, float]:
    """What ``ngspice -b`` prints for a netlist: volts by net."""
    done = subprocess.run(["ngspice", "-b", str(path)], capture_output=True, text=True, check=True, timeout=60)
    return {net: float(volts) for net, volts in re.findall(r"^v\((\w+)\) = (\S+)$", done.stdout, re.MULTILINE)}


class TestHelp:
    @pytest.mark.parametrize("command", cli.COMMANDS)
    def test_mentions_and_explains_every_option(self, run, command):
        result = run(command, "--help")
        assert (result.code, result.err) == (0, "")
        assert all(name in result.out for option in options(command) for name in option.option_strings)
        assert [option.option_strings for option in options(command) if not option.help] == []

    def test_of_the_program_names_every_command(self, run):
        result = run("--help")
        assert result.code == 0
        assert all(re.search(rf"^    {command}( |$)", result.out, re.MULTILINE) for command in cli.COMMANDS)

    @pytest.mark.parametrize("command", cli.COMMANDS)
    def test_examples_can_be_typed(self, run, command):
        typed = re.findall(r"^  eqprop-analog (.+)$", run(command, "--help").out, re.MULTILINE)
        assert typed or command == "demo"  # which is typed as it is
        for words in map(shlex.split, typed):
            arguments = cli.parser().parse_args(words)
            assert words[0] == command
            if command == "train":
                given = {name: getattr(arguments, name) for name in train_command.SETTINGS}
                resolve(
                    arguments.preset or DEFAULT_PRESETS[arguments.solver or "surrogate"],
                    {name: value for name, value in given.items() if value is not None},
                )

    def test_commands_of_the_readme_can_be_typed(self):
        names = {
            "generate_netlist": "netlist",
            "simulate_spice": "simulate",
            "train_mnist": "train",
            "train_xor": "xor",
            "simulate_transient": "transient",
            "study_agreement": "study",
            "train_lattice": "lattice",
            "show_ep_matches_bptt": "matching",
            "compare_minima": "minima",
            "study_chips": "chips",
            "report_energy": "energy",
        }
        # scripts with a parser of their own
        studies = {"bench_spice", "bench_surrogate", "compare_training"}
        typed = re.findall(r"^ +scripts/(\w+)\.py(.*)$", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
        assert typed
        for script, arguments in typed:
            if script in studies:
                assert (REPOSITORY / "scripts" / f"{script}.py").exists()
                continue
            cli.parser().parse_args([names[script], *shlex.split(arguments, comments=True)])

    def test_a_negative_number_can_be_typed_as_spice_writes_it(self, run):
        command = ("netlist", "--layers", 2, 3, 1, "--phase", "nudged", "--output", "a.cir", "--beta")
        assert run(*command, "-1e-9").code == 0


class TestProgram:
    """As a person starts it: a process of its own, from another folder."""

    @staticmethod
    def start(*command: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=folder,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def test_console_program_says_its_version(self, tmp_path):
        program = Path(sys.executable).with_name("eqprop-analog")
        done = self.start(program, "--version", folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", done.stdout)

    def test_simulate_spice(self, tmp_path):
        script = REPOSITORY / "scripts/simulate_spice.py"
        done = self.start(sys.executable, script, "--layers", "4", "6", "2", "--json", "out.json", folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads((tmp_path / "out.json").read_text())["agreement"]["largest_difference"] <= AGREE

    def test_a_terminal_without_greek_letters_is_no_error(self, tmp_path):
        program = Path(sys.executable).with_name("eqprop-analog")
        done = self.start(program, "simulate", "--layers", "2", "3", "1", folder=tmp_path, PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stderr) == (0, "")

    def test_train_mnist_refuses_other_data_than_the_published(self, tmp_path, dataset_folder):
        script = REPOSITORY / "scripts/train_mnist.py"
        done = self.start(sys.executable, script, "--data-dir", dataset_folder, folder=tmp_path)
        assert done.returncode == 2
        assert re.fullmatch(r"error: .*SHA-256.*\n", done.stderr)
        assert list(tmp_path.iterdir()) == []

    def test_scripts_can_be_executed(self):
        for script in (REPOSITORY / "scripts").glob("*.py"):
            assert script.stat().st_mode & 0o111, script.name


class TestGenerateNetlist:
    @pytest.mark.parametrize("phase", ["free", "nudged"])
    @pytest.mark.parametrize("form", ["flat", "norton"])
    def test_file_is_the_network_that_was_asked_for(self, run_script, tmp_path, form, phase):
        network = ResistiveNetwork.dense([3, 5, 4, 2], seed=7, amplifier_gain=2.0, input_gain=5.0)
        inputs, targets, beta = np.array([[0.3, -0.8, 0.5]]), np.array([[0.2, -0.4]]), 3e-8
        np.save(tmp_path / "x.npy", inputs)
        np.save(tmp_path / "y.npy", targets[0])
        shape = ("--layers", 3, 5, 4, 2, "--seed", 7, "--amplifier-gain", 2, "--input-gain", 5)
        asked = ("--form", form, "--phase", phase, "--inputs", "x.npy", "--targets", "y.npy", "--beta", beta)
        result = run_script("generate_netlist.py", *shape, *asked, "--output", "a.cir")
        assert (result.code, result.err) == (0, "")

        text = (tmp_path / "a.cir").read_text()
        of_crossbar_1 = np.count_nonzero(network.conductances[0]) if form == "flat" else 0
        assert len(re.findall(r"^R1_\d+_\d+ ", text, re.MULTILINE)) == of_crossbar_1
        assert ("nudge" in text) == (phase == "nudged")
        nudge = Nudge(targets, beta) if phase == "nudged" else None
        expected = SurrogateSolver().solve(network, inputs, nudge).outputs[0]
        printed = in_ngspice(tmp_path / "a.cir")
        np.testing.assert_allclose([printed["o_0"], printed["o_1"]], expected, rtol=0, atol=AGREE)

    @pytest.mark.parametrize("form", ["flat", "norton"])
    def test_seed_decides_every_byte(self, run_script, tmp_path, form):
        for name, seed in (("a", 1), ("again", 1), ("other", 2)):
            arguments = ("--layers", 4, 6, 2, "--seed", seed, "--form", form, "--output", f"{name}.cir")
            assert run_script("generate_netlist.py", *arguments).code == 0
        a, again, other = ((tmp_path / f"{name}.cir").read_bytes() for name in ("a", "again", "other"))
        assert a == again != other

    def test_saved_network_gives_the_netlist_of_its_layers_and_seed(self, run_script, tmp_path):
        ResistiveNetwork.dense([4, 6, 2], seed=5).save(tmp_path / "net.npz")
        for name, source in (("a", ("--layers", 4, 6, 2)), ("b", ("--network", "net.npz"))):
            result = run_script(
                "generate_netlist.py", *source, "--seed", 5, "--phase", "nudged", "--output", f"{name}.cir"
            )
            assert result.code == 0, result.err
        assert (tmp_path / "a.cir").read_bytes() == (tmp_path / "b.cir").read_bytes()

    def test_layers_beside_a_network_that_agrees(self, run_script, tmp_path):
        ResistiveNetwork.dense([4, 6, 2], seed=5).save(tmp_path / "net.npz")
        both = ("--layers", 4, 6, 2, "--network", "net.npz")
        assert run_script("generate_netlist.py", *both, "--output", "below/a.cir").code == 0
        assert (tmp_path / "below/a.cir").exists()


class TestSimulateSpice:
    @pytest.fixture
    def simulate(self, run_script, tmp_path):
        def simulate(*arguments: object, code: int = 0) -> dict[str, Any]:
            result = run_script("simulate_spice.py", *arguments, "--json", "out.json")
            assert (result.code, result.err == "") == (code, code == 0)
            return json.loads((tmp_path / "out.json").read_text())

        return simulate

    @pytest.mark.parametrize("form", ["flat", "norton"])
    def test_json_holds_every_voltage_of_every_phase(self, simulate, tmp_path, form):
        network = ResistiveNetwork.dense([4, 6, 2], seed=2, amplifier_gain=3.0)
        network.save(tmp_path / "net.npz")
        inputs = np.random.default_rng(0).normal(size=(3, 4))
        targets = np.random.default_rng(1).normal(size=(3, 2))
        np.save(tmp_path / "x.npy", inputs)
        np.save(tmp_path / "y.npy", targets)
        figures = simulate(
            "--network", "net.npz", "--inputs", "x.npy", "--targets", "y.npy", "--beta", 1e-8, "--form", form
        )
        assert figures["layers"] == [4, 6, 2]
        nudges = {"free": None, "plus": Nudge(targets, 1e-8), "minus": Nudge(targets, -1e-8)}
        assert set(figures["phases"]) == set(nudges)
        for name, nudge in nudges.items():
            phase = figures["phases"][name]
            assert phase["status"] == ["CONVERGED"] * 3
            assert np.shape(phase["residual"]) == (3,)
            assert np.max(phase["residual"]) < 1e-14
            expected = SurrogateSolver().solve(network, inputs, nudge).voltages
            for layer, voltages in zip(("h1", "o"), expected, strict=True):
                np.testing.assert_allclose(phase["voltages"][layer], voltages, rtol=0, atol=AGREE)
        agreement = figures["agreement"]
        assert (agreement["form"], agreement["samples"], agreement["beta"]) == (form, 3, 1e-8)
        assert agreement["statuses"] == {"CONVERGED": 9}
        assert agreement["largest_difference"] <= AGREE
        assert agreement["gradient_difference"] <= 1e-6
        assert agreement["same_predictions"] is True
        assert figures["versions"]["ngspice"].startswith("ngspice-")

    def test_a_single_output_is_predicted_by_its_side_of_half_the_way(self, monkeypatch, simulate):
        """argmax of one output is 0 whatever the solvers say: the comparison must be able to fail."""
        shifted = SurrogateSolver.solve_phases

        def solve_phases(self, *arguments):
            phases = shifted(self, *arguments)
            for phase in phases:
                phase.voltages[-1][...] += 1
            return phases

        monkeypatch.setattr(SurrogateSolver, "solve_phases", solve_phases)
        assert simulate("--layers", 2, 4, 1, code=3)["agreement"]["same_predictions"] is False

    def test_defaults_are_five_examples_of_the_seed(self, simulate):
        one, same, other = (simulate("--layers", 2, 3, 2, "--seed", seed) for seed in (4, 4, 5))
        assert np.shape(one["phases"]["free"]["voltages"]["h1"]) == (5, 3)
        assert one["phases"] == same["phases"]
        assert one["phases"] != other["phases"]

    def test_one_crossbar_and_three(self, simulate):
        for layers in ((3, 2), (3, 4, 4, 2)):
            assert simulate("--layers", *layers)["agreement"]["largest_difference"] <= AGREE


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
    """One run of two epochs on the synthetic data set, with its verification in ngspice, looked at from all sides."""

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
        norton, flat = figures["agreement"]
        assert (norton["form"], norton["samples"]) == ("norton", 20)
        assert (flat["form"], flat["samples"]) == ("flat", 1)
        for agreement in (norton, flat):
            assert agreement["largest_difference"] <= AGREE
            assert agreement["gradient_difference"] <= 1e-6
            assert agreement["same_predictions"] is True

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
        monkeypatch.setattr("eqprop_analog.batches.VALIDATION", {"mnist": 30})
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
        monkeypatch.setenv("NGSPICE_LIBRARY_PATH", "/nonexistent")  # the surrogate needs none
    measured, computed = networks
    fresh = ResistiveNetwork.dense([16, 8, 3], amplifier_gain=4.0, input_gain=10.0)
    for before, one, other in zip(fresh.conductances, computed.conductances, measured.conductances, strict=True):
        assert np.abs(one - before).max() > 1e-3 * np.abs(before).max()
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=0)
    for one, other in zip(computed.biases, measured.biases, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=0)


class TestXor:
    def test_either_solver_learns_it_and_writes_what_can_be_checked(self, run_script, tmp_path):
        for solver in ("surrogate", "ngspice"):
            result = run_script("train_xor.py", "--solver", solver, "--output", solver)
            assert (result.code, result.err) == (0, "")
            files = {"xor.npz", "xor_free.cir", "xor_nudged.cir", "xor_solution.csv"}
            assert {path.name for path in (tmp_path / solver).iterdir()} == files
        computed, measured = (ResistiveNetwork.load(f"{solver}/xor.npz") for solver in ("surrogate", "ngspice"))
        for one, other in zip(computed.conductances, measured.conductances, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-6, atol=0)

    def test_solution_is_xor_and_what_ngspice_prints(self, run, tmp_path):
        assert run("xor", "--output", "x").code == 0
        rows = list(csv.DictReader(io.StringIO((tmp_path / "x/xor_solution.csv").read_text())))
        free = [row for row in rows if float(row["beta (S)"]) == 0]
        assert len(rows) == 3 * len(free) == 3 * 2 * 4
        for row in free:
            right = float(row["x_0 (V)"]) * float(row["x_1 (V)"]) < 0
            assert float(row["o_0 (V)"]) == pytest.approx(float(right), abs=0.05)
        for name, positive in (("free", False), ("nudged", True)):
            printed = in_ngspice(tmp_path / f"x/xor_{name}.cir")["o_0"]
            phase = [row for row in rows if (float(row["beta (S)"]) > 0) == positive and float(row["beta (S)"]) >= 0]
            pattern = [row for row in phase if (row["x_0 (V)"], row["x_1 (V)"]) == ("-1.0", "1.0")]
            assert [float(row["o_0 (V)"]) for row in pattern] == pytest.approx([printed] * 2, abs=1e-11)


def current_umask() -> int:
    return int(subprocess.run(["sh", "-c", "umask"], capture_output=True, text=True, check=True).stdout, 8)
