"""The command that counts the samples for which the fast methods reach the minimum of the gradient flow."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import GradientFlowSolver, HopfieldDescentSolver, HopfieldNetwork, ResistiveNetwork, data
from eqprop_analog.devices.buffer import Sigmoid
from eqprop_analog.networks.hopfield.minima import SAME


@pytest.fixture(autouse=True)
def small_images(monkeypatch) -> None:
    """The synthetic data set passes for MNIST."""
    monkeypatch.setitem(data.SHAPES, "mnist", (1, 4, 4))


@pytest.fixture
def network() -> HopfieldNetwork:
    """Strong weights: several minima for some images."""
    net = HopfieldNetwork.dense([16, 12, 8, 3], 1, initial="fan-in")
    first, *others = net.weights
    weights = (first, *(6 * values for values in others))
    return replace(net, weights=weights, biases=tuple(bias + 0.4 for bias in net.biases))


def test_what_it_counts_is_what_the_solvers_reach(run, dataset, network, tmp_path):
    network.save(tmp_path / "net.npz")
    given = ["--network", "net.npz", "--data-dir", dataset, "--samples", 30, "--json", "out.json"]
    result = run("minima", *given)
    assert (result.code, result.err) == (0, "")
    figures = json.loads((tmp_path / "out.json").read_text())
    loaded = data.load("mnist", dataset)
    images, labels = loaded.test_images[:30].astype(float), loaded.test_labels[:30]
    flow, descent = (s.solve(network, images) for s in (GradientFlowSolver(step=0.1), HopfieldDescentSolver()))
    apart = np.max([np.abs(a - b).max(axis=1) for a, b in zip(flow.voltages, descent.voltages, strict=True)], axis=0)
    assert [way["way"] for way in figures["ways"]] == ["gradient flow, ε = 0.5", "descent"]
    found = figures["ways"][1]
    assert found["converged"] == figures["reference"]["converged"] == 30
    assert found["error"] == (descent.outputs.argmax(axis=1) != labels).mean()
    np.testing.assert_allclose(found["distance"], apart, rtol=0, atol=1e-12)
    assert figures["bound"] == SAME
    assert found["same_minimum"] == (apart <= SAME).sum() < 30
    assert f"{found['same_minimum']} (" in result.out


def test_a_runs_own_steps_are_compared_too(run, dataset, tmp_path):
    path = tmp_path / "hopfield.toml"
    path.write_text(
        'model = "hopfield"\nlayers = [16, 8, 3]\nweight_rates = 0.2\nbeta = 0.5\nbatch_size = 5\nepochs = 1\n'
        'dynamics = "descent"\nfree_steps = 1\ntest_steps = 2\nnudged_steps = 1\n'
    )
    assert run("train", "--preset", path, "--data-dir", dataset, "--output", "run").code == 0
    given = ["--network", "run/network.npz", "--data-dir", dataset]
    assert run("minima", *given, "--json", "out.json").code == 0
    *_, trained = json.loads(Path("out.json").read_text())["ways"]
    assert trained["way"] == "as trained: descent, 2 sweeps"
    assert trained["converged"] == 0
    assert len(trained["distance"]) == 45
    assert min(trained["energy_difference"]) >= -1e-12


def test_smooth_buffers_are_held_against_leaky_integrators(run, dataset, tmp_path):
    HopfieldNetwork.dense([16, 8, 3], 0, buffer=Sigmoid()).save(tmp_path / "net.npz")
    assert run("minima", "--network", "net.npz", "--data-dir", dataset, "--json", "out.json").code == 0
    figures = json.loads((tmp_path / "out.json").read_text())
    assert figures["reference"]["way"] == "leaky integrators, ε = 0.1"
    assert [way["same_minimum"] for way in figures["ways"]] == [45, 45]


def test_what_has_no_minima_or_no_images_is_refused_in_a_line(run, dataset, network, tmp_path):
    network.save(tmp_path / "net.npz")
    HopfieldNetwork.dense([16, 4, 3], 0, untied=True).save(tmp_path / "untied.npz")
    HopfieldNetwork.dense([9, 3], 0).save(tmp_path / "nine.npz")
    ResistiveNetwork.dense([16, 4, 3]).save(tmp_path / "resistive.npz")
    for name, options, words in (
        ("net", ["--samples", 0], "--samples: expected at least 1, got 0"),
        ("untied", [], "untied weights have no energy"),
        ("nine", [], "layers: mnist needs 16 inputs"),
        ("resistive", [], 'expected format "eqprop-analog hopfield network 1"'),
        ("none", [], "no such network file"),
    ):
        result = run("minima", "--network", f"{name}.npz", "--data-dir", dataset, *options)
        assert result.code == 2
        assert words in result.err
        assert len(result.err.splitlines()) == 1
