"""The effect of training and files on the parameters of a network."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqprop_analog import Gradient, ResistiveNetwork
from eqprop_analog.devices import Antiparallel, Clamp, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.learning.update import Rates, descend

seeds = st.integers(0, 2**32)
shapes = st.lists(st.integers(1, 6), min_size=2, max_size=5).map(tuple)


def random_gradient(network: ResistiveNetwork, seed: int, size: float) -> Gradient:
    random = np.random.default_rng(seed)

    def like(parameters: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        return tuple((size * random.normal(size=p.shape)).astype(p.dtype) for p in parameters)

    return Gradient(like(network.conductances), like(network.biases))


def rates(network: ResistiveNetwork, conductances: float, biases: float) -> Rates:
    return Rates((conductances,) * network.depth, (biases,) * network.depth)


def copies(network: ResistiveNetwork) -> dict[str, np.ndarray]:
    return {name: values.copy() for name, values in network.arrays().items()}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@given(seed=seeds, layers=shapes, size=st.floats(0, 1e12), low=st.floats(0, 1e-6), width=st.floats(1e-9, 1e-4))
def test_updated_conductances_stay_in_their_window(dtype, seed, layers, size, low, width):
    window = (low, low + width)
    network = ResistiveNetwork.dense(layers, seed, conductance_window=window).astype(dtype)
    descend(network, random_gradient(network, seed, size), rates(network, 1e-12, 1e-12))
    network.validate()
    for matrix in network.conductances:
        assert matrix.dtype == dtype
        assert (matrix >= dtype(window[0])).all()
        assert (matrix <= dtype(window[1])).all()


@given(seed=seeds, layers=shapes)
def test_zero_gradient_or_zero_rate_changes_nothing(seed, layers):
    network = ResistiveNetwork.dense(layers, seed)
    before = copies(network)
    descend(network, random_gradient(network, seed, 0.0), rates(network, 1.0, 1.0))
    descend(network, random_gradient(network, seed, 1.0), rates(network, 0.0, 0.0))
    for name, values in network.arrays().items():
        np.testing.assert_array_equal(values, before[name])


@given(seed=seeds, layers=shapes)
def test_small_update_goes_against_the_gradient_at_the_rate_of_its_layer(seed, layers):
    network = ResistiveNetwork.dense(layers, seed, conductance_window=(0.0, 1.0), bias=1e-6)
    for matrix in network.conductances:
        np.add(matrix, 1e-6, out=matrix)
    before = copies(network)
    gradient = random_gradient(network, seed, 1.0)
    slopes = {name: slope.copy() for name, slope in gradient.arrays().items()}
    eta = tuple(1e-9 * (l + 1) for l in range(network.depth))
    descend(network, gradient, Rates(eta, tuple(2 * rate for rate in eta)))
    for l, rate in enumerate(eta):
        moved = network.conductances[l] - before[f"conductance_{l + 1}"]
        np.testing.assert_allclose(moved, -rate * slopes[f"conductance_{l + 1}"], rtol=1e-6, atol=1e-20)
        moved = network.biases[l] - before[f"bias_{l + 1}"]
        np.testing.assert_allclose(moved, -2 * rate * slopes[f"bias_{l + 1}"], rtol=1e-6, atol=1e-20)


junctions = st.floats(1e-15, 1e-6), st.floats(0.5, 3), st.floats(-1, 1), st.floats(-40, 120)
singles = st.one_of(
    st.builds(NgspiceDiode, *junctions),
    st.builds(Shockley, *junctions),
    st.builds(PiecewiseLinear, st.floats(0, 1), st.floats(0.1, 1e4), st.floats(1e5, 1e20), st.floats(-1, 1)),
    st.builds(Clamp, st.floats(-1, -0.01), st.sampled_from([0.0, 1e-6, 0.1])),
)


@given(
    seed=seeds,
    layers=shapes,
    diode=st.one_of(singles, st.builds(Antiparallel, singles)),
    gain=st.floats(0.1, 100),
    bias_row=st.floats(-10, 10),
    outputs=st.sampled_from(["single", "pairs"]),
)
def test_saved_network_is_loaded_to_the_last_bit(
    random_network, tmp_path_factory, seed, layers, diode, gain, bias_row, outputs
):
    path = tmp_path_factory.mktemp("networks") / "network.npz"
    layers = (*layers[:-1], layers[-1] * (1 + (outputs == "pairs")))
    gains, settings = (gain,) * (len(layers) - 2), {"bias_row": bias_row, "outputs": outputs}
    network = random_network(seed, layers, diode=diode, gains=gains, zeros=0.3, bias=1e-7, **settings)
    network = replace(network, input_gain=gain / 3, conductance_window=(gain * 1e-9, gain * 1e-6))
    network.save(path)
    loaded = ResistiveNetwork.load(path)
    assert (loaded.layers, loaded.diode, loaded.amplifier_gain) == (network.layers, diode, network.amplifier_gain)
    assert (loaded.input_gain, loaded.conductance_window) == (network.input_gain, network.conductance_window)
    assert (loaded.bias_row, loaded.outputs) == (bias_row, outputs)
    assert loaded.arrays().keys() == network.arrays().keys()
    for name, values in network.arrays().items():
        np.testing.assert_array_equal(loaded.arrays()[name], values, strict=True)


def test_files_from_before_bias_rows_and_pairs_are_still_read(tmp_path):
    network = ResistiveNetwork.dense([2, 3, 1])
    network.save(tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as file:
        arrays = dict(file)
    description = json.loads(str(arrays["description"]))
    del description["bias_row"], description["outputs"]
    np.savez(tmp_path / "old.npz", **arrays | {"description": np.array(json.dumps(description))})
    loaded = ResistiveNetwork.load(tmp_path / "old.npz")
    assert (loaded.bias_row, loaded.outputs, loaded.diode) == (0.0, "single", network.diode)


@given(seed=seeds, layers=shapes, bias_row=st.sampled_from([0.0, -1.5]))
def test_fresh_networks_are_valid_driven_and_repeatable(seed, layers, bias_row):
    """max(0, U(-a, a)) µS with a = 1/√fan_in, and no empty column."""
    network, again = (ResistiveNetwork.dense(layers, seed, bias_row=bias_row) for _ in range(2))
    network.validate()
    assert network.layers == layers
    for matrix, same in zip(network.conductances, again.conductances, strict=True):
        np.testing.assert_array_equal(matrix, same)
        assert (matrix >= 0).all()
        assert matrix.max() <= 1e-6 / np.sqrt(len(matrix))
        assert (matrix.sum(axis=0) > 0).all()
