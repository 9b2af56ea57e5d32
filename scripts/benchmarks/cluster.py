"""The cost of a Dask cluster on this machine, compared with worker processes: time and bytes of a task, with 1 and 2 workers.

Empty tasks, submitted one after another and all at once, measure what the scheduler and this process spend on each task. Random
circuits of the agreement study and batches of training in ngspice measure the effect on real work. The scheduler runs in this
process, so the processor time is that of both and hardly depends on other programs. Results are compared, too. Figures are
medians.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np

from benchmarks import add_repeats
from benchmarks.spice import Case
from eqprop_analog import NgspiceSolver
from eqprop_analog.cli import console, options
from eqprop_analog.errors import NotMetError
from eqprop_analog.networks.resistive import random_circuits as study
from eqprop_analog.spice.ngspice.cluster import on_cluster, workers_for

LIMIT = 600.0
"""Time limit of a task, seconds."""
Way = tuple[str, int]
WAYS: tuple[Way, ...] = (("--workers", 1), ("--cluster", 1), ("--workers", 2), ("--cluster", 2))
BATCHES = (20, 200)
"""Batch sizes, images."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--tasks", type=int, default=300, metavar="N", help="number of empty tasks (default 300)")
    parser.add_argument(
        "--circuits", type=int, default=16, metavar="N", help="number of circuits of the study (default 16)"
    )
    parser.add_argument(
        "--hidden", type=int, default=100, metavar="N", help="hidden nodes of the trained network (default 100)"
    )
    add_repeats(parser, 5)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure every way of running tasks, and print a table."""
    figures: dict[str, dict[str, Any]] = {}
    found: dict[str, list[Any]] = {}
    for way in WAYS:
        name = " ".join(map(str, way))
        with _place(way) as traffic:
            figures[name], results = _measured(way, traffic, arguments)
        for what, result in results.items():
            found.setdefault(f"{what}, {way[1]}", []).append(result)
        console.say(f"{name}: {figures[name]}")
    names = dict.fromkeys(name for each in figures.values() for name in each)
    rows = [[name, *(_shown(each.get(name)) for each in figures.values())] for name in names]
    console.table("Milliseconds, and bytes sent and returned", ["", *figures], rows)
    gains = {kind: _gains(figures[f"{kind} 1"], figures[f"{kind} 2"]) for kind, _ in WAYS[:2]}
    rows = [[what, *(f"{each[what]:.2f}" for each in gains.values())] for what in next(iter(gains.values()))]
    console.table("Speed with two workers relative to one", ["", *gains], rows)
    options.report_figures(arguments, {"ways": figures, "gains": gains})
    for what, results in found.items():
        if not all(_same(results[0], each) for each in results):
            raise NotMetError(f"{what}: results of the cluster and of this machine's processes are not bit-identical")


def _gains(one: dict[str, Any], two: dict[str, Any]) -> dict[str, float]:
    """Ratio of the times with one and with two workers, by name, of everything that is divided among workers."""
    timed = [name for name in one if name.endswith(", ms") and "client" not in name and "alone" not in name]
    return {name.removesuffix(", ms"): one[name] / two[name] for name in timed}


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:,.0f}" if isinstance(value, int) else f"{value:.3g}"


def _same(one: Any, other: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@contextmanager
def _place(way: Way) -> Iterator[Callable[[], tuple[int, int]]]:
    """Run tasks this way; yields a function that returns the bytes sent and received since its last call."""
    kind, workers = way
    if kind == "--workers":
        yield lambda: (0, 0)
        return
    from distributed import LocalCluster

    with tempfile.TemporaryDirectory() as folder:
        local = {"local_directory": folder, "dashboard_address": "127.0.0.1:0", "threads_per_worker": 1}
        with LocalCluster(n_workers=workers, **local) as made, on_cluster(made.scheduler_address) as cluster:

            def traffic() -> tuple[int, int]:
                since, (cluster.sent, cluster.received) = (cluster.sent, cluster.received), (0, 0)
                return since

            yield traffic


class Meter:
    """Collects the figures of tasks by name."""

    def __init__(self, traffic: Callable[[], tuple[int, int]]) -> None:
        self.traffic = traffic
        self.figures: dict[str, float | int] = {}

    def measure(self, what: str, do: Callable[[], Any], tasks: int, repeats: int) -> Any:
        """Return the result of ``do``, which runs this number of ``tasks``; store time, processor time and bytes per task."""
        self.traffic()
        seconds, busy = [], time.process_time()
        for _ in range(repeats):
            begin = time.perf_counter()
            result = do()
            seconds.append(time.perf_counter() - begin)
        self.figures[f"{what}, ms"] = 1e3 * statistics.median(seconds) / tasks
        self.figures[f"{what}, client and scheduler, ms"] = 1e3 * (time.process_time() - busy) / repeats / tasks
        for name, count in zip(("sent", "returned"), self.traffic(), strict=True):
            if count:
                self.figures[f"{what}, bytes {name}"] = count // (repeats * tasks)
        return result


def _measured(
    way: Way, traffic: Callable[[], tuple[int, int]], arguments: argparse.Namespace
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the figures by name, and the results to compare."""
    meter, results, repeats = Meter(traffic), {}, arguments.repeats
    with closing(workers_for(way[1], LIMIT)) as work:
        empty = [(divmod, 7, 3)] * arguments.tasks
        _all(work, empty[:8])
        meter.measure("empty task alone", lambda: _all(work, empty[:1]), 1, arguments.tasks)
        meter.measure("empty task of many", lambda: _all(work, empty), len(empty), repeats)
        tasks = [(study.measure, 0, number, study.kinds()) for number in range(arguments.circuits)]
        _all(work, tasks[:2])
        circuits = meter.measure("circuit of the study", lambda: _all(work, tasks), len(tasks), 1)
        results["study"] = [each["largest_difference"] for each in circuits]
    case = Case(arguments.hidden, max(BATCHES))
    with closing(NgspiceSolver(way[1])) as solver:
        for size in BATCHES:
            part = case.some(size)
            given = part.network, part.inputs, part.nudges
            solver.solve_phases(*given)
            phases = meter.measure(f"batch of {size}", lambda given=given: solver.solve_phases(*given), 1, repeats)
        results["training"] = [v for phase in phases for v in phase.voltages]
    return meter.figures, results


def _all(work: Any, tasks: list[tuple[Any, ...]]) -> list[Any]:
    return [work.result(job) for job in [work.submit(*task) for task in tasks]]
