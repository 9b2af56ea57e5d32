"""``eqprop-analog lattice``: both tasks learn, their files agree, and bad input is refused in one line."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from eqprop_analog import GraphNetwork, SparseNewtonSolver
from eqprop_analog.learning.trainer import PhaseLearner

SMALL = ["lattice", "--topology", "periodic", "--nodes", 49]
AGREE = 1e-9
"""Volts: how far ngspice and the sparse Newton solver may be apart."""


def figures(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def require_right_files(folder: Path, inputs: np.ndarray, outputs: np.ndarray) -> GraphNetwork:
    """The stored network gives the reported outputs, the netlist its first sample's voltages in plain ngspice."""
    network = GraphNetwork.load(folder / "network.npz")
    found = SparseNewtonSolver().solve(network, inputs).require()
    np.testing.assert_allclose(found.outputs, outputs, rtol=0, atol=1e-12)
    done = subprocess.run(
        ["ngspice", "-b", folder / "trained.cir"], capture_output=True, text=True, check=True, timeout=60
    )
    printed = {net: float(volts) for net, volts in re.findall(r"^v\((\w+)\) = (\S+)$", done.stdout, re.MULTILINE)}
    expected = {network.names[node]: found.voltages[0][0, node] for node in set(network.outputs.ravel().tolist())}
    assert printed == pytest.approx(expected, rel=0, abs=AGREE)
    assert matplotlib.image.imread(folder / "lattice.png").shape[0] > 300
    return network


def test_allostery_reaches_its_drops_and_a_seed_gives_the_same_network_again(run, tmp_path):
    for name in ("one", "two"):
        result = run(*SMALL, "--output", name, "--json", f"{name}.json")
        assert (result.code, result.err) == (0, "")
    one, two = (figures(tmp_path / f"{name}.json") for name in ("one", "two"))
    for each in (one, two):
        assert each.pop("training_seconds") > 0
        assert all(each["ngspice"].pop(f"{solver}_seconds") > 0 for solver in ("ngspice", "surrogate"))
        del each["options"]["output"]
    assert one == two
    wanted, before, after = (np.array(one[name]) for name in ("targets", "initial_outputs", "final_outputs"))
    assert (np.abs(wanted) == 0.1).all()
    assert one["met"]
    assert one["relative_error"]["root_mean_square"] == {
        "before": pytest.approx(np.sqrt(((before - wanted) ** 2).mean()) / 0.1),
        "after": pytest.approx(np.sqrt(((after - wanted) ** 2).mean()) / 0.1),
    }
    assert one["relative_error"]["root_mean_square"]["after"] <= 0.01
    assert one["relative_error"]["worst_edge"]["before"] > 0.2
    assert one["ngspice"]["statuses"] == {"CONVERGED": 3}
    assert one["ngspice"]["largest_difference"] <= AGREE
    network = require_right_files(tmp_path / "one", np.ones((1, 1)), after)
    assert (one["resistors"], one["diodes"]) == (len(network.resistors), 0)
    assert (tmp_path / "one" / "network.npz").read_bytes() == (tmp_path / "two" / "network.npz").read_bytes()


def test_regression_with_diodes_beats_every_straight_line_on_held_out_inputs(run, tmp_path):
    result = run("lattice", "--task", "regression", "--json", "out.json")
    assert (result.code, result.err) == (0, "")
    found = figures(tmp_path / "out.json")
    errors = found["rms_error"]
    assert errors["trained"]["held_out"] < 0.5 * errors["best_straight_line"]["held_out"]
    assert errors["trained"]["training"] < 0.5 * errors["before"]["training"]
    assert (len(found["rms_error_history"]), found["steps"]) == (25, 250)
    assert found["rms_error_history"][-1] == pytest.approx(errors["trained"]["held_out"])
    assert found["diodes"] > 0
    assert found["ngspice"]["statuses"] == {"CONVERGED": 36}
    assert found["ngspice"]["largest_difference"] <= AGREE
    x = np.linspace(-3, 3, 12)[:, None]
    assert np.allclose(found["targets"], 0.1 * x**2 - 0.3)
    inputs = np.concatenate([x, -x], axis=1)
    require_right_files(tmp_path / "runs" / "lattice", inputs, np.array(found["final_outputs"]))
    for error in (errors["trained"], errors["best_straight_line"]):
        assert f"{1e3 * error['held_out']:.1f}" in result.out


def test_the_help_says_what_can_be_learned(run):
    result = run("lattice", "--help")
    assert result.code == 0
    assert "allostery" in result.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nodes", 50, "--topology", "square"], "square lattice, got 50"),
        (["--nodes", 4, "--topology", "periodic"], "(9, 16, 25, ...)"),
        (["--nodes", 5], "nodes: expected at least 20, got 5"),
        (["--nodes", -5, "--task", "regression"], "nodes: expected at least 20, got -5"),
        (["--seed", -1], "--seed: expected an integer of at least 0, got -1"),
        (["--task", "sorting"], "invalid choice: 'sorting'"),
        (["--nodes", "many"], "invalid int value: 'many'"),
        (["--output", "/dev/null/runs"], "cannot write /dev/null/runs"),
        (["--json", "."], "cannot write ."),
    ],
)
def test_bad_input_is_refused_in_one_line_and_leaves_nothing(run, tmp_path, options, message):
    result = run("lattice", *options)
    assert result.code == 2
    assert len(result.err.splitlines()) == 1
    assert message in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_ngspice_is_told_before_training(run, without_ngspice, tmp_path):
    result = run(*SMALL)
    assert result.code == 2
    assert "libngspice" in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_stopped_goes_on_to_the_same_bits_and_has_a_report(run, monkeypatch, tmp_path):
    """With the common trainer: checkpoints within epochs, metrics, comparison in ngspice, a page."""
    small = tmp_path / "small.toml"
    small.write_text(
        'model = "graph"\ndataset = "regression"\ntopology = "random"\nnodes = 20\nbeta = 1e-9\nrate = 5e-11\n'
        "passes = 4\nbatch_size = 6\nepochs = 2\ntolerance = 0.05\n"
    )
    assert run("train", "--preset", small, "--output", "whole").code == 0
    monkeypatch.setattr("eqprop_analog.experiments.run.CHECKPOINT_SECONDS", 0.0)
    left = iter(range(5))

    def learn(learner: PhaseLearner, *batch: np.ndarray) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return honest(learner, *batch)

    honest = PhaseLearner.learn
    with monkeypatch.context() as patch:
        patch.setattr(PhaseLearner, "learn", learn)
        assert run("train", "--preset", small, "--output", "stopped").code == 130
    assert run("train", "--preset", small, "--output", "stopped").code == 0
    whole, stopped = (GraphNetwork.load(tmp_path / name / "network.npz") for name in ("whole", "stopped"))
    np.testing.assert_array_equal(whole.conductances, stopped.conductances)
    metrics = figures(tmp_path / "stopped" / "metrics.json")
    assert [epoch["samples"] for epoch in metrics["history"]] == [48, 48]
    assert metrics["history"][1]["test_rms"] < metrics["history"][0]["test_rms"]
    assert [each["met"] for each in metrics["agreement"]] == [True]
    assert run("report", "stopped").code == 0
    page = (tmp_path / "stopped" / "report.html").read_text()
    assert f'id="test_rms" value="{metrics["history"][-1]["test_rms"]!r}"' in page
    assert "Gradients" in page
