#!/usr/bin/env python3
"""Train a Hopfield circuit on scikit-learn's 8x8 digits with every equilibrium found by ngspice, beside its surrogate's run.

    python scripts/train_hopfield_digits.py                   # both runs: errors, statuses, how far their weights are apart
    python scripts/train_hopfield_digits.py --validation      # for choosing settings: holds out 200 of the training images

Both runs begin with the same weights and see the same batches. Images: 1,438 for training, 359 (every fifth) for testing. The
settings below were chosen on 200 training images held out at random (seed 0), by the surrogate; then all 1,438 were trained on.
"""

import argparse
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from eqprop_analog import HopfieldNetwork, data
from eqprop_analog.batches import one_hot
from eqprop_analog.devices.buffer import Sigmoid
from eqprop_analog.files import write_text
from eqprop_analog.learning.trainer import PhaseLearner, PhaseSolver, Rule, evaluate, train_pass
from eqprop_analog.learning.update import WeightRates
from eqprop_analog.plotting.style import drawing
from eqprop_analog.run import versions
from eqprop_analog.solvers.hopfield_ngspice import HopfieldNgspiceSolver, surrogate

LAYERS = (64, 32, 10)
BATCH = 10
RULE = Rule(WeightRates((0.1, 0.05), (0.1, 0.05)), beta=0.5)
"""Centred, squared error; rates in 1/V²."""
HELD_OUT = 200
SHOWN = 6
"""Weights of each layer in the plot."""


def split(*, validation: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images and labels to train on, and to measure the error on."""
    digits = data.load("digits")
    images, labels = digits.train_images.astype(float), digits.train_labels
    if not validation:
        return images, labels, digits.test_images.astype(float), digits.test_labels
    order = np.random.default_rng(0).permutation(len(images))
    train, held_out = order[:-HELD_OUT], order[-HELD_OUT:]
    return images[train], labels[train], images[held_out], labels[held_out]


def run(
    solver: PhaseSolver[HopfieldNetwork] | Any, parts: tuple[np.ndarray, ...], epochs: int, seed: int, name: str
) -> tuple[HopfieldNetwork, list[dict[str, Any]], np.ndarray]:
    """The trained network, its epochs, and all weights and biases after every epoch, one row each."""
    images, labels, others, their_labels = parts
    network = HopfieldNetwork.dense(LAYERS, seed, buffer=Sigmoid(), initial="fan-in")
    random = np.random.default_rng(seed)
    targets = one_hot(np.arange(10), 10)
    learner = PhaseLearner(network, solver, RULE)
    history, course = [], [flat(network)]
    for epoch in range(1, epochs + 1):
        begin = time.perf_counter()
        order = random.permutation(len(images))
        batches = (order[k : k + BATCH] for k in range(0, len(order), BATCH))
        trained = train_pass(learner, ((images[batch], targets[labels[batch]]) for batch in batches))
        seconds = time.perf_counter() - begin
        tested = evaluate(network, solver.solve, others, their_labels, chunk=100)
        course.append(flat(network))
        history.append(
            {
                "epoch": epoch,
                "train_error": trained.error,
                "error": tested.error,
                "statuses": dict(trained.statuses + tested.statuses),
                "seconds": seconds,
            }
        )
        errors = f"training error {100 * trained.error:.2f} %, error {100 * tested.error:.2f} %"
        print(f"{name}, epoch {epoch}: {errors}, {seconds:.1f} s", flush=True)
    return network, history, np.array(course)


def flat(network: HopfieldNetwork) -> np.ndarray:
    """All weights and biases in a row."""
    return np.concatenate([values.ravel() for values in network.arrays().values()])


def plot(network: HopfieldNetwork, ours: np.ndarray, theirs: np.ndarray, path: Path) -> None:
    """Some weights of each layer epoch by epoch in both runs, and the largest difference of all."""
    ends = np.cumsum([values.size for values in network.arrays().values()])
    begins = dict(zip(network.arrays(), (0, *ends), strict=False))
    epochs = np.arange(len(ours))
    moved = np.abs(ours[-1] - ours[0])
    with drawing(path, (10, 3.6)) as figure:
        axes = figure.subplots(1, 3)
        for layer, ax in enumerate(axes[:2], start=1):
            begin = begins[f"weight_{layer}"]
            most = begin + moved[begin : begin + network.weights[layer - 1].size].argsort()[::-1][:SHOWN]
            for shade, weight in enumerate(most.tolist()):
                ax.plot(epochs, ours[:, weight], "-", color=str(0.7 * shade / SHOWN), linewidth=1)
                ax.plot(epochs, theirs[:, weight], "o", color=str(0.7 * shade / SHOWN), markersize=3)
            ax.set(xlabel="epoch", ylabel="weight", title=f"layer {layer}: surrogate (lines), ngspice (points)")
            ax.title.set_fontsize(9)
        axes[2].semilogy(epochs[1:], np.abs(ours - theirs).max(axis=1)[1:], "o-", color="black", markersize=3)
        axes[2].set(xlabel="epoch", ylabel="largest |Δ| of all weights and biases")


def main() -> None:
    """Both runs, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the order of the images (default 0)")
    parser.add_argument("--workers", type=int, default=1, help="ngspice processes (default 1)")
    parser.add_argument(
        "--validation", action="store_true", help="hold out 200 training images, leave the test set alone"
    )
    parser.add_argument("--surrogate-only", action="store_true", help="leave ngspice out")
    parser.add_argument("--output", type=Path, default=Path("runs/hopfield-digits"), metavar="DIR")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    parts = split(validation=arguments.validation)
    measured = "validation" if arguments.validation else "test"
    figures: dict[str, Any] = {
        "layers": LAYERS,
        "images": {"train": len(parts[0]), measured: len(parts[2])},
        "seed": arguments.seed,
        "versions": versions(),
    }
    courses = []
    solvers: list[tuple[str, Callable[[], Any]]] = [("surrogate", surrogate)]
    if not arguments.surrogate_only:
        solvers.append(("ngspice", lambda: HopfieldNgspiceSolver(arguments.workers)))
    for name, make in solvers:
        solver = make()
        trained, history, course = run(solver, parts, arguments.epochs, arguments.seed, name)
        courses.append(course)
        trained.save(arguments.output / f"{name}.npz")
        figures[name] = {f"{measured}_error": history[-1]["error"], "history": history}
        if isinstance(solver, HopfieldNgspiceSolver):
            solver.close()
    for name, _ in solvers:
        print(f"{name}: {measured} error {100 * figures[name][f'{measured}_error']:.2f} %")
    if len(courses) == 2:
        apart = np.abs(courses[0] - courses[1]).max(axis=1)
        figures["weights_apart"] = apart.tolist()
        print(
            f"weights and biases: at most {apart.max():.1e} apart after any epoch; they moved by up to "
            f"{np.abs(courses[0] - courses[0][0]).max():.2f}"
        )
        plot(trained, *courses, arguments.output / "weights.png")
    write_text(arguments.output / "figures.json", json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
