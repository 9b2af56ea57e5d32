"""Triton's kernels of Hopfield networks against NumPy and PyTorch, by Triton's interpreter; skipped where it is not installed."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")

COMMON = """
import sys

import numpy as np
import torch
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.devices.buffer import HardSigmoid, Sigmoid
from eqprop_analog.kernels.torch import dense, fused
from eqprop_analog.kernels.torch.contrast import contrast, of_differences, of_phases
from eqprop_analog.kernels.torch.couplings import mapped
from eqprop_analog.kernels.torch.differences import Differences
from eqprop_analog.kernels.torch.motions import Motion
from eqprop_analog.kernels.torch.network import TorchNetwork
from eqprop_analog.kernels.torch.phases import Phase, Pull, Values, begun
from eqprop_analog.kernels.torch.training import Evaluator, HopfieldTrainer, Settings
from eqprop_analog.networks.hopfield.connections import Convolution, Dense
from eqprop_analog.networks.hopfield.network import HopfieldNetwork

torch.set_num_threads(1)
DEVICE, random = sys.argv[1], np.random.default_rng(0)


def network(connections, size=2.0, **settings):
    made = HopfieldNetwork.build(connections, 3, initial="fan-in", **settings).astype("float32")
    for values in made.arrays().values():
        values *= size
    return made


def pull_of(mine, target, beta, cost, behind):
    betas = torch.tensor([beta, -beta], device=DEVICE).repeat_interleave(len(target))[:, None]
    return Pull(mine, betas, torch.tensor(target, dtype=torch.float32, device=DEVICE).repeat(2, 1), cost, behind)


def phases(kind, mine, motion, x, steps, pull):
    free = begun(kind(mine, motion, x))
    free.run(steps[0], motion.order(mine.depth))
    start = [s.repeat(2, *[1] * (s.ndim - 1)) for s in free.states]
    nudged = begun(free.primitives.under(pull, 2), start)
    nudged.run(steps[1], motion.order(mine.depth))
    return free, nudged


def require_same(one, other, bound, name):
    far = float((one.cpu().double() - torch.as_tensor(other).cpu().double()).abs().max())
    assert far <= bound * max(1e-2, float(np.abs(np.asarray(torch.as_tensor(other).cpu())).max())), (name, far)
"""

DENSE = """
from eqprop_analog.networks.hopfield.discrete_time import DiscreteTimeSolver
from eqprop_analog.networks.hopfield.energy_based import EnergyBasedSolver
from eqprop_analog.networks.hopfield.gradient_flow import GradientFlowSolver
from eqprop_analog.networks.hopfield.leaky_integrator import LeakyIntegratorSolver

if DEVICE == "cpu":
    dense.kernels.ROWS, dense.kernels.SPLITS, dense.kernels.DEPTH = 8, 2, 16
STEPS = {"free_steps": 4, "nudged_steps": 3}
CASES = (
    (DiscreteTimeSolver(step=0.2, **STEPS), [7, 20, 5], {"buffer": Sigmoid()}, "output"),
    (DiscreteTimeSolver(**STEPS), [6, 17, 40, 4], {"buffer": HardSigmoid(0.5), "untied": True}, "conductance"),
    (GradientFlowSolver(step=0.5, **STEPS), [7, 20, 18, 3], {"buffer": HardSigmoid()}, "conductance"),
    (GradientFlowSolver(step=0.5, **STEPS), [7, 5], {"buffer": Sigmoid(), "untied": True}, "conductance"),
    (LeakyIntegratorSolver(step=0.3, **STEPS), [7, 20, 18], {"buffer": HardSigmoid(2.0), "feedback": 0.3}, "conductance"),
    (EnergyBasedSolver(step=0.2, **STEPS), [7, 40, 5], {"buffer": Sigmoid()}, "conductance"),
)
DYNAMICS = {
    DiscreteTimeSolver: "discrete-time", GradientFlowSolver: "gradient-flow",
    LeakyIntegratorSolver: "leaky-integrator", EnergyBasedSolver: "energy-based",
}
for theirs, sizes, settings, kind in CASES:
    motion = Motion(DYNAMICS[type(theirs)], theirs.step)
    made = network([Dense(*two) for two in zip(sizes, sizes[1:])], **settings)
    x, target = random.normal(size=(5, sizes[0])), np.eye(sizes[-1])[random.integers(0, sizes[-1], 5)]
    expected = theirs.solve_phases(made.astype("float64"), x, [Nudge(target, beta, kind=kind) for beta in (0.3, -0.3)])
    mine = TorchNetwork(made, DEVICE)
    assert dense.possible(mine, motion)
    pull = pull_of(mine, target, 0.3, "squared-error", kind == "output")
    inputs = torch.tensor(x, dtype=torch.float32, device=DEVICE)
    free, nudged = phases(dense.DenseValues, mine, motion, inputs, (4, 3), pull)
    for layer, s in enumerate(free.states):
        require_same(s, expected[0].voltages[layer], 1e-5, (motion, layer))
        for half, phase in zip(nudged.states[layer].chunk(2), expected[1:]):
            require_same(half, phase.voltages[layer], 1e-5, (motion, layer, "nudged"))

made = network([Dense(9, 20), Dense(20, 17), Dense(17, 4)], buffer=HardSigmoid())
stages = ((Motion("gradient-flow", 0.5), 3),)
x, y = torch.rand(7, 9, generator=torch.Generator().manual_seed(0)).to(DEVICE), torch.arange(7).to(DEVICE) % 4
found = []
for triton in (True, False):
    settings = Settings(4, stages, stages, 0.5, "random-sign", differences=False, fused=triton, persistent=True, seed=3)
    trainer = HopfieldTrainer(TorchNetwork(made, DEVICE), settings, x, y)
    assert (trainer.values_class is dense.DenseValues) == triton
    trainer.begin_epoch(0, dict.fromkeys(trainer.rates, 0.5))
    trainer.advance()
    evaluator = Evaluator(trainer.network, settings, x, y, 7)
    found.append(trainer.arrays() | {"error": np.array(evaluator.error()), "test": evaluator.squares.cpu().numpy()})
for name, values in found[1].items():
    require_same(torch.as_tensor(found[0][name]), values, 1e-5, name)
    moved = np.abs(values - made.arrays()[name]).max() if name.startswith("weight") else 1.0
    assert moved > 1e-3, (name, moved)
"""

POOLED = """
from eqprop_analog.kernels.torch import triton_moves, triton_updates, triton_windows

if DEVICE == "cpu":
    for module in (triton_moves, triton_updates, triton_windows):
        module.BLOCK = 256
CONVOLVED = [
    Convolution((2, 9, 9), 4, 3, padding=1, pool=2), Convolution((4, 4, 4), 5, 3, padding=1, pool=2),
    Convolution((5, 2, 2), 6, 2, padding=1, pool=1),
]
CASES = (
    (CONVOLVED[:2], Motion("descent", 1.3), {"classes": 3}, "cross-entropy", False),
    (CONVOLVED[:2], Motion("discrete-time"), {"classes": 3, "untied": True}, "cross-entropy", False),
    ([*CONVOLVED, Dense(54, 3)], Motion("discrete-time"), {}, "squared-error", True),
)
for connections, motion, settings, cost, behind in CASES:
    made = network(connections, 1.5, buffer=HardSigmoid(0.5), **settings)
    mine, ends = TorchNetwork(made, DEVICE), []
    assert fused.possible(mine, motion)
    x = mapped(torch.tensor(random.normal(size=(4, made.layers[0])), dtype=torch.float32, device=DEVICE), mine.input_shape)
    pull = pull_of(mine, np.eye(3)[random.integers(0, 3, 4)], 0.3, cost, behind)
    for kind, changes in ((Values, Differences), (fused.FusedValues, fused.FusedDifferences)):
        free, nudged = phases(kind, mine, motion, x, (6, 3), pull)
        halves = [Phase(free.primitives, [s.chunk(2)[k] for s in nudged.states]) for k in range(2)]
        named = {f"free {n}": s for n, s in enumerate(free.states)} | {f"nudged {n}": s for n, s in enumerate(nudged.states)}
        named |= contrast(mine, of_phases(*halves), 0.6)
        for frozen in () if behind else (False, True):
            differences = changes(free, pull, 2, free.primitives.products, motion, frozen=frozen)
            changed = Phase(differences, differences.zeros())
            changed.run(2, motion.order(mine.depth))
            named |= {f"difference {frozen} {n}": s for n, s in enumerate(changed.states)}
            named |= {f"{name} {frozen}": s for name, s in contrast(mine, of_differences(changed), 0.6).items()}
        ends.append(named)
    for name, values in ends[0].items():
        require_same(ends[1][name], values.cpu(), 1e-4, (motion, settings, name))

made = network(CONVOLVED[:2], 1.0, buffer=HardSigmoid(0.5), classes=3, untied=True)
stages, found = ((Motion("descent"), 6),), []
x, y = torch.tensor(random.normal(size=(4, 2, 9, 9)), device=DEVICE), torch.arange(4, device=DEVICE) % 3
for precision in ("half", "float64"):
    mine = TorchNetwork(made if precision == "half" else made.astype("float64"), DEVICE)
    settings = Settings(4, stages, stages, 0.3, cost="cross-entropy", precision=precision, frozen=True)
    trainer = HopfieldTrainer(mine, settings, x, y)
    assert trainer.fused == (precision == "half")
    free = begun(trainer.values_class(mine, stages[0][0], mapped(x.flatten(1).to(settings.dtype), mine.input_shape)))
    free.run(6, stages[0][0].order(mine.depth))
    found.append(trainer.gradient(free, y))
for name, slope in found[1].items():
    near = torch.cosine_similarity(found[0][name].double().flatten(), slope.flatten(), 0)
    assert near > 0.97, (name, near)
"""


@pytest.mark.parametrize("program", [DENSE, POOLED], ids=["dense", "pooled"])
def test_the_kernels_take_the_same_steps(program: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", COMMON + program, "cpu"],
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
