"""A convolutional resistive network through the commands: trained, resumed, verified in ngspice, reported, written."""

import json
from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork

PRESET = """
dataset = "digits"
connections = [{ channels = 2, kernel = 3 }, { pool = 2 }, { outputs = 20 }]
outputs = "pairs"
kind = "current"
diode = { law = "clamp", rail = 0.0 }
batch_size = 4
limit = 100
epochs = 2
"""


pytest.importorskip("sklearn")  # the digits


@pytest.fixture
def trained(run, tmp_path: Path) -> Path:
    (tmp_path / "conv.toml").write_text(PRESET)
    result = run("train", "--preset", "conv.toml", "--output", "out", "--json", "out.json")
    assert (result.code, result.err) == (0, "")
    return tmp_path / "out"


def test_it_is_trained_confirmed_in_ngspice_reported_and_written(run, trained: Path) -> None:
    figures = json.loads((trained / "metrics.json").read_text())
    network = ResistiveNetwork.load(trained / "network.npz")
    assert [each.name for each in network.crossbars] == ["convolution", "average-pooling", "dense"]
    assert (
        figures["free_parameters"]
        == network.free_parameters
        == 2 * 9 * 2 + 18 * 20 + sum(np.count_nonzero(bias) for bias in network.biases)
    )
    assert figures["resistors"] == network.resistors_in_circuit
    (norton, *_) = figures["agreement"]
    assert norton["met"]
    assert norton["largest_difference"] <= 1e-9
    assert run("report", "out").code == 0
    assert f"{network.free_parameters:,}" in (trained / "report.html").read_text()
    assert run("netlist", "--network", "out/network.npz", "--form", "flat", "--output", "net.cir").code == 0
    lines = (trained.parent / "net.cir").read_text().splitlines()
    assert sum(line.startswith(("R1_", "R2_", "R3_")) for line in lines) == network.resistors_in_circuit


def test_it_goes_on_to_the_same_bits(run, trained: Path) -> None:
    more = ("--preset", "conv.toml", "--no-verify")
    assert run("train", *more, "--epochs", 1, "--output", "parts").code == 0
    assert run("train", *more, "--epochs", 2, "--output", "parts", "--resume").code == 0
    whole, parts = (
        ResistiveNetwork.load(folder / "network.npz").arrays() for folder in (trained, trained.parent / "parts")
    )
    for name, values in whole.items():
        np.testing.assert_array_equal(values, parts[name], err_msg=name)
