"""Which nudges leave the circuit positive definite, judged by the conductance matrix of the whole circuit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqprop_analog import Nudge, ResistiveNetwork, SurrogateSolver, UserError
from eqprop_analog.devices import Clamp
from eqprop_analog.networks.resistive.netlist import compile_network

US = 1e-6
SOLVER = SurrogateSolver()
seeds = st.integers(0, 10**6)
shapes = st.lists(st.integers(1, 6), min_size=2, max_size=5)


def one_one_one() -> ResistiveNetwork:
    """design.md, section 3: input -1 µS- h -10 µS- out."""
    conductances = (np.array([[1 * US], [0.0]]), np.array([[10 * US]]))
    return ResistiveNetwork(conductances, (np.zeros(1), np.zeros(1)), Clamp(rail=-100.0), (1.0,))


def laplacian(network: ResistiveNetwork) -> np.ndarray:
    """Conductance matrix of all nodes at once, input rows grounded, diodes off, resistor by resistor."""
    first = np.cumsum((0, *network.layers[1:]))
    matrix = np.zeros((first[-1], first[-1]))
    for l, crossbar in enumerate(network.conductances):
        for (i, j), siemens in np.ndenumerate(crossbar):
            node = first[l] + j
            matrix[node, node] += siemens
            if l > 0:
                other = first[l - 1] + i
                matrix[other, other] += siemens
                matrix[node, other] -= siemens
                matrix[other, node] -= siemens
    return matrix


def stiffness(network: ResistiveNetwork) -> np.ndarray:
    """Inverse of the resistance matrix seen at the outputs."""
    outputs = network.layers[-1]
    return np.linalg.inv(np.linalg.inv(laplacian(network))[-outputs:, -outputs:])


def test_output_of_the_one_one_one_chain_is_held_by_the_series_conductance():
    np.testing.assert_allclose(one_one_one().output_stiffness(), [[10 / 11 * US]], rtol=1e-14)


@pytest.mark.parametrize("solver", ["surrogate", "circuit"])
def test_nudge_beyond_the_series_conductance_is_refused_by_name(solver: str):
    """-8 µS is less than the 10 µS at the output, but reverses the response of the circuit."""

    def solve(beta: float) -> None:
        nudge = Nudge(np.array([0.0]), beta)
        if solver == "surrogate":
            assert SOLVER.solve(one_one_one(), [[1.0]], nudge).require().outputs[0, 0] > 1
        else:
            compile_network(one_one_one(), np.ones((1, 1)), (None, nudge.injection(None)))

    solve(-0.5 * US)
    with pytest.raises(UserError, match=r"beta = -8e-06 S .*indefinite at net o_0.* 9\.091e-07 S"):
        solve(-8 * US)


def test_refusal_names_the_output_that_gives_way_first():
    conductances = (US * np.array([[5.0, 0.3, 4.0], [0.0, 0.0, 0.0]]),)
    network = ResistiveNetwork(conductances, (np.zeros(3),))
    with pytest.raises(UserError, match="o_1"):
        network.require_definite(-1 * US)


@given(seed=seeds, layers=shapes)
def test_output_stiffness_is_the_schur_complement_of_the_whole_circuit(random_network, seed, layers):
    network = random_network(seed, layers, decades=2.0, zeros=0.3)
    expected = stiffness(network)
    np.testing.assert_allclose(network.output_stiffness(), expected, rtol=1e-9, atol=1e-11 * np.abs(expected).max())


@given(seed=seeds, layers=shapes)
def test_stiffness_bound_is_positive_and_below_the_smallest_eigenvalue(random_network, seed, layers):
    network = random_network(seed, layers, decades=4.0, zeros=0.3)
    smallest = np.linalg.eigvalsh(stiffness(network))[0]
    assert 0 < network.stiffness_bound() <= smallest * (1 + 1e-9)


@given(seed=seeds, layers=shapes, gain=st.floats(0.5, 20))
def test_nudges_are_accepted_exactly_up_to_the_smallest_eigenvalue(random_network, seed, layers, gain):
    """Amplifiers change nothing: the energy's curvature scales by γ on both sides."""
    network = random_network(seed, layers, gains=(gain,) * (len(layers) - 2), diode=Clamp(rail=-1e6), zeros=0.3)
    smallest = np.linalg.eigvalsh(stiffness(network))[0]
    network.require_definite(-smallest * (1 - 1e-6))
    network.require_definite(1.0)
    with pytest.raises(UserError, match="indefinite"):
        network.require_definite(-smallest * (1 + 1e-6))


@pytest.mark.parametrize("beta", [1e-7, -1e-7])
@pytest.mark.parametrize("form", ["flat", "norton"])
def test_node_that_nothing_drives_is_named_whatever_the_nudge(form: str, beta: float):
    conductances = (US * np.array([[1.0, 0.0], [0.0, 0.0]]), US * np.array([[1.0], [0.0]]))
    network = ResistiveNetwork(conductances, (np.zeros(2), np.zeros(1)), amplifier_gain=(1.0,))
    with pytest.raises(UserError, match=r"net h1_1: .*column"):
        compile_network(network, np.ones((1, 1)), (None, (beta, np.zeros((1, 1)))), form)
