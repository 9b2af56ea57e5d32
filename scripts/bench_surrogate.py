#!/usr/bin/env python3
"""How fast the surrogate trains and solves: by size, depth, batch, diode law and threads, against what bounds it.

Every setting trains in a process of its own, on random images of which 19 % of the pixels are lit, as MNIST's are, by truncated
sweeps, centred nudges, batches drawn beforehand: phases, contrast, update, and the count of mistakes. The floor, taken in turn
with it, is NumPy's bare matrix products of the same step (drive, sweeps, contrast) and one bare pass over every conductance.
Medians; ratios are within this run, because the machine may be shared.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from eqprop_analog import NgspiceSolver, Nudge, ResistiveNetwork, SurrogateSolver
from eqprop_analog.cli import console
from eqprop_analog.devices import Clamp, NgspiceDiode, Shockley
from eqprop_analog.errors import UserError
from eqprop_analog.files import write_text
from eqprop_analog.kernels.plain import PlainKernels
from eqprop_analog.learning import truncated
from eqprop_analog.learning.trainer import Learner, PhaseLearner, Rule
from eqprop_analog.learning.truncated import TruncatedLearner
from eqprop_analog.learning.update import Rates
from eqprop_analog.run import versions
from eqprop_analog.solvers import libngspice

SWEEPS = 4
LIT = 0.19
BATCHES = 16
"""Different batches in a cycle."""
LAWS = {"clamp": (Clamp(), 1.0), "ngspice": (NgspiceDiode(), 10.0), "shockley": (Shockley(), 10.0)}
"""Law and amplifier gain."""
AGREEMENT = 1e-9
"""Volts."""
Step = Callable[[np.ndarray, np.ndarray], object]


@dataclass(frozen=True)
class Setting:
    """What is trained, and how."""

    hidden: tuple[int, ...] = (100,)
    batch: int = 4
    law: str = "clamp"
    threads: int = 1
    way: str = "in place, compiled"

    @property
    def name(self) -> str:
        """784x2-100-10."""
        return "-".join(["784x2", *map(str, self.hidden), "10"])

    def network(self) -> ResistiveNetwork:
        """Fresh, float32."""
        law, gain = LAWS[self.law]
        layers = [784, *self.hidden, 10]
        network = ResistiveNetwork.dense(layers, diode=law, amplifier_gain=gain, input_gain=100.0 / gain)
        return network.astype(np.float32)

    def rule(self) -> Rule:
        """The published rates, and a nudge that any of these networks bears."""
        rates = (6e-15,) * (len(self.hidden) + 1)
        return Rule(Rates(rates, rates), 1e-7)


def in_place(setting: Setting) -> Step:
    """What a training run does."""
    return TruncatedLearner(setting.network(), setting.rule(), SWEEPS).learn


def in_numpy(setting: Setting) -> Step:
    """The same where numba is missing."""
    truncated.kernels_for = PlainKernels
    return in_place(setting)


def general(setting: Setting) -> Step:
    """The learner that takes any solver."""
    solver = SurrogateSolver(sweeps=SWEEPS, check_residual=False)
    learner: Learner = PhaseLearner(setting.network(), solver, setting.rule())
    return learner.learn


def in_torch(setting: Setting, *, literal: bool) -> Step:
    """The published algorithm for ideal clamps as one writes it in PyTorch.

    ``literal``: the gradient as the mean over the batch of every conductance's squared drop, which is what the published code
    does; otherwise that square is multiplied out into matrix products.
    """
    import torch

    torch.set_num_threads(setting.threads)
    network, rule = setting.network(), setting.rule()
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

    @torch.no_grad()
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
            matrix.sub_(rule.rates.conductances[l] / (2 * rule.beta) * (p - m)).clamp_(low, high)
            bias.add_(rule.rates.biases[l] / (2 * rule.beta) * (plus[l] - minus[l]).mean(0))
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
    """The step's matrix products and one pass over its conductances, and nothing else."""
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
    """Images a second, times the floor's time, peak memory; each repeat takes about ``seconds`` for the step and the floor."""
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
    """Of this process so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Bench:
    """Runs settings, each once and in its own process, and keeps their figures."""

    def __init__(self, repeats: int, seconds: float) -> None:
        self.repeats, self.seconds = repeats, seconds
        self.figures: list[dict[str, Any]] = []
        self.known: dict[Setting, dict[str, float]] = {}

    def __call__(self, setting: Setting) -> dict[str, float]:
        """The setting's figures."""
        if setting not in self.known:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                found = process.submit(measure, setting, self.repeats, self.seconds).result()
            self.known[setting] = found
            self.figures.append(asdict(setting) | found)
        return self.known[setting]

    def table(self, title: str, settings: Iterator[tuple[str, Setting]]) -> None:
        """A line a setting."""
        rows = []
        for label, setting in settings:
            found = self(setting)
            rows.append(
                [
                    label,
                    f"{found['images_per_second']:,.0f}",
                    f"{60_000 / found['images_per_second']:,.3g}",
                    f"{found['times_the_floor']:.2f}",
                    f"{found['peak_memory_bytes'] / 2**20:,.0f}",
                    f"{found['memory_before_bytes'] / 2**20:,.0f}",
                ]
            )
        columns = ["", "images/s", "s for 60,000", "times the floor", "peak MiB", "MiB before"]
        console.table(title, columns, rows)


def ways(bench: Bench, settings: list[Setting]) -> None:
    """The same training in other ways, in units of the compiled one's time."""
    present = {name for name in WAYS if find_spec("torch") or not name.startswith("PyTorch")}
    present -= set() if find_spec("numba") else {"in place, compiled"}
    if not find_spec("torch"):
        console.say("PyTorch is not installed, so the comparison with it is left out (pip install torch).")
    base = "in place, compiled" if find_spec("numba") else "in place, NumPy"
    rows = []
    for name in (name for name in WAYS if name in present):
        row = [name]
        for setting in settings:
            took = bench(replace(setting, way=name))["microseconds_a_step"]
            row.append(f"{took / bench(replace(setting, way=base))['microseconds_a_step']:,.3g}")
        rows.append(row)
    columns = ["times the first line's time", *(f"{setting.name}, batch {setting.batch}" for setting in settings)]
    console.table("The same training in other ways, one thread", columns, rows)


def residual_cost(repeats: int) -> dict[str, float]:
    """Time of three truncated phases with the KCL residual over that without, by batch."""
    result = {}
    for batch in (4, 64):
        setting = Setting(batch=batch)
        network = setting.network()
        random = np.random.default_rng(0)
        inputs = (random.uniform(size=(batch, 784)) * (random.uniform(size=(batch, 784)) < LIT)).astype(np.float32)
        nudges = [Nudge(np.zeros((batch, 10)), beta) for beta in (1e-7, -1e-7)]
        solvers = [SurrogateSolver(sweeps=SWEEPS, check_residual=check) for check in (True, False)]
        ratios = []
        for _ in range(repeats + 1):
            checked, bare = (_seconds(partial(s.solve_phases, network, inputs, nudges), 50) for s in solvers)
            ratios.append(checked / bare)
        result[f"batch {batch}"] = statistics.median(ratios[1:])
    rows = [[f"{value:.2f}" for value in result.values()]]
    console.table("Phases with their residual, over the same without (general learner)", list(result), rows)
    return result


def against_ngspice(repeats: int, sizes: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """Microseconds an equilibrium, free and both nudges of 20 images, converged in float64 and in ngspice."""
    try:
        libngspice.library_path()
    except UserError as error:
        console.say(f"ngspice is left out: {error}")
        return {}
    ngspice, surrogate = NgspiceSolver(), SurrogateSolver()
    result = {}
    try:
        for hidden in sizes:
            network = Setting((hidden,), law="ngspice").network().astype(np.float64)
            random = np.random.default_rng(0)
            inputs = random.uniform(size=(20, 784)) * (random.uniform(size=(20, 784)) < LIT)
            beta = 0.1 * network.stiffness_bound()
            nudges = [Nudge(np.eye(10)[np.arange(20) % 10], sign * beta) for sign in (1, -1)]
            found = [s.solve_phases(network, inputs, nudges) for s in (ngspice, surrogate)]
            difference = max(
                float(np.abs(a - b).max())
                for one, other in zip(*found, strict=True)
                for a, b in zip(one.voltages, other.voltages, strict=True)
            )
            if not difference <= AGREEMENT:
                raise SystemExit(f"{hidden} hidden nodes: the solvers differ by {difference:.1e} V")
            times = [
                [_seconds(partial(s.solve_phases, network, inputs, nudges), 1) for s in (ngspice, surrogate)]
                for _ in range(repeats)
            ]
            slow, fast = (1e6 * statistics.median(column) / 60 for column in zip(*times, strict=True))
            ratio = statistics.median(a / b for a, b in times)
            result[str(hidden)] = {"ngspice": slow, "surrogate": fast, "ratio": ratio, "volts_apart": difference}
    finally:
        ngspice.close()
    rows = [
        [
            f"784x2-{hidden}-10",
            f"{f['ngspice']:,.0f}",
            f"{f['surrogate']:,.0f}",
            f"{f['ratio']:.1f}",
            f"{f['volts_apart']:.0e}",
        ]
        for hidden, f in result.items()
    ]
    columns = ["", "ngspice (µs)", "surrogate (µs)", "ratio", "largest |ΔV| (V)"]
    console.table("An equilibrium, converged: free and both nudges of 20 images, one process", columns, rows)
    return result


def _seconds(function: Callable[[], object], count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        function()
    return (time.perf_counter() - begin) / count


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="counted runs of each setting (default 5)")
    parser.add_argument("--quick", action="store_true", help="small settings alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure")
    options = parser.parse_args()
    quick = options.quick
    if not find_spec("numba"):
        console.say('numba is not installed, so NumPy computes throughout (pip install "eqprop-analog[fast]").')
    bench = Bench(options.repeats, 0.2 if quick else 1.0)
    sizes = (100, 300) if quick else (100, 300, 1024, 4096)
    bench.table("By hidden nodes, batch 4", ((s.name, s) for s in (Setting((hidden,)) for hidden in sizes)))
    for hidden in (100,) if quick else (100, 1024):
        settings = (Setting((hidden,), batch) for batch in ((4, 64) if quick else (1, 4, 16, 64, 256)))
        bench.table(f"784x2-{hidden}-10 by batch", ((f"batch {s.batch}", s) for s in settings))
    width = 100 if quick else 1024
    settings = (Setting((width,) * depth) for depth in ((1, 2) if quick else (1, 2, 3)))
    bench.table("By depth, batch 4", ((s.name, s) for s in settings))
    settings = (Setting(batch=8, law=law) for law in LAWS)
    bench.table("784x2-100-10 by law, batch 8 (shockley has no compiled nodes)", ((s.law, s) for s in settings))
    settings = (Setting((width,), 64, threads=threads) for threads in (1, 2))
    bench.table(f"784x2-{width}-10 by BLAS threads, batch 64", ((f"{s.threads}", s) for s in settings))
    compared = [Setting(), Setting(batch=64)] + ([] if quick else [Setting((1024,)), Setting((1024,), 64)])
    ways(bench, compared)
    figures = {
        "versions": versions(),
        "training": bench.figures,
        "residual_check": residual_cost(options.repeats),
        "equilibrium": against_ngspice(options.repeats, (100,) if quick else (25, 100, 200, 500)),
    }
    if options.json:
        write_text(options.json, json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
