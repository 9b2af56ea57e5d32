"""``eqprop-analog xor``: a 2-4-1 network that learns XOR in seconds, small enough to check by hand."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from eqprop_analog.cli import console, options
from eqprop_analog.cli.simulate import agreement_rows, require_met
from eqprop_analog.core.solver import close
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.agreement import Agreement, compare
from eqprop_analog.experiments.solvers import SURROGATE, solver_of
from eqprop_analog.files import write_csv, write_text
from eqprop_analog.learning.trainer import Rule, train_epoch
from eqprop_analog.learning.update import Rates
from eqprop_analog.networks.resistive.netlist import compile_network
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.surrogate import SurrogateSolver
from eqprop_analog.plotting.schematic import schematic
from eqprop_analog.plotting.training import outputs_by_epoch
from eqprop_analog.spice.netlist import static_netlist

SUMMARY = "Train XOR on a 2-4-1 network from scratch, with either solver, and write its netlists, solution and plots."
EXAMPLES = """\
examples:
  compute every equilibrium in ngspice:            --solver ngspice
  rewrite the files of netlists/:                  --output netlists"""

Array = np.ndarray

PATTERNS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
TARGETS = np.array([[0.0], [1.0], [1.0], [0.0]])
"""Volts."""
BETA = 1e-8
"""Siemens."""
RULE = Rule(Rates((1e-13, 1e-13), (1e-13, 1e-13)), BETA)
LEARNED = 0.05
"""Largest difference of every output from its target, volts."""
PATIENCE = 2000


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    options.add_solver(parser, SURROGATE)
    parser.add_argument("--seed", type=int, default=0, help="seed of the initial conductances (default 0)")
    parser.add_argument("--output", type=Path, default=Path("runs/xor"), metavar="DIR", help="default runs/xor")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train until every output is within 50 mV of its target, then write network, netlists, solution and pictures."""
    network, course = learn(arguments.seed, arguments.solver)
    epochs = len(course) - 1
    agreement = compare(network, PATTERNS, TARGETS, BETA, "flat")
    write(network, agreement, arguments.output)
    draw(network, course, arguments.output)
    outputs = agreement.phases[0].outputs[:, 0]
    console.table(
        f"XOR after {epochs} epochs of four patterns with {arguments.solver}",
        ["x_0, x_1 (V)", "target (V)", "output in ngspice (V)"],
        [[f"{a:+g}, {b:+g}", f"{y:g}", f"{v:.6f}"] for (a, b), (y,), v in zip(PATTERNS, TARGETS, outputs, strict=True)],
    )
    console.table("ngspice against the surrogate", ["figure", "value"], agreement_rows(agreement))
    console.say(
        f"in {arguments.output}: xor.npz, xor_free.cir, xor_nudged.cir, xor_solution.csv, xor_outputs.png, xor_circuit.svg"
    )
    figures = {
        "layers": network.layers,
        "epochs": epochs,
        "inputs": PATTERNS.tolist(),
        "targets": TARGETS[:, 0].tolist(),
    }
    options.report_figures(arguments, figures | {"outputs": outputs.tolist(), "agreement": agreement.figures()})
    require_met([agreement])


def learn(seed: int, solver_name: str) -> tuple[ResistiveNetwork, list[Array]]:
    """A trained 2-4-1 network, and its four outputs (V) before the training and after every epoch; UserError after PATIENCE."""
    network = ResistiveNetwork.dense([2, 4, 1], seed, amplifier_gain=4.0, conductance_window=(1e-8, 1e-5))
    solver: Any = SurrogateSolver() if solver_name == SURROGATE else solver_of(solver_name)
    course = [_outputs(network)]
    try:
        with console.stage(f"XOR with {solver_name}", PATIENCE) as progress:
            for epoch in range(1, PATIENCE + 1):
                trained = train_epoch(network, solver, RULE, [(PATTERNS, TARGETS)])
                progress(epoch, trained.error)
                course.append(_outputs(network))
                if np.abs(course[-1] - TARGETS[:, 0]).max() < LEARNED:
                    return network, course
    finally:
        close(solver)
    raise UserError(f"XOR was not learned from seed {seed} in {PATIENCE} epochs (a local minimum); try another --seed")


def _outputs(network: ResistiveNetwork) -> Array:
    return SurrogateSolver().solve(network, PATTERNS).outputs[:, 0]


def draw(network: ResistiveNetwork, course: list[Array], folder: Path) -> None:
    """The outputs against the epoch, and the schematic of the trained circuit."""
    outputs_by_epoch(
        np.array(course), TARGETS[:, 0], [f"{a:+g}, {b:+g} V" for a, b in PATTERNS], folder / "xor_outputs.png"
    )
    schematic(compile_network(network, PATTERNS[1:2], form="flat"), folder / "xor_circuit.svg")


def write(network: ResistiveNetwork, agreement: Agreement, folder: Path) -> None:
    """The network, flat netlists of pattern (-1, +1) V free and nudged, and every node's voltage in every phase."""
    network.save(folder / "xor.npz")
    pattern, target = PATTERNS[1:2], TARGETS[1:2]
    write_text(folder / "xor_free.cir", static_netlist(compile_network(network, pattern, form="flat")))
    nudged = compile_network(network, pattern, [(BETA, BETA * target)], "flat")
    write_text(folder / "xor_nudged.cir", static_netlist(nudged))
    computed = SurrogateSolver().solve_phases(network, PATTERNS, RULE.nudges(TARGETS))
    nets = [network.node_name(layer, j) for layer in (1, 2) for j in range(network.layers[layer])]
    columns = ["solver", "x_0 (V)", "x_1 (V)", "beta (S)", *(f"{net} (V)" for net in nets)]
    rows = []
    for name, phases in (("surrogate", computed), ("ngspice", agreement.phases)):
        for beta, phase in zip((0.0, BETA, -BETA), phases, strict=True):
            for pattern, voltages in zip(PATTERNS, np.concatenate(phase.voltages, axis=1), strict=True):
                values = [name, *pattern.tolist(), beta, *(f"{v:.12f}" for v in voltages)]
                rows.append(dict(zip(columns, values, strict=True)))
    write_csv(folder / "xor_solution.csv", rows)
