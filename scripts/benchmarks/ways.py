"""What `bench.py surrogate` measures: several implementations of one training step, and its arithmetic as a lower bound."""

import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from eqprop_analog.devices import Clamp, Law, NgspiceDiode, Shockley
from eqprop_analog.kernels.numpy import PlainKernels
from eqprop_analog.learning.trainer import Learner, PhaseLearner, Rule
from eqprop_analog.learning.update import Rates
from eqprop_analog.networks.resistive import truncated
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.surrogate import SurrogateSolver
from eqprop_analog.networks.resistive.truncated import TruncatedLearner

SWEEPS = 4
LIT = 0.19
BATCHES = 16
"""Number of different batches in a cycle."""
LAWS: dict[str, tuple[Law, float]] = {
    "clamp": (Clamp(), 1.0),
    "ngspice": (NgspiceDiode(), 10.0),
    "shockley": (Shockley(), 10.0),
}
"""Law and amplifier gain by name."""
Step = Callable[[np.ndarray, np.ndarray], object]


@dataclass(frozen=True)
class Setting:
    """A network, and an implementation of its training."""

    hidden: tuple[int, ...] = (100,)
    batch: int = 4
    law: str = "clamp"
    threads: int = 1
    way: str = "in place, compiled"

    @property
    def name(self) -> str:
        """Shape of the network, such as 784x2-100-10."""
        return "-".join(["784x2", *map(str, self.hidden), "10"])

    def network(self) -> ResistiveNetwork:
        """The initial network, float32."""
        law, gain = LAWS[self.law]
        layers = [784, *self.hidden, 10]
        network = ResistiveNetwork.dense(layers, diode=law, amplifier_gain=gain, input_gain=100.0 / gain)
        return network.astype(np.float32)

    def rates(self) -> Rates:
        """The published rates."""
        rates = (6e-15,) * (len(self.hidden) + 1)
        return Rates(rates, rates)

    def rule(self) -> Rule:
        """These rates, and a nudge that is small enough for all of these networks."""
        return Rule(self.rates(), 1e-7)


def in_place(setting: Setting) -> Step:
    """The step of a training run."""
    return TruncatedLearner(setting.network(), setting.rule(), SWEEPS).learn


def in_numpy(setting: Setting) -> Step:
    """The same step without numba."""
    truncated.kernels_for = PlainKernels  # type: ignore[attr-defined]
    return in_place(setting)


def general(setting: Setting) -> Step:
    """The step of the learner for any solver."""
    solver = SurrogateSolver(sweeps=SWEEPS, check_residual=False)
    learner: Learner = PhaseLearner(setting.network(), solver, setting.rule())
    return learner.learn


def in_torch(setting: Setting, *, literal: bool) -> Step:
    """The published algorithm for ideal clamps in PyTorch.

    ``literal``: compute the gradient as the mean over the batch of every conductance's squared drop, like the published code;
    otherwise the square is expanded into matrix products.
    """
    import torch

    torch.set_num_threads(setting.threads)
    network, rule, rates = setting.network(), setting.rule(), setting.rates()
    weights = [torch.tensor(matrix) for matrix in network.conductances]
    biases = [torch.tensor(bias) for bias in network.biases]
    low, high = network.conductance_window

    def settle(drive: Any, totals: list[Any], layers: list[Any], target: Any, beta: float) -> list[Any]:
        layers = list(layers)
        depth = len(weights)
        for _ in range(SWEEPS):
            for l in (*range(0, depth, 2), *range(1, depth, 2)):
                current = layers[l - 1] @ weights[l] + biases[l] if l else drive
                if l < depth - 1:
                    v = (current + layers[l + 1] @ weights[l + 1].T) / totals[l]
                    half = (v.shape[1] + 1) // 2
                    layers[l] = torch.cat([v[:, :half].clamp(min=0), v[:, half:].clamp(max=0)], 1)
                else:
                    layers[l] = (current + beta * target) / (totals[l] + beta)
        return layers

    def squared_drop(below: Any, v: Any) -> Any:
        if literal:
            return ((below[:, :, None] - v[:, None, :]) ** 2).mean(0) / 2
        crossed = below.T @ v / len(v)
        return ((below**2).mean(0)[:, None] + (v**2).mean(0)) / 2 - crossed

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(inputs: np.ndarray, targets: np.ndarray) -> int:
        x, y = torch.from_numpy(inputs), torch.from_numpy(targets)
        rows = network.input_gain * torch.cat([x, -x], 1)
        drive = rows @ weights[0] + biases[0]
        totals = [matrix.sum(0) for matrix in weights]
        for l, matrix in enumerate(weights[1:]):
            totals[l] = totals[l] + matrix.sum(1)
        zeros = [torch.zeros(len(x), matrix.shape[1]) for matrix in weights]
        free = settle(drive, totals, zeros, y, 0.0)
        plus, minus = (settle(drive, totals, free, y, beta) for beta in (rule.beta, -rule.beta))
        for l, (matrix, bias) in enumerate(zip(weights, biases, strict=True)):
            p, m = (squared_drop(phase[l - 1] if l else rows, phase[l]) for phase in (plus, minus))
            matrix.sub_(rates.conductances[l] / (2 * rule.beta) * (p - m)).clamp_(low, high)
            bias.add_(rates.biases[l] / (2 * rule.beta) * (plus[l] - minus[l]).mean(0))
        return int((free[-1].argmax(1) != y.argmax(1)).sum())

    return step


WAYS: dict[str, Callable[[Setting], Step]] = {
    "in place, compiled": in_place,
    "in place, NumPy": in_numpy,
    "general learner": general,
    "PyTorch, products": lambda setting: in_torch(setting, literal=False),
    "PyTorch, squared drops": lambda setting: in_torch(setting, literal=True),
}


def floor(setting: Setting) -> Step:
    """The lower bound: only the step's matrix products and one pass over its conductances."""
    first, *inner = [np.array(matrix) for matrix in setting.network().conductances]
    half, batch = 784, setting.batch
    products = [np.empty_like(matrix) for matrix in (first[:half], *inner)]
    nodes = {size: np.ones((2 * batch, size), np.float32) for size in (*setting.hidden, 10)}

    def step(inputs: np.ndarray, _targets: np.ndarray) -> None:
        v = nodes[first.shape[1]]
        np.dot(inputs, first[:half], out=v[:batch])
        for samples in (batch, 2 * batch):
            for _ in range(SWEEPS):
                for matrix in inner:
                    below, above = (nodes[size][:samples] for size in matrix.shape)
                    np.dot(below, matrix, out=above)
                    np.dot(above, matrix.T, out=below)
        np.dot(inputs.T, v[:batch], out=products[0])
        for matrix, product in zip(inner, products[1:], strict=True):
            np.dot(nodes[matrix.shape[0]].T, nodes[matrix.shape[1]], out=product)
        for matrix in (first, *inner):
            np.add(matrix, 0, out=matrix)

    return step


def measure(setting: Setting, repeats: int, seconds: float) -> dict[str, float]:
    """Images per second, time relative to the lower bound, and peak memory; a repeat takes about ``seconds`` for both."""
    random = np.random.default_rng(0)
    size = (BATCHES, setting.batch, 784)
    inputs = (random.uniform(size=size) * (random.uniform(size=size) < LIT)).astype(np.float32)
    targets = np.eye(10, dtype=np.float32)[random.integers(0, 10, size[:2])]
    before = _peak_memory()
    with threadpool_limits(setting.threads):
        step = WAYS[setting.way](setting)
        for k in range(BATCHES):
            step(inputs[k], targets[k])
        memory = _peak_memory()
        bare = floor(setting)
        bare(inputs[0], targets[0])

        def cycle(function: Step, count: int) -> float:
            begin = time.perf_counter()
            for k in range(count):
                function(inputs[k % BATCHES], targets[k % BATCHES])
            return (time.perf_counter() - begin) / count

        one = max(cycle(step, 2), cycle(bare, 2))
        count = max(2, int(seconds / 2 / one))
        pairs = [(cycle(step, count), cycle(bare, count)) for _ in range(repeats)]
    return {
        "images_per_second": setting.batch / statistics.median(own for own, _ in pairs),
        "microseconds_a_step": 1e6 * statistics.median(own for own, _ in pairs),
        "times_the_floor": statistics.median(own / other for own, other in pairs),
        "peak_memory_bytes": memory,
        "memory_before_bytes": before,
    }


def _peak_memory() -> int:
    """Peak memory of this process, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
