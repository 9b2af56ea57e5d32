"""The netlist, simulate and transient commands take Hopfield networks, fresh or saved, as they take resistive ones."""

import json

import matplotlib.image
import numpy as np
import pytest

from eqprop_analog import HopfieldNetwork, LeakyIntegratorSolver, Nudge, ResistiveNetwork
from eqprop_analog.devices.buffer import Sigmoid


@pytest.fixture
def saved(tmp_path):
    net = HopfieldNetwork.dense([3, 4, 2], 1, buffer=Sigmoid(), initial="fan-in")
    net.save(tmp_path / "net.npz")
    np.save(tmp_path / "x.npy", [0.5, 0.1, 0.9])
    np.save(tmp_path / "y.npy", [0.0, 1.0])
    return net, ["--network", "net.npz", "--inputs", "x.npy", "--targets", "y.npy", "--beta", 0.4]


def test_simulate_compares_a_saved_network_with_its_surrogate(run, saved, tmp_path):
    net, given = saved
    result = run("simulate", *given, "--form", "flat", "--json", "figures.json")
    assert (result.code, result.err) == (0, "")
    assert "CONVERGED" in result.out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["agreement"]["met"]
    assert figures["agreement"]["statuses"] == {"CONVERGED": 3}
    inputs, targets = np.array([[0.5, 0.1, 0.9]]), np.array([[0.0, 1.0]])
    nudges = [Nudge(targets, 0.4), Nudge(targets, -0.4)]
    for name, phase in zip(
        ("free", "plus", "minus"), LeakyIntegratorSolver().solve_phases(net, inputs, nudges), strict=True
    ):
        found = figures["phases"][name]["voltages"]
        np.testing.assert_allclose(found["h1"], phase.voltages[0], atol=1e-9)
        np.testing.assert_allclose(found["o"], phase.voltages[1], atol=1e-9)


def test_a_fresh_network_is_the_one_of_its_seed(run, tmp_path):
    given = ["--model", "hopfield", "--buffer", "sigmoid", "--untied", "--layers", 3, 3, 2, "--seed", 5]
    assert run("netlist", *given, "--output", "fresh.cir").code == 0
    net = HopfieldNetwork.dense([3, 3, 2], 5, buffer=Sigmoid(), untied=True, initial="fan-in")
    net.save(tmp_path / "net.npz")
    assert run("netlist", "--network", "net.npz", "--seed", 5, "--output", "saved.cir").code == 0
    assert (tmp_path / "fresh.cir").read_bytes() == (tmp_path / "saved.cir").read_bytes()
    assert "weights untied" in (tmp_path / "fresh.cir").read_text()


def test_transient_leaves_figures_waveforms_and_plot_that_tell_the_same(run, saved, tmp_path):
    _, given = saved
    result = run("transient", *given, "--output", "out", "--json", "figures.json")
    assert (result.code, result.err) == (0, "")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["deviation"] < 1e-3
    assert f"{figures['deviation']:.1e} V" in result.out
    assert [phase["status"] for phase in figures["phases"].values()] == ["CONVERGED"] * 2
    header, *rows = (tmp_path / "out" / "waveforms.csv").read_text().splitlines()
    names = ["h1_0", "h1_1", "h1_2", "h1_3", "o_0", "o_1"]
    assert header.split(",") == ["time (s)", *(f"{n} (V)" for n in names), *(f"{n} integrated (V)" for n in names)]
    table = np.array([[float(number) for number in row.split(",")] for row in rows])
    assert len(table) == figures["steps"]
    assert np.abs(table[:, 1:7] - table[:, 7:]).max() == pytest.approx(figures["deviation"], rel=1e-3)
    np.testing.assert_allclose(Sigmoid().output(table[-1, 5:7]), figures["phases"]["nudged"]["states"][1], atol=1e-9)
    assert matplotlib.image.imread(tmp_path / "out" / "waveforms.png").std() > 0.01
    assert (tmp_path / "out" / "transient.cir").read_text().endswith(".end\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "hopfield", "--layers", 3, 2, "--amplifier-gain", 2], "leave out --amplifier-gain"),
        (["--layers", 3, 2, "--untied"], "leave out --untied"),
        (["--layers", 3, 2, "--buffer", "sigmoid"], "leave out --buffer"),
        (["--network", "net.npz", "--untied"], "leave out --untied"),
        (["--network", "net.npz", "--layers", 3, 2], "disagrees with net.npz"),
        (["--model", "hopfield"], "--layers 784 100 10 or --network"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(run, saved, options, message):
    result = run("netlist", *options, "--output", "out.cir")
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1


def test_capacitances_of_each_layer_are_a_resistive_networks(run):
    result = run("transient", "--model", "hopfield", "--layers", 3, 2, "--capacitance", 1e-12, 2e-12)
    assert result.code == 2
    assert "--capacitance" in result.err


def test_a_resistive_networks_file_is_still_one(run, tmp_path):
    ResistiveNetwork.dense([2, 2]).save(tmp_path / "net.npz")
    assert run("netlist", "--network", "net.npz", "--output", "out.cir").code == 0
    assert "resistive network" in (tmp_path / "out.cir").read_text()
