"""The part of a report with computed and measured results: voltages, nudges, gradients, ngspice."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eqprop_analog.core.equilibrium import Equilibrium, statuses_in_words
from eqprop_analog.core.readouts import predictions
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.agreement import (
    LARGEST_DIFFERENCE,
    LARGEST_GRADIENT_DIFFERENCE,
    SAMPLES,
    confirmed,
    require_possible,
)
from eqprop_analog.experiments.batches import first_test_images
from eqprop_analog.experiments.results import Run, add_agreement
from eqprop_analog.files import locked
from eqprop_analog.learning.exact_gradient import implicit_gradient
from eqprop_analog.plotting.answers import answers, confusion
from eqprop_analog.plotting.equilibria import free_against_nudged, voltages_by_layer
from eqprop_analog.plotting.gradients import gradient_agreement
from eqprop_analog.report.description import description_of
from eqprop_analog.report.folder import RunFolder
from eqprop_analog.report.page import Block, Missing, Table, Text, picture

Array = np.ndarray

SHOWN = 6
"""Number of test samples whose read-outs are drawn."""
READ_OUTS = 100
"""Number of read-outs of a network above which they are not drawn."""
MOST, SOLVED = 1000, 2_000_000_000
"""Largest number of test samples of the confusion matrix, and of connections times samples."""
SMALLER = 0.1
"""Fraction of the run's β, which shows that the error of the gradient is due to β."""


def equilibria(run: RunFolder, folder: Path) -> Iterator[Block]:
    """Yield voltages by layer, changes under nudges, and EP's gradient against the exact one."""
    try:
        free, plus, minus = run.phases
    except UserError as error:
        yield Missing(f"No equilibria to show: {error}.")
        return
    count, what = len(free.status), run.config.samples_word
    network = run.network
    yield from _answers(run, folder)
    voltages_by_layer(free, folder / "voltages.png", list(description_of(network).levels(network)))
    yield picture(
        folder / "voltages.png",
        f"Node voltages of each layer in the free phase over {count} test {what}: range, interquartile range and "
        "median of each node, next to a histogram of all.",
        f"Free equilibria of {count} test {what}, solved by the surrogate.",
    )
    free_against_nudged(free, plus, minus, _beta(run, plus), folder / "nudged.png")
    yield picture(
        folder / "nudged.png",
        "For each layer, the change of every node's voltage under +β and -β against its free voltage, and a "
        "histogram of the difference between the two.",
        "The nudge acts on the outputs; the conductances learn from the changes that it causes at all nodes. "
        "A read-out circuit for training must resolve the differences shown at the right.",
    )
    yield from _gradients(run, folder)


def _answers(run: RunFolder, folder: Path) -> Iterator[Block]:
    """Yield the read-outs of the first samples with their images, and a confusion matrix of more samples."""
    free, targets = run.phases[0], run.samples[1]
    network, what = run.network, run.config.samples_word
    classes = run.dataset.test_labels.ndim == 1
    shown = min(SHOWN, len(targets))
    channels, height, width = run.config.image_shape
    pixels = run.dataset.test_images[:shown].reshape(shown, -1)
    drawable = height > 1 and width > 1 and pixels.shape[1] == channels * height * width
    images = pixels.reshape(shown, channels, height, width).mean(axis=1) if drawable else None
    readout = network.readout(free.outputs)
    if readout.shape[1] <= READ_OUTS:
        unit = "V" if network.beta_unit else ""
        answers(images, readout[:shown], targets[:shown], unit, folder / "answers.png", classes)
        yield picture(
            folder / "answers.png",
            f"The first {shown} test {what} and the read-outs of the free equilibrium, as bars, with their targets.",
            f"The first {shown} test {what}: the read-outs at the free equilibrium as bars, the targets as dashed lines"
            + ("; the correct class is hatched." if classes else "."),
        )
    if not classes:
        return
    count = min(
        max(len(free.status), min(MOST, SOLVED // max(1, sum(network.connections_by_layer)))),
        len(run.dataset.test_images),
    )
    inputs, wanted = first_test_images(run.config, run.dataset, count)
    found = free if count <= len(free.status) else run.config.surrogate().solve(network, inputs).require()
    said, right = predictions(network.readout(found.outputs)), predictions(wanted[: len(found.status)])
    confusion(said, right, max(2, run.config.classes), folder / "confusion.png")
    yield picture(
        folder / "confusion.png",
        f"Confusion matrix of the first {len(said):,} test {what}: classes against predicted classes.",
        f"The first {len(said):,} test {what}, solved by the surrogate to convergence: rows are classes, columns are "
        "the predicted classes.",
    )


def _beta(run: RunFolder, plus: Equilibrium) -> str:
    """Return β with its unit."""
    unit = run.network.beta_unit
    if unit and plus.nudge is not None and plus.nudge.cost == "cross-entropy":
        unit = "A"
    return f"{plus.beta:.3g} {unit}".rstrip()


def _gradients(run: RunFolder, folder: Path) -> Iterator[Block]:
    free, plus, _ = run.phases
    try:
        exact = _exact(run, free)
        measured, closer = _measured(run, run.phases), _measured(run, run.solved(SMALLER))
    except UserError as error:
        yield Missing(f"No gradients to compare: {error}.")
        return
    found = gradient_agreement(measured, exact, folder / "gradients.png")
    if not found:
        yield Missing("No gradients to compare: they are all zero on these images.")
        return
    if getattr(run.config, "kind", "") == "output":
        yield Text(
            "The nudge of this run acts behind the output buffers, so that the run minimizes a different cost from "
            "the squared error. The two gradients can therefore agree only in direction."
        )
    if getattr(run.config, "wire_resistance", 0) and getattr(run.config, "read_at", "") == "nodes":
        yield Text(
            "This run reads the voltages at the ends of its wires. What drops along them is missing from the gradient that it "
            "measures; the exact one is that of the cost through the wires."
        )
    yield picture(
        folder / "gradients.png",
        "Each parameter's gradient by equilibrium propagation against the exact one, one panel for each parameter "
        "array.",
        f"dC/dθ, mean of {len(free.status)} test {run.config.samples_word}: measured by the run's "
        f"own ±β = {_beta(run, plus)}, and "
        "exact. Where "
        "β is small, their difference falls as β²; the table also gives it for a tenth of β.",
    )
    rows = [
        (
            each.name,
            f"{each.size:,}",
            f"{each.cosine:.6f}",
            f"{100 * each.error:.3g} %",
            f"{100 * np.linalg.norm(closer[each.name] - exact[each.name]) / np.linalg.norm(exact[each.name]):.3g} %",
        )
        for each in found
    ]
    yield Table("Gradients", ("parameters", "number", "cosine", "relative error", "with β/10"), rows)


def _measured(run: RunFolder, phases: tuple[Equilibrium, ...]) -> Mapping[str, Array]:
    _, plus, minus = phases
    return run.config.contrast(run.circuit, run.samples[0], plus, minus)


def _exact(run: RunFolder, free: Equilibrium) -> Mapping[str, Array]:
    images, targets = run.samples
    return implicit_gradient(run.circuit, images, targets, free, run.config.rule(0).cost)


def confirm(run: RunFolder) -> str:
    """Confirm the run in ngspice, unless it is already, and update its metrics; return the reason if this is not possible."""
    if not run.finished:
        return "the run is not finished"
    if run.metrics.get("agreement"):
        return ""
    try:
        require_possible(run.circuit)
        images, targets = (values[:SAMPLES] for values in run.samples)
        with locked(run.folder):
            agreements = confirmed(run.circuit, images, targets, run.circuit_beta, getattr(run.config, "workers", 1))
            add_agreement(Run(run.folder, run.network, run.metrics), agreements)
    except UserError as error:
        return str(error)
    return ""


def confirmation(run: RunFolder, why_not: str) -> Iterator[Block]:
    """Yield the comparison of ngspice with the surrogate in metrics.json."""
    found: list[dict[str, Any]] = run.metrics.get("agreement") or []
    if not found:
        yield Missing(f"Not confirmed in ngspice: {why_not}.")
        return
    unit, siemens = run.network.residual_unit, run.network.beta_unit
    met = all(each["met"] for each in found)
    yield Text(
        "Every node's voltage in the free phase and under ±β, from the surrogate that trained the "
        "network, and from ngspice on the "
        f"compiled circuit. Required: voltages within {LARGEST_DIFFERENCE:g} of max(1 V, the "
        "circuit's largest), gradients within "
        f"{LARGEST_GRADIENT_DIFFERENCE:g} of the layer's largest, the same predictions. "
        + ("Met." if met else "NOT MET.")
    )
    rows = [
        ["samples x 3 phases x nodes", *(f"{each['samples']} x 3 x {each['nodes']}" for each in found)],
        [
            "nudge ±β" + (f" ({siemens})" if siemens else ""),
            *(f"{each['beta']:.3g}" for each in found),
        ],
        ["largest |ΔV| (V)", *(f"{each['largest_difference']:.2g}" for each in found)],
        ["median of the largest |ΔV| (V)", *(f"{each['median_difference']:.2g}" for each in found)],
        [f"largest residual ({unit})", *(f"{each['largest_residual']:.2g}" for each in found)],
        ["gradients, |Δ| over the layer's largest", *(f"{each['gradient_difference']:.2g}" for each in found)],
        ["same predictions", *("yes" if each["same_predictions"] else "NO" for each in found)],
        ["bounds", *("met" if each["met"] else "NOT MET" for each in found)],
        ["equilibria by status", *(statuses_in_words(each["statuses"]) for each in found)],
        [
            "ngspice, surrogate (ms per equilibrium)",
            *(f"{_milliseconds(each, 'ngspice')}, {_milliseconds(each, 'surrogate')}" for each in found),
        ],
    ]
    yield Table("ngspice against the surrogate", ("figure", *(f"{each['form']} form" for each in found)), rows)
    drawn = run.folder / "agreement.png"
    if drawn.exists():
        yield picture(
            drawn,
            "Every node voltage in ngspice against the surrogate's, on the diagonal, and a histogram of the "
            "differences, all below the marked bound."
            if met
            else "Node voltages in ngspice against the surrogate's.",
            "Left: every voltage in ngspice against the surrogate's. Right: the differences; the dashed line is the "
            "bound.",
        )


def _milliseconds(agreement: dict[str, Any], solver: str) -> str:
    each = 1e3 * agreement[f"{solver}_seconds"] / (3 * agreement["samples"])
    return f"{each:,.0f}" if each >= 100 else f"{each:.3g}"
