"""``eqprop-analog matching``: compares the updates of equilibrium propagation with BPTT's gradients on toy networks."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from eqprop_analog.cli import console, options
from eqprop_analog.errors import NotMetError, UserError
from eqprop_analog.files import require_writable
from eqprop_analog.networks.hopfield import matching_plot as plots
from eqprop_analog.networks.hopfield.matching import Match, relative_difference
from eqprop_analog.networks.hopfield.matching_toys import (
    BETAS,
    DISCRETE,
    MEASURED,
    NUDGINGS,
    Case,
    against_beta,
    compared,
    toys,
)

Array = np.ndarray

SUMMARY = (
    "Show step by step that the updates of equilibrium propagation are the gradients of backpropagation through time."
)
EXAMPLES = """\
A network is nudged from its fixed point. Every change of a state or of ∂Φ/∂θ, divided by β, is compared with the BPTT gradient
the same number of steps before the end of the free phase (Ernoult et al. 2019). The toy networks have random weights, inputs
and targets. They are dense, or convolutional with max pooling, in discrete time or with Euler steps of the gradient flow. Four
cases show where the theorem does not hold. The command then measures this difference, and the bias of the gradient of converged
phases, against β, one-sided and centred (±β).

It writes dense.png and convolutional.png (both sides, step by step) and beta.png to --output.

examples:
  the complete comparison, as JSON:  --json matching.json
  other networks, one-sided:         --seed 7 --nudging one-sided --beta 1e-7
  more steps:                        --steps 60"""

BOUND = 1e-6
"""Largest accepted relative difference where the theorem is exact."""
SHOWN = 1e-3
"""The β for which biases are printed."""
NAMES = {
    "dense": "dense",
    "smooth": "dense, smooth ρ",
    "behind": "dense, smooth ρ, nudge after ρ",
    "convolutional": "convolutional, max pooling",
    "untied": "dense, untied weights",
}
DRAWN = ("dense", "convolutional")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, inputs and targets (default 0)")
    parser.add_argument(
        "--steps", type=int, default=30, metavar="K", help="number of nudged and of backward steps (default 30)"
    )
    parser.add_argument("--beta", type=float, default=1e-5, help="β of the step-by-step comparison (default 1e-5)")
    parser.add_argument(
        "--nudging",
        choices=["centred", "one-sided"],
        default="centred",
        help="nudging of the step-by-step comparison (default centred)",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/matching"), metavar="DIR", help="default runs/matching"
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Compare, print and draw."""
    if arguments.seed < 0:
        raise UserError(f"--seed: expected an integer of at least 0, got {arguments.seed}")
    if arguments.steps < 1:
        raise UserError(f"--steps: expected at least 1, got {arguments.steps}")
    if not 0 < arguments.beta < 1:
        raise UserError(f"--beta: expected a number between 0 and 1, got {arguments.beta:g}")
    require_writable(arguments.output / "beta.png")
    cases = toys(arguments.seed)
    matches = [compared(case, arguments.seed, arguments.beta, arguments.steps, arguments.nudging) for case in cases]
    steps = _show_steps(cases, matches, arguments)
    swept = [case for case in cases if case.exact and case.dynamics == DISCRETE]
    beta = _sweep(swept, arguments.seed, arguments.steps)
    for case, result in zip(cases, matches, strict=True):
        if case in swept and case.name in DRAWN:
            layers = "-".join(map(str, case.network.layers))
            title = f"{case.name} network {layers}, {case.dynamics}, {_nudge(arguments)}"
            plots.step_by_step(result, title, arguments.output / f"{case.name}.png")
    steps_of, estimates = ({NAMES[k]: v for k, v in beta[what].items()} for what in ("steps", "estimates"))
    plots.against_beta(BETAS, steps_of, estimates, arguments.output / "beta.png")
    console.say(f"in {arguments.output}: {', '.join(f'{name}.png' for name in (*DRAWN, 'beta'))}")
    settings = {name: getattr(arguments, name) for name in ("seed", "steps", "beta", "nudging")}
    options.report_figures(arguments, settings | steps | {"against_beta": beta})
    if not steps["met"]:
        raise NotMetError(f"updates and gradients differ by more than {BOUND:g} where the theorem holds exactly")


def _show_steps(cases: list[Case], matches: list[Match], arguments: argparse.Namespace) -> dict[str, Any]:
    rows: dict[bool, list[list[str]]] = {True: [], False: []}
    found: list[dict[str, Any]] = []
    worst = 0.0
    for case, result in zip(cases, matches, strict=True):
        differences = result.differences()
        states, parameters = (
            max(value for name, value in differences.items() if name.startswith("state") == of_states)
            for of_states in (True, False)
        )
        rows[case.exact].append([NAMES[case.name], case.dynamics, f"{states:.1e}", f"{parameters:.1e}"])
        found.append({"network": case.name, "layers": case.network.layers, "dynamics": case.dynamics})
        found[-1] |= {"exact": case.exact, "differences": differences, "curves": _curves(result)}
        if case.exact:
            worst = max(worst, states, parameters)
        if case.name == "smooth":
            other = max(relative_difference(result.updates[name], s) for name, s in result.state_gradients.items())
            rows[False].append([f"{NAMES[case.name]}, against -dC/ds", case.dynamics, f"{other:.1e}", ""])
            found[-1]["difference_from_state_gradients"] = other
    console.table(
        f"EP's updates against BPTT's gradients, {arguments.steps} steps, {_nudge(arguments)}: largest relative difference",
        ["network", "dynamics", "states, -dC/du", "parameters, -dC/dθ"],
        rows[True],
        [[f"required: at most {BOUND:g}", "", "", "met" if worst <= BOUND else "NOT MET"]],
        [["where the theorem does not hold:", "", "", ""], *rows[False]],
    )
    return {"largest_difference": worst, "bound": BOUND, "met": worst <= BOUND, "cases": found}


def _nudge(arguments: argparse.Namespace) -> str:
    return f"{'±' if arguments.nudging == 'centred' else ''}β = {arguments.beta:g}"


def _curves(result: Match) -> dict[str, Any]:
    """The data of the figures."""
    drawn: dict[str, Any] = {}
    for name, gradients in result.gradients.items():
        if name.startswith(("state", "weight")):
            picked = plots.chosen(plots.curves(gradients, name))
            sides = (plots.curves(side[name], name)[:, picked] for side in (result.updates, result.gradients))
            drawn[name] = dict(zip(("updates", "gradients"), (side.T.tolist() for side in sides), strict=True))
    return drawn


def _sweep(cases: list[Case], seed: int, steps: int) -> dict[str, Any]:
    found: dict[str, Any] = {"betas": BETAS, "steps": {}, "estimates": {}, "slopes": {}}
    rows = []
    for case in cases:
        by_step, of_estimate, slopes = against_beta(case, seed, steps)
        found["steps"][case.name], found["estimates"][case.name] = by_step, of_estimate
        found["slopes"][case.name] = slopes
        one, both = (of_estimate[nudging][BETAS.index(SHOWN)] for nudging in NUDGINGS)
        rows.append(
            [
                NAMES[case.name],
                *(f"{slopes[what][nudging]:.2f}" for what in ("steps", "estimates") for nudging in NUDGINGS),
                f"{100 * one:.2g} %",
                f"{100 * both:.2g} %",
            ]
        )
    console.table(
        f"slope of log(difference) over log β, β from {MEASURED[0]:g} to {MEASURED[1]:g}; bias of the gradient at β = {SHOWN:g}",
        ["network", "steps, β", "steps, ±β", "gradient, β", "gradient, ±β", "bias, β", "bias, ±β"],
        rows,
    )
    return found
