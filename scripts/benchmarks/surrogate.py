"""The speed of the surrogate in training and solving by size, depth, batch, diode law and threads, and its lower bound.

Every setting trains in a separate process by truncated sweeps and centred nudges, on random images in which 19 % of the pixels
are lit, as in MNIST; batches are drawn beforehand. A step includes phases, contrast, update, and the count of errors. The lower
bound, measured alternately with it, consists of the matrix products of the same step in NumPy (drive, sweeps, contrast) and one
pass over every conductance. Figures are medians. Ratios are within this run, because the machine may be shared.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks import add_repeats
from benchmarks.ways import LAWS, LIT, SWEEPS, WAYS, Setting, measure
from eqprop_analog.cli import console, options
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.errors import NotMetError, UserError
from eqprop_analog.networks.resistive.surrogate import SurrogateSolver
from eqprop_analog.spice.ngspice import library as libngspice
from eqprop_analog.spice.ngspice.solver import NgspiceSolver

AGREEMENT = 1e-9
"""Largest difference of voltages, volts."""


class Bench:
    """Runs each setting once, in a separate process, and stores its figures."""

    def __init__(self, repeats: int, seconds: float) -> None:
        self.repeats, self.seconds = repeats, seconds
        self.figures: list[dict[str, Any]] = []
        self.known: dict[Setting, dict[str, float]] = {}

    def __call__(self, setting: Setting) -> dict[str, float]:
        """Return the figures of a setting."""
        if setting not in self.known:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
                found = process.submit(measure, setting, self.repeats, self.seconds).result()
            self.known[setting] = found
            self.figures.append(asdict(setting) | found)
        return self.known[setting]

    def table(self, title: str, settings: Iterator[tuple[str, Setting]]) -> None:
        """Print a table with one line per setting."""
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
        columns = ["", "images/s", "s for 60,000", "time/lower bound", "peak MiB", "MiB before"]
        console.table(title, columns, rows)


def ways(bench: Bench, settings: list[Setting]) -> None:
    """Compare other implementations of the same training with the compiled one."""
    present = {name for name in WAYS if find_spec("torch") or not name.startswith("PyTorch")}
    present -= set() if find_spec("numba") else {"in place, compiled"}
    if not find_spec("torch"):
        console.say("PyTorch is not installed, so it is not compared (pip install torch).")
    base = "in place, compiled" if find_spec("numba") else "in place, NumPy"
    rows = []
    for name in (name for name in WAYS if name in present):
        row = [name]
        for setting in settings:
            took = bench(replace(setting, way=name))["microseconds_a_step"]
            row.append(f"{took / bench(replace(setting, way=base))['microseconds_a_step']:,.3g}")
        rows.append(row)
    columns = ["time relative to the first line", *(f"{setting.name}, batch {setting.batch}" for setting in settings)]
    console.table("Other implementations of the same training, one thread", columns, rows)


def residual_cost(repeats: int) -> dict[str, float]:
    """Time of three truncated phases with the KCL residual, relative to the time without it, by batch."""
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
    console.table(
        "Time of phases with the residual, relative to phases without it (general learner)", list(result), rows
    )
    return result


def against_ngspice(repeats: int, sizes: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """Microseconds per equilibrium, free and both nudges of 20 images, converged in float64 and in ngspice."""
    try:
        libngspice.library_path()
    except UserError as error:
        console.say(f"ngspice is not measured: {error}")
        return {}
    ngspice, surrogate = NgspiceSolver(), SurrogateSolver()
    result = {}
    try:
        for hidden in sizes:
            network = Setting((hidden,), law="ngspice").network().astype(np.float64)
            random = np.random.default_rng(0)
            inputs = random.uniform(size=(20, 784)) * (random.uniform(size=(20, 784)) < LIT)
            beta = network.usual_beta()
            nudges = [Nudge(np.eye(10)[np.arange(20) % 10], sign * beta) for sign in (1, -1)]
            found = [s.solve_phases(network, inputs, nudges) for s in (ngspice, surrogate)]
            difference = max(
                float(np.abs(a - b).max())
                for one, other in zip(*found, strict=True)
                for a, b in zip(one.voltages, other.voltages, strict=True)
            )
            if not difference <= AGREEMENT:
                raise NotMetError(f"{hidden} hidden nodes: the solvers differ by {difference:.1e} V")
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
    console.table("One converged equilibrium: free and both nudges of 20 images, one process", columns, rows)
    return result


def _seconds(function: Callable[[], object], count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        function()
    return (time.perf_counter() - begin) / count


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add_repeats(parser, 5)
    parser.add_argument("--quick", action="store_true", help="only small settings")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure, print and write."""
    quick = arguments.quick
    if not find_spec("numba"):
        console.say('numba is not installed, so NumPy is used throughout (pip install "eqprop-analog[fast]").')
    bench = Bench(arguments.repeats, 0.2 if quick else 1.0)
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
        "training": bench.figures,
        "residual_check": residual_cost(arguments.repeats),
        "equilibrium": against_ngspice(arguments.repeats, (100,) if quick else (25, 100, 200, 500)),
    }
    options.report_figures(arguments, figures)
