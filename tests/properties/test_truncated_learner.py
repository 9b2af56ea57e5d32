"""In-place learning on truncated phases agrees with PhaseLearner and the surrogate's sweeps, in NumPy and compiled."""

import gc
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from truncated_cases import CASES, CONVOLUTIONS, SWEEPS, Case, distance

from eqprop_analog import Gradient, ResistiveNetwork, SurrogateSolver
from eqprop_analog.devices import Clamp, NgspiceDiode
from eqprop_analog.errors import UserError
from eqprop_analog.kernels import kernels_for
from eqprop_analog.kernels.numpy import PlainKernels
from eqprop_analog.learning.exact_gradient import implicit_gradient
from eqprop_analog.learning.trainer import PhaseError, PhaseLearner
from eqprop_analog.learning.update import Rates, descend
from eqprop_analog.networks.resistive import truncated
from eqprop_analog.networks.resistive.truncated import TruncatedLearner

EVERY = CASES | CONVOLUTIONS


@pytest.fixture(params=["NumPy", "compiled"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """NumPy and compiled kernels."""
    if request.param == "NumPy":
        monkeypatch.setattr(truncated, "kernels_for", PlainKernels)
    else:
        pytest.importorskip("numba")
    return request.param


def general(case: Case, dtype: str) -> tuple[ResistiveNetwork, list[Any]]:
    """The network after PhaseLearner's updates, and their return values."""
    network = case.network(dtype)
    learner = PhaseLearner(network, SurrogateSolver(sweeps=SWEEPS, check_residual=False), case.rule())
    return network, [learner.learn(*batch) for batch in case.data(dtype)]


def in_place(case: Case, dtype: str) -> tuple[ResistiveNetwork, list[Any]]:
    network = case.network(dtype)
    learner = TruncatedLearner(network, case.rule(), SWEEPS)
    return network, [learner.learn(*batch) for batch in case.data(dtype)]


@pytest.mark.parametrize("case", EVERY.values(), ids=EVERY.keys())
def test_in_float64_both_learners_agree_to_rounding(case: Case, kernels: str) -> None:
    expected, outcomes = general(case, "float64")
    found, found_outcomes = in_place(case, "float64")
    assert found_outcomes == outcomes
    assert distance(found, expected) < 1e-10
    start = case.network("float64")
    assert distance(start, expected) > 1e-3  # something was learnt
    low, high = case.window
    edges = [np.isin(matrix, (low, high)).mean() for matrix in expected.conductances if matrix.size]
    assert max(edges) > 0.01  # and the window was met


def test_in_float32_learning_in_place_is_as_near_to_float64(kernels: str) -> None:
    case = CASES["ngspice diodes"]
    exact, _ = general(case, "float64")
    rounded, _ = general(case, "float32")
    found, _ = in_place(case, "float32")
    assert found.conductances[0].dtype == np.float32
    assert distance(found, exact) < 4 * distance(rounded, exact) + 1e-6


def test_the_same_batches_give_the_same_bits(kernels: str) -> None:
    for case in (CASES["wide"], CASES["ngspice diodes"]):
        one, other = in_place(case, "float64")[0], in_place(case, "float64")[0]
        assert all(
            a.tobytes() == b.tobytes() for a, b in zip(one.arrays().values(), other.arrays().values(), strict=True)
        )


def test_memory_stays_flat_from_batch_to_batch(kernels: str) -> None:
    case = CASES["ideal clamps"]
    learner, batches = TruncatedLearner(case.network("float64"), case.rule(), SWEEPS), case.data("float64")
    held = []
    tracemalloc.start()
    try:
        for _ in range(3):
            for _ in range(100):
                for batch in batches:  # of two sizes
                    learner.learn(*batch)
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[2] - held[1] < 10_000  # an array that stays behind costs 300 times its header of 100 bytes


def test_images_without_a_lit_pixel_are_learnt_too(kernels: str) -> None:
    case = CASES["ideal clamps"]
    networks = case.network("float64"), case.network("float64")
    x, y = np.zeros((2, 7)), np.eye(3)[:2]
    PhaseLearner(networks[0], SurrogateSolver(sweeps=SWEEPS), case.rule()).learn(x, y)
    TruncatedLearner(networks[1], case.rule(), SWEEPS).learn(x, y)
    assert distance(*networks) < 1e-12


def test_the_implicit_method_descends_the_exact_gradient(kernels: str) -> None:
    case = replace(CASES["ngspice diodes"], batches=(4,))
    expected, found = case.network("float64"), case.network("float64")
    inputs, targets = case.data("float64")[0]
    free = SurrogateSolver(sweeps=SWEEPS).solve(expected, inputs)
    descend(expected, implicit_gradient(expected, inputs, targets, free), case.rule().rates)
    wrong, statuses = TruncatedLearner(found, case.rule(), SWEEPS, "implicit").learn(inputs, targets)
    assert distance(found, expected) < 1e-11
    assert wrong == (free.outputs.argmax(axis=1) != targets.argmax(axis=1)).sum()
    assert statuses == {"TRUNCATED": 4}


def test_nudges_approach_the_implicit_method_as_they_weaken(kernels: str) -> None:
    """Where the sweeps have settled; the centred error falls as β²."""
    case = replace(CASES["ngspice diodes"], batches=(4,), window=(0.0, 1e-3))
    inputs, targets = case.data("float64")[0]

    def learnt(method: Any, beta: float) -> np.ndarray:
        network = case.network("float64")
        rule = replace(case.rule(), beta=beta, rates=Rates((1e-18,) * 2, (1e-18,) * 2))
        TruncatedLearner(network, rule, 60, method).learn(inputs, targets)
        return (network.conductances[1] - case.network("float64").conductances[1]) / 1e-18

    exact = learnt("implicit", 1.0)
    errors = [
        np.abs(learnt("equilibrium-propagation", beta) - exact).max() / np.abs(exact).max() for beta in (4e-9, 1e-9)
    ]
    assert errors[1] < errors[0] / 8
    assert errors[0] < 0.1


def learn(network: ResistiveNetwork, case: Case, **changes: Any) -> None:
    rule = replace(case.rule(), **changes)
    learner = TruncatedLearner(network, rule, SWEEPS)
    for batch in case.data(network.conductances[0].dtype.name):
        learner.learn(*batch)


def test_what_the_general_learner_refuses_is_refused_in_the_same_words(kernels: str) -> None:
    case = CASES["ideal clamps"]
    with pytest.raises(UserError, match=r"beta = -1e-05 S makes the circuit indefinite at net o_\d"):
        learn(case.network("float64"), case, beta=1e-5)
    network = case.network("float64")
    network.conductances[1][:, 1] = 0
    with pytest.raises(UserError, match="net o_1: column 1 of crossbar 2 is all zero"):
        learn(network, case)


@pytest.mark.parametrize("crossbar", [1, 2])
def test_a_column_that_lost_its_last_conductance_begins_anew(kernels: str, crossbar: int) -> None:
    """Cells of a fresh crossbar in a window from 0 S to high have a quarter of min(1 uS / sqrt(rows), high / 2) on average.

    All conductances of a node move alike where the inputs are black, and where its bias holds it above all its neighbours.
    """
    case = Case(window=(0.0, 1e-6))
    rates = Rates(tuple(1.0 if each == crossbar else 0.0 for each in (1, 2)), (0.0, 0.0))
    network, other = case.network("float64"), case.network("float64")
    batch = np.zeros((3, 7)), np.eye(3)
    if crossbar == 2:
        batch = case.data("float64")[0][0], np.full((4, 3), 50.0)
        network.biases[1][:] = other.biases[1][:] = 1e-5
    learner = TruncatedLearner(network, replace(case.rule(), rates=rates), SWEEPS)
    general = PhaseLearner(
        other, SurrogateSolver(sweeps=SWEEPS, check_residual=False), replace(case.rule(), rates=rates)
    )
    learner.learn(*batch)
    general.learn(*batch)
    matrix = network.conductances[crossbar - 1]
    fresh = min(1e-6 / np.sqrt(len(matrix)), 0.5e-6) / 4
    anew = (matrix == fresh).all(axis=0)
    assert learner.renewed == general.renewed == anew.sum() > 0
    for mine, theirs in zip(network.conductances, general.network.conductances, strict=True):
        assert (mine.sum(axis=0) > 0).all()
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    for name, sums in learner.arrays().items():
        if name.startswith("column"):
            np.testing.assert_allclose(sums, network.conductances[int(name[-1]) - 1].sum(axis=0), rtol=1e-12)
    learner.learn(*case.data("float64")[1])


def test_voltages_that_overflow_are_refused_before_the_update(kernels: str) -> None:
    case = CASES["ideal clamps"]
    network = case.network("float64")
    before = network.conductances[0].copy()
    network.biases[0][:] = np.finfo(np.float64).max
    inputs, targets = case.data("float64")[0]
    with pytest.raises(PhaseError, match="sample 0: OUT_OF_BOUNDS"):
        TruncatedLearner(network, case.rule(), SWEEPS).learn(inputs, targets)
    assert (network.conductances[0] == before).all()


def test_not_a_number_stays_one(kernels: str) -> None:
    """Clipping must not hide that training has diverged."""
    case = CASES["ideal clamps"]
    network = case.network("float64")
    rates = Rates((0.0, 0.0), (0.0, 0.0))
    object.__setattr__(rates, "conductances", (np.nan, 0.0))  # which Rates themselves refuse
    rule = replace(case.rule(), rates=rates)
    TruncatedLearner(network, rule, SWEEPS).learn(*case.data("float64")[0])
    assert np.isnan(network.conductances[0]).all()


@pytest.fixture
def without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eqprop_analog.kernels.find_spec", lambda name: None)


def test_without_numba_numpy_computes(without_numba: None) -> None:
    assert isinstance(kernels_for(CASES["ideal clamps"].network("float32")), PlainKernels)


def test_with_numba_laws_without_a_compiled_solution_are_computed_in_numpy() -> None:
    pytest.importorskip("numba")
    plain = {name for name, case in EVERY.items() if isinstance(kernels_for(case.network("float64")), PlainKernels)}
    assert plain == {"no hidden layer", "a law that is not compiled", "convolutions and pooling"}
    assert isinstance(kernels_for(Case(diode=Clamp(on_resistance=1.0)).network("float64")), PlainKernels)


@pytest.mark.parametrize("reach", [1.0, 100.0])
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 5e-7), ("float64", 1e-13)])
def test_compiled_nodes_have_the_laws_own_roots(dtype: str, bound: float, reach: float) -> None:
    """Relative to the larger of the voltage and the rail; from 1 nS to 1 mS, driven to either side."""
    numba = pytest.importorskip("numba")
    from eqprop_analog.kernels.numba.nodes import node_of, solve_nodes

    law = NgspiceDiode()
    random = np.random.default_rng(0)
    conductance = (10 ** random.uniform(-9, -3, 20_000)).astype(dtype)
    polarity = random.choice([-1, 1], conductance.size).astype(dtype)
    source = (conductance * random.uniform(-reach, reach, conductance.size)).astype(dtype)
    node, v = node_of(law, conductance.dtype), source.copy()

    @numba.njit
    def solve(node: Any, polarity: Sequence[float], conductance: Sequence[float], v: Sequence[float]) -> None:
        solve_nodes(node, polarity, conductance, v)

    solve(node, polarity, conductance, v)
    expected = polarity * law.solve(conductance.astype(float), (polarity * source).astype(float))
    assert (np.abs(v - expected) / np.maximum(np.abs(expected), law.rail)).max() < bound


def test_a_gradient_of_nothing_changes_nothing(kernels: str) -> None:
    case = CASES["ideal clamps"]
    network = case.network("float64")
    learn(network, case, rates=Rates((0.0, 0.0), (0.0, 0.0)))
    start = case.network("float64")
    descend(
        start,
        Gradient(tuple(map(np.zeros_like, start.conductances)), tuple(map(np.zeros_like, start.biases))),
        case.rule().rates,
    )
    assert distance(network, start) == 0
