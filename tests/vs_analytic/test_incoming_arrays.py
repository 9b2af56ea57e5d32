"""Arrays of any kind that hold the same numbers give the same voltages, in every family; other arrays are refused."""

from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np
import pytest

from eqprop_analog import Nudge, ResistiveNetwork, SurrogateSolver, contrast
from eqprop_analog.errors import UserError
from eqprop_analog.learning.exact_gradient import implicit_gradient
from eqprop_analog.learning.trainer import PhaseLearner, Rule, evaluate
from eqprop_analog.learning.update import Rates
from eqprop_analog.networks.graph.network import GraphNetwork
from eqprop_analog.networks.graph.newton import SparseNewtonSolver
from eqprop_analog.networks.hopfield.discrete_time import DiscreteTimeSolver
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.newton import NonidealNewtonSolver

X, Y = [[0.25, 0.75], [0.5, -0.5]], np.eye(2)
"""Exact in every precision."""


def graph() -> GraphNetwork:
    edges = nx.Graph()
    edges.add_edge("a", "b", conductance=1e-6)
    edges.add_edge("b", "c", conductance=2e-6)
    edges.add_edge("c", "d", conductance=3e-6)
    return GraphNetwork.from_graph(edges, ["a", "d"], ["b", "c"])


FAMILIES: dict[str, tuple[Any, Any, float]] = {
    "resistive": (ResistiveNetwork.dense([2, 2], seed=0), SurrogateSolver(), 1e-8),
    "float32": (ResistiveNetwork.dense([2, 2], seed=0).astype(np.float32), SurrogateSolver(), 1e-8),
    "nonideal": (NonidealNetwork(ResistiveNetwork.dense([2, 2], seed=0)), NonidealNewtonSolver(), 1e-8),
    "graph": (graph(), SparseNewtonSolver(), 1e-8),
    "hopfield": (HopfieldNetwork.dense([2, 2], seed=0, initial="fan-in"), DiscreteTimeSolver(), 0.5),
}


def solved(family: str, x: Any, y: Any, start: Any = None) -> Any:
    network, solver, beta = FAMILIES[family]
    return solver.solve(network, x, Nudge(y, beta), start)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ">f8", np.longdouble, np.int8, bool, list])
@pytest.mark.parametrize("family", FAMILIES)
def test_targets_inputs_and_starts_of_any_real_kind_are_the_same_numbers(family: str, dtype: Any) -> None:
    network, solver, _ = FAMILIES[family]
    kind: Callable[[Any], Any] = (lambda a: np.asarray(a).tolist()) if dtype is list else lambda a: np.asarray(a, dtype)
    exact = solved(family, X, Y)
    assert [v.tolist() for v in solved(family, X, kind(Y)).voltages] == [v.tolist() for v in exact.voltages]
    x = kind(np.round(X))
    same = solved(family, np.round(X), Y)
    assert [v.tolist() for v in solved(family, x, Y).voltages] == [v.tolist() for v in same.voltages]
    free = solver.solve(network, X)
    begun = solved(family, X, Y, _with(free, tuple(np.asarray(v, np.float16) for v in free.voltages)))
    assert {v.dtype for v in begun.voltages} == {v.dtype for v in exact.voltages}
    assert np.allclose(begun.voltages[0], exact.voltages[0], atol=1e-4 if family == "float32" else 1e-11)


def _with(phase: Any, voltages: tuple[np.ndarray, ...]) -> Any:
    return type(phase)(voltages, phase.residual, phase.status, phase.nudge)


def test_a_float16_target_pulls_as_far_as_it_says() -> None:
    """β y in the half precision of the target is wrong by 7e-8, which is 18 mV."""
    network = ResistiveNetwork.dense([2, 2], seed=0)
    target = np.array([[1, 0]], np.float16)
    found = SurrogateSolver().solve(network, [[0.3, 0.7]], Nudge(target, 1e-8)).outputs
    total = network.conductances[0].sum(axis=0)
    drive = np.array([0.3, 0.7, -0.3, -0.7]) @ network.conductances[0]
    assert np.allclose(found[0], (drive + 1e-8 * np.array([1, 0])) / (total + 1e-8), rtol=0, atol=1e-12)
    assert abs(found[0, 0] + 0.2073) < 1e-4


def masked() -> np.ndarray:
    return np.ma.masked_array(Y, mask=[[True, False], [False, False]])


WRONG = {
    "masked": (masked(), "masked"),
    "masked rows": (list(masked()), "masked"),
    "complex": (Y + 0j, "real numbers"),
    "text": ([["a", "b"], ["c", "d"]], "real numbers"),
    "objects": (np.array([[None, 1], [0, 1]]), "real numbers"),
    "ragged": ([[1.0, 0.0], [1.0]], "rectangular"),
    "dates": (np.zeros((2, 2), "M8[s]"), "real numbers"),
    "huge integers": ([[10**400, 1], [0, 1]], "real numbers"),
    "a dictionary": ({"a": 1.0}, "real numbers"),
    "NaN": (np.full((2, 2), np.nan), "NaN or infinite"),
    "infinity": (np.full((2, 2), np.inf), "NaN or infinite"),
    "labels": (np.array([0, 1]), "expected"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_are_no_numbers_is_refused(family: str, name: str) -> None:
    values, words = WRONG[name]
    with pytest.raises(UserError, match=words):
        solved(family, X, values)
    if name != "labels":
        with pytest.raises(UserError, match=words):
            solved(family, values, Y)


def test_labels_are_not_taken_for_the_targets_of_all_samples() -> None:
    with pytest.raises(UserError, match=r"np\.eye\(classes\)\[labels\]"):
        solved("resistive", X, np.array([1.0, 0.0]))
    free = SurrogateSolver().solve(FAMILIES["resistive"][0], X)
    with pytest.raises(UserError, match="target"):
        implicit_gradient(FAMILIES["resistive"][0], X, np.array([0, 1]), free)


def test_a_value_beyond_float32_is_refused_by_a_network_of_float32() -> None:
    with pytest.raises(UserError, match="float32"):
        solved("float32", [[1e300, 0.0]], Y[:1])
    with pytest.raises(UserError, match=r"target .* within"):
        solved("float32", X, 1e300 * Y)


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble])
def test_networks_are_of_float32_or_float64(dtype: Any) -> None:
    for network in (FAMILIES["resistive"][0], FAMILIES["hopfield"][0]):
        with pytest.raises(UserError, match="float64"):
            network.astype(dtype)


def test_arrays_of_a_network_share_one_precision_and_stay_the_users_own() -> None:
    given = np.full((4, 2), 1e-6)
    network = ResistiveNetwork((given,), ([0, 0],))  # type: ignore[arg-type]
    assert network.conductances[0] is given
    assert network.biases[0].dtype == np.float64
    mixed = ResistiveNetwork((given.astype(np.float32),), (np.zeros(2),))
    assert mixed.conductances[0].dtype == mixed.biases[0].dtype == np.float64
    with pytest.raises(UserError, match="masked"):
        ResistiveNetwork((np.ma.masked_array(given),), (np.zeros(2),))
    with pytest.raises(UserError, match="matrix"):
        ResistiveNetwork((np.ones((4, 2, 1)),), (np.zeros(2),)).validate()


def test_gradients_take_targets_and_phases_of_half_precision() -> None:
    network, solver, beta = FAMILIES["resistive"]
    free = solver.solve(network, X)
    plus = solver.solve(network, X, Nudge(Y.astype(np.float16), beta))
    exact = solver.solve(network, X, Nudge(Y, beta))
    assert np.array_equal(
        contrast(network, X, plus, free).conductances[0], contrast(network, X, exact, free).conductances[0]
    )
    one, other = (implicit_gradient(network, X, y, free).conductances[0] for y in (Y, Y.astype(np.float16)))
    assert np.array_equal(one, other)
    circuit = FAMILIES["graph"][0]
    rest = SparseNewtonSolver().solve(circuit, X)
    one, other = (implicit_gradient(circuit, X, y, rest)["conductances"] for y in (Y, Y.astype(np.float16)))
    assert np.array_equal(one, other)


def test_tensors_train_as_arrays_do_and_those_elsewhere_are_refused() -> None:
    torch = pytest.importorskip("torch")
    rule = Rule(Rates((1e-14,), (0.0,)), 1e-8)
    networks = [ResistiveNetwork.dense([2, 2], seed=0) for _ in range(2)]
    PhaseLearner(networks[0], SurrogateSolver(), rule).learn(np.array(X), Y)
    PhaseLearner(networks[1], SurrogateSolver(), rule).learn(torch.tensor(X), torch.tensor(Y))
    assert np.array_equal(networks[0].conductances[0], networks[1].conductances[0])
    with pytest.raises(UserError, match="detach"):
        solved("resistive", torch.tensor(X, requires_grad=True), Y)
    with pytest.raises(UserError, match="cpu"):
        solved("resistive", torch.zeros((2, 2), device="meta"), Y)
    with pytest.raises(UserError, match="labels"):
        PhaseLearner(networks[0], SurrogateSolver(), rule).learn(torch.tensor(X), torch.tensor([0, 1]))


def test_labels_of_a_test_set_are_one_class_a_sample() -> None:
    network, solver, _ = FAMILIES["resistive"]
    assert evaluate(network, solver.solve, np.array(X), [0, 1]).samples == 2  # type: ignore[arg-type]
    for labels in (Y, [0], [0.5, 1], ["a", "b"]):
        with pytest.raises(UserError, match="labels"):
            evaluate(network, solver.solve, np.array(X), labels)  # type: ignore[arg-type]
