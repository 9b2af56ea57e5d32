"""``eqprop-analog translate``: converts a trained ReLU network to a resistive network and compares their errors."""

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.cli import console, options, samples
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.batches import targets_of
from eqprop_analog.files import UNREADABLE, Arrays, require_writable
from eqprop_analog.learning.trainer import Rule, train_epoch
from eqprop_analog.learning.update import Rates
from eqprop_analog.networks.resistive.recipe import recipe
from eqprop_analog.networks.resistive.relu import Layer, Translation, layers_of, relu_outputs, translate_relu
from eqprop_analog.networks.resistive.surrogate import SurrogateSolver
from eqprop_analog.quantities import option
from eqprop_analog.spice.ngspice.solver import NgspiceSolver
from eqprop_analog.text import in_one_line

Array = np.ndarray

SUMMARY = "Translate a trained ReLU network into a resistive network, report the errors of its outputs, and continue training it."
EXAMPLES = """\
The file contains weights_1 (inputs, units), biases_1, weights_2, ..., or the same arrays by PyTorch's names, as written by
np.savez("relu.npz", **{name: value.numpy() for name, value in model.state_dict().items()}). The network must have been
trained on inputs and targets that are scaled as in `train --dataset`.

examples:
  the circuit with twice the smallest gain:    relu.npz
  its error on test samples, ten in ngspice:   relu.npz --dataset digits --samples 10
  five epochs of equilibrium propagation:      relu.npz --dataset digits --epochs 5 --output tuned.npz"""

SHOWN = 3
"""Default number of test samples that are solved in ngspice."""
SHARE = 0.1
"""Learning rates for a trained network, relative to those for an untrained network."""
BATCH = 4
MOST_BYTES = 2**32
"""Largest size of an unpacked file, bytes."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("model", type=Path, metavar="RELU.npz", help="weights and biases of the trained network")
    parser.add_argument(
        "--amplifier-gain",
        type=float,
        metavar="A",
        help="amplifier gain of every hidden layer (default: twice the smallest possible gain)",
    )
    parser.add_argument(
        "--input-gain", type=option("V"), default=1.0, metavar="VOLTS", help="voltage of an input of 1 (default 1)"
    )
    parser.add_argument(
        "--conductance-window",
        type=option("S"),
        nargs=2,
        default=(0.0, 1e-4),
        metavar=("LOW", "HIGH"),
        help="(default 0 100uS)",
    )
    parser.add_argument(
        "--samples", type=int, metavar="N", help=f"number of test samples solved in ngspice (default {SHOWN})"
    )
    parser.add_argument(
        "--epochs", type=int, default=0, metavar="N", help="epochs of training on the data set (default 0)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the order of samples (default 0)")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE.npz",
        help="output file (default: the name of the input file with -circuit)",
    )
    samples.add_dataset(parser, "data set whose test samples both networks are compared on")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Translate, compare, train and save."""
    output = arguments.output or arguments.model.with_name(f"{arguments.model.stem}-circuit.npz")
    require_writable(output)
    if arguments.epochs < 0:
        raise UserError(f"--epochs: expected at least 0, got {arguments.epochs}")
    model = read_model(arguments.model)
    low, high = arguments.conductance_window
    made = translate_relu(
        model,
        amplifier_gain=arguments.amplifier_gain,
        input_gain=float(arguments.input_gain),
        conductance_window=(float(low), float(high)),
    )
    network = made.network
    rows = [
        ["layers", "-".join(map(str, network.layers))],
        ["amplifier gain", f"{network.amplifier_gain[0]:.4g}, at least {made.least_gain:.4g}"],
        ["output voltage for a 1 (V)", f"{made.output_volts:.4g}"],
    ]
    figures: dict[str, Any] = {
        "layers": network.layers,
        "amplifier_gain": network.amplifier_gain[0],
        "least_gain": made.least_gain,
        "output_volts": made.output_volts,
    }
    sections = [rows]
    if arguments.dataset is None:
        given = {"epochs": arguments.epochs or None} | {
            name: getattr(arguments, name) for name in ("samples", "data_dir", *samples.OWN_DATA)
        }
        for name, value in given.items():
            if value is not None:
                raise UserError(f"--{name.replace('_', '-')}: needs samples; add --dataset, or leave it out")
    else:
        judged, found = _judged(arguments, model, made)
        sections.append(judged)
        figures |= found
    network.save(output)
    console.table(f"{arguments.model}: as a resistive network", ["figure", "value"], *sections)
    options.report_figures(arguments, figures)
    console.say(f"{output}: the network, {network!r}")


def read_model(path: Path) -> list[Layer]:
    """Weights and biases of every layer. Raises UserError."""
    try:
        with path.open("rb") as raw:
            file = Arrays(raw, MOST_BYTES)
            arrays = {name: file[name] for name in file.files}
    except UNREADABLE as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read as an .npz file of weights and biases: {why}") from error
    torch = sorted(int(name.removesuffix(".weight")) for name in arrays if re.fullmatch(r"\d+\.weight", name, re.ASCII))
    ours = range(1, 1 + sum(name.startswith("weights_") for name in arrays))
    names = [(f"{k}.weight", f"{k}.bias") for k in torch] or [(f"weights_{k}", f"biases_{k}") for k in ours]
    strange = sorted(arrays.keys() - {name for pair in names for name in pair})
    if strange or not names:
        raise UserError(
            f"{path}: expected weights_1, biases_1, weights_2, ..., or 0.weight, 0.bias, 2.weight, ... as of a Sequential of "
            f"Linear and ReLU in PyTorch, got {', '.join(map(in_one_line, strange)) or 'nothing':.200}"
        )
    return layers_of([(arrays[one].T if torch else arrays[one], arrays.get(other)) for one, other in names])


def _judged(
    arguments: argparse.Namespace, model: list[Layer], made: Translation
) -> tuple[list[list[str]], dict[str, Any]]:
    """Rows and figures of both networks on the test samples, and of the circuit after training."""
    source, network = samples.source(arguments, made.network, None), made.network
    count = 0 if arguments.samples == 0 else samples.sample_count(arguments, SHOWN)
    count = min(count, len(source.dataset.test_images))
    inputs = source.inputs(np.arange(len(source.dataset.test_images)))
    labels = source.dataset.test_labels
    targets = targets_of(labels, network.classes)
    wanted = relu_outputs(model, inputs)

    def outputs() -> Float[Array, "samples outputs"]:
        return SurrogateSolver().solve(network, inputs).require().outputs / made.output_volts

    circuit = outputs()
    away = {"circuit": circuit - wanted}
    if count:
        away[f"{count} of them in ngspice"] = _in_ngspice(made, inputs[:count]) - wanted[:count]
    named = {"ReLU network": wanted, "circuit": circuit}
    if arguments.epochs:
        _train_on(arguments, source, made)
        named[f"after {arguments.epochs} epoch{'s' * (arguments.epochs > 1)}"] = outputs()
    errors = {name: _error(values, labels, targets) for name, values in named.items()}
    rms = {name: float(np.sqrt((values**2).mean())) for name, values in away.items()}
    classes = labels.ndim == 1
    rows = [
        [f"test error, {name}", f"{100 * value:.2f} %" if classes else f"{value:.4g}"] for name, value in errors.items()
    ]
    rows += [[f"outputs, {name}: difference from the ReLU network, rms", f"{value:.2e}"] for name, value in rms.items()]
    return rows, {"errors": errors, "differences": rms, "dataset": source.name, "samples": len(inputs)}


def _in_ngspice(made: Translation, inputs: Float[Array, "samples inputs"]) -> Float[Array, "samples outputs"]:
    """Outputs of the circuit in ngspice, in units of the outputs of the ReLU network."""
    solver = NgspiceSolver()
    try:
        return solver.solve(made.network, inputs).require().outputs / made.output_volts
    finally:
        solver.close()


def _error(outputs: Array, labels: Array, targets: Array) -> float:
    """Fraction of wrong predictions, or root mean square error of a regression."""
    if labels.ndim == 1:
        return float((outputs.argmax(axis=1) != labels).mean())
    return float(np.sqrt(((outputs - targets) ** 2).mean()))


def _train_on(arguments: argparse.Namespace, source: samples.Source, made: Translation) -> None:
    """Train in place by equilibrium propagation towards outputs of 0 and 1, or the targets of a regression."""
    dataset, network = source.dataset, made.network
    inputs = dataset.train_images.astype(float)
    targets = made.output_volts * targets_of(dataset.train_labels, network.classes)
    found = recipe(network, float(np.sqrt((inputs**2).mean())), BATCH, given_gain=True)
    rates = [tuple(SHARE * rate for rate in each) for each in (found.rates.conductances, found.rates.biases)]
    rule = Rule(Rates(*rates), found.beta, kind="current")
    random = np.random.default_rng(arguments.seed)
    for epoch in range(1, arguments.epochs + 1):
        order = random.permutation(len(inputs))
        batches = [(inputs[k], targets[k]) for k in np.array_split(order, max(1, len(order) // BATCH))]
        done = train_epoch(network, SurrogateSolver(), rule, batches)
        console.say(
            f"epoch {epoch}/{arguments.epochs}: rms training error {done.rms / made.output_volts:.4g} times the output of a 1"
        )
