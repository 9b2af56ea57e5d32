"""Bias row, antiparallel diodes and pairs of outputs from the command line and from configurations."""

import json
import re

import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork
from eqprop_analog.devices import Antiparallel, PiecewiseLinear
from eqprop_analog.experiments.presets import resolve

KENDALL = """
outputs = "pairs"
layers = [16, 8, 6]
bias_row = 1.0
diode = { law = "shockley", arrangement = "antiparallel", rail = -0.1 }
kind = "current"
cost = "cross-entropy"
beta = 1e-8
conductance_rates = 1e-14
bias_rates = 1e-16
epochs = 3
"""


@pytest.fixture
def kendall(preset):
    """A configuration for the synthetic data set with all three features."""
    settings = {line.partition(" =")[0]: line for line in preset.read_text().splitlines()}
    settings |= {line.partition(" =")[0]: line for line in KENDALL.strip().splitlines()}
    preset.write_text("\n".join(settings.values()))
    return preset


@pytest.fixture
def saved(tmp_path):
    """A network file with all three features."""
    settings = {"amplifier_gain": 2.0, "bias_row": -0.5, "outputs": "pairs"}
    network = ResistiveNetwork.dense([3, 4, 4], diode=Antiparallel(PiecewiseLinear(rail=0.0)), **settings)
    network.save(tmp_path / "net.npz")
    return network


def test_option_bias_row_makes_one_more_row(run, tmp_path):
    assert run("netlist", "--layers", 3, 4, 2, "--bias-row", -1.5, "--output", "a.cir").code == 0
    assert "Vxb xb 0 -1.5" in (tmp_path / "a.cir").read_text().splitlines()
    assert run("simulate", "--layers", 3, 4, 2, "--bias-row", 2, "--json", "a.json").code == 0
    assert json.loads((tmp_path / "a.json").read_text())["agreement"]["met"]


@pytest.mark.usefixtures("saved")
def test_option_bias_row_beside_a_network_is_refused(run):
    result = run("netlist", "--network", "net.npz", "--bias-row", 1, "--output", "a.cir")
    assert result.code != 0
    assert "leave out --bias-row" in result.err


@pytest.mark.parametrize("form", ["flat", "norton"])
def test_simulate_compares_a_network_that_has_all_three(run, saved, tmp_path, form):
    np.save(tmp_path / "y.npy", np.eye(2)[[0, 1, 0, 1, 0]])
    given = ["--network", "net.npz", "--targets", "y.npy", "--form", form, "--json", "a.json"]
    assert run("simulate", *given).code == 0
    figures = json.loads((tmp_path / "a.json").read_text())
    assert figures["agreement"]["met"]
    free, plus = (np.array(figures["phases"][name]["voltages"]["o"]) for name in ("free", "plus"))
    moved = saved.readout(plus) - saved.readout(free)
    wanted = np.eye(2)[[0, 1, 0, 1, 0]] - saved.readout(free)
    assert (np.sign(moved) == np.sign(wanted)).all()


@pytest.mark.usefixtures("saved")
def test_targets_of_pairs_have_one_entry_a_class(run, tmp_path):
    np.save(tmp_path / "y.npy", np.zeros((5, 4)))
    result = run("simulate", "--network", "net.npz", "--targets", "y.npy")
    assert result.code != 0
    assert "expected shape (samples, 2), got (5, 4)" in result.err


@pytest.mark.usefixtures("saved")
def test_netlist_of_a_nudged_phase_holds_currents_of_both_signs(run, tmp_path):
    assert run("netlist", "--network", "net.npz", "--phase", "nudged", "--output", "a.cir").code == 0
    found = dict(re.findall(r"^Inudge_(\d) 0 o_\d (\S+)$", (tmp_path / "a.cir").read_text(), re.MULTILINE))
    currents = [float(found[str(k)]) for k in range(4)]
    assert currents[0] > 0
    assert (currents[1], currents[3]) == (-currents[0], -currents[2])


@pytest.mark.usefixtures("saved")
def test_transient_nudges_pairs(run, tmp_path):
    assert run("transient", "--network", "net.npz", "--output", "out", "--json", "a.json").code == 0
    phases = json.loads((tmp_path / "a.json").read_text())["phases"]
    assert [phase["status"] for phase in phases.values()] == ["CONVERGED"] * 2


def test_training_with_all_three_learns_and_is_verified(run, kendall, dataset, tmp_path):
    assert run("train", "--preset", kendall, "--data-dir", dataset, "--output", "run").code == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["history"][0]["train_error"] > 0.2
    assert metrics["test_error"] < 0.05
    assert [agreement["met"] for agreement in metrics["agreement"]] == [True]  # the flat form is for longer trainings
    network = ResistiveNetwork.load(tmp_path / "run" / "network.npz")
    fresh = resolve(str(kendall), {}).network()
    assert (network.bias_row, network.outputs, network.diode) == (1.0, "pairs", fresh.diode)
    assert not np.array_equal(network.conductances[0][-1], fresh.conductances[0][-1])  # the bias row learns


@pytest.mark.usefixtures("without_ngspice")
def test_truncated_training_in_single_precision_learns_too(run, kendall, dataset, tmp_path):
    kendall.write_text(f"{kendall.read_text()}\nsweeps = 6\nprecision = 'float32'")
    assert run("train", "--preset", kendall, "--data-dir", dataset, "--output", "run").code == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["history"][0]["train_error"] > 0.2
    assert metrics["test_error"] < 0.05


@pytest.mark.usefixtures("without_ngspice")
def test_a_run_from_before_these_settings_goes_on(run, preset, dataset, tmp_path):
    given = ["--preset", preset, "--data-dir", dataset, "--output", "run"]
    assert run("train", *given, "--epochs", 1).code == 0
    with np.load(tmp_path / "run" / "checkpoint.npz") as file:
        arrays = dict(file)
    state = json.loads(str(arrays["state"]))
    del state["config"]["outputs"], state["config"]["bias_row"]
    np.savez(tmp_path / "run" / "checkpoint.npz", **arrays | {"state": np.array(json.dumps(state))})
    assert run("train", *given, "--resume").code == 0
    assert len(json.loads((tmp_path / "run" / "metrics.json").read_text())["history"]) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "conductance", "cost": "squared-error"}, "kind: a conductance cannot nudge a pair of outputs"),
        ({"outputs": "triples"}, "outputs: "),
        ({"bias_row": float("nan")}, "bias_row: "),
        ({"diode": {"law": "shockley", "arrangement": "series"}}, 'arrangement "series" is unknown'),
        ({"layers": [16, 8, 5]}, "pairs need an even number of output nodes"),
        ({"layers": [16, 8, 8]}, "needs 16 inputs and 3 outputs or pairs of them, got 16 and 4"),
    ],
)
def test_wrong_settings_are_named(run, kendall, dataset, changes, words):
    settings = {line.partition(" =")[0]: line for line in kendall.read_text().splitlines()}
    for name, value in changes.items():
        text = "{ law = 'shockley', arrangement = 'series' }" if name == "diode" else json.dumps(value)
        settings[name] = f"{name} = {text.replace('NaN', 'nan')}"
    kendall.write_text("\n".join(settings.values()))
    result = run("train", "--preset", kendall, "--data-dir", dataset, "--output", "run")
    assert result.code != 0
    assert words in result.err
