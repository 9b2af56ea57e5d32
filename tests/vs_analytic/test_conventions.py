"""Signs and index order, so that a wrong transpose or a wrong sign is detected."""

import numpy as np
import pytest

from eqprop_analog import Nudge, ResistiveNetwork, SurrogateSolver, contrast
from eqprop_analog.core.equilibrium import statuses_in_words
from eqprop_analog.core.readouts import decided_otherwise
from eqprop_analog.devices import LAWS, Antiparallel, Clamp, NgspiceDiode, PiecewiseLinear, Shockley

US = 1e-6
OFF = Clamp(rail=-1e6)


def network_of(*conductances, diode=OFF, gains=None, input_gain=1.0, **settings) -> ResistiveNetwork:
    """Conductances in µS, no biases."""
    matrices = tuple(US * np.array(matrix, float) for matrix in conductances)
    biases = tuple(np.zeros(matrix.shape[1]) for matrix in matrices)
    return ResistiveNetwork(matrices, biases, diode, gains or (1.0,) * (len(matrices) - 1), input_gain, **settings)


def outputs(network: ResistiveNetwork, x, nudge: Nudge | None = None) -> np.ndarray:
    return SurrogateSolver().solve(network, np.atleast_2d(x), nudge).outputs[0]


def test_rows_of_crossbar_1_are_plus_x_then_minus_x():
    network = network_of([[4], [3], [2], [1]])
    np.testing.assert_array_equal(network.rows(np.array([[5.0, 7.0]])), [[5, 7, -5, -7]])
    assert outputs(network, [5.0, 7.0]) == pytest.approx((4 * 5 + 3 * 7 - 2 * 5 - 1 * 7) / 10)


@pytest.mark.parametrize("volts", [3.0, -0.5])
def test_bias_row_is_the_last_row_of_crossbar_1_at_its_own_voltage(volts: float):
    """Its voltage is not multiplied by the input gain."""
    network = network_of([[4], [3], [2], [1], [6]], bias_row=volts, input_gain=2.0)
    network.validate()
    assert network.layers == (2, 1)
    np.testing.assert_array_equal(network.rows(np.array([[5.0, 7.0]])), [[10, 14, -10, -14, volts]])
    assert outputs(network, [5.0, 7.0]) == pytest.approx((4 * 10 + 3 * 14 - 2 * 10 - 1 * 14 + 6 * volts) / 16)


def test_class_k_of_a_pair_is_its_plus_node_less_its_minus_node():
    network = network_of([[4, 1, 0, 1], [0, 1, 2, 1]], outputs="pairs")
    network.validate()
    assert (network.layers, network.classes) == ((1, 4), 2)
    free = SurrogateSolver().solve(network, [[1.0]])
    np.testing.assert_allclose(free.outputs, [[1, 0, -1, 0]], atol=1e-15)
    np.testing.assert_allclose(network.readout(free.outputs), [[1, -1]])
    np.testing.assert_array_equal(network.along_readout(np.array([[2.0, -3.0]])), [[2, -2, -3, 3]])


def test_a_nudge_of_pairs_pushes_the_plus_node_up_and_the_minus_node_down_where_more_is_wanted():
    network = network_of([[4, 1, 0, 1], [0, 1, 2, 1]], outputs="pairs")
    free = SurrogateSolver().solve(network, [[1.0]])
    nudged = SurrogateSolver().solve(network, [[1.0]], Nudge(np.array([2.0, -1.0]), 0.1 * US, "current"), free)
    np.testing.assert_allclose(nudged.outputs - free.outputs, [[0.1 / 4, -0.1 / 2, 0, 0]], atol=1e-12)


def test_first_crossbar_joins_row_i_to_column_j():
    """Each column is driven by exactly one row: +x_0, -x_1, +x_1."""
    network = network_of([[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(outputs(network, [5.0, 7.0]), [5, -7, 7])


def test_later_crossbar_joins_hidden_node_i_to_column_j():
    """h0 = x_0 drives o0 and o2, h1 = x_1 drives o1."""
    network = network_of([[1, 0], [0, 1], [0, 0], [0, 0]], [[1, 0, 1], [0, 1, 0]])
    assert network.layers == (2, 2, 3)
    np.testing.assert_allclose(outputs(network, [5.0, 7.0]), [5, 7, 5])


def test_input_gain_is_volts_per_unit_of_input():
    assert outputs(network_of([[1], [0]], input_gain=10.0), 0.3) == pytest.approx(3.0)


def test_positive_bias_current_raises_its_node():
    network = network_of([[1], [1]], [[2]])
    network.biases[0][...] = 3e-6
    free = SurrogateSolver().solve(network, [[0.0]])
    np.testing.assert_allclose(free.voltages[0], 1.5)
    network.biases[1][...] = 1e-6
    np.testing.assert_allclose(SurrogateSolver().solve(network, [[0.0]]).outputs, 2.0 + 0.5)


@pytest.mark.parametrize("target", [5.0, -5.0])
@pytest.mark.parametrize("kind", ["conductance", "current"])
def test_positive_nudge_pulls_towards_the_target_and_negative_away(target: float, kind: str):
    network = network_of([[1], [0]])
    free = SurrogateSolver().solve(network, [[1.0]])
    distance = abs(free.outputs - target)
    for beta, closer in ((0.1 * US, True), (-0.1 * US, False)):
        nudged = SurrogateSolver().solve(network, [[1.0]], Nudge(np.array([target]), beta, kind), free)
        assert (abs(nudged.outputs - target) < distance) == closer


@pytest.mark.parametrize(("size", "excitatory"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_first_half_rounded_up_is_excitatory(size: int, excitatory: int):
    network = ResistiveNetwork.dense((1, size, 1))
    np.testing.assert_array_equal(network.polarity(1), [1] * excitatory + [-1] * (size - excitatory))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_with_antiparallel_diodes_all_nodes_are_alike(size: int):
    network = ResistiveNetwork.dense((1, size, 1), diode=Antiparallel(NgspiceDiode()))
    np.testing.assert_array_equal(network.polarity(1), np.ones(size))
    for side, expected in zip(network.diode_sides(1), (1, -1), strict=True):
        np.testing.assert_array_equal(side, np.full(size, expected))


@pytest.mark.parametrize(
    "law",
    [NgspiceDiode(rail=0.2), Shockley(rail=0.2), PiecewiseLinear(rail=0.0), Clamp(-0.1)],
    ids=lambda law: str(law)[:6],
)
@pytest.mark.parametrize("x", [10.0, -10.0, 0.02])
def test_antiparallel_diodes_keep_every_node_within_their_drop_of_the_rails(law, x: float):
    """At 10 µA a junction of 1 nA drops 0.24 V, so rails 0.2 V inside leave 0.04 V."""
    network = network_of([[1, 1], [0, 0]], [[0.01], [0.01]], diode=Antiparallel(law))
    hidden = SurrogateSolver().solve(network, [[x]]).voltages[0][0]
    assert hidden[0] == hidden[1]
    assert np.sign(hidden[0]) == np.sign(x)
    assert abs(hidden[0]) < (0.16 if isinstance(law, PiecewiseLinear) else 0.11)
    if abs(x) > 1:
        assert abs(hidden[0]) > 0.03


@pytest.mark.parametrize("law", [kind() for name, kind in LAWS.items() if name != "table"])
@pytest.mark.parametrize("x", [10.0, -10.0])
def test_excitatory_half_stays_above_about_0_volts_and_inhibitory_below(law, x: float):
    """Both nodes are pulled hard one way; the one whose diode opposes is held, the other follows."""
    hidden = SurrogateSolver().solve(network_of([[1, 1], [0, 0]], [[0.01], [0.01]], diode=law), [[x]]).voltages[0][0]
    held, follower = (1, 0) if x > 0 else (0, 1)
    assert abs(hidden[held]) < 0.1
    assert hidden[follower] == pytest.approx(x, rel=0.02)


def test_diode_current_counts_positive_out_of_the_node():
    """Below the rail it pushes current into the node."""
    for law in (NgspiceDiode(), Shockley(), PiecewiseLinear(), Clamp(on_resistance=1e3)):
        assert law.current(np.array(law.rail - 0.1)) < 0
        assert law.current(np.array(law.rail + 0.1)) >= 0


def test_each_amplifier_divides_the_energy_weight_of_what_follows_by_its_square():
    network = ResistiveNetwork.dense((1, 1, 1, 1), amplifier_gain=(3.0, 2.0))
    assert network.drive_gains == (1.0, 3.0, 2.0)
    assert network.gammas == pytest.approx((1, 1 / 9, 1 / 36))


def test_nodes_are_named_by_layer_and_index():
    network = ResistiveNetwork.dense((1, 2, 2, 3))
    assert [network.node_name(layer, 1) for layer in (1, 2, 3)] == ["h1_1", "h2_1", "o_1"]


def test_gradient_asks_for_more_of_what_pulls_the_output_to_its_target():
    """Output 0 V between +1 V and -1 V, wanted at 0.5 V: dC/dG = (v - y)·(±x - v)/ΣG and dC/db = (v - y)/ΣG by hand."""
    network = network_of([[1], [1]])
    x, target = np.array([[1.0]]), np.array([0.5])
    solver = SurrogateSolver()
    plus, minus = (solver.solve(network, x, Nudge(target, beta)) for beta in (1e-9, -1e-9))
    gradient = contrast(network, x, plus, minus)
    np.testing.assert_allclose(gradient.conductances[0][:, 0], [-0.5 / 2e-6, 0.5 / 2e-6], rtol=1e-5)
    np.testing.assert_allclose(gradient.biases[0], [-0.5 / 2e-6], rtol=1e-5)


def test_gradient_is_the_mean_over_the_batch():
    network = network_of([[1], [1]])
    x, target = np.array([[1.0], [3.0]]), np.array([[0.5], [-0.2]])
    solver = SurrogateSolver()

    def gradient(samples: slice) -> np.ndarray:
        phases = [solver.solve(network, x[samples], Nudge(target[samples], beta)) for beta in (1e-8, -1e-8)]
        return contrast(network, x[samples], *phases).conductances[0]

    single = [gradient(slice(k, k + 1)) for k in (0, 1)]
    np.testing.assert_allclose(gradient(slice(None)), np.mean(single, axis=0), rtol=1e-6)


def test_thermal_voltage_is_by_ngspices_constants():
    """CODATA 2014 and 0 °C = 273.15 K (design.md, section 4); the 2019 values would part from ngspice by 9e-8 V."""
    expected = 1.5 * 1.38064852e-23 * 300.15 / 1.6021766208e-19
    assert NgspiceDiode(emission=1.5, celsius=27.0).thermal_voltage == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("one", "other", "different"),
    [
        ([[0.2, 0.2 + 1e-13]], [[0.2 + 1e-13, 0.2]], [False]),
        ([[0.2, 0.3]], [[0.3, 0.2]], [True]),
        ([[0.2, 0.2 + 1e-6]], [[0.2, 0.2]], [False]),
        ([[0.2, 0.2 + 1e-6]], [[0.2 + 1e-6, 0.2]], [True]),
        ([[0.5 + 1e-12]], [[0.5 - 1e-12]], [False]),
        ([[0.4]], [[0.6]], [True]),
        ([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]], [[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]], [False, True]),
    ],
)
def test_predictions_that_tie_within_the_allowed_difference_are_the_same(
    one: list[list[float]], other: list[list[float]], different: list[bool]
) -> None:
    assert decided_otherwise(np.array(one), np.array(other), 1e-9).tolist() == different


def test_statuses_say_that_a_truncation_was_asked_for() -> None:
    words = statuses_in_words({"TRUNCATED": 1_800_000, "CONVERGED": 10_000}, "4 sweeps")
    assert "1,800,000 stopped after 4 sweeps, as configured" in words
    assert "10,000 CONVERGED" in words
    assert "TRUNCATED" not in words
