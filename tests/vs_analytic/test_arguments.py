"""Arguments of constructors and solvers: numbers become double precision, and invalid ones raise a one-sentence error."""

import dataclasses
from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np
import pytest

from eqprop_analog import (
    GraphNetwork,
    HopfieldNetwork,
    NgspiceSolver,
    Nudge,
    ResistiveNetwork,
    SurrogateSolver,
    contrast,
)
from eqprop_analog.core.equilibrium import Equilibrium, Status
from eqprop_analog.devices import Clamp, NgspiceDiode, PiecewiseLinear, Shockley, law_from
from eqprop_analog.devices.buffer import HardSigmoid, Sigmoid, buffer_from
from eqprop_analog.errors import UserError
from eqprop_analog.networks.graph.newton import SparseNewtonSolver
from eqprop_analog.networks.hopfield.discrete_time import DiscreteTimeSolver
from eqprop_analog.networks.hopfield.minima import compare_minima
from eqprop_analog.networks.nonideal.newton import NonidealNewtonSolver
from eqprop_analog.quantities import quantity

X = np.array([[0.3, 0.7]])
NETWORK = ResistiveNetwork.dense([2, 3, 2], seed=0)
HOPFIELD = HopfieldNetwork.dense([2, 3, 2], seed=0)
GRAPH = GraphNetwork.from_graph(nx.path_graph(3), [0], [1], {2: 0.0})


@pytest.mark.parametrize("number", [np.float16, np.float32, np.array, np.longdouble])
@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        (NgspiceDiode, {"emission": 1.5, "rail": 0.25, "celsius": 27.0}),
        (Shockley, {"emission": 1.5, "rail": 0.25, "celsius": 27.0}),
        (PiecewiseLinear, {"threshold": 0.25, "on_resistance": 0.5, "rail": 0.5}),
        (Clamp, {"rail": 0.25, "on_resistance": 0.125}),
        (HardSigmoid, {"gain": 0.5}),
        (Sigmoid, {"gain": 0.5}),
    ],
)
def test_parameters_of_devices_are_taken_in_double_precision(
    kind: Any, parameters: dict[str, float], number: Any
) -> None:
    device = kind(**{name: number(value) for name, value in parameters.items()})
    assert device == kind(**parameters)
    assert all(type(getattr(device, name)) is float for name in parameters)
    u = np.linspace(-0.5, 0.5, 11)
    of = "output" if "gain" in parameters else "current"
    assert np.array_equal(getattr(device, of)(u), getattr(kind(**parameters), of)(u))


def graph(edge: dict[str, Any], **settings: Any) -> GraphNetwork:
    circuit = nx.path_graph(3)
    circuit.edges[0, 1].update(edge)
    return GraphNetwork.from_graph(circuit, **{"inputs": [0], "outputs": [1], "rails": {2: 0.0}} | settings)


def parts(**changed: Any) -> GraphNetwork:
    network = dataclasses.replace(GRAPH, **changed)
    network.validate()
    return network


FREE = SurrogateSolver().solve(NETWORK, X)


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda: ResistiveNetwork.dense([2, 2], amplifer_gain=3), "did you mean amplifier_gain"),
        (lambda: HopfieldNetwork.dense([2, 2], bufer=HardSigmoid()), "did you mean buffer"),
        (lambda: graph({}, conductance_windows=(0, 1)), "did you mean conductance_window"),
        (lambda: graph({"conductance": 10**400}), "edge 0-1: conductance"),
        (lambda: graph({"resistance": 10**400}), "edge 0-1: resistance"),
        (lambda: graph({"conductance": np.ma.masked}), "edge 0-1: conductance"),
        (lambda: graph({}, rails={2: 1e300}), "rail"),
        (lambda: graph({}, conductance_window="ab"), "conductance_window"),
        (lambda: graph({}, diode=3), "diode"),
        (lambda: parts(names=None), "names"),
        (lambda: parts(names=3), "names"),
        (lambda: parts(resistors=[[0, 1e300], [1, 2]]), "resistors"),
        (lambda: law_from("ngspice"), "table"),  # type: ignore[arg-type]
        (lambda: buffer_from("sigmoid"), "table"),  # type: ignore[arg-type]
        (lambda: ResistiveNetwork.dense([2, 2], input_gain=1e300), "input_gain"),
        (lambda: ResistiveNetwork.dense([2, 2], bias_row=-1e300), "bias_row"),
        (lambda: SurrogateSolver().solve(NETWORK, [[1e300, 0]]), "inputs"),
        (lambda: Nudge([[1e300, 0]], 1e-8), "target"),
        (lambda: Nudge([[np.ma.masked_array(1, True), 0]], 1e-8), "target"),
        (lambda: Nudge([[1, 0]], np.ma.masked_array(1e-8, True)), "beta"),
        (lambda: DiscreteTimeSolver(max_steps=None), "max_steps"),  # type: ignore[arg-type]
        (lambda: SurrogateSolver(sweeps=3).solve(HOPFIELD, X), "SurrogateSolver"),
        (lambda: SurrogateSolver().solve(None, X), "network"),  # type: ignore[arg-type]
        (lambda: DiscreteTimeSolver().solve(NETWORK, X), "HopfieldNetwork"),  # type: ignore[arg-type]
        (lambda: SparseNewtonSolver().solve(NETWORK, X), "GraphNetwork"),  # type: ignore[arg-type]
        (lambda: NonidealNewtonSolver().solve(NETWORK, X), "NonidealNetwork"),  # type: ignore[arg-type]
        (lambda: NgspiceSolver().solve(None, X), "network"),  # type: ignore[arg-type]
        (lambda: contrast(None, X, FREE, FREE), "network"),  # type: ignore[arg-type]
        (lambda: contrast(NETWORK, X, FREE, None), "Equilibrium"),  # type: ignore[arg-type]
        (lambda: contrast(NETWORK, X, FREE.voltages, FREE), "Equilibrium"),  # type: ignore[arg-type]
    ],
)
def test_what_does_not_fit_is_a_sentence(call: Callable[[], Any], meant: str) -> None:
    with pytest.raises(UserError, match=meant):
        call()


@pytest.mark.parametrize("text", ["1e999999999999S", "1e99999999999999999999", "1e5000000nS", "1e400S", "9e307kS"])
def test_numbers_beyond_floating_point_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="100nS"):
        quantity(text, "S")


def test_outputs_that_tie_are_the_same_class_of_two_minima() -> None:
    """Both at 0 V except for rounding; if only one is decided, this is a difference."""
    network = HopfieldNetwork.dense([2, 2], seed=0)

    def phase(*outputs: float) -> Equilibrium:
        return Equilibrium((np.array([outputs]),), np.zeros(1), np.array([Status.CONVERGED], object))

    assert compare_minima(network, X, phase(0.0, 0.0), phase(0.0, 1e-9)).same_prediction.tolist() == [True]
    assert compare_minima(network, X, phase(0.5, 0.0), phase(0.0, 0.5)).same_prediction.tolist() == [False]
