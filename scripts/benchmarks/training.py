"""Train one network twice from the same seed, once in ngspice and once with the surrogate, and lay the weights side by side.

Both runs see the same images in the same order. Writes trajectories.png (a few weights of each layer over the training, ngspice
dashed over the surrogate's line) and comparison.json (largest relative difference of a layer's weights after every epoch, and
both test errors after the last).
"""

import argparse
import time
from pathlib import Path

import numpy as np

from eqprop_analog import data
from eqprop_analog.cli import console, options
from eqprop_analog.core.network import Network
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.batches import one_hot
from eqprop_analog.experiments.config import TrainConfig
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.files import require_writable
from eqprop_analog.learning.trainer import train_pass
from eqprop_analog.plotting.style import drawing

WATCHED = 8
"""Weights of each layer that are drawn: those that moved most in ngspice."""


class Recorder:
    """Trains batch by batch and keeps all weights after each ``every``-th batch."""

    def __init__(self, config: TrainConfig, dataset: data.Dataset, every: int) -> None:
        self.config, self.dataset, self.every = config, dataset, every
        held_out = len(dataset.test_images)
        self.training = config.training(len(dataset.train_images), held_out, np.random.default_rng(config.seed))
        self.kept = [weights(self.training.network)]
        self.seconds = 0.0

    def epoch(self, number: int, order: np.ndarray, name: str) -> None:
        """One epoch over ``order``."""
        config, size = self.config, self.config.batch_size
        images, labels = self.dataset.train_images, self.dataset.train_labels
        targets, learner = one_hot(np.arange(config.classes), config.classes), self.training.learner(number)
        starts = range(0, len(order), size)
        with console.stage(f"epoch {number + 1}, {name}", len(order)) as progress:
            begin = time.perf_counter()
            for first in range(0, len(starts), self.every):
                group = [order[start : start + size] for start in starts[first : first + self.every]]
                batches = ((images[batch].astype(float), targets[labels[batch]]) for batch in group)
                error = train_pass(learner, batches).error
                self.kept.append(weights(self.training.network))
                progress(min((first + self.every) * size, len(order)), error)
            self.seconds += time.perf_counter() - begin

    def test_error(self) -> float:
        """Fraction of wrong test images, by the run's own solver."""
        images = self.dataset.test_images
        with console.stage("test images", len(images)) as progress:
            return self.training.evaluate(images.astype(float), self.dataset.test_labels, progress).error


def weights(network: Network) -> dict[str, np.ndarray]:
    """What learns between layers: conductances in siemens, weights without unit."""
    return {name: values.copy() for name, values in network.arrays().items() if not name.startswith("bias")}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument(
        "--preset",
        metavar="NAME",
        default="mnist-100-ngspice",
        help="with converged phases (default mnist-100-ngspice)",
    )
    parser.add_argument("--epochs", type=int, default=1, metavar="N", help="passes over the images (default 1)")
    parser.add_argument("--limit", type=int, metavar="N", help="images an epoch (default all)")
    parser.add_argument("--seed", type=int, default=0, help="of both (default 0)")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/comparison"), metavar="DIR", help="default runs/comparison"
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train both, compare, draw."""
    for name in ("epochs", "limit"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise UserError(f"--{name}: expected at least 1, got {value}")
    require_writable(arguments.output / "comparison.json")
    solvers = ("ngspice", "surrogate")
    configs = {name: resolve(arguments.preset, {"seed": arguments.seed, "solver": name}) for name in solvers}
    config = configs["ngspice"]
    dataset = data.load(config.dataset)
    random = np.random.default_rng(config.seed)
    every = max(1, (arguments.limit or len(dataset.train_images)) // config.batch_size // 60)
    runs = {name: Recorder(each, dataset, every) for name, each in configs.items()}
    differences = []
    try:
        for number in range(arguments.epochs):
            order = random.permutation(len(dataset.train_images))[: arguments.limit]
            for name, run in runs.items():
                run.epoch(number, order, name)
            differences.append(difference(*(run.kept[-1] for run in runs.values())))
            console.say(f"epoch {number + 1}: largest relative difference of a layer {max(differences[-1]):.1e}")
        errors = {name: run.test_error() for name, run in runs.items()}
    finally:
        for run in runs.values():
            run.training.close()
    console.say("test error: " + ", ".join(f"{100 * error:.2f} % by {name}" for name, error in errors.items()))
    figures = {
        "preset": arguments.preset,
        "epochs": arguments.epochs,
        "images": len(order),
        "largest_relative_difference_by_epoch_and_layer": differences,
        "test_error": errors,
        "seconds": {name: run.seconds for name, run in runs.items()},
    }
    options.report_figures(arguments, figures, arguments.output / "comparison.json")
    draw(runs, every * config.batch_size, arguments.output / "trajectories.png")
    console.say(f"in {arguments.output}: comparison.json, trajectories.png")


def difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> list[float]:
    """Largest difference of each layer over its largest weight."""
    return [float(np.abs(a - other[name]).max() / np.abs(a).max()) for name, a in one.items()]


def draw(runs: dict[str, Recorder], step: int, path: Path) -> None:
    """Some weights of each layer against images seen, both runs overlaid."""
    names = list(runs["ngspice"].kept[0])
    with drawing(path, (4.8 * len(names), 3.8)) as figure:
        for name, axes in zip(names, np.atleast_1d(figure.subplots(1, len(names))), strict=True):
            unit, scale = ("conductance (µS)", 1e6) if name.startswith("conductance") else ("weight", 1.0)
            traces = {who: scale * np.array([kept[name].ravel() for kept in run.kept]) for who, run in runs.items()}
            moved = np.argsort(-np.abs(traces["ngspice"][-1] - traces["ngspice"][0]))[:WATCHED]
            seen = step * np.arange(len(traces["ngspice"]))
            for label, style, shade, width in (("surrogate", "-", "0.7", 3.0), ("ngspice", "--", "black", 1.0)):
                lines = axes.plot(seen, traces[label][:, moved], style, color=shade, linewidth=width)
                lines[0].set_label(label)
            axes.set(xlabel="images", ylabel=unit, title=f"{name.replace('_', ' ')}, the {WATCHED} that moved most")
            axes.legend()
