"""The overhead of training in ngspice: the time of an epoch, relative to the time of its operating points alone.

A network is trained for a while by its surrogate, then for some batches by ngspice with worker processes. Netlists, workers,
certificates, contrasts and updates are included. The lower bound is measured in the same run, alternately with the batches: the
same sweeps in this process, with their netlists loaded, timing only ngspice's ``run``, divided by the number of workers.

The parts are processor times, which other programs on the machine affect less: the time of an epoch is that of the main process
plus that of the workers divided by their number. The wall-clock time of the training is reported as well. Figures are medians.
"""

import argparse
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import add_repeats
from eqprop_analog import NgspiceSolver, data
from eqprop_analog.cli import console, options
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.batches import one_hot
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.learning.trainer import PhaseLearner, train_pass
from eqprop_analog.spice.netlist import sweep_netlist
from eqprop_analog.spice.ngspice import library as libngspice
from eqprop_analog.spice.ngspice.solver import REDUCED
from eqprop_analog.spice.ngspice.workers import Job

PARTS = ("netlist text", "loading it", "operating points", "reading voltages", "removing it")
"""Parts of a sweep."""
FLOOR = "operating points"


class Recorded(NgspiceSolver):
    """The solver, which records the tasks of its workers."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers, REDUCED)
        self.tasks: list[tuple[Any, ...]] = []
        submit = self._work.submit

        def kept(*task: Any) -> Job:
            self.tasks.append(task)
            return submit(*task)

        self._work.submit = kept  # type: ignore[method-assign]


@dataclass
class Case:
    """A network in training, and the batches of which its training is repeated."""

    learner: PhaseLearner[Any]
    solver: Recorded
    batches: list[tuple[np.ndarray, np.ndarray]]

    def __post_init__(self) -> None:
        """Store the initial parameters."""
        self.begin = {name: values.copy() for name, values in self.learner.network.arrays().items()}

    def train(self, some: slice = slice(None)) -> tuple[float, float]:
        """Seconds for the batches, and processor seconds of this process for them."""
        for name, values in self.learner.network.arrays().items():
            values[...] = self.begin[name]
        wall, own = time.perf_counter(), time.thread_time()
        train_pass(self.learner, self.batches[some])
        return time.perf_counter() - wall, time.thread_time() - own

    def workers_seconds(self, some: slice = slice(None)) -> tuple[float, float, float]:
        """Processor time of new workers from start to end, and the result of ``train`` after a warm-up."""
        before = _of_children()
        self.train(slice(0, 2))
        wall, own = self.train(some)
        self.solver.close()
        return _of_children() - before, wall, own


def _of_children() -> float:
    """Processor time of all child processes that have ended, seconds."""
    used = os.times()
    return used.children_user + used.children_system


def seconds_of(task: tuple[Any, ...]) -> tuple[list[float], int]:
    """Processor time of each of PARTS for one sweep in this process, seconds, and the number of Newton iterations."""
    _, circuit, given, guess = task
    spice, marks = libngspice.library(), [time.process_time()]
    text = sweep_netlist(circuit, given, guess)
    marks.append(time.process_time())
    spice.load_circuit(text)
    marks.append(time.process_time())
    spice.exec_command("run")
    marks.append(time.process_time())
    if {len(spice.vector(net)) for net in circuit.probes} != {circuit.points}:
        raise UserError(
            "a sweep of the training does not converge in one process; use a network whose training converges"
        )
    marks.append(time.process_time())
    spice.messages.clear()
    spice.exec_command("rusage totiter")
    (iterations,) = (int(found[1]) for line in spice.messages if (found := re.search(r"iterations\s*=\s*(\d+)", line)))
    begin = time.process_time()
    spice.exec_command("destroy all")
    spice.exec_command("remcirc")
    return [*np.diff(marks).tolist(), time.process_time() - begin], iterations


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument(
        "--preset",
        metavar="NAME",
        default="mnist-100-ngspice",
        help="preset that is trained in ngspice (default mnist-100-ngspice)",
    )
    parser.add_argument("--batches", type=int, default=20, metavar="N", help="batches per repeat (default 20)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="worker processes (default 2)")
    parser.add_argument(
        "--trained",
        type=int,
        default=20_000,
        metavar="N",
        help="images on which the surrogate trains before the measurement (default 20,000)",
    )
    add_repeats(parser, 3)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train, measure both alternately, print and write."""
    for name, least in (("batches", 1), ("workers", 1), ("trained", 0)):
        if getattr(arguments, name) < least:
            raise UserError(f"--{name}: expected at least {least}, got {getattr(arguments, name)}")
    with threadpool_limits(1):
        case, epoch = prepared(arguments)
        try:
            figures = measured(case, arguments.workers, arguments.repeats, epoch)
        finally:
            case.solver.close()
    show(figures)
    options.report_figures(arguments, figures)


def prepared(arguments: argparse.Namespace) -> tuple[Case, int]:
    """The network after some training by the surrogate, for training in ngspice, and the number of equilibria of an epoch."""
    config = resolve(arguments.preset, {"solver": "surrogate"})
    dataset = data.load(config.dataset)
    images, targets = dataset.train_images, one_hot(dataset.train_labels, config.classes)
    size, order = config.batch_size, np.random.default_rng(config.seed).permutation(len(images))

    def batches(first: int, last: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for begin in range(first, last, size):
            chosen = order[begin : min(begin + size, last)]
            yield config.prepared(images[chosen].astype(float)), targets[chosen]

    training = config.training(len(images), len(dataset.test_images), np.random.default_rng(config.seed))
    learner = training.learner(0)
    if not isinstance(learner, PhaseLearner):
        raise UserError(
            f"--preset {arguments.preset}: expected a preset with converged phases, because ngspice's phases are converged"
        )
    trained = min(arguments.trained, len(images) - size)
    train_pass(learner, batches(0, trained))
    following = list(batches(trained, min(trained + arguments.batches * size, len(images))))
    phases = 1 + len(learner.rule.nudges(following[0][1], np.random.default_rng(0)))
    learner.solver = Recorded(arguments.workers)
    return Case(learner, learner.solver, following), phases * len(images)


def measured(case: Case, workers: int, repeats: int, epoch: int) -> dict[str, Any]:
    """Milliseconds per equilibrium, by part, and seconds for an epoch of ``epoch`` equilibria."""
    case.train()  # records the tasks
    tasks = list(case.solver.tasks)
    equilibria = sum(task[1].points for task in tasks)
    case.solver.close()
    idle, _, _ = case.workers_seconds(slice(0, 0))  # processor time of the workers without the batches
    found = []
    for number in range(repeats):
        theirs, wall, own = case.workers_seconds()
        sweeps = [seconds_of(task) for task in tasks]
        found.append([wall, own, (theirs - idle) / workers, *np.sum([each for each, _ in sweeps], axis=0).tolist()])
        console.say(f"{number + 1} of {repeats}: {1e3 * wall / equilibria:.3f} ms per equilibrium")
    wall, own, theirs, *parts = (1e3 * np.median(found, axis=0) / equilibria).tolist()
    by_part = dict(zip(PARTS, parts, strict=True))
    floor = by_part[FLOOR] / workers
    return {
        "workers": workers,
        "equilibria": equilibria,
        "iterations": sum(count for _, count in sweeps) / equilibria,
        "milliseconds": {"wall": wall, "main process": own, "workers": theirs, "floor": floor, **by_part},
        "ratio": (own + theirs) / floor,
        "epoch_seconds": {
            "wall": 1e-3 * epoch * wall,
            "processors": 1e-3 * epoch * (own + theirs),
            "floor": 1e-3 * epoch * floor,
        },
    }


def show(figures: dict[str, Any]) -> None:
    """Print the table and the ratio."""
    each, workers, seconds = figures["milliseconds"], figures["workers"], figures["epoch_seconds"]
    rows = [(f"one process: {part}", each[part] / workers) for part in PARTS]
    rows += [("the workers in training, in total", each["workers"])]
    rows += [("the main process: circuits, certificates, update", each["main process"])]
    console.table(
        f"{figures['equilibria']:,} equilibria, {figures['iterations']:.2f} iterations each; time over {workers} workers",
        ["part", "ms per equilibrium", "relative to the operating points"],
        [[name, f"{value:.3f}", f"{value / each['floor']:.2f}"] for name, value in rows],
    )
    console.say(
        f"one epoch: {seconds['processors']:.1f} s on otherwise idle processors (wall clock now {seconds['wall']:.1f} s); "
        f"its operating points alone {seconds['floor']:.1f} s; ratio {figures['ratio']:.2f}"
    )
