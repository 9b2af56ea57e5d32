"""A patch of a network with fixed surroundings has the states of the whole network, in NumPy and in ngspice."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eqprop_analog import HopfieldNetwork, NgspiceSolver, Status, UserError
from eqprop_analog.cli import main
from eqprop_analog.networks.hopfield.connections import Convolution, Dense
from eqprop_analog.networks.hopfield.family import surrogate
from eqprop_analog.networks.hopfield.maxout import Maxout
from eqprop_analog.networks.hopfield.patches import cut, strongest

BOUND = 1e-9
"""Volts."""
KEPT = [
    {1: range(0, 32, 3), 2: range(0, 27, 2)},
    {2: range(5), 3: [0, 2]},
    {1: [0, 5, 31], 2: [1, 2, 3, 8], 3: [1]},
    {1: range(32), 2: range(27), 3: range(3)},
]


def network(**settings: Any) -> HopfieldNetwork:
    one = Convolution((1, 8, 8), channels=2, kernel=3, padding=1, pool=2)
    two = Convolution(one.pooled, channels=3, kernel=2, padding=2, pool=2)
    net = HopfieldNetwork.build([one, two, Dense(two.sizes[1], 3)], 3, initial="fan-in", **settings)
    for values in (*net.weights[1:], *net.returning):
        values[...] *= 2
    return net


@pytest.mark.parametrize("keep", KEPT, ids=range(len(KEPT)))
@pytest.mark.parametrize("settings", [{}, {"untied": True}, {"feedback": 0.3}], ids=["tied", "untied", "weak feedback"])
def test_a_patch_has_the_states_of_the_whole_network(settings: dict[str, Any], keep: dict[int, Any]):
    net = network(**settings)
    image = np.random.default_rng(0).uniform(0, 1, (1, 64))
    free = surrogate().solve(net, image)
    patch, one, inside = cut(net, image, free.voltages, keep)
    assert inside.residual < 1e-11
    solver = NgspiceSolver()
    measured = solver.solve(patch, one, start=inside)
    solver.close()
    assert measured.status.tolist() == [Status.CONVERGED]
    assert max(np.abs(v - s).max() for v, s in zip(measured.voltages, inside.voltages, strict=True)) < BOUND
    for layer in range(1, patch.depth):
        each, weights = patch.connections[layer], patch.weights[layer]
        winners = (each.winners(weights, states[layer - 1]) for states in (measured.voltages, inside.voltages))
        np.testing.assert_array_equal(*winners)


def test_the_strongest_neighbours_are_those_of_the_largest_weights():
    net = network()
    kept = strongest(net, [1, 2], 4, np.random.default_rng(1))
    assert [len(kept[layer]) for layer in (1, 2)] == [4, 4]
    pull = np.abs(net.connections[1].matrix(net.weights[1]))[:, net.connections[1].windows[kept[2]].ravel()].sum(axis=1)
    assert pull[kept[1]].min() >= np.sort(pull)[-4]
    assert strongest(net, [3], 9, np.random.default_rng(1))[3].tolist() == [0, 1, 2]


def test_the_command_compares_a_patch_of_every_sample_with_the_whole_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    network().save(tmp_path / "net.npz")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).uniform(0, 1, (2, 64)))
    given = [str(tmp_path / "net.npz"), "--inputs", str(tmp_path / "x.npy"), "--json", str(tmp_path / "out.json")]
    assert main(["patches", *given, "--layers", "2", "3", "--nodes", "5"]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert [each["layers"] for each in found["patches"]] == [[1, 6, 3]] * 2
    for each in found["patches"]:
        assert each["met"]
        assert each["whole"] < BOUND
        assert each["other_winners"] == 0
        assert each["windows"] == 6
    assert sum(found["cold_starts"].values()) == 2
    assert "cold starts" in capsys.readouterr().out
    assert main(["patches", *given, "--layers", "1", "3"]) == 2
    assert "consecutive" in capsys.readouterr().err


def test_a_patch_is_saved_and_loaded(tmp_path: Path):
    net = network()
    image = np.ones((1, 64))
    patch, one, inside = cut(net, image, surrogate().solve(net, image).voltages, KEPT[0])
    patch.save(tmp_path / "patch.npz")
    loaded = HopfieldNetwork.load(tmp_path / "patch.npz")
    assert loaded.connections == patch.connections
    assert isinstance(loaded.connections[0], Maxout)
    assert loaded.equations(one).residual(inside.voltages) < 1e-11


def test_a_maxout_connection_is_the_slope_of_its_own_function():
    random = np.random.default_rng(0)
    each = Maxout(5, 4, 3)
    weights, before, after = random.normal(size=(5, 12)), random.normal(size=(2, 5)), random.normal(size=(2, 4))
    values, choice = each.forward(weights, before)
    np.testing.assert_allclose(values, (before @ weights).reshape(2, 4, 3).max(axis=-1), rtol=1e-14)
    np.testing.assert_allclose((before @ each.matrix(weights))[:, each.windows].max(axis=-1), values, rtol=1e-14)
    step = 1e-6
    for i in range(5):
        moved = before + step * np.eye(5)[i]
        slope = (after * (each.forward(weights, moved)[0] - values)).sum(axis=1) / step
        np.testing.assert_allclose(each.backward(weights, after, choice)[:, i], slope, rtol=1e-6)
    assert (after * values).sum() == pytest.approx((each.gradient(before, after, choice) * weights).sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("keep", "words"),
    [({1: [0], 3: [0]}, r"layers \[1, 3\]"), ({4: [0]}, "layers 1 to 3"), ({2: [27]}, "nodes 0 to 26"), ({}, "layers")],
)
def test_a_patch_of_what_is_not_there_is_refused(keep: dict[int, Any], words: str):
    net = network()
    states = tuple(np.zeros((1, size)) for size in net.layers[1:])
    with pytest.raises(UserError, match=words):
        cut(net, np.zeros((1, 64)), states, keep)
