"""Fused training on a GPU against that in NumPy, by Triton's interpreter on the CPU; skipped where Triton is not installed."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")

PROGRAM = """
from dataclasses import replace

import numpy as np
from eqprop_analog import ResistiveNetwork
from eqprop_analog.devices import Clamp
from eqprop_analog.experiments.batches import Batches, Split
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.kernels.numpy import PlainKernels
from eqprop_analog.kernels.torch import triton_crossbars
from eqprop_analog.learning.trainer import Pass, Rule
from eqprop_analog.learning.update import Rates
from eqprop_analog.networks.resistive import truncated
from eqprop_analog.networks.resistive.fused_torch import FusedLearner

truncated.kernels_for = PlainKernels  # nothing to compile
triton_crossbars.NODES, triton_crossbars.COLUMNS, triton_crossbars.ROWS = 16, 16, 4
random = np.random.default_rng(0)
images, labels, order = random.random((7, 5)).astype(np.float32), random.integers(0, 10, 7), random.permutation(7)
config, split = resolve("drn-xs", {}), Split(images, labels, "test", images, labels)


def network(gain):
    made = ResistiveNetwork.dense(
        [5, 20, 10], 1, conductance_window=(0.0, 1.0), input_gain=100.0, amplifier_gain=gain, diode=Clamp(0.0)
    )
    return made.astype("float32")


def passed(learner, order=order, done=0):
    return learner.run_pass(Batches(config, split, order, random, done), lambda *_: None, Pass(samples=done))


for gain, nudging in ((1.0, "centred"), (2.0, "one-sided")):
    rule = Rule(Rates((3e-15, 3e-15), (2e-15, 1e-15)), 1e-7, nudging)
    mine, theirs, parts, fresh = (network(gain) for _ in range(4))
    fused = FusedLearner(mine, rule, 3, device="cpu")
    found, expected = passed(fused), passed(truncated.TruncatedLearner(theirs, rule, 3))
    assert abs(found.squares - expected.squares) < 1e-5 * expected.squares
    assert replace(found, squares=0.0) == replace(expected, squares=0.0)
    fused.finish()
    for name, before in fresh.arrays().items():
        moved = np.abs(theirs.arrays()[name] - before).max()
        assert np.abs(mine.arrays()[name] - theirs.arrays()[name]).max() < 1e-3 * moved, name
    first = FusedLearner(parts, rule, 3, device="cpu")
    passed(first, order[:4])
    sums = first.arrays()
    first.finish()
    second = FusedLearner(parts, rule, 3, device="cpu")
    second.restore(sums)
    passed(second, done=4)
    second.finish()
    assert all((mine.arrays()[name] == values).all() for name, values in parts.arrays().items())
"""


def test_a_pass_is_numpys_and_in_two_parts_gives_the_same_bits() -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
