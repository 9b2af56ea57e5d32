"""The training step by PyTorch against the NumPy one, which the other tests hold to the equations; skipped without torch."""

from dataclasses import replace

import numpy as np
import pytest
from truncated_cases import CASES, SWEEPS, Case, distance

from eqprop_analog import Clamp, NgspiceDiode, ResistiveNetwork, UserError
from eqprop_analog.devices import Antiparallel, DiodeWithResistance, Law, PiecewiseLinear, Shockley, Tabulated
from eqprop_analog.devices.capabilities import root
from eqprop_analog.kernels.numpy import PlainKernels
from eqprop_analog.learning.trainer import Rule, evaluate
from eqprop_analog.learning.update import Rates
from eqprop_analog.networks.resistive import truncated
from eqprop_analog.networks.resistive.surrogate import SurrogateSolver
from eqprop_analog.networks.resistive.truncated import Method, TruncatedLearner

torch = pytest.importorskip("torch")
from eqprop_analog.kernels.torch.arrays import STEPS, node_roots, slopes  # noqa: E402
from eqprop_analog.networks.resistive.truncated_torch import TorchLearner  # noqa: E402


def network(hidden: list[int], seed: int) -> ResistiveNetwork:
    return ResistiveNetwork.dense([6, *hidden, 3], seed, diode=Clamp(), amplifier_gain=1.5, input_gain=50.0)


def rule(depth: int, rate: float = 1e-15, nudging: str = "centred") -> Rule:
    rates = Rates((rate,) * depth, (2 * rate,) * depth)
    return Rule(rates, 1e-8, nudging)  # type: ignore[arg-type]


@pytest.mark.parametrize("hidden", [[8], [8, 7], [8, 7, 6]])
@pytest.mark.parametrize(
    ("method", "nudging"),
    [("equilibrium-propagation", "centred"), ("equilibrium-propagation", "one-sided"), ("implicit", "centred")],
)
def test_the_network_goes_the_same_way_by_either(hidden: list[int], method: Method, nudging: str) -> None:
    mine, theirs = network(hidden, 1), network(hidden, 1)
    settings = rule(len(hidden) + 1, nudging=nudging), 40, method
    one, other = TorchLearner(mine, *settings, device="cpu"), TruncatedLearner(theirs, *settings)
    rng = np.random.default_rng(2)
    for size in (4, 4, 3):
        batch = rng.random((size, 6)), np.eye(3)[rng.integers(0, 3, size)]
        assert one.learn(*batch) == other.learn(*batch)
        assert one.squares == pytest.approx(other.squares, rel=1e-6)
    one.finish()
    fresh = network(hidden, 1)
    for trained, expected, before in zip(
        mine.arrays().values(), theirs.arrays().values(), fresh.arrays().values(), strict=True
    ):
        moved = np.abs(expected - before).max()
        assert moved > 0
        np.testing.assert_allclose(trained, expected, rtol=0, atol=1e-6 * moved)


def test_predictions_are_those_of_so_many_sweeps() -> None:
    mine, rng = network([8, 7], 1), np.random.default_rng(3)
    images, labels = rng.random((30, 6)), rng.integers(0, 3, 30)
    solver = SurrogateSolver(sweeps=5)
    expected = evaluate(mine, solver.solve, images, labels)
    found = TorchLearner(mine, rule(3), 40, device="cpu").evaluate(images, labels, 5, lambda *_: None)
    assert found.squares == pytest.approx(expected.squares, rel=1e-9)
    assert replace(found, squares=0.0) == replace(expected, squares=0.0)


def test_a_diverged_network_ends_training() -> None:
    learner = TorchLearner(network([8], 0), rule(2, rate=1e300), 4, device="cpu")
    with pytest.raises(UserError):
        list(map(learner.learn, [np.ones((2, 6))] * 3, [np.eye(3)[:2]] * 3))


LAWS = {
    "clamp": Clamp(rail=0.1),
    "clamp with a resistance": Clamp(rail=0.1, on_resistance=1e6),
    "ngspice": NgspiceDiode(),
    "shockley": Shockley(),
    "piecewise linear": PiecewiseLinear(off_resistance=1e9, on_resistance=1e5),
    "exponential pair": Antiparallel(Shockley()),
    "ngspice pair": Antiparallel(NgspiceDiode()),
    "clamp pair": Antiparallel(Clamp(rail=-0.1)),
    "resistive clamp pair": Antiparallel(Clamp(rail=-0.1, on_resistance=1e6)),
    "piecewise linear pair": Antiparallel(PiecewiseLinear(rail=-0.1)),
}
ANY = {f"law: {name}": Case(diode=law, gains=4.0) for name, law in LAWS.items()}


def trained(
    learner: type, case: Case, method: Method = "equilibrium-propagation", batches: int | None = None
) -> tuple[ResistiveNetwork, list]:
    net = case.network("float64")
    made = learner(net, case.rule(), SWEEPS, method, **({"device": "cpu"} if learner is TorchLearner else {}))
    outcomes = [made.learn(*batch) for batch in case.data("float64")[:batches]]
    if learner is TorchLearner:
        made.finish()
    return net, outcomes


@pytest.mark.parametrize("case", (CASES | ANY).values(), ids=(CASES | ANY).keys())
@pytest.mark.parametrize(("batches", "bound"), [(1, 1e-12), (None, 1e-10)], ids=["one batch", "all"])
def test_in_float64_pytorch_learns_what_numpy_learns(
    batches: int | None, bound: float, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From batch to batch roundings grow as they do between NumPy's own learners."""
    monkeypatch.setattr(truncated, "kernels_for", PlainKernels)
    found, outcomes = trained(TorchLearner, case, batches=batches)
    expected, those = trained(TruncatedLearner, case, batches=batches)
    assert outcomes == those
    assert distance(found, expected) < bound
    assert distance(case.network("float64"), expected) > 1e-3


@pytest.mark.parametrize("name", ["ngspice", "piecewise linear", "exponential pair"])
def test_the_exact_response_is_that_of_the_linearised_law(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truncated, "kernels_for", PlainKernels)
    case = Case(diode=LAWS[name], gains=4.0, batches=(4,))
    found, expected = (trained(learner, case, "implicit")[0] for learner in (TorchLearner, TruncatedLearner))
    assert distance(found, expected) < 1e-11
    assert distance(case.network("float64"), expected) > 1e-3


@pytest.mark.parametrize("steps", [None, STEPS])
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())
def test_a_law_has_the_same_roots_and_slopes_for_tensors(law: Law, steps: int | None) -> None:
    """Also with the fixed number of steps of a graph, from 1 nS to 1 mS, driven to either side."""
    random = np.random.default_rng(0)
    conductance = 10 ** random.uniform(-9, -3, 200)
    source = conductance * random.uniform(-1, 1, (20, 200))
    expected = law.solve(conductance, source)
    found, unsettled = node_roots(law, torch.from_numpy(conductance), torch.from_numpy(source), steps)
    assert not unsettled
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(slopes(law, torch.from_numpy(expected)).numpy(), law.slope(expected), rtol=1e-12)


def test_a_law_that_leaves_its_root_to_the_package_has_it_for_tensors_too() -> None:
    conductance, source = np.geomspace(1e-8, 1e-4, 9), np.linspace(-1, 1, 5)[:, None] * 1e-6
    law = NgspiceDiode()

    class Rooted:
        rail, current, slope = law.rail, staticmethod(law.current), staticmethod(law.slope)

        def solve(self, conductance: np.ndarray, source: np.ndarray) -> np.ndarray:
            return root(self, conductance, source)

    found, _ = node_roots(Rooted(), torch.from_numpy(conductance), torch.from_numpy(source))
    np.testing.assert_allclose(found.numpy(), law.solve(conductance, source), rtol=0, atol=1e-13)


def test_what_does_not_settle_in_a_graphs_steps_is_said() -> None:
    conductance, source = torch.full((1,), 1e-6, dtype=torch.float64), torch.full((1,), -1e-5, dtype=torch.float64)
    assert node_roots(Antiparallel(Shockley()), conductance, source, 2)[1]
    assert not node_roots(Antiparallel(Shockley()), conductance, source)[1]


def test_a_law_of_functions_that_pytorch_lacks_is_refused_by_their_name() -> None:
    class Strange:
        def solve(self, conductance: np.ndarray, source: np.ndarray) -> np.ndarray:
            return np.cumsum(source / conductance)

    one = torch.ones(3, dtype=torch.float64)
    with pytest.raises(UserError, match=r"numpy\.cumsum"):
        node_roots(Strange(), one, one)


def test_a_missing_gpu_is_said() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no GPU"):
            TorchLearner(network([8], 0), rule(2), 4, device="cuda")


@pytest.mark.parametrize(
    "law", [Tabulated((-1.0, 0.0, 1.0), (-1e-9, 0.0, 1e-3)), DiodeWithResistance()], ids=lambda law: type(law).__name__
)
def test_a_law_that_takes_numbers_out_of_pytorch_is_refused(law) -> None:
    ones = torch.ones((2, 3), dtype=torch.float64)
    with pytest.raises(UserError, match="--device cpu"):
        node_roots(law, 1e-6 * ones, 1e-7 * ones)
