#!/usr/bin/env python3
"""Train one network twice from the same seed, once in ngspice and once with the surrogate, and lay the weights side by side.

Both runs see the same images in the same order. Writes trajectories.png (a few conductances of each crossbar over the
training, ngspice dashed over the surrogate's line) and comparison.json (largest relative difference after every epoch).
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from eqprop_analog import NgspiceSolver, ResistiveNetwork, SurrogateSolver, data
from eqprop_analog.batches import one_hot
from eqprop_analog.cli import console
from eqprop_analog.config import TrainConfig, resolve
from eqprop_analog.files import write_text
from eqprop_analog.learning.trainer import train_epoch
from eqprop_analog.plotting.style import drawing

WATCHED = 8
"""Conductances of each crossbar that are drawn: those that moved most in ngspice."""


class Recorder:
    """Trains batch by batch and keeps every crossbar after each ``every``-th batch, siemens."""

    def __init__(self, config: TrainConfig, solver: NgspiceSolver | SurrogateSolver, every: int) -> None:
        self.config, self.solver, self.every = config, solver, every
        self.network = config.network()
        self.kept: list[list[np.ndarray]] = []
        self.seconds = 0.0

    def epoch(self, number: int, images: np.ndarray, labels: np.ndarray, order: np.ndarray, name: str) -> None:
        """One epoch over ``order``."""
        size = self.config.batch_size
        starts = range(0, len(order), size)
        with console.stage(f"epoch {number + 1}, {name}", len(order)) as progress:
            begin = time.perf_counter()
            for first in range(0, len(starts), self.every):
                group = [order[start : start + size] for start in starts[first : first + self.every]]
                batches = [
                    (images[batch].astype(float), one_hot(labels[batch], self.config.classes)) for batch in group
                ]
                train_epoch(self.network, self.solver, self.config.rule(number), batches)
                self.kept.append([matrix.copy() for matrix in self.network.conductances])
                progress(min((first + self.every) * size, len(order)), 0.0)
            self.seconds += time.perf_counter() - begin


def main() -> None:
    """Train both, compare, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="mnist-100-ngspice")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--limit", type=int, help="images an epoch (default all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/comparison"))
    options = parser.parse_args()
    config = resolve(options.preset, {"seed": options.seed})
    dataset = data.load(config.dataset)
    random = np.random.default_rng(config.seed)
    ngspice = NgspiceSolver(config.workers)
    every = max(1, (options.limit or 60_000) // config.batch_size // 60)
    runs = {"ngspice": Recorder(config, ngspice, every), "surrogate": Recorder(config, SurrogateSolver(), every)}
    differences = []
    try:
        for number in range(options.epochs):
            order = random.permutation(len(dataset.train_images))[: options.limit]
            for name, run in runs.items():
                run.epoch(number, dataset.train_images, dataset.train_labels, order, name)
            differences.append(difference(runs["ngspice"].network, runs["surrogate"].network))
            console.say(f"epoch {number + 1}: largest relative difference of a crossbar {max(differences[-1]):.1e}")
    finally:
        ngspice.close()
    figures = {
        "epochs": options.epochs,
        "images": len(order),
        "largest_relative_difference_by_epoch_and_crossbar": differences,
        "seconds": {name: run.seconds for name, run in runs.items()},
    }
    write_text(options.output / "comparison.json", json.dumps(figures, indent=2) + "\n")
    draw(runs, every * config.batch_size, options.output / "trajectories.png")
    console.say(f"in {options.output}: comparison.json, trajectories.png")


def difference(one: ResistiveNetwork, other: ResistiveNetwork) -> list[float]:
    """Largest |ΔG| of each crossbar over its largest G."""
    pairs = zip(one.conductances, other.conductances, strict=True)
    return [float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs]


def draw(runs: dict[str, Recorder], step: int, path: Path) -> None:
    """Some conductances of each crossbar against images seen, both runs overlaid."""
    with drawing(path, (9.6, 3.8)) as figure:
        for number, axes in enumerate(figure.subplots(1, len(runs["ngspice"].kept[0])), start=1):
            traces = {
                name: 1e6 * np.array([kept[number - 1].ravel() for kept in run.kept]) for name, run in runs.items()
            }
            moved = np.argsort(-np.abs(traces["ngspice"][-1] - traces["ngspice"][0]))[:WATCHED]
            seen = step * np.arange(1, len(traces["ngspice"]) + 1)
            for label, style, shade, width in (("surrogate", "-", "0.7", 3.0), ("ngspice", "--", "black", 1.0)):
                lines = axes.plot(seen, traces[label][:, moved], style, color=shade, linewidth=width)
                lines[0].set_label(label)
            axes.set(
                xlabel="images", ylabel="conductance (µS)", title=f"crossbar {number}, the {WATCHED} that moved most"
            )
            axes.legend()


if __name__ == "__main__":
    main()
