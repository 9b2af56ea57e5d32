"""Hopfield networks against finite differences of their energy, scipy's convolution, and explicit sums."""

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from scipy.signal import correlate2d

from eqprop_analog import HopfieldNetwork, Nudge, UserError
from eqprop_analog.devices.buffer import Buffer, HardSigmoid, Sigmoid, buffer_from, buffer_table
from eqprop_analog.networks.hopfield.connections import Convolution, Dense, connection_from
from eqprop_analog.networks.hopfield.equations import HopfieldEquations

BUFFERS = pytest.mark.parametrize("buffer", [HardSigmoid(), HardSigmoid(0.5), Sigmoid(), Sigmoid(2.0)], ids=repr)
FIRST = Convolution((2, 6, 5), 3, kernel=3, padding=1, pool=2)
ARCHITECTURES = {
    "no hidden layer": [Dense(5, 3)],
    "dense": [Dense(4, 6), Dense(6, 5), Dense(5, 3)],
    "convolutions": [FIRST, Convolution(FIRST.pooled, 4, kernel=2), Dense(8, 3)],
    "pooled twice": [FIRST, Convolution(FIRST.pooled, 4, kernel=2, padding=1, pool=2), Dense(8, 3)],
}


def network_of(name: str, **settings) -> HopfieldNetwork:
    network = HopfieldNetwork.build(ARCHITECTURES[name], 1, initial="fan-in", **settings)
    for bias in network.biases:
        np.add(bias, 0.3, out=bias)
    return network


def states_of(network: HopfieldNetwork, batch: int, seed: int = 0) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    random = np.random.default_rng(seed)
    return random.uniform(size=(batch, network.layers[0])), tuple(
        random.uniform(0.05, 0.95, (batch, nodes)) for nodes in network.layers[1:]
    )


def slopes(function, states) -> list[np.ndarray]:
    """d function/d state of each sample, by central differences."""
    found = []
    for s in states:
        slope = np.empty_like(s)
        for node in range(s.shape[1]):
            value, ends = s[:, node].copy(), []
            for shift in (1e-5, -1e-5):
                s[:, node] = value + shift
                ends.append(function())
            s[:, node] = value
            slope[:, node] = (ends[0] - ends[1]) / 2e-5
        found.append(slope)
    return found


@BUFFERS
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_force_is_the_downhill_slope_of_the_energy(name, buffer):
    """-∂E/∂s = u - ρ⁻¹(s), and s = ρ(u) where it vanishes."""
    network = network_of(name, buffer=buffer)
    inputs, states = states_of(network, 3)
    forces = network.forces(network.drive(inputs), states)
    for u, s, slope in zip(forces, states, slopes(lambda: network.energy(inputs, states), states), strict=True):
        np.testing.assert_allclose(u - buffer.inverse(s), -slope, atol=1e-7)


@pytest.mark.parametrize("kind", ["free", "conductance", "feedback", "current"])
@pytest.mark.parametrize("classes", [None, 2], ids=["no head", "head"])
def test_the_nudged_force_is_the_downhill_slope_of_the_nudged_energy(kind, classes):
    network = network_of("dense", classes=classes)
    inputs, states = states_of(network, 3)
    equations = HopfieldEquations.of(network, inputs)
    if kind != "free":
        target = np.eye(network.classes)[[0, 1, 1]]
        cost = "squared-error" if kind == "conductance" else "cross-entropy"
        free = type("Free", (), {"outputs": states[-1], "nudge": None})
        equations = equations.nudged([Nudge(target, 0.7, kind, cost)], free)
    numeric = slopes(lambda: equations.energy(states), states)
    for u, s, slope in zip(equations.forces(states), states, numeric, strict=True):
        np.testing.assert_allclose(u - s, -slope, atol=1e-7)


@pytest.mark.parametrize("untied", [False, True], ids=["tied", "untied"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_all_ways_to_compute_the_forces_agree(name, untied):
    """All at once, layer by layer, and by the network's reference implementation."""
    network = network_of(name, untied=untied)
    inputs, states = states_of(network, 3)
    equations = HopfieldEquations.of(network, inputs)
    plain = network.forces(network.drive(inputs), states)
    for layer, (one, other) in enumerate(zip(equations.forces(states), plain, strict=True), start=1):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(equations.force(layer, states), other, rtol=1e-13, atol=1e-13)


def test_untied_forces_written_out_weight_by_weight():
    network = network_of("dense", untied=True)
    inputs, (one, two, three) = states_of(network, 2)
    w1, w2, w3 = network.weights
    r2, r3 = network.returning
    b1, b2, b3 = network.biases
    expected = (inputs @ w1 + b1 + two @ r2.T, one @ w2 + b2 + three @ r3.T, two @ w3 + b3)
    for found, by_hand in zip(HopfieldEquations.of(network, inputs).forces((one, two, three)), expected, strict=True):
        np.testing.assert_allclose(found, by_hand, rtol=1e-13)
    tied = replace(network, returning=())
    assert np.abs(HopfieldEquations.of(tied, inputs).forces((one, two, three))[0] - expected[0]).max() > 0.1


@pytest.mark.parametrize(("kernel", "padding", "pool"), [(1, 0, 1), (3, 0, 1), (3, 1, 1), (3, 1, 2), (2, 2, 3)])
def test_a_convolution_is_scipys_correlation_and_the_largest_of_each_window(kernel, padding, pool):
    random = np.random.default_rng(0)
    each = Convolution((2, 7, 6), 3, kernel, padding, pool)
    weights, images = random.normal(size=each.weight_shape), random.normal(size=(4, 2, 7, 6))
    height, width = each.convolved
    maps = np.zeros((4, 3, height, width))
    for sample, out, into in product(range(4), range(3), range(2)):
        padded = np.pad(images[sample, into], padding)
        maps[sample, out] += correlate2d(padded, weights[out, into], mode="valid")
    expected = np.empty((4, *each.pooled))
    for row, column in product(range(each.pooled[1]), range(each.pooled[2])):
        window = maps[:, :, row * pool : (row + 1) * pool, column * pool : (column + 1) * pool]
        expected[:, :, row, column] = window.max(axis=(2, 3))
    found, _ = each.forward(weights, images.reshape(4, -1))
    assert found.shape == (4, each.sizes[1])
    np.testing.assert_allclose(found, expected.reshape(4, -1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("each", [Dense(8, 5), FIRST, Convolution((1, 5, 5), 2, 2, 1, 3)], ids=repr)
def test_backward_and_gradient_are_the_slopes_of_forward(each):
    """s'·forward(W, s) is linear in W and, at fixed winners, in s."""
    random = np.random.default_rng(0)
    before, after = random.normal(size=(3, each.sizes[0])), random.normal(size=(3, each.sizes[1]))
    weights = random.normal(size=each.weight_shape)
    value, choice = each.forward(weights, before)
    onto = each.backward(weights, after, choice)
    np.testing.assert_allclose((onto * before).sum(), (value * after).sum(), rtol=1e-12)
    np.testing.assert_allclose(
        (each.gradient(before, after, choice) * weights).sum(), (value * after).sum(), rtol=1e-12
    )
    moved = random.normal(size=before.shape)
    change = [(each.forward(weights, before + sign * 1e-6 * moved)[0] * after).sum() for sign in (1, -1)]
    np.testing.assert_allclose((onto * moved).sum(), (change[0] - change[1]) / 2e-6, rtol=1e-6)
    turned = random.normal(size=weights.shape)
    change = [(each.forward(weights + sign * 1e-6 * turned, before)[0] * after).sum() for sign in (1, -1)]
    np.testing.assert_allclose(
        (each.gradient(before, after, choice) * turned).sum(), (change[0] - change[1]) / 2e-6, rtol=1e-6
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_returns_by_untied_weights_is_the_slope_of_their_own_pooling(name):
    """∂/∂s_l of s_{l+1}·MaxPool(B ∗ s_l), whose winners are not those of W ∗ s_l (Laborieux et al. 2021, published code)."""
    network = network_of(name, untied=True)
    inputs, states = states_of(network, 3)
    drive = network.drive(inputs)
    returned = [np.zeros_like(s) for s in states]
    for layer, weights in enumerate(network.returning):
        each = network.connections[layer + 1]

        def energy(each=each, weights=weights, layer=layer) -> np.ndarray:
            return (each.forward(weights, states[layer])[0] * states[layer + 1]).sum(axis=1)

        returned[layer] = slopes(energy, states[layer : layer + 1])[0]
    for layer, (force, back) in enumerate(zip(network.forces(drive, states), returned, strict=True)):
        each = network.connections[layer]
        before = inputs if layer == 0 else states[layer - 1]
        ahead = each.forward(network.weights[layer], before)[0] + each.spread_bias(network.biases[layer])
        np.testing.assert_allclose(force, ahead + back, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_that_only_rounding_tells_apart_go_to_the_first_place(dtype):
    """Four sums of the same numbers in different orders: equal except for their last bits, so that any may be largest."""
    each = Convolution((24, 2, 2), 1, kernel=1, pool=2)
    numbers, weights = np.random.default_rng(0).uniform(size=24), np.ones(each.weight_shape, dtype)
    for order in permutations(range(4)):
        image = np.stack([np.roll(numbers, 5 * place) for place in order], axis=1).reshape(1, -1).astype(dtype)
        value, choice = each.forward(weights, image)
        assert choice is not None
        assert choice.ravel().tolist() == [0]
        assert value[0, 0] == pytest.approx(numbers.sum(), rel=1e-6)
        assert each.backward(weights, np.ones((1, 1), dtype), choice).reshape(24, 4)[:, 1:].max() == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("scale", "reach"), [(1.0, 1.0), (0.5, 1.0), (1.0, 3.0)])
def test_values_tie_within_four_rounding_errors_of_the_sum(scale, reach, dtype):
    """4ε·Σ|W|·max(1, max|s|), here powers of two or integers, so that every sum is exact."""
    each = Convolution((2, 2, 2), 1, kernel=1, pool=2)
    weights = np.array([1, scale], dtype).reshape(each.weight_shape)
    tie = 4 * np.finfo(dtype).eps * (1 + scale) * reach
    for above, winner in ((0.5, 0), (1.0, 0), (1.5, 3)):
        image = np.zeros((1, 2, 4), dtype)
        image[0, 1] = reach / 2
        image[0, 1, 1] = -reach
        image[0, 0, 3] = 0.5 * above * tie
        image[0, 0, :3] = -0.5 * above * tie
        choice = each.forward(weights, image.reshape(1, -1))[1]
        assert choice is not None
        assert choice.ravel().tolist() == [winner]


def test_a_tie_in_a_pooling_window_has_one_winner():
    each = Convolution((1, 2, 2), 1, kernel=1, pool=2)
    weights, image = np.ones(each.weight_shape), np.full((1, 4), 0.7)
    value, choice = each.forward(weights, image)
    assert value.tolist() == [[0.7]]
    back = each.backward(weights, np.ones((1, 1)), choice)
    assert sorted(back[0].tolist()) == [0, 0, 0, 1]
    assert each.gradient(image, np.ones((1, 1)), choice).tolist() == [[[[0.7]]]]


def test_rows_that_fill_no_pooling_window_pull_nothing():
    each = Convolution((1, 3, 3), 1, kernel=1, pool=2)
    image = np.arange(9.0)[None]
    value, choice = each.forward(np.ones(each.weight_shape), image)
    assert value.tolist() == [[4.0]]
    assert each.backward(np.ones(each.weight_shape), np.ones((1, 1)), choice).nonzero()[1].tolist() == [4]


@BUFFERS
def test_a_buffer_is_consistent_with_itself(buffer: Buffer):
    low, high = (end if np.isfinite(end) else np.sign(end) * 2 for end in buffer.span)
    u = np.linspace(low, high, 101)[1:-1]
    s = buffer.output(u)
    assert (np.diff(s) > 0).all()
    np.testing.assert_allclose(buffer.inverse(s), u, atol=1e-8)
    numeric = (buffer.output(u + 1e-6) - buffer.output(u - 1e-6)) / 2e-6
    np.testing.assert_allclose(buffer.slope(u), numeric, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(buffer.rise(s) * np.ones_like(s), buffer.slope(u), rtol=1e-7)
    assert buffer.slope(u).max() <= buffer.gain * (1 + 1e-12)
    part = (s > 0.01) & (s < 0.99)
    numeric = (buffer.potential(s[part] + 1e-6) - buffer.potential(s[part] - 1e-6)) / 2e-6
    np.testing.assert_allclose(numeric, u[part], atol=1e-6)
    assert (buffer.output(np.array([-1e6, 1e6])) == [0, 1]).all()
    assert (buffer.potential(np.array([0.0, 1.0])) == [0, buffer.potential(np.ones(1))[0]]).all()
    out = np.empty(99, np.float32)
    assert buffer.output(u.astype(np.float32), out=out) is out
    np.testing.assert_allclose(out, s, atol=1e-6)
    assert buffer_from(buffer_table(buffer)) == buffer


@pytest.mark.parametrize("settings", [{}, {"untied": True, "classes": 4, "buffer": Sigmoid(0.7)}], ids=["plain", "all"])
@pytest.mark.parametrize("name", ["dense", "pooled twice"])
def test_a_network_survives_its_file(tmp_path, name, settings):
    network = network_of(name, **settings)
    network.save(tmp_path / "network.npz")
    again = HopfieldNetwork.load(tmp_path / "network.npz")
    assert again.connections == network.connections
    assert again.buffer == network.buffer
    assert again.arrays().keys() == network.arrays().keys()
    for one, other in zip(again.arrays().values(), network.arrays().values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_no_network_file_is_told_so(tmp_path):
    path = tmp_path / "network.npz"
    with pytest.raises(UserError, match="no such network file"):
        HopfieldNetwork.load(path)
    path.write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(UserError, match="not a network file"):
        HopfieldNetwork.load(path)
    network_of("dense").save(path)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["weight_2"] = np.zeros((2, 2))
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=r"weights 2: expected shape \(6, 5\), got \(2, 2\)"):
        HopfieldNetwork.load(path)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: HopfieldNetwork.build([Dense(3, 4), Dense(5, 2)]), "connection 2: expected 4 nodes before it, got 5"),
        (lambda: HopfieldNetwork.build([]), "at least one connection"),
        (lambda: HopfieldNetwork.dense([3, 2], seed=-1), "seed must be an integer"),
        (lambda: HopfieldNetwork.dense([3, 2], initial="zeros"), "initial: expected"),
        (lambda: HopfieldNetwork.dense([3, 2], feedback=0.0), "feedback: expected a number above 0"),
        (lambda: HopfieldNetwork.dense([3, 2, 2], feedback=0.5, untied=True), "feedback: untied"),
        (lambda: Convolution((1, 4, 4), 2, kernel=5), "do not fit"),
        (lambda: Convolution((1, 4, 4), 0, kernel=3), "channels must be an integer of at least 1"),
        (lambda: connection_from({"channels": 2, "kernel": 3}, (7,)), "expected .channels, height, width. before it"),
        (lambda: network_of("dense").check_inputs(np.zeros((2, 5))), r"expected shape \(batch, 4\), got \(2, 5\)"),
        (lambda: network_of("dense").check_inputs([[0, 0, 0, np.nan]]), "every one a finite number"),
        (lambda: buffer_from({"law": "step"}), 'buffer law "step" is unknown'),
        (lambda: buffer_from({"law": "sigmoid", "gain": 0}), "parameters of buffer law sigmoid"),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        wrong()


def test_weak_feedback_is_saved_and_its_energy_has_the_forces_for_slopes(tmp_path):
    network = HopfieldNetwork.dense([4, 5, 3], 2, feedback=0.25)
    network.save(tmp_path / "weak.npz")
    assert HopfieldNetwork.load(tmp_path / "weak.npz").feedback == 0.25
    random = np.random.default_rng(0)
    inputs, states = random.uniform(size=(1, 4)), tuple(random.uniform(0.2, 0.8, (1, n)) for n in (5, 3))
    forces = network.forces(network.drive(inputs), states)
    for layer, share in enumerate((0.25**-1, 1.0)):
        for node in range(states[layer].shape[1]):
            energies = []
            for shift in (1e-5, -1e-5):
                moved = tuple(s.copy() for s in states)
                moved[layer][0, node] += shift
                energies.append(network.energy(inputs, moved)[0])
            slope = (energies[0] - energies[1]) / 2e-5
            assert slope == pytest.approx(share * (states[layer][0, node] - forces[layer][0, node]), abs=1e-8)
