"""A phase inherits the failure of the phase on which it depends, and no gradient uses a failed or foreign phase."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import networkx as nx
import numpy as np
import pytest

from eqprop_analog import (
    Equilibrium,
    GraphNetwork,
    HopfieldDescentSolver,
    HopfieldNetwork,
    HopfieldNgspiceSolver,
    NgspiceSolver,
    Nudge,
    ResistiveNetwork,
    Status,
    SurrogateSolver,
    UserError,
    contrast,
    edge_contrast,
)
from eqprop_analog.learning.exact_gradient import implicit_gradient
from eqprop_analog.learning.local import differential, learning_signal, vector_field
from eqprop_analog.networks.graph.newton import SparseNewtonSolver
from eqprop_analog.networks.hopfield.connections import Dense
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.newton import NonidealNewtonSolver
from eqprop_analog.spice.ngspice.solver import GraphNgspiceSolver, NonidealNgspiceSolver

X = np.array([[0.8, -0.3], [0.1, 0.9], [-0.5, 0.4]])
Y = np.eye(2)[[0, 1, 0]]


@dataclass(frozen=True)
class Family:
    """One kind of network, its solver, and a solver that stops after one step."""

    network: Any
    solver: Any
    hurried: Any
    beta: float

    def nudges(self) -> list[Nudge]:
        return [Nudge(Y, sign * self.beta, kind="current") for sign in (1, -1)]


def grid() -> GraphNetwork:
    graph = nx.grid_2d_graph(3, 3)
    graph.add_edge((1, 1), "low", anode="low")
    return GraphNetwork.from_graph(graph, [(0, 0), (0, 2)], [(2, 0), (2, 2)], {"low": 0.1, (1, 0): 0.0})


@cache
def family(name: str) -> Family:
    layered = ResistiveNetwork.dense([2, 6, 2], seed=1, amplifier_gain=3.0, input_gain=5.0)
    if name == "layered":
        return Family(layered, SurrogateSolver(), SurrogateSolver(max_iterations=1), 1e-8)
    if name == "truncated":
        return Family(layered, SurrogateSolver(sweeps=4), SurrogateSolver(max_iterations=1), 1e-8)
    if name == "nonideal":
        chip = NonidealNetwork(layered, wire_resistance=100.0)
        return Family(chip, NonidealNewtonSolver(), NonidealNewtonSolver(max_iterations=1), 1e-8)
    if name == "graph":
        return Family(grid(), SparseNewtonSolver(), SparseNewtonSolver(max_iterations=1), 1e-8)
    hopfield = HopfieldNetwork.build([Dense(2, 5), Dense(5, 2)], 2)
    for bias in hopfield.biases:
        np.add(bias, 0.4, out=bias)  # inside the hard sigmoid, where one step is not enough
    return Family(hopfield, HopfieldDescentSolver(), HopfieldDescentSolver(max_steps=1, tolerance=1e-15), 0.1)


FAMILIES = ["layered", "truncated", "nonideal", "graph", "hopfield"]
HERE = {"layered": NgspiceSolver, "nonideal": NonidealNgspiceSolver, "graph": GraphNgspiceSolver}


def failed_in(phase: Equilibrium, samples: list[int], status: Status = Status.STALLED) -> Equilibrium:
    """``phase`` with some samples marked as failed."""
    marked = phase.status.copy()
    marked[samples] = status
    return Equilibrium(phase.voltages, phase.residual, marked, phase.nudge)


@pytest.mark.parametrize("name", FAMILIES)
def test_nudges_taken_at_a_phase_that_stalled_have_stalled(name: str):
    case = family(name)
    stalled = case.hurried.solve(case.network, X)
    assert set(stalled.status) == {Status.STALLED}
    for nudge in case.nudges():
        assert set(case.solver.solve(case.network, X, nudge, stalled).status) == {Status.STALLED}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("status", [Status.STALLED, Status.OUT_OF_BOUNDS, Status.UNSTABLE])
def test_each_sample_inherits_the_failure_of_its_own(name: str, status: Status):
    case = family(name)
    free = case.solver.solve(case.network, X).require()
    nudged = case.solver.solve(case.network, X, case.nudges()[0], failed_in(free, [1], status))
    assert nudged.status[1] is status
    assert nudged.good.tolist() == [True, False, True]


@pytest.mark.parametrize("name", ["layered", "nonideal", "hopfield"])
def test_all_phases_of_one_call_inherit(name: str):
    case = family(name)
    for phase in case.hurried.solve_phases(case.network, X, case.nudges()):
        assert set(phase.status) == {Status.STALLED}


@pytest.mark.parametrize("name", ["layered", "nonideal", "graph"])
def test_a_conductance_to_a_target_has_one_equilibrium_wherever_it_begins(name: str):
    case = family(name)
    nudge = Nudge(Y, case.beta)
    stalled = case.hurried.solve(case.network, X)
    found = case.solver.solve(case.network, X, nudge, stalled).require()
    expected = case.solver.solve(case.network, X, nudge)
    for v, w in zip(found.voltages, expected.voltages, strict=True):
        np.testing.assert_allclose(v, w, rtol=0, atol=1e-12)


def test_in_a_hopfield_network_every_nudged_phase_inherits_and_a_free_one_goes_on():
    case = family("hopfield")
    stalled = case.hurried.solve(case.network, X)
    assert set(case.solver.solve(case.network, X, Nudge(Y, 0.1), stalled).status) == {Status.STALLED}
    case.solver.solve(case.network, X, start=stalled).require()


@pytest.mark.parametrize("name", ["layered", "nonideal", "graph"])
def test_in_ngspice_too(name: str):
    case = family(name)
    free = case.solver.solve(case.network, X)
    solver = HERE[name]()
    try:
        found = solver.solve(case.network, X, case.nudges()[0], failed_in(free, [2]))
    finally:
        solver.close()
    assert found.status[2] is Status.STALLED
    assert found.good.tolist() == [True, True, False]


def test_in_ngspice_a_hopfield_network_inherits_under_every_nudge():
    case = family("hopfield")
    solver = HopfieldNgspiceSolver()
    try:
        free = failed_in(solver.solve(case.network, X), [0])
        assert solver.solve(case.network, X, Nudge(Y, 0.1), free).status[0] is Status.STALLED
    finally:
        solver.close()


def gradients() -> dict[str, Callable[[Equilibrium, Equilibrium, Equilibrium], Any]]:
    """All functions that compute a gradient from the phases (free, plus, minus) of their family."""
    layered, chip, graph, hopfield = (family(name).network for name in ("layered", "nonideal", "graph", "hopfield"))
    return {
        "layered contrast": lambda _free, plus, minus: contrast(layered, X, plus, minus),
        "layered network.contrast": lambda _free, plus, minus: layered.contrast(X, plus, minus),
        "layered learning_signal": lambda _free, plus, minus: learning_signal("contrast", layered, X, plus, minus),
        "layered one-sided": lambda free, plus, _minus: layered.contrast(X, plus, free),
        "layered implicit_gradient": lambda free, *_: implicit_gradient(layered, X, Y, free),
        "nonideal cell_contrast": lambda _free, plus, minus: chip.cell_contrast(X, plus, minus),
        "graph edge_contrast": lambda _free, plus, minus: edge_contrast(graph, plus, minus),
        "graph implicit": lambda free, *_: implicit_gradient(graph, X, Y, free),
        "hopfield contrast": lambda _free, plus, minus: contrast(hopfield, X, plus, minus),
        "hopfield network.contrast": lambda _free, plus, minus: hopfield.contrast(X, plus, minus),
        "hopfield vector_field": lambda _free, plus, minus: vector_field(hopfield, X, plus, minus),
        "hopfield differential": lambda _free, plus, minus: differential(hopfield, X, plus, minus),
        "hopfield implicit": lambda free, *_: implicit_gradient(hopfield, X, Y, free),
    }


@cache
def phases(name: str) -> tuple[Equilibrium, ...]:
    case = family(name)
    free = case.solver.solve(case.network, X).require()
    return free, *(case.solver.solve(case.network, X, nudge, free).require() for nudge in case.nudges())


FAILURES = [status for status in Status if status not in (Status.CONVERGED, Status.TRUNCATED, Status.MEASURED)]


@pytest.mark.parametrize("name", gradients())
@pytest.mark.parametrize("status", FAILURES)
def test_no_gradient_takes_a_phase_that_failed(name: str, status: Status):
    found = phases(name.split(maxsplit=1)[0])
    gradients()[name](*found)
    with pytest.raises(UserError, match=f"sample 1: {status.name}"):
        gradients()[name](*(failed_in(phase, [1], status) for phase in found))


def require_same(one: Any, other: Any) -> None:
    """Of an array, or of arrays by name."""
    ours, theirs = (each if isinstance(each, Mapping) else {"": each} for each in (one, other))
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        assert np.abs(values).max() > 0, name
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)


@pytest.mark.parametrize("name", gradients())
def test_every_gradient_takes_phases_truncated_on_purpose(name: str):
    found = phases(name.split(maxsplit=1)[0])
    truncated = [failed_in(phase, [0, 1, 2], Status.TRUNCATED) for phase in found]
    require_same(gradients()[name](*truncated), gradients()[name](*found))


@pytest.mark.parametrize("name", gradients())
def test_no_gradient_takes_a_phase_of_another_batch(name: str):
    some = np.array([True, True, False])
    found = [phase.select(some) for phase in phases(name.split(maxsplit=1)[0])]
    if name == "graph edge_contrast":  # is given no inputs
        found = [found[0], found[1], phases("graph")[2]]
    with pytest.raises(UserError, match="expected voltages of shapes"):
        gradients()[name](*found)


@pytest.mark.parametrize("name", [name for name in gradients() if "implicit" in name])
def test_no_implicit_gradient_takes_a_nudged_phase_or_another_networks(name: str):
    _, plus, minus = phases(name.split(maxsplit=1)[0])
    with pytest.raises(UserError, match="free phase"):
        gradients()[name](plus, plus, minus)
    other = ResistiveNetwork.dense([2, 7, 2])
    with pytest.raises(UserError, match="expected voltages of shapes"):
        gradients()[name](SurrogateSolver().solve(other, X), plus, minus)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_no_phase_or_no_nudge_is_named(name: str):
    case = family(name)
    free = case.solver.solve(case.network, X)
    for call in (
        lambda: contrast(case.network, X, free, Y),
        lambda: contrast(case.network, X, None, free),
        lambda: implicit_gradient(case.network, X, free, Y),
        lambda: case.solver.solve(case.network, X, None, free.voltages),
    ):
        with pytest.raises(UserError, match=r"expected the Equilibrium of a solver, got (ndarray|NoneType|tuple)"):
            call()
    with pytest.raises(UserError, match=r"nudge: expected a Nudge\(target, beta\), got ndarray"):
        case.solver.solve(case.network, X, Y)
