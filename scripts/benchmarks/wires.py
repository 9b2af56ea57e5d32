"""The time of computations with wires: a training update, the elimination in two orders, and large arrays by line solves.

Reports median wall-clock and processor time in milliseconds; they differ if other programs use the machine. The contrasts of the
two orders of elimination, and voltages by line solves and by direct factorization, are compared first. Validation, certificate
and update are included.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import add_repeats
from eqprop_analog import Rates, ResistiveNetwork, Rule
from eqprop_analog.cli import console, options
from eqprop_analog.devices.cells import SinhCell
from eqprop_analog.errors import NotMetError
from eqprop_analog.learning.trainer import Learner, PhaseLearner
from eqprop_analog.networks.crossbars.lines import LineSolver
from eqprop_analog.networks.crossbars.wired import WiredCrossbar
from eqprop_analog.networks.nonideal.in_situ import (
    LARGEST_DEVIATION,
    TRAINING_TOLERANCE,
    WiredLearner,
    WiredSolver,
    worth_compiling,
)
from eqprop_analog.networks.resistive.surrogate import SurrogateSolver

AGREEMENT = 1e-9
"""Largest difference of voltages, volts."""
LARGEST_DIRECT = 100
"""Largest number of rows and columns of arrays that are factorized for comparison."""
WHITE = 0.19
"""Fraction of MNIST's pixels that are not black."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument(
        "--layers",
        nargs="+",
        type=int,
        default=[784, 100, 10],
        metavar="N",
        help="nodes of each layer (default 784 100 10)",
    )
    parser.add_argument(
        "--batches", nargs="+", type=int, default=[8, 50], metavar="N", help="batch sizes (default 8 50)"
    )
    parser.add_argument(
        "--ohms", nargs="+", type=float, default=[1e3, 3e4], metavar="X", help="wire resistances (default 1e3 3e4)"
    )
    parser.add_argument(
        "--arrays", nargs="+", type=int, default=[64, 256, 1024], metavar="N", help="arrays N x N (default 64 256 1024)"
    )
    add_repeats(parser, 5)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure and print. Raises NotMetError if two methods differ."""
    with threadpool_limits(1):
        updates = _updates(arguments)
        arrays = [_array(size, arguments.repeats) for size in arguments.arrays]
    console.table(
        f"an update of {'-'.join(map(str, arguments.layers))} in arrays of 128 x 128, three phases, ms",
        ["batch", "wire (ohm)", "compiled", "CPU", "column by column", "CPU", "ideal wires", "CPU", "deviation"],
        [
            [
                str(row["batch"]),
                f"{row['ohms']:g}",
                f"{row['compiled ms']:.3g}" if "compiled ms" in row else "",
                f"{row['compiled CPU ms']:.3g}" if "compiled ms" in row else "",
                *(f"{row[f'{name} {kind}']:.3g}" for name in ("plain", "ideal") for kind in ("ms", "CPU ms")),
                f"{row.get('deviation', 0):.1e}",
            ]
            for row in updates
        ],
    )
    console.table(
        "arrays of cells I = G V0 sinh(V/V0), 0 to 100 uS, V0 = 0.25 V, 1 ohm a segment, rows at 0 to 1 V",
        ["array", "nodes", "ms", "CPU", "Newton steps", "line solves", "proven within (V)"],
        [
            [
                f"{row['size']} x {row['size']}",
                f"{2 * row['size'] ** 2:,}",
                f"{row['ms']:.3g}",
                f"{row['CPU ms']:.3g}",
                str(row["newton_steps"]),
                str(row["line_solves"]),
                f"{row['bound']:.1e}",
            ]
            for row in arrays
        ],
    )
    options.report_figures(arguments, {"updates": updates, "arrays": arrays})


def _updates(arguments: argparse.Namespace) -> list[dict[str, float]]:
    random, found = np.random.default_rng(0), []
    layers = arguments.layers
    rule = Rule(Rates((1e-16,) * (len(layers) - 1), (1e-16,) * (len(layers) - 1)), beta=2.5e-7)
    for batch in arguments.batches:
        inputs = random.uniform(0, 1, (batch, layers[0])) * (random.random((batch, layers[0])) < WHITE)
        targets = np.eye(layers[-1])[random.integers(0, layers[-1], batch)]
        for ohms in arguments.ohms:
            fresh = ResistiveNetwork.dense(layers, seed=0, amplifier_gain=10.0, input_gain=10.0)
            row: dict[str, float] = {"batch": batch, "ohms": ohms}
            ways: dict[str, Learner] = {
                "plain": WiredLearner(fresh.astype(np.float64), WiredSolver(ohms, tolerance=TRAINING_TOLERANCE), rule),
                "ideal": PhaseLearner(fresh.astype(np.float64), SurrogateSolver(), rule),
            }
            if worth_compiling(layers):
                solver = WiredSolver(ohms, tolerance=TRAINING_TOLERANCE, compiled=True)
                ways["compiled"] = WiredLearner(fresh.astype(np.float64), solver, rule)
            for name, learner in ways.items():
                learner.learn(inputs, targets)  # compiles the kernels, and checks the contrast
                row |= _timed(name, partial(learner.learn, inputs, targets), arguments.repeats)
                if name == "compiled":
                    row["deviation"] = learner.figures()["contrast_deviation"]
            if row.get("deviation", 0.0) > LARGEST_DEVIATION:
                raise NotMetError(f"the contrasts of two orders of elimination differ by {row['deviation']:.1e}")
            found.append(row)
    return found


def _array(size: int, repeats: int) -> dict[str, float]:
    random = np.random.default_rng(size)
    conductance = random.uniform(-3e-5, 1e-4, (size, size)).clip(0)
    crossbar = WiredCrossbar(conductance, 1.0, (size, size), SinhCell(0.25))
    ports = np.concatenate([random.uniform(0, 1, size), np.zeros(size)])[None]
    found = LineSolver().solve(crossbar, ports).require()
    if size <= LARGEST_DIRECT:
        direct = crossbar.wires(ports)
        off = max(np.abs(found.row_wires - direct[0]).max(), np.abs(found.column_wires - direct[1]).max())
        if not off <= AGREEMENT:
            raise NotMetError(
                f"{size} x {size}: voltages by line solves and by direct factorization differ by {off:.1e} V"
            )
    timed = _timed("", lambda: LineSolver().solve(crossbar, ports), repeats if size < 512 else 1)
    return {
        "size": size,
        **{name.strip(): value for name, value in timed.items()},
        "newton_steps": found.newton_steps,
        "line_solves": found.line_solves,
        "bound": float(found.bound[0]),
    }


def _timed(name: str, work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Median wall-clock and processor time, milliseconds."""
    clock, processor = [], []
    for _ in range(repeats):
        begin, begun = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - begin)
        processor.append(time.process_time() - begun)
    return {
        f"{name} ms": 1e3 * statistics.median(clock),
        f"{name} CPU ms": 1e3 * statistics.median(processor),
    }
