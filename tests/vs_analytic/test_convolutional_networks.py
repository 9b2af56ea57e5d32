"""Convolutional resistive networks against their resistors one by one, hand calculation and finite differences."""

from dataclasses import replace

import numpy as np
import pytest

from eqprop_analog import Nudge, ResistiveNetwork, SurrogateSolver, UserError, contrast
from eqprop_analog.devices import Antiparallel, Clamp, Law, NgspiceDiode
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.learning.exact_gradient import implicit_gradient as exact_gradient
from eqprop_analog.networks.resistive.network import Outputs

Array = np.ndarray
PAIR = Antiparallel(NgspiceDiode(1e-12))
CONNECTIONS = ({"channels": 4, "kernel": 3, "stride": 2, "padding": 1}, {"pool": 2, "siemens": 3e-6}, {"outputs": 3})


def network(law: Law | None = None, outputs: Outputs = "single") -> ResistiveNetwork:
    return ResistiveNetwork.convolutional(
        (1, 7, 8), CONNECTIONS, 1, diode=law or NgspiceDiode(), amplifier_gain=3.0, input_gain=4.0, outputs=outputs
    )


def batch() -> tuple[Array, Array]:
    random = np.random.default_rng(2)
    return random.uniform(0, 1, (3, 56)), np.eye(3)[[0, 2, 1]]


def as_dense(net: ResistiveNetwork) -> ResistiveNetwork:
    return replace(net, conductances=tuple(each.matrix() for each in net.crossbars), crossbars=())


def test_sizes_free_parameters_and_resistors() -> None:
    net = network()
    assert net.layers == (56, 4 * 4 * 4, 4 * 2 * 2, 3)
    assert [each.free_parameters for each in net.crossbars] == [2 * 9 * 4, 0, 16 * 3]
    assert net.free_parameters == 72 + 48
    assert net.resistors_in_circuit == as_dense(net).resistors_in_circuit
    assert net.polarity(1).tolist() == [1.0] * 32 + [-1.0] * 32


@pytest.mark.parametrize("law", [Clamp(), NgspiceDiode(), Antiparallel(NgspiceDiode(1e-12))])
def test_its_equilibria_are_those_of_its_resistors_one_by_one(law: Law) -> None:
    net, (x, y) = network(law), batch()
    nudges = [Nudge(y, b) for b in (1e-7, -1e-7)]
    for mine, theirs in zip(
        *(SurrogateSolver().solve_phases(each, x, nudges) for each in (net, as_dense(net))), strict=True
    ):
        for one, other in zip(mine.require().voltages, theirs.require().voltages, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def test_average_pooling_loads_its_neighbours_and_is_no_ideal_mean() -> None:
    """2 x 1 inputs of 3 V and 1 V reach their nodes through 1 µS each, 2 µS pool them, 1 µS leads to the output: by hand.

    KCL: (3 - a) = 2 (a - p), (1 - b) = 2 (b - p), 2 (a - p) + 2 (b - p) = p - o, and nothing flows into the output, so o = p.
    """
    net = ResistiveNetwork.convolutional(
        (1, 2, 2),
        [{"channels": 1, "kernel": 1}, {"pool": 2, "siemens": 2e-6}, {"outputs": 1}],
        diode=Antiparallel(Clamp(-9.0)),
    )
    net.conductances[0][:] = [[1e-6], [0.0]]
    net.conductances[2][:] = 1e-6
    (nodes, pooled, output) = SurrogateSolver().solve(net, [[3.0, 1.0, 3.0, 1.0]]).require().voltages
    np.testing.assert_allclose(pooled, 2.0, rtol=1e-12)
    np.testing.assert_allclose(output, 2.0, rtol=1e-12)
    np.testing.assert_allclose(nodes, [[7 / 3, 5 / 3, 7 / 3, 5 / 3]], rtol=1e-12)  # pulled towards the mean of 2 V
    net.biases[2][:] = -1e-6  # a microampere drawn from the output loads the windows: 4 µS and 4 nodes behind 1 µS
    (_, pooled, _) = SurrogateSolver().solve(net, [[3.0, 1.0, 3.0, 1.0]]).require().voltages
    np.testing.assert_allclose(pooled, 2.0 - 1 / (4 * 2 / 3), rtol=1e-12)


def test_the_exact_gradient_is_that_of_finite_differences() -> None:
    net, (x, y) = network(), batch()
    for matrix in net.conductances:
        np.add(matrix, 1e-8, out=matrix)

    def cost(other: ResistiveNetwork) -> float:
        out = SurrogateSolver(tolerance=1e-15).solve(other, x).outputs
        return float(0.5 * ((out - y) ** 2).sum(axis=1).mean())

    found = exact_gradient(net, x, y, SurrogateSolver().solve(net, x))
    for name, cells in (("conductance_1", [(0, 0), (4, 1), (12, 3)]), ("conductance_3", [(0, 0), (7, 2)])):
        for cell in cells:
            shifted = []
            for step in (1e-10, -1e-10):
                other = net.astype(np.float64)
                other.arrays()[name][cell] += step
                shifted.append(cost(other))
            assert found[name][cell] == pytest.approx((shifted[0] - shifted[1]) / 2e-10, rel=1e-4, abs=1e-3)


def test_the_contrast_tends_to_the_exact_gradient_with_the_square_of_beta() -> None:
    net, (x, y) = network(), batch()
    exact = exact_gradient(net, x, y, SurrogateSolver().solve(net, x))
    errors = []
    for beta in (1e-7, 1e-8):
        plus, minus = (SurrogateSolver().solve(net, x, Nudge(y, b)) for b in (beta, -beta))
        found = contrast(net, x, plus, minus)
        errors.append(
            [
                float(np.abs(found[name] - exact[name]).max() / np.abs(exact[name]).max())
                for name in ("conductance_1", "conductance_3")
            ]
        )
    assert all(0.003 < small / large < 0.03 for large, small in zip(*errors, strict=True))


@pytest.mark.parametrize(
    ("connections", "said"),
    [
        ([{"channels": 3, "kernel": 3}, {"outputs": 2}], "even number of channels"),
        ([{"channels": 2, "kernel": 9}, {"outputs": 2}], "9 x 9"),
        ([{"channels": 2}, {"outputs": 2}], "kernel"),
        ([{"outputs": 4}, {"channels": 2, "kernel": 3}], "connection 2.*image"),
        ([{"channels": 2, "kernel": 3, "strides": 2}, {"outputs": 2}], "strides.*stride"),
        ([{"kernel": 3}, {"outputs": 2}], "connection 1: expected a table"),
        ([{"channels": 2, "kernel": 3}, {"pool": 7}, {"outputs": 2}], "7 x 7"),
        ([{"channels": 2, "kernel": 2.5}, {"outputs": 2}], "kernel"),
    ],
)
def test_connections_that_make_no_network_are_refused(connections: list[dict[str, float]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        ResistiveNetwork.convolutional((1, 8, 8), connections)
    assert (
        ResistiveNetwork.convolutional((1, 8, 8), [{"channels": 3, "kernel": 3}, {"outputs": 2}], diode=PAIR).depth == 2
    )


def test_a_preset_may_describe_connections_and_layers_take_their_place() -> None:
    config = resolve("mnist-64x7x7", {})
    assert config.sizes == config.network().layers == (784, 64 * 8 * 8, 20)
    assert config.classes == 10
    dense = resolve("mnist-64x7x7", {"layers": [784, 30, 20]})
    assert dense.sizes == (784, 30, 20)
    with pytest.raises(UserError, match="either layers or connections"):
        resolve("mnist-1024", {"layers": [784, 10], "connections": [{"outputs": 10}]})
    with pytest.raises(UserError, match="2 crossbars"):
        resolve("mnist-64x7x7", {"conductance_rates": [1e-15] * 3})


def test_what_a_recipe_needs_follows_from_a_convolutional_network_too() -> None:
    """Settings of own-shape (gain, nudge, rates and sweeps), which do not exist for average pooling."""
    values = {"connections": [{"channels": 4, "kernel": 5, "stride": 3}, {"pool": 2}, {"outputs": 10}]}
    config = resolve("own-shape", values)
    kernel, pooling, last = config.conductance_rates  # type: ignore[attr-defined]
    assert kernel > 0 == pooling < last
    assert config.input_gain > 1  # type: ignore[attr-defined]
