"""Public constructors and solve() return the requested result, or raise one UserError, for any arguments."""

import warnings
from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqprop_analog import Nudge, ResistiveNetwork, SurrogateSolver, contrast
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.devices import Antiparallel, Clamp, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.devices.buffer import HardSigmoid, Sigmoid
from eqprop_analog.errors import UserError
from eqprop_analog.learning.exact_gradient import implicit_gradient
from eqprop_analog.learning.trainer import PhaseLearner, Rule
from eqprop_analog.learning.update import Rates, WeightRates
from eqprop_analog.networks.graph.network import GraphNetwork
from eqprop_analog.networks.graph.newton import SparseNewtonSolver
from eqprop_analog.networks.hopfield.connections import Convolution, Dense
from eqprop_analog.networks.hopfield.discrete_time import DiscreteTimeSolver
from eqprop_analog.networks.hopfield.gradient_flow import GradientFlowSolver
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.newton import NonidealNewtonSolver
from eqprop_analog.networks.nonideal.periphery import Periphery
from eqprop_analog.networks.resistive.netlist import compile_network

NETWORK = ResistiveNetwork.dense([2, 3, 2], seed=0)
HOPFIELD = HopfieldNetwork.dense([2, 3, 2], seed=0)
GRAPH = GraphNetwork.from_graph(nx.path_graph(4), [0, 3], [1, 2])
X, Y = np.array([[0.1, 0.2]]), np.array([[1.0, 0.0]])
FREE = SurrogateSolver().solve(NETWORK, X)

numbers = st.sampled_from(
    [
        0,
        1,
        -1,
        2,
        3.0,
        0.5,
        1e-300,
        1e300,
        -1e-7,
        10**400,
        np.nan,
        np.inf,
        True,
        np.float16(0.5),
        np.int8(1),
        np.longdouble(1),
    ]
)
shapes = st.sampled_from([(), (0,), (2,), (1, 2), (3, 2), (2, 2, 2), (0, 2), (1, 0)])
dtypes = st.sampled_from(
    [np.float16, np.float32, np.float64, np.longdouble, np.int64, bool, complex, object, "U3", "M8[s]"]
)
arrays = st.builds(np.zeros, shapes, dtypes) | st.builds(np.ones, shapes, dtypes)
oddities = st.sampled_from(
    [
        None,
        "",
        "schottky",
        "0.1",
        b"1",
        [],
        (),
        {},
        {"a": 1.0},
        [[1.0], [1.0, 2.0]],
        [["a"]],
        object(),
        set(),
        Clamp,
        Clamp(),
        1j,
    ]
) | st.builds(np.ma.masked_array, st.just([[0.1, 0.2]]), st.just([[True, False]]))
anything = numbers | arrays | oddities | st.lists(numbers, max_size=3) | st.lists(arrays, max_size=2).map(tuple)

CALLS: dict[str, Callable[[Any], Any]] = {
    "layers": ResistiveNetwork.dense,
    "seed": lambda v: ResistiveNetwork.dense([2, 2], v),
    "diode": lambda v: ResistiveNetwork.dense([2, 2, 2], diode=v),
    "amplifier_gain": lambda v: ResistiveNetwork.dense([2, 2, 2], amplifier_gain=v),
    "input_gain": lambda v: ResistiveNetwork.dense([2, 2], input_gain=v),
    "conductance_window": lambda v: ResistiveNetwork.dense([2, 2], conductance_window=v),
    "window, highest": lambda v: ResistiveNetwork.dense([2, 2], conductance_window=(0.0, v)),
    "bias": lambda v: ResistiveNetwork.dense([2, 2], bias=v),
    "biases": lambda v: ResistiveNetwork.dense([2, 2], bias=[v]),
    "bias_row": lambda v: ResistiveNetwork.dense([2, 2], bias_row=v),
    "outputs": lambda v: ResistiveNetwork.dense([2, 2], outputs=v),
    "conductances": lambda v: ResistiveNetwork(v, (np.zeros(2),)).validate(),
    "a conductance": lambda v: ResistiveNetwork((v,), (np.zeros(2),)).validate(),
    "a bias": lambda v: ResistiveNetwork((np.ones((2, 2)),), (v,)).validate(),
    "dtype of a network": lambda v: ResistiveNetwork(
        (np.ones((2, 2), v.dtype if hasattr(v, "dtype") else float),), ([0, 0],)
    ),  # type: ignore[arg-type]
    "inputs": lambda v: SurrogateSolver().solve(NETWORK, v),
    "target": lambda v: SurrogateSolver().solve(NETWORK, X, Nudge(v, 1e-9)),
    "beta": lambda v: SurrogateSolver().solve(NETWORK, X, Nudge(Y, v)),
    "kind": lambda v: Nudge(Y, 1e-9, v),
    "cost": lambda v: Nudge(Y, 1e-9, "current", v),
    "nudge": lambda v: SurrogateSolver().solve(NETWORK, X, v),
    "start": lambda v: SurrogateSolver().solve(NETWORK, X, start=v),
    "start's voltages": lambda v: SurrogateSolver().solve(
        NETWORK, X, start=Equilibrium((v, v), FREE.residual, FREE.status)
    ),
    "tolerance": lambda v: SurrogateSolver(tolerance=v).solve(NETWORK, X),
    "max_iterations": lambda v: SurrogateSolver(max_iterations=v),
    "sweeps": lambda v: SurrogateSolver(sweeps=v),
    "inputs of a contrast": lambda v: contrast(NETWORK, v, FREE, FREE),
    "target of a gradient": lambda v: implicit_gradient(NETWORK, X, v, FREE),
    "inputs of a netlist": lambda v: compile_network(NETWORK, v),
    "inputs of phases": lambda v: SurrogateSolver().solve_phases(NETWORK, v, [Nudge(Y, 1e-9)]),
    "inputs of a Hopfield network's phases": lambda v: DiscreteTimeSolver(free_steps=3).solve_phases(HOPFIELD, v, ()),
    "inputs of a chip": lambda v: NonidealNewtonSolver().solve(NonidealNetwork(NETWORK), v),
    "wires": lambda v: NonidealNetwork(NETWORK, wire_resistance=v),
    "tile": lambda v: NonidealNetwork(NETWORK, tile=v),
    "offset": lambda v: NonidealNetwork(NETWORK, Periphery(offset=v)),
    "forward_factor": lambda v: NonidealNetwork(NETWORK, Periphery(forward_factor=[v])),
    "target_offset": lambda v: NonidealNetwork(NETWORK, Periphery(target_offset=v)),
    "celsius of a chip": lambda v: NonidealNetwork(NETWORK, Periphery(celsius=v)),
    "inputs of a graph": lambda v: SparseNewtonSolver().solve(GRAPH, v),
    "target on a graph": lambda v: SparseNewtonSolver().solve(GRAPH, X, Nudge(v, 1e-9)),
    "start on a graph": lambda v: SparseNewtonSolver().solve(GRAPH, X, start=v),
    "tolerance on a graph": lambda v: SparseNewtonSolver(tolerance=v),
    "inputs of a Hopfield network": lambda v: DiscreteTimeSolver(free_steps=3).solve(HOPFIELD, v),
    "target of a Hopfield network": lambda v: DiscreteTimeSolver(nudged_steps=3).solve(HOPFIELD, X, Nudge(v, 0.5)),
    "layers of a Hopfield network": HopfieldNetwork.dense,
    "classes": lambda v: HopfieldNetwork.dense([2, 2], classes=v),
    "buffer": lambda v: HopfieldNetwork.dense([2, 2], buffer=v),
    "weights": lambda v: HopfieldNetwork((Dense(2, 2),), v, (np.zeros(2),)).validate(),
    "free_steps": lambda v: DiscreteTimeSolver(free_steps=v),
    "step": lambda v: GradientFlowSolver(step=v),
    "dense connection": lambda v: Dense(v, 2),
    "convolution's shape": lambda v: Convolution(v, 2, 1),
    "convolution's kernel": lambda v: Convolution((1, 4, 4), 2, v),
    "emission": lambda v: NgspiceDiode(emission=v),
    "saturation current": lambda v: Shockley(saturation_current=v),
    "celsius": lambda v: Shockley(celsius=v),
    "rail": lambda v: Clamp(rail=v),
    "on_resistance": lambda v: PiecewiseLinear(on_resistance=v),
    "pair": lambda v: ResistiveNetwork.dense([2, 2, 2], diode=Antiparallel(v)),
    "gain": HardSigmoid,
    "gain of a sigmoid": Sigmoid,
    "rates": lambda v: Rates(v, (0.0,)),
    "a rate": lambda v: Rates((v,), (0.0,)),
    "weight rates": lambda v: WeightRates(v, v),
    "rule": lambda v: Rule(v, 1e-9),
    "nudging": lambda v: Rule(Rates((0.0,), (0.0,)), 1e-9, v),
    "rates of a learner": lambda v: PhaseLearner(NETWORK, SurrogateSolver(), Rule(v, 1e-9)),
    "a batch": lambda v: PhaseLearner(NETWORK, SurrogateSolver(), Rule(Rates((0.0, 0.0), (0.0, 0.0)), 1e-9)).learn(
        v, v
    ),
}


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=30, deadline=None)
@given(value=anything)
def test_values_are_taken_or_refused_in_a_sentence(name: str, value: Any) -> None:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            CALLS[name](value)
        except UserError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017 - whether it is refused is up to hypothesis


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: NgspiceDiode(emission=1e-300), "emission"),
        (lambda: Shockley(saturation_current=1e300), "saturation_current"),
        (lambda: Clamp(on_resistance=1e-300), "on_resistance"),
        (lambda: Shockley(celsius=1e9), "celsius"),
        (lambda: Clamp(rail=1e200), "rail"),
        (lambda: ResistiveNetwork.dense([2, 2], diode="schottky"), "shockley"),  # type: ignore[arg-type]
        (lambda: ResistiveNetwork.dense([2, 2], diode=Clamp), "Clamp\\(\\)"),  # type: ignore[arg-type]
        (lambda: Rule(1e-14, 1e-9), "Rates"),  # type: ignore[arg-type]
        (lambda: PhaseLearner(NETWORK, SurrogateSolver(), Rule(Rates((1e-14,), (1e-14,)), 1e-9)), "conductance_2"),
        (lambda: compile_network(NETWORK, np.zeros(3)), "inputs"),
        (lambda: Dense(3.0, 2) and Dense(3.5, 2), "inputs"),  # type: ignore[arg-type]
    ],
)
def test_the_sentence_names_what_is_wrong_and_what_is_meant(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        call()


@pytest.mark.parametrize("weak", [1e-21, 1e-300])
def test_conductances_of_any_ratio_are_solved_or_refused(weak: float) -> None:
    """If nodes float because of rounding, elimination has singular matrices."""
    random = np.random.default_rng(0)
    for seed in range(60):
        layers = random.integers(1, 5, size=random.integers(2, 5)).tolist()
        network = ResistiveNetwork.dense(layers, seed=seed)
        for matrix in network.conductances:
            matrix[...] = random.choice([weak, 1e-4], size=matrix.shape)
        x, y = random.uniform(-1, 1, (2, layers[0])), random.uniform(-1, 1, (2, layers[-1]))
        with np.errstate(all="ignore"):
            for solve in (
                lambda nudge, net=network, x=x: SurrogateSolver().solve(net, x, nudge),
                lambda nudge, net=network, x=x: NonidealNewtonSolver().solve(NonidealNetwork(net), x, nudge),
            ):
                for beta in (1e-9, -network.usual_beta()):
                    try:
                        phase = solve(Nudge(y, beta))
                    except UserError as error:
                        assert "rounding" in str(error) or "beta" in str(error)  # noqa: PT017 - either is right
                    else:
                        assert phase.status.shape == (2,)
