"""Phases and contrasts of Hopfield networks by PyTorch against NumPy's, step for step in float64; skipped without torch."""

from typing import Any

import numpy as np
import pytest

from eqprop_analog.core.nudge import Nudge
from eqprop_analog.devices.buffer import HardSigmoid, Sigmoid
from eqprop_analog.learning.contrast import contrast
from eqprop_analog.networks.hopfield.connections import Connection, Convolution, Dense
from eqprop_analog.networks.hopfield.descent import HopfieldDescentSolver
from eqprop_analog.networks.hopfield.discrete_time import DiscreteTimeSolver
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.gradient_flow import GradientFlowSolver
from eqprop_analog.networks.hopfield.leaky_integrator import LeakyIntegratorSolver
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.hopfield.relaxation import Relaxation

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
from eqprop_analog.kernels.torch.contrast import contrast as torch_contrast  # noqa: E402
from eqprop_analog.kernels.torch.contrast import head_gradient, of_differences, of_phases  # noqa: E402
from eqprop_analog.kernels.torch.couplings import mapped  # noqa: E402
from eqprop_analog.kernels.torch.differences import Differences  # noqa: E402
from eqprop_analog.kernels.torch.motions import Motion  # noqa: E402
from eqprop_analog.kernels.torch.network import TorchNetwork  # noqa: E402
from eqprop_analog.kernels.torch.phases import Phase, Pull, Values, begun, residual  # noqa: E402
from eqprop_analog.kernels.torch.training import HopfieldTrainer, Settings, run  # noqa: E402

CONVOLVED: list[Connection] = [
    Convolution((2, 9, 9), 4, 3, padding=1, pool=2),
    Convolution((4, 4, 4), 5, 3, padding=1, pool=2),
    Convolution((5, 2, 2), 6, 2, padding=1, pool=1),
]
NETS: dict[str, list[Connection]] = {
    "dense": [Dense(7, 6), Dense(6, 5), Dense(5, 3)],
    "pooled": CONVOLVED,
    "pooled-dense": [*CONVOLVED, Dense(54, 3)],
}
SOLVERS: dict[str, tuple[Relaxation, Motion]] = {
    "map": (DiscreteTimeSolver(free_steps=9, nudged_steps=5), Motion("discrete-time")),
    "half-map": (DiscreteTimeSolver(free_steps=9, nudged_steps=5, step=0.5), Motion("discrete-time", 0.5)),
    "descent": (HopfieldDescentSolver(free_steps=7, nudged_steps=4), Motion("descent")),
    "flow": (GradientFlowSolver(free_steps=9, nudged_steps=5, step=0.4), Motion("gradient-flow", 0.4)),
    "leaky": (LeakyIntegratorSolver(free_steps=9, nudged_steps=5, step=0.4), Motion("leaky-integrator", 0.4)),
}


def example(net: str, seed: int, size: float = 2.0, **settings: Any) -> tuple[HopfieldNetwork, np.ndarray, np.ndarray]:
    """A network, inputs and targets."""
    network = HopfieldNetwork.build(NETS[net], seed, initial="fan-in", **settings)
    random = np.random.default_rng(seed)
    for values in network.arrays().values():
        np.multiply(values, size, out=values)
    inputs = random.normal(size=(4, network.layers[0]))
    return network, inputs, np.eye(network.classes)[random.integers(0, network.classes, 4)]


def phases(
    network: HopfieldNetwork, motion: Motion, steps: tuple[int, int], inputs: Any, target: Any, nudges: list[Nudge]
) -> tuple[TorchNetwork, Phase, Pull]:
    """The free phase, and the stacked nudges of all others."""
    mine = TorchNetwork(network)
    x = mapped(torch.tensor(inputs), mine.input_shape)
    free = begun(Values(mine, motion, x))
    free.run(steps[0], motion.order(mine.depth))
    beta = torch.tensor([nudge.beta for nudge in nudges], dtype=torch.float64).repeat_interleave(len(x))[:, None]
    pull = Pull(mine, beta, torch.tensor(target).repeat(len(nudges), 1), nudges[0].cost, nudges[0].kind == "output")
    return mine, free, pull


def require_same(one: Any, other: np.ndarray, scale: float = 1.0) -> None:
    np.testing.assert_allclose(one.flatten(1).numpy() if one.ndim > 1 else one, other, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("net", "settings", "nudging"),
    [
        ("dense", {}, {"kind": "conductance"}),
        ("dense", {"buffer": Sigmoid()}, {"kind": "conductance"}),
        ("pooled", {"classes": 3, "buffer": HardSigmoid(0.5)}, {"kind": "feedback", "cost": "cross-entropy"}),
        ("pooled-dense", {"buffer": HardSigmoid(0.7)}, {"kind": "output"}),
        ("pooled", {"classes": 3, "untied": True}, {"kind": "feedback", "cost": "cross-entropy"}),
        ("dense", {"untied": True}, {"kind": "feedback", "cost": "squared-error"}),
    ],
)
def test_every_step_is_numpys(net: str, settings: dict[str, Any], nudging: dict[str, Any], solver: str) -> None:
    theirs, motion = SOLVERS[solver]
    if nudging["kind"] == "output" and not theirs.nudges_outputs:
        pytest.skip("refused by this solver")
    network, inputs, target = example(net, 3, **settings)
    nudges = [Nudge(target, beta, **nudging) for beta in (0.3, -0.3)]
    expected = theirs.solve_phases(network, inputs, nudges)
    steps = theirs.free_steps or 0, theirs.nudged_steps or 0
    mine, free, pull = phases(network, motion, steps, inputs, target, nudges)
    for one, other in zip(free.states, expected[0].voltages, strict=True):
        require_same(one, other)
    require_same(residual(free), HopfieldEquations.of(network, inputs).residual(expected[0].voltages))
    nudged = begun(free.primitives.under(pull, 2), [s.repeat(2, *[1] * (s.ndim - 1)) for s in free.states])
    nudged.run(steps[1], motion.order(mine.depth))
    halves = [[s.chunk(2)[k] for s in nudged.states] for k in range(2)]
    for half, phase in zip(halves, expected[1:], strict=True):
        for one, other in zip(half, phase.voltages, strict=True):
            require_same(one, other)
    plus, minus = (Phase(Values(mine, motion, free.primitives.inputs), half) for half in halves)
    gradient = torch_contrast(mine, of_phases(plus, minus), 0.6)
    gradient |= head_gradient(mine, nudged.states[-1], pull, 0.6, len(inputs))
    wanted = contrast(network, inputs, *expected[1:])
    assert gradient.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(gradient[name].numpy(), values, rtol=0, atol=1e-11 * max(1, np.abs(values).max()))


@pytest.mark.parametrize("motion", [Motion("discrete-time"), Motion("descent"), Motion("descent", 1.3)], ids=repr)
@pytest.mark.parametrize("betas", [(0.3, -0.3), (0.3,)], ids=len)
@pytest.mark.parametrize(
    ("net", "settings", "nudging"),
    [
        ("dense", {}, {"kind": "conductance"}),
        ("pooled", {"classes": 3, "buffer": HardSigmoid(0.5)}, {"kind": "feedback", "cost": "cross-entropy"}),
        ("pooled-dense", {"buffer": HardSigmoid(0.7)}, {"kind": "feedback"}),
        ("pooled", {"classes": 3, "untied": True}, {"kind": "feedback", "cost": "cross-entropy"}),
    ],
)
def test_differences_from_an_equilibrium_are_those_of_the_phases(
    net: str, settings: dict[str, Any], nudging: dict[str, Any], betas: tuple[float, ...], motion: Motion
) -> None:
    network, inputs, target = example(net, 5, size=1.0, **settings)
    nudges = [Nudge(target, beta, **nudging) for beta in betas]
    mine, free, pull = phases(network, motion, (400, 0), inputs, target, nudges)
    assert residual(free).max() < 1e-13
    times = len(betas)
    order = motion.order(mine.depth)
    nudged = begun(free.primitives.under(pull, times), [s.repeat(times, *[1] * (s.ndim - 1)) for s in free.states])
    nudged.run(6, order)
    differences = Differences(free, pull, times)
    changed = Phase(differences, differences.zeros())
    changed.run(6, order)
    for s, base, change in zip(nudged.states, free.states, changed.states, strict=True):
        require_same(base.repeat(times, *[1] * (s.ndim - 1)) + change, s.flatten(1).numpy())
    halves = [[s.chunk(times)[k] for s in nudged.states] for k in range(times)]
    ends = [Phase(Values(mine, motion, free.primitives.inputs), half) for half in halves]
    plus, minus = ends if times == 2 else (ends[0], free)
    gap = betas[0] - (betas[1] if times == 2 else 0)
    wanted = torch_contrast(mine, of_phases(plus, minus), gap)
    for name, values in torch_contrast(mine, of_differences(changed), gap).items():
        np.testing.assert_allclose(values.numpy(), wanted[name].numpy(), rtol=0, atol=1e-11)
    moved = max(float(change.abs().max()) for change in changed.states)
    assert moved > 1e-3


@pytest.mark.parametrize("net", ["pooled", "pooled-dense"])
def test_frozen_winners_are_exact_where_none_changes(net: str) -> None:
    network, inputs, target = example(net, 5, size=1.0, buffer=HardSigmoid(0.5))
    target = np.eye(network.classes)[np.zeros(4, int)]
    mine, free, pull = phases(network, Motion("descent"), (400, 0), inputs, target, [Nudge(target, 1e-6)])
    ends = []
    for frozen in (False, True):
        differences = Differences(free, pull, 1, frozen=frozen)
        phase = Phase(differences, differences.zeros())
        phase.run(20, Motion("descent").order(mine.depth))
        ends.append(phase.states)
    for one, other in zip(*ends, strict=True):
        require_same(one, other.flatten(1).numpy(), 1e-8)
    assert min(float(s.abs().max()) for s in ends[0]) > 1e-11


def test_differences_of_an_untied_network_in_half_precision_point_where_those_in_float64_do() -> None:
    network, inputs, target = example("dense", 6, size=1.0, buffer=HardSigmoid(0.5), untied=True)
    labels, x = torch.tensor(target).argmax(1), torch.tensor(inputs)
    stages = ((Motion("discrete-time"), 30),)
    found = []
    for precision in ("half", "float64"):
        mine = TorchNetwork(network.astype("float32" if precision == "half" else "float64"))
        settings = Settings(4, stages, stages, 0.5, precision=precision)
        trainer = HopfieldTrainer(mine, settings, x, labels)
        free = begun(Values(mine, stages[0][0], x.to(settings.dtype)))
        run(free, stages)
        found.append(trainer.gradient(free, labels))
    for name, slope in found[1].items():
        assert torch.cosine_similarity(found[0][name].double().flatten(), slope.flatten(), 0) > 0.99, name
