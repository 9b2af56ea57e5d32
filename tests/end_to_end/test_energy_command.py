"""``eqprop-analog energy`` writes figures, a table and a plot that agree with each other."""

import csv
import json

import matplotlib.image
import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork


def test_figures_table_and_plot_tell_the_same(run, tmp_path):
    network = ResistiveNetwork.dense([3, 4, 2], 1, amplifier_gain=2.0, input_gain=3.0)
    network.save(tmp_path / "net.npz")
    np.save(tmp_path / "x.npy", np.array([[0.5, -1.0, 0.2], [1.0, 0.1, -0.4]]))
    np.save(tmp_path / "y.npy", np.array([[0.0, 1.0], [1.0, 0.0]]))
    given = ["--network", "net.npz", "--inputs", "x.npy", "--targets", "y.npy", "--beta", 2e-8]
    result = run("energy", *given, "--capacitance", 1e-12, 3e-12, "--output", "out", "--json", "figures.json")
    assert (result.code, result.err) == (0, "")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures == json.loads((tmp_path / "out" / "energy.json").read_text())
    assert figures["met"]
    assert max(figures["largest_imbalance"], figures["largest_difference_from_ngspice"]) <= 1e-9
    with (tmp_path / "out" / "power.csv").open() as file:
        rows = list(csv.DictReader(file))
    energies = 0.0
    for name, phase in figures["phases"].items():
        assert phase["status"] == "CONVERGED"
        energies += phase["energy"]["mean"]
        for side in ("sources", "sinks"):
            for part, watts in phase["surrogate"][side].items():
                mine = [row for row in rows if (row["phase"], row["side"], row["part"]) == (name, side, part)]
                assert [row["sample"] for row in mine] == ["0", "1"]
                for column, expected in (("surrogate (W)", watts), ("ngspice (W)", phase["ngspice"][side][part])):
                    assert np.mean([float(row[column]) for row in mine]) == pytest.approx(expected)
                assert f"{watts:.4g}" in result.out
        assert f"{phase['settling_time']['mean']:.4g}" in result.out
    assert energies == pytest.approx(figures["energy_per_training_sample"]["mean"])
    assert figures["phases"]["free"]["energy"]["mean"] == pytest.approx(figures["energy_per_inference"]["mean"])
    assert matplotlib.image.imread(tmp_path / "out" / "power.png").std() > 0.01


def test_ngspice_is_left_out_where_asked_and_where_the_circuit_is_large(run, tmp_path):
    for options in (["--layers", 3, 2, "--no-ngspice"], ["--layers", 150, 100, 2]):
        result = run("energy", *options, "--output", "out")
        assert (result.code, result.err) == (0, "")
        assert "not measured in ngspice" in result.out
        figures = json.loads((tmp_path / "out" / "energy.json").read_text())
        assert figures["largest_difference_from_ngspice"] is None
        assert figures["met"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--capacitance", 0], "positive numbers in farads"),
        (["--capacitance", 1e-12, 1e-12, 1e-12], "one for each of 2"),
        (["--fraction", 2], "between 0 and 1"),
        (["--model", "hopfield"], "resistive networks"),
    ],
)
def test_what_makes_no_report_is_refused_in_one_line(run, options, message):
    result = run("energy", "--layers", 3, 4, 2, *options)
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1
