"""``eqprop-analog minima``: how often fast dynamics of a trained Hopfield network reach the same equilibrium as the flow."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.cli import console, options, samples
from eqprop_analog.core.equilibrium import Equilibrium, Status
from eqprop_analog.devices.buffer import HardSigmoid
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.config import TOLERANCE
from eqprop_analog.learning.trainer import Pass, evaluate
from eqprop_analog.networks.hopfield.descent import HopfieldDescentSolver
from eqprop_analog.networks.hopfield.gradient_flow import GradientFlowSolver
from eqprop_analog.networks.hopfield.leaky_integrator import LeakyIntegratorSolver
from eqprop_analog.networks.hopfield.minima import SAME, Minima, compare_minima
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.hopfield.relaxation import Relaxation
from eqprop_analog.networks.hopfield.training import relaxation

Array = np.ndarray

STEP = 0.1
"""Step of the reference flow, in time constants."""
LONG_STEP = 0.5
"""Step of the 2017 paper, which shows the effect of the step."""
COUNT = 1000
"""Default number of test samples."""
CHUNK = 200
"""Number of samples that are relaxed together, so that the data of a step stay in the cache."""
SUMMARY = (
    "Count how often the faster dynamics of a trained Hopfield network end in the same minimum as the gradient flow."
)
EXAMPLES = f"""\
The energy of a Hopfield network is not convex. It may have several minima for one image, and the dynamics decide which of them
is found. All dynamics begin at 0 V:

  gradient flow  ds/dt = -∂E/∂s, as in the original papers, by Euler steps of {STEP:g} and {LONG_STEP:g} time constants
                 (for smooth buffers, which make it slow: Hopfield's leaky integrators, which descend the same energy)
  descent        the minimum of each layer for fixed neighbours, layers 1, 3, ... and 2, 4, ... in turn, to convergence
  as trained     the run's dynamics and number of steps, from the config.toml next to the network; seldom converged

The first one is the reference. Two final states are the same minimum if no node differs by more than {SAME:g} V; ΔE > 0 means a
final state of higher energy. A different minimum can still give the same class: see the last column.

examples:
  a trained run:                     --network runs/hopfield-1h-0/network.npz --samples 1000
  fewer images, figures as JSON:     --network runs/net1-0/network.npz --samples 200 --json minima.json"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument(
        "--network", type=Path, required=True, metavar="FILE.npz", help="a Hopfield network with tied weights"
    )
    parser.add_argument("--samples", type=int, metavar="N", help=f"the first N test samples (default {COUNT:,})")
    parser.add_argument("--sample", type=int, nargs="+", metavar="K", help="solve these test samples, counted from 0")
    samples.add_dataset(parser, "data set of the test samples (default: that of the run's training, or mnist)")
    options.add_json(parser, "every figure of every sample")


def run(arguments: argparse.Namespace) -> None:
    """Relax by all dynamics, compare and print."""
    network = HopfieldNetwork.load(arguments.network)
    if network.returning:
        raise UserError(
            f"{arguments.network}: untied weights have no energy, and therefore no minima; expected tied weights"
        )
    samples.sample_count(arguments)
    found = samples.source(arguments, network, arguments.network, "mnist")
    which = samples.chosen(arguments, len(found.dataset.test_images), COUNT)
    images, labels = found.inputs(which), found.dataset.test_labels[which]
    within = None if labels.ndim == 1 else (found.config and found.config.right_within) or TOLERANCE
    reference, *others = (
        _relaxed(*way, network, images, labels, within) for way in _ways(network, found.config).items()
    )
    compared = [(way, compare_minima(network, images, reference.phase, way.phase)) for way in others]
    console.table(
        f"{arguments.network}: {len(images)} test samples of {found.name}, {reference.name}, and the "
        "other dynamics compared with it",
        ["way", "converged", "error", f"|Δs| ≤ {SAME:g} V", "largest |Δs| (V)", "ΔE < 0, > 0", "same class"],
        [[reference.name, str(reference.converged), reference.shown, "", "", "", ""]],
        [_row(way, minima) for way, minima in compared],
    )
    figures = {
        "network": str(arguments.network),
        "dataset": found.name,
        "samples": len(images),
        "bound": SAME,
    }
    figures |= {"reference": _figures(reference)}
    figures |= {"ways": [_figures(way) | _compared(minima) for way, minima in compared]}
    options.report_figures(arguments, figures)


@dataclass(frozen=True)
class _Way:
    """Final states of one kind of dynamics."""

    name: str
    phase: Equilibrium

    done: Pass
    """Predictions and errors."""
    within: float | None
    """Tolerance of a regression, volts, for a sample to count as correct."""

    @property
    def error(self) -> float:
        """Fraction of wrong predictions."""
        return self.done.error

    @property
    def shown(self) -> str:
        """The error in words; for a regression the root mean square of the read-outs."""
        return f"{100 * self.error:.2f} %" if self.within is None else f"{1e3 * self.done.rms:.3g} mV rms"

    @property
    def converged(self) -> int:
        return int((self.phase.status == Status.CONVERGED).sum())


def _ways(network: HopfieldNetwork, config: Any) -> Mapping[str, Relaxation]:
    ways: dict[str, Relaxation] = {}
    for step in (STEP, LONG_STEP):
        if isinstance(network.buffer, HardSigmoid):
            ways[f"gradient flow, ε = {step:g}"] = GradientFlowSolver(step=step)
        else:
            ways[f"leaky integrators, ε = {step:g}"] = LeakyIntegratorSolver(step=step)
    ways["descent"] = HopfieldDescentSolver()
    if config is not None:
        steps = config.test_steps or config.free_steps
        count = "" if steps is None else f", {steps} {'sweeps' if config.dynamics == 'descent' else 'steps'}"
        ways[f"as trained: {config.dynamics}{count}"] = replace(relaxation(config), free_steps=steps)
    return ways


def _relaxed(
    name: str,
    solver: Relaxation,
    network: HopfieldNetwork,
    images: Float[Array, "samples inputs"],
    labels: Int[Array, " samples"] | Float[Array, "samples targets"],
    within: float | None,
) -> _Way:
    """Relax free phases from 0 V."""
    phases: list[Equilibrium] = []

    def solve(network: HopfieldNetwork, some: Float[Array, "batch inputs"]) -> Equilibrium:
        phases.append(solver.solve(network, some))
        return phases[-1]

    with console.stage(name, len(images)) as progress:
        done = evaluate(network, solve, images, labels, CHUNK, progress, tolerance=within)
    voltages = tuple(map(np.concatenate, zip(*(phase.voltages for phase in phases), strict=True)))
    residual, status = (np.concatenate([getattr(phase, each) for phase in phases]) for each in ("residual", "status"))
    return _Way(name, Equilibrium(voltages, residual, status), done, within)


def _row(way: _Way, minima: Minima) -> list[str]:
    lower, higher = (int((minima.good & ~minima.same & (sign * minima.energy > 0)).sum()) for sign in (-1, 1))
    return [
        way.name,
        str(way.converged),
        way.shown,
        f"{int(minima.same.sum())} ({100 * float(minima.same.mean()):.1f} %)",
        f"{minima.distance.max():.1e}",
        f"{lower}, {higher}",
        str(int(minima.same_prediction.sum())) if way.within is None else "",
    ]


def _figures(way: _Way) -> dict[str, Any]:
    return {"way": way.name, "converged": way.converged, "error": way.error}


def _compared(minima: Minima) -> dict[str, Any]:
    return {
        "same_minimum": int(minima.same.sum()),
        "same_class": int(minima.same_prediction.sum()),
        "distance": minima.distance.tolist(),
        "energy_difference": minima.energy.tolist(),
    }
