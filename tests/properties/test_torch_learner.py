"""The training step by PyTorch against the NumPy one, which the other tests hold to the equations; skipped without torch."""

import numpy as np
import pytest

from eqprop_analog import Clamp, NgspiceDiode, ResistiveNetwork, UserError
from eqprop_analog.learning.trainer import Rule
from eqprop_analog.learning.update import Rates
from eqprop_analog.networks.resistive.truncated import Method, TruncatedLearner

pytest.importorskip("torch")
from eqprop_analog.networks.resistive.truncated_torch import TorchLearner


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
    one.finish()
    fresh = network(hidden, 1)
    for trained, expected, before in zip(
        mine.arrays().values(), theirs.arrays().values(), fresh.arrays().values(), strict=True
    ):
        moved = np.abs(expected - before).max()
        assert moved > 0
        np.testing.assert_allclose(trained, expected, rtol=0, atol=1e-6 * moved)


def test_a_diverged_network_ends_training() -> None:
    learner = TorchLearner(network([8], 0), rule(2, rate=1e300), 4, device="cpu")
    with pytest.raises(UserError):
        list(map(learner.learn, [np.ones((2, 6))] * 3, [np.eye(3)[:2]] * 3))


def test_what_the_gpu_does_not_know_is_refused() -> None:
    diodes = ResistiveNetwork.dense([6, 8, 3], 0, diode=NgspiceDiode())
    with pytest.raises(UserError, match="ideal clamps"):
        TorchLearner(diodes, rule(2), 4)
    with pytest.raises(UserError, match=r"sees no GPU|ideal"):
        TorchLearner(network([8], 0), rule(2), 4, device="cuda")
