"""``eqprop-analog lattice``: networks of learning resistors on a lattice or a random graph, trained and confirmed in ngspice."""

import argparse
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Float

from eqprop_analog.cli import console, options
from eqprop_analog.cli.simulate import agreement_rows, require_met
from eqprop_analog.errors import NotMetError, UserError
from eqprop_analog.experiments.agreement import compare
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.experiments.results import add_agreement
from eqprop_analog.experiments.run import train
from eqprop_analog.files import locked, require_writable, write_text
from eqprop_analog.networks.graph.config import GraphConfig
from eqprop_analog.networks.graph.network import GraphNetwork
from eqprop_analog.networks.graph.newton import SparseNewtonSolver
from eqprop_analog.networks.graph.task_plot import draw_lattice
from eqprop_analog.networks.graph.tasks import DROP, HELD_OUT, TRAINED, Name, Topology, parabola
from eqprop_analog.spice.netlist import static_netlist
from eqprop_analog.spice.ngspice.solver import NgspiceSolver

Array = np.ndarray

SUMMARY = (
    "Train a network of resistors (and diodes) on a lattice or random graph, and verify the trained network in ngspice."
)
EXAMPLES = """\
tasks:
  allostery   1 V between two nodes must cause a drop of 0.1 V across each of five other edges; resistors alone suffice
              (Rocks et al. 2017 and 2019, PNAS; Stern et al. 2021, PRX 11, 021045)
  regression  x from -3 to 3 V at one node, and -x at another, must give 0.1 x² - 0.3 V between two other nodes; resistors alone
              are linear, so some edges are diodes (after Dillavou et al. 2024, PNAS 121, e2319718121); held-out inputs judge it

Every edge changes its own conductance by the difference of its squared voltage drop between two nudged phases, and by nothing
else. --output gets the files that `eqprop-analog train --preset allostery` writes to a run folder (the same
command resumes an interrupted run, and `report` makes a page of it), trained.cir (run it: ngspice -b trained.cir) and
lattice.png.

examples:
  amorphous network, five targets:            --task allostery
  periodic square lattice of 15 x 15 nodes:   --task allostery --topology periodic --nodes 225
  nonlinear regression, all figures as JSON:  --task regression --json regression.json"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("--task", choices=get_args(Name), default="allostery", help="the task (default allostery)")
    parser.add_argument(
        "--topology",
        choices=get_args(Topology),
        help="disordered: random points connected to near ones; square, periodic: lattices; random: Erdős-Rényi, mean degree 12 "
        "(default disordered for allostery, random for regression)",
    )
    parser.add_argument("--nodes", type=int, metavar="N", help="default 100 for allostery, 20 for regression")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of graph, sources, targets and conductances (default 0)"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/lattice"), metavar="DIR", help="default runs/lattice")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train a network, print and draw it, and solve the trained network in ngspice."""
    if arguments.seed < 0:
        raise UserError(f"--seed: expected an integer of at least 0, got {arguments.seed}")
    asked = {name: getattr(arguments, name) for name in ("topology", "nodes", "seed")}
    config: Any = resolve(arguments.task, {name: value for name, value in asked.items() if value is not None})
    folder, task = arguments.output, config.task
    require_writable(folder / "network.npz")
    NgspiceSolver()  # if ngspice is missing, this is reported before the training
    inputs = np.concatenate([task.data.train_images, task.data.test_images])
    solver, fresh = SparseNewtonSolver(), config.network()
    console.say(
        f"{arguments.task} on {config.topology} graph: {config.nodes} nodes, {len(fresh.resistors)} learning resistors, "
        f"{len(fresh.diodes)} diodes"
    )
    before = solver.solve(fresh, inputs).require().outputs
    with locked(folder):
        finished = train(config, task.data, folder, resume=False, stage=console.stage)
        network = GraphNetwork.load(folder / "network.npz")
        after = solver.solve(network, inputs).require().outputs
        agreement = compare(network, task.data.train_images, task.data.train_labels, config.circuit_beta(network))
        add_agreement(finished, [agreement])
        history, trained = finished.metrics["history"], len(task.data.train_images)
        errors = [epoch["test_rms"] for epoch in history]
        steps, seconds = (sum(epoch[name] for epoch in history) for name in ("samples", "seconds"))
        figures: dict[str, Any] = {
            "task": arguments.task,
            "topology": config.topology,
            "nodes": config.nodes,
            "resistors": len(fresh.resistors),
            "diodes": len(fresh.diodes),
            "seed": config.seed,
            "steps": steps // trained,
            "training_seconds": seconds,
            "rms_error_history": errors,
            "targets": task.data.train_labels.tolist(),
            "initial_outputs": before[:trained].tolist(),
            "final_outputs": after[:trained].tolist(),
        }
        shown = _show_allostery if arguments.task == "allostery" else _show_regression
        figures |= shown(config, before, after)
        console.say(f"{figures['steps']} steps in {seconds:.1f} s")
        console.table("ngspice against the sparse Newton solver", ["figure", "value"], agreement_rows(agreement))
        figures["ngspice"] = agreement.figures()
        circuit = network.circuit(task.data.train_images[:1])
        write_text(folder / "trained.cir", static_netlist(circuit))
        draw_lattice(task, network, errors, before, after, folder / "lattice.png")
    console.say(f"in {folder}: network.npz, trained.cir, lattice.png, and the run's checkpoint and metrics")
    options.report_figures(arguments, figures)
    require_met([agreement])
    if not figures.get("met", True):
        raise NotMetError(
            f"{arguments.task} was not learned within the required error; try another --seed or more --nodes"
        )


def rms(outputs: Float[Array, "..."], targets: Float[Array, "..."]) -> float:
    """Root mean square error, volts."""
    return float(np.sqrt(((outputs - targets) ** 2).mean()))


def _show_allostery(config: GraphConfig, before: Array, after: Array) -> dict[str, Any]:
    network, targets = config.task.network, config.task.data.train_labels
    names = network.names
    console.table(
        f"drops across the target edges with 1 V from {names[network.inputs[0]]} to {names[network.rails[0]]}",
        ["edge", "wanted (V)", "before (V)", "after (V)", "error (%)"],
        [
            [f"{names[one]} - {names[two]}", f"{y:+.4f}", f"{b:+.4f}", f"{a:+.4f}", f"{100 * (a - y) / abs(y):+.2f}"]
            for (one, two), y, b, a in zip(network.outputs.tolist(), targets[0], before[0], after[0], strict=True)
        ],
    )
    both = [outputs[:1] for outputs in (before, after)]
    errors = {
        "root mean square": [rms(outputs, targets) / DROP for outputs in both],
        "worst edge": [float(np.abs(outputs - targets).max()) / DROP for outputs in both],
    }
    met = errors["root mean square"][1] <= config.enough / DROP
    console.table(
        "error, relative to the target",
        ["figure", "before (%)", "after (%)"],
        [[name, *(f"{100 * error:.2f}" for error in pair)] for name, pair in errors.items()],
        [[f"required: at most {100 * config.enough / DROP:g} % root mean square", "", "met" if met else "NOT MET"]],
    )
    named = {name.replace(" ", "_"): dict(zip(("before", "after"), pair, strict=True)) for name, pair in errors.items()}
    return {"relative_error": named, "met": met}


def _show_regression(config: GraphConfig, before: Array, after: Array) -> dict[str, Any]:
    found = config.task.data
    x = np.concatenate([found.train_images, found.test_images])[:, :1]
    line = np.polynomial.Polynomial.fit(found.train_images[:, 0], found.train_labels[:, 0], 1)(x)
    rows, figures = [], {}
    for name, outputs in (
        ("before", before),
        ("trained", after),
        ("best straight line, the limit of networks of resistors", line),
    ):
        errors = [rms(outputs[part], parabola(x[part])) for part in (slice(TRAINED), slice(TRAINED, None))]
        rows.append([name, *(f"{1e3 * error:.1f}" for error in errors)])
        figures[name.partition(",")[0].replace(" ", "_")] = dict(zip(("training", "held_out"), errors, strict=True))
    console.table(
        "V(out) = 0.1 x² - 0.3 V, root mean square error (mV)",
        ["", f"{TRAINED} training inputs", f"{HELD_OUT} held-out inputs"],
        rows,
    )
    return {"rms_error": figures}
