"""Train shapes that a user may choose with the rates and the nudge of the recipe, and with 24 others around them.

Every case is trained for one epoch at every point of a grid, with rates and beta multiplied by 1/10, 1/3, 1, 3 and 10, and tested
on the validation images (the last 10,000 of the training set; 200 of the digits). The exit code is 3 if the error of the recipe
is more than 1.3 times that of the best point of its grid. Finished points are stored in --output, and the same command resumes.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from eqprop_analog.cli import console, options
from eqprop_analog.data import Dataset, load
from eqprop_analog.errors import NotMetError, UserError
from eqprop_analog.experiments.batches import Batches, Split
from eqprop_analog.experiments.config import TrainConfig
from eqprop_analog.experiments.presets import OWN_SHAPES, resolve
from eqprop_analog.files import locked, require_writable, write_text
from eqprop_analog.learning.trainer import silent, train_pass

FACTORS = (1.0, 1 / 10, 1 / 3, 3.0, 10.0)
MARGIN = 1.3
"""Largest ratio of the recipe's error to the best error of the grid."""
MISSED = 1.0
"""The error that counts if the training stops."""
SHAPES = ((784, 10), (784, 20, 10), (784, 50, 10), (784, 300, 100, 10), (784, 64, 64, 64, 10))


@dataclass(frozen=True)
class Case:
    """Settings of a training, except for the number of images."""

    name: str
    overrides: Mapping[str, Any]


def own(name: str, *layers: int, **settings: Any) -> Case:
    """A case with these layers."""
    return Case(f"{'-'.join(map(str, layers))}{name}", {"layers": list(layers), **settings})


CASES = [
    *(own("", *layers) for layers in SHAPES),
    own(", 1 to 100 uS", 784, 50, 10, conductance_window=[1e-6, 1e-4]),
    own(", 3 to 300 nS", 784, 50, 10, conductance_window=[3e-9, 3e-7]),
    own(", gain 3", 784, 50, 10, amplifier_gain=3.0),
    own(", gain 10", 784, 50, 10, amplifier_gain=10.0),
]
MORE = [
    own("", 784, 200, 10),
    own("", 784, 30, 30, 10),
    own(", 10 to 100 uS", 784, 50, 10, conductance_window=[1e-5, 1e-4]),
    own(", 0.05 to 5 uS", 784, 50, 10, conductance_window=[5e-8, 5e-6]),
    own(", gain 5", 784, 50, 10, amplifier_gain=5.0),
    own(", batches of 1", 784, 50, 10, batch_size=1),
    own(", batches of 32", 784, 50, 10, batch_size=32),
    own(", white pixel 1 V", 784, 50, 10, input_gain=1.0),
    own(", Fashion-MNIST", 784, 50, 10, dataset="fashion-mnist"),
    own(", digits", 64, 32, 10, dataset="digits"),
    own(", silicon diodes, gain 10", 784, 50, 10, amplifier_gain=10.0, diode={"law": "ngspice", "rail": 0.2}),
]
"""Cases that were not used to design the recipe."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--limit", type=int, default=20_000, metavar="N", help="images in the epoch (default 20,000)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the conductances and of the order of images (default 0)"
    )
    parser.add_argument("--more", action="store_true", help="use eleven further cases instead of the nine")
    parser.add_argument("--only", nargs="+", type=int, metavar="K", help="numbers of the cases to use, counted from 1")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/recipe"),
        metavar="DIR",
        help="folder of the results (default runs/recipe)",
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train the missing points, and print both errors of every case."""
    cases = MORE if arguments.more else CASES
    if arguments.only:
        if not all(1 <= k <= len(cases) for k in arguments.only):
            raise UserError(f"--only: expected numbers from 1 to {len(cases)}, got {arguments.only}")
        cases = [cases[k - 1] for k in arguments.only]
    path = arguments.output / "points.json"
    require_writable(path)
    with locked(arguments.output):
        rows = [_measured(case, arguments, path) for case in cases]
    console.table(
        f"validation error after one epoch of {arguments.limit:,} images: by the recipe, and the best of its grid",
        ["case", "input (V)", "beta (S)", "recipe (%)", "best (%)", "its rates, beta", "ratio"],
        [
            [
                row["case"],
                f"{row['input_gain']:.3g}",
                f"{row['beta']:.2g}",
                f"{100 * row['error']:.2f}",
                f"{100 * row['best']:.2f}",
                f"x {row['best_rate_factor']:.2g}, x {row['best_beta_factor']:.2g}",
                f"{row['ratio']:.2f}",
            ]
            for row in rows
        ],
    )
    options.report_figures(arguments, {"cases": rows}, arguments.output / "recipe.json")
    missed = [row["case"] for row in rows if row["ratio"] > MARGIN]
    if missed:
        raise NotMetError(f"more than {MARGIN} times the best error of the grid: {'; '.join(missed)}")


def _measured(case: Case, arguments: argparse.Namespace, path: Path) -> dict[str, Any]:
    """Both errors of one case, and the best point of its grid."""
    given = {**case.overrides, "epochs": 1, "seed": arguments.seed, "validation": True}
    if case.overrides.get("dataset") != "digits":
        given["limit"] = arguments.limit
    config = resolve(OWN_SHAPES["surrogate"], given)
    dataset = load(config.dataset)
    errors: dict[tuple[float, float], float] = {}
    with console.stage(case.name, len(FACTORS) ** 2, "points") as progress:
        for rate, beta in product(FACTORS, FACTORS):
            point = config.model_copy(update={"rate_factor": rate, "beta": beta * config.beta})
            errors[rate, beta] = _known(path, point, dataset)
            progress(len(errors), min(errors.values()))
    best = min(errors, key=lambda point: errors[point])
    row = {
        "case": case.name,
        "input_gain": getattr(config, "input_gain"),  # noqa: B009 - the base class of configurations has no input_gain
        "beta": config.beta,
        "error": errors[1.0, 1.0],
        "best": errors[best],
        "best_rate_factor": best[0],
        "best_beta_factor": best[1],
        "ratio": errors[1.0, 1.0] / errors[best],
        "grid": [[rate, beta, error] for (rate, beta), error in errors.items()],
    }
    console.say(f"{case.name}: {100 * row['error']:.2f} %, the best of the grid {100 * row['best']:.2f} %")
    return row


def _known(path: Path, config: TrainConfig, dataset: Dataset) -> float:
    """The error of a point; read from ``path`` if it is stored there, otherwise trained and stored."""
    found: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    name = config.toml()
    if name not in found:
        found[name] = _error(config, dataset)
        write_text(path, json.dumps(found, indent=1) + "\n")
    return found[name]


def _error(config: TrainConfig, dataset: Dataset) -> float:
    """Error on the validation images after one epoch; MISSED if the training stops."""
    split, random = Split.of(config, dataset), np.random.default_rng(config.seed)
    training = config.training(len(split.images), len(split.held_out_images), random)
    order = random.permutation(len(split.images))[: config.limit]
    try:
        train_pass(training.learner(0), Batches(config, split, order, random))
        with silent() as progress:
            return training.evaluate(split.held_out_images, split.held_out_labels, progress).error
    except UserError as stopped:
        console.say(f"stopped at rates x {config.rate_factor:.2g}, beta {config.beta:.2g} S: {stopped}")
        return MISSED
    finally:
        training.close()
