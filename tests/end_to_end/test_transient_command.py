"""``eqprop-analog transient`` writes figures, a plot, waveforms and a netlist that agree with each other."""

import json

import matplotlib.image
import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork


def test_figures_waveforms_and_plot_tell_the_same(run, tmp_path):
    network = ResistiveNetwork.dense([3, 4, 2], 1, amplifier_gain=2.0, input_gain=3.0)
    network.save(tmp_path / "net.npz")
    np.save(tmp_path / "x.npy", [0.5, -1.0, 0.2])
    np.save(tmp_path / "y.npy", [0.0, 1.0])
    given = ["--network", "net.npz", "--inputs", "x.npy", "--targets", "y.npy", "--beta", 2e-8]
    result = run("transient", *given, "--capacitance", 1e-12, 3e-12, "--output", "out", "--json", "figures.json")
    assert (result.code, result.err) == (0, "")
    figures = json.loads((tmp_path / "figures.json").read_text())
    free, nudged = figures["phases"]["free"], figures["phases"]["nudged"]
    assert free["status"] == nudged["status"] == "CONVERGED"
    header, *rows = (tmp_path / "out" / "waveforms.csv").read_text().splitlines()
    assert header.split(",")[:3] == ["time (s)", "beta (S)", "h1_0 (V)"]
    last = [float(number) for number in rows[-1].split(",")]
    assert last[:2] == pytest.approx([nudged["end"], 2e-8])
    assert last[2:] == pytest.approx([*nudged["voltages"][0], *nudged["voltages"][1]])
    assert len(rows) == figures["steps"]
    for phase in (free, nudged):
        assert f"{phase['settling_time']:.4g}" in result.out
        assert f"{phase['energy']['amplifiers']:.4g}" in result.out
    assert matplotlib.image.imread(tmp_path / "out" / "waveforms.png").std() > 0.01
    assert (tmp_path / "out" / "transient.cir").read_text().endswith(".end\n")


def test_linear_network_of_the_default_sample(run):
    result = run("transient", "--layers", 3, 2, "--output", "out")
    assert (result.code, result.err) == (0, "")
    assert "CONVERGED" in result.out


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--capacitance", 0], "expected a capacitance"), (["--capacitance", 1e-12, 1e-12, 1e-12], "one for each of 2")],
)
def test_impossible_capacitances_are_refused_in_one_line(run, options, message):
    result = run("transient", "--layers", 3, 4, 2, *options)
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1
