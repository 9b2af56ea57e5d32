"""Train one network twice from the same seed, once in ngspice and once with the surrogate, and compare the weights.

Both runs use the same images in the same order. The command writes trajectories.png (some weights of each layer during the
training, ngspice as dashed lines over those of the surrogate) and comparison.json (largest relative difference of a layer's
weights after every epoch, and both test errors after the last one).
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
"""Number of weights of each layer that are drawn: those that changed most in ngspice."""


class Recorder:
    """Trains batch by batch and stores all weights after every ``every`` batches."""

    def __init__(self, config: TrainConfig, dataset: data.Dataset, every: int) -> None:
        self.config, self.dataset, self.every = config, dataset, every
        held_out = len(dataset.test_images)
        self.training = config.training(len(dataset.train_images), held_out, np.random.default_rng(config.seed))
        self.kept = [weights(self.training.network)]
        self.seconds = 0.0

    def epoch(self, number: int, order: np.ndarray, name: str) -> None:
        """Train one epoch in this ``order``."""
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
        """Fraction of wrongly classified test images, by the solver of the run."""
        images = self.dataset.test_images
        with console.stage("test images", len(images)) as progress:
            return self.training.evaluate(images.astype(float), self.dataset.test_labels, progress).error


def weights(network: Network) -> dict[str, np.ndarray]:
    """The trained parameters between layers: conductances in siemens, weights without unit."""
    return {name: values.copy() for name, values in network.arrays().items() if not name.startswith("bias")}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument(
        "--preset",
        metavar="NAME",
        default="mnist-100-ngspice",
        help="a preset with converged phases (default mnist-100-ngspice)",
    )
    parser.add_argument("--epochs", type=int, default=1, metavar="N", help="passes over the images (default 1)")
    parser.add_argument("--limit", type=int, metavar="N", help="images per epoch (default all)")
    parser.add_argument("--seed", type=int, default=0, help="seed of both runs (default 0)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/comparison"),
        metavar="DIR",
        help="folder of the results (default runs/comparison)",
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train both, compare and draw."""
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
    console.say(f"written to {arguments.output}: comparison.json, trajectories.png")


def difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> list[float]:
    """Largest difference of each layer's weights, relative to its largest weight."""
    return [float(np.abs(a - other[name]).max() / np.abs(a).max()) for name, a in one.items()]


def draw(runs: dict[str, Recorder], step: int, path: Path) -> None:
    """Draw some weights of each layer against the number of images, for both runs."""
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
            axes.set(xlabel="images", ylabel=unit, title=f"{name.replace('_', ' ')}, the {WATCHED} that changed most")
            axes.legend()
