"""``eqprop-analog lattice``: networks of learning resistors on a lattice or a random graph, trained and confirmed in ngspice."""

import argparse
import math
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from eqprop_analog.circuit import static_netlist
from eqprop_analog.circuit.graph_network import compile_graph
from eqprop_analog.cli import console, options
from eqprop_analog.devices import NgspiceDiode
from eqprop_analog.errors import NotMetError, UserError
from eqprop_analog.files import require_writable, write_text
from eqprop_analog.learning.trainer import PhaseLearner, Rule
from eqprop_analog.learning.update import UniformRates
from eqprop_analog.models.graph_network import GraphNetwork
from eqprop_analog.models.topologies import disordered, square_lattice, with_diodes
from eqprop_analog.nudging import Nudge
from eqprop_analog.plotting.graph import draw_network, positions
from eqprop_analog.plotting.style import drawing
from eqprop_analog.solvers.graph_ngspice import GraphNgspiceSolver
from eqprop_analog.solvers.sparse_newton import SparseNewtonSolver

Array = np.ndarray

SUMMARY = (
    "Train a network of resistors (and diodes) on a lattice or random graph, edge by edge, and confirm it in ngspice."
)
EXAMPLES = """\
tasks:
  allostery   1 V between two nodes must make a drop of 0.1 V across each of five other edges; resistors alone can do it
              (Rocks et al. 2017 and 2019, PNAS; Stern et al. 2021, PRX 11, 021045)
  regression  x from -3 to 3 V, given to one node and -x to another, must make 0.1 x² - 0.3 V between two nodes; resistors alone
              are linear, so some edges are diodes (after Dillavou et al. 2024, PNAS 121, e2319718121); held-out inputs judge it

Every edge changes its own conductance by the difference of its squared voltage drop between two nudged phases, and by nothing
else. --output gets network.npz, trained.cir (run it: ngspice -b trained.cir) and lattice.png.

examples:
  amorphous network, five targets:            --task allostery
  periodic square lattice of 15 x 15 nodes:   --task allostery --topology periodic --nodes 225
  nonlinear regression, all figures as JSON:  --task regression --json regression.json"""

WINDOW = (1e-8, 1e-5)
"""Siemens."""
INITIAL = (0.5e-6, 1.5e-6)
"""Siemens, uniform: the allosteric network's; the regression's are log-uniform in the window."""
BETA = 1e-9
"""Siemens: a tenth of the least conductance, so that -β is safe for any edge's drop."""
DROP = 0.1
"""Volts, the drop that targets are to show; the source applies 1 V."""
TARGETS = 5
RANGE = 3.0
"""Volts, of the regression's inputs and rails, either sign."""
TRAINED, HELD_OUT = 12, 100
"""Inputs of the regression."""
DIODES = 0.12
"""Share of the regression's edges."""
TOPOLOGIES = ("disordered", "square", "periodic", "random")


@dataclass(frozen=True)
class Task:
    """A fresh network and what it has to learn."""

    network: GraphNetwork
    graph: "nx.Graph[Any]"
    inputs: Float[Array, "batch inputs"]
    """Volts."""
    targets: Float[Array, "batch outputs"]
    """Volts."""
    rate: float
    """η of the first step, S²/V²."""
    decay: float
    """Of the rate, a step."""
    steps: int
    enough: float = 0.0
    """Root mean square error at which to stop, volts."""
    held_out: Float[Array, "samples inputs"] = field(default_factory=lambda: np.zeros((0, 1)))
    """Inputs that are not trained on, volts."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument(
        "--task", choices=["allostery", "regression"], default="allostery", help="what to learn (default allostery)"
    )
    parser.add_argument(
        "--topology",
        choices=TOPOLOGIES,
        help="disordered: random points joined to near ones; square, periodic: lattices; random: Erdős-Rényi, mean degree 12 "
        "(default disordered for allostery, random for regression)",
    )
    parser.add_argument("--nodes", type=int, metavar="N", help="default 100 for allostery, 20 for regression")
    parser.add_argument("--seed", type=int, default=0, help="of graph, sources, targets and conductances (default 0)")
    parser.add_argument("--output", type=Path, default=Path("runs/lattice"), metavar="DIR", help="default runs/lattice")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train, print, draw, and solve the trained network in ngspice."""
    if arguments.seed < 0:
        raise UserError(f"--seed: expected an integer of at least 0, got {arguments.seed}")
    allosteric = arguments.task == "allostery"
    topology = arguments.topology or ("disordered" if allosteric else "random")
    nodes = arguments.nodes if arguments.nodes is not None else (100 if allosteric else 20)
    task = (allostery if allosteric else regression)(make_graph(topology, nodes, arguments.seed), arguments.seed)
    require_writable(arguments.output / "network.npz")
    ngspice = GraphNgspiceSolver()  # if it is missing, say so before training
    network, solver = task.network, SparseNewtonSolver()
    console.say(
        f"{arguments.task} on {topology} graph: {nodes} nodes, {len(network.resistors)} learning resistors, "
        f"{len(network.diodes)} diodes"
    )
    inputs = np.concatenate([task.inputs, task.held_out])
    before = solver.solve(network, inputs).require().outputs
    begin = time.perf_counter()
    history = learn(task)
    seconds = time.perf_counter() - begin
    after = solver.solve(network, inputs).require().outputs
    figures: dict[str, Any] = {
        "task": arguments.task,
        "topology": topology,
        "nodes": nodes,
        "resistors": len(network.resistors),
        "diodes": len(network.diodes),
        "seed": arguments.seed,
        "steps": len(history),
        "training_seconds": seconds,
        "rms_error_history": history,
        "targets": task.targets.tolist(),
        "initial_outputs": before[: len(task.inputs)].tolist(),
        "final_outputs": after[: len(task.inputs)].tolist(),
    }
    figures |= (_show_allostery if allosteric else _show_regression)(task, before, after)
    console.say(f"{len(history)} steps in {seconds:.1f} s")
    figures["ngspice"] = _confirm(task, ngspice)
    network.save(arguments.output / "network.npz")
    write_text(arguments.output / "trained.cir", static_netlist(compile_graph(network, task.inputs[:1])))
    _draw(task, history, before, after, arguments.output / "lattice.png")
    console.say(f"in {arguments.output}: network.npz, trained.cir, lattice.png")
    options.report_figures(arguments, figures)
    if not figures.get("met", True):
        raise NotMetError(f"{arguments.task} was not learned as well as asked; try another --seed or more --nodes")


def make_graph(topology: str, nodes: int, seed: int) -> "nx.Graph[Any]":
    """One of TOPOLOGIES; UserError for a number of nodes that it cannot have."""
    side = math.isqrt(max(nodes, 0))
    if topology in ("square", "periodic"):
        if side < 3 or side * side != nodes:
            raise UserError(f"--nodes: a square lattice has 9, 16, 25 ... nodes, got {nodes}")
        return square_lattice(side, side, periodic=topology == "periodic")
    if nodes < 20:
        raise UserError(f"--nodes: expected at least 20, got {nodes}")
    return (
        disordered(nodes, seed=seed) if topology == "disordered" else nx.gnm_random_graph(nodes, 6 * nodes, seed=seed)
    )


def allostery(graph: "nx.Graph[Any]", seed: int) -> Task:
    """1 V between two nodes; DROP across each of TARGETS edges, in the direction that it has by chance."""
    random = np.random.default_rng(seed)
    parts: list[set[Any]] = sorted(nx.biconnected_components(graph), key=len)
    core = sorted(parts[-1])  # dead ends carry no current
    sources = [core[k] for k in random.permutation(len(core))[:2].tolist()]
    inside = nx.subgraph(graph, core)
    edges = [edge for edge in inside.edges if not set(edge) & set(sources)]
    if len(edges) < TARGETS:
        raise UserError(f"--nodes: too few edges for {TARGETS} targets; use more nodes")
    targets = [edges[k] for k in random.permutation(len(edges))[:TARGETS].tolist()]
    network = GraphNetwork.from_graph(graph, sources[:1], targets, {sources[1]: 0.0}, conductance_window=WINDOW)
    network.conductances[:] = random.uniform(*INITIAL, len(network.conductances))
    inputs = np.ones((1, 1))
    sign = np.where(SparseNewtonSolver().solve(network, inputs).outputs < 0, -1.0, 1.0)
    return Task(network, graph, inputs, DROP * sign, 2e-11, 0.998, 1500, 0.01 * DROP)


def regression(graph: "nx.Graph[Any]", seed: int) -> Task:
    """V(plus) - V(minus) = parabola(x), from nodes at x and at -x and rails at ±RANGE, with a share of diodes."""
    random = np.random.default_rng(seed)
    nodes = list(graph)
    source, mirror, low, high, plus, minus = (nodes[k] for k in random.permutation(len(nodes))[:6].tolist())
    mixed = with_diodes(graph, DIODES, [source, mirror, low, high, plus, minus], seed)
    network = GraphNetwork.from_graph(
        mixed,
        [source, mirror],
        [(plus, minus)],
        {low: -RANGE, high: RANGE},
        diode=NgspiceDiode(rail=0.0),
        conductance_window=WINDOW,
    )
    low_log, high_log = map(math.log10, WINDOW)
    network.conductances[:] = 10 ** random.uniform(low_log, high_log, len(network.conductances))
    x, other = np.linspace(-RANGE, RANGE, TRAINED), random.uniform(-RANGE, RANGE, HELD_OUT)
    inputs, held_out = (np.stack([values, -values], axis=1) for values in (x, other))
    return Task(network, mixed, inputs, parabola(inputs[:, :1]), 5e-11, 0.99, 250, held_out=held_out)


def parabola(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """0.1 x² - 0.3, volts, of x in volts."""
    return 0.1 * x**2 - 0.3


def learn(task: Task) -> list[float]:
    """Train ``task.network`` in place; the root mean square error (V) before each step."""
    network, solver = task.network, SparseNewtonSolver()
    history: list[float] = []
    free = None
    for step in range(task.steps):
        free = solver.solve(network, task.inputs, start=free).require()
        history.append(rms(free.outputs, task.targets))
        if history[-1] <= task.enough:
            break
        rule = Rule(UniformRates(task.rate * task.decay**step), BETA)
        PhaseLearner(network, solver, rule).learn(task.inputs, task.targets)
    return history


def rms(outputs: Float[Array, "..."], targets: Float[Array, "..."]) -> float:
    """Root mean square error, volts."""
    return float(np.sqrt(((outputs - targets) ** 2).mean()))


def _show_allostery(task: Task, before: Array, after: Array) -> dict[str, Any]:
    names = task.network.names
    console.table(
        f"drops across the target edges at 1 V from {names[task.network.inputs[0]]} to {names[task.network.rails[0]]}",
        ["edge", "wanted (V)", "before (V)", "after (V)", "error (%)"],
        [
            [f"{names[one]} - {names[two]}", f"{y:+.4f}", f"{b:+.4f}", f"{a:+.4f}", f"{100 * (a - y) / abs(y):+.2f}"]
            for (one, two), y, b, a in zip(
                task.network.outputs.tolist(), task.targets[0], before[0], after[0], strict=True
            )
        ],
    )
    errors = {
        "root mean square": [rms(outputs, task.targets) / DROP for outputs in (before, after)],
        "worst edge": [float(np.abs(outputs - task.targets).max()) / DROP for outputs in (before, after)],
    }
    met = errors["root mean square"][1] <= task.enough / DROP
    console.table(
        "error, of the wanted drop",
        ["figure", "before (%)", "after (%)"],
        [[name, *(f"{100 * error:.2f}" for error in pair)] for name, pair in errors.items()],
        [[f"asked: at most {100 * task.enough / DROP:g} % root mean square", "", "met" if met else "NOT MET"]],
    )
    named = {name.replace(" ", "_"): dict(zip(("before", "after"), pair, strict=True)) for name, pair in errors.items()}
    return {"relative_error": named, "met": met}


def _show_regression(task: Task, before: Array, after: Array) -> dict[str, Any]:
    inputs = np.concatenate([task.inputs, task.held_out])
    x = inputs[:, :1]
    line = np.polynomial.Polynomial.fit(task.inputs[:, 0], task.targets[:, 0], 1)(x)
    rows, figures = [], {}
    for name, outputs in (("before", before), ("trained", after), ("best straight line, as of resistors alone", line)):
        errors = [rms(outputs[part], parabola(x[part])) for part in (slice(TRAINED), slice(TRAINED, None))]
        rows.append([name, *(f"{1e3 * error:.1f}" for error in errors)])
        figures[name.partition(",")[0].replace(" ", "_")] = dict(zip(("training", "held_out"), errors, strict=True))
    console.table(
        "V(out) = 0.1 x² - 0.3 V, root mean square error (mV)",
        ["", f"{TRAINED} training inputs", f"{HELD_OUT} held-out inputs"],
        rows,
    )
    return {"rms_error": figures}


def _confirm(task: Task, ngspice: GraphNgspiceSolver) -> dict[str, Any]:
    nudges = [Nudge(task.targets, BETA), Nudge(task.targets, -BETA)]
    try:
        measured = ngspice.solve_phases(task.network, task.inputs, nudges)
    finally:
        ngspice.close()
    computed = SparseNewtonSolver().solve_phases(task.network, task.inputs, nudges)
    for phase in (*measured, *computed):
        phase.require()
    pairs = zip(measured, computed, strict=True)
    difference = max(float(np.abs(one.voltages[0] - other.voltages[0]).max()) for one, other in pairs)
    statuses = Counter(status.name for phase in measured for status in phase.status)
    residual = max(float(phase.residual.max()) for phase in measured)
    console.table(
        "trained network in ngspice, free and nudged by ±β, against the sparse Newton solver",
        ["figure", "value"],
        [
            ["equilibria x nodes", f"{3 * len(task.inputs)} x {len(task.network.names)}"],
            ["nudge ±β (S)", f"{BETA:g}"],
            ["largest |ΔV| (V)", f"{difference:.1e}"],
            ["largest KCL residual (A)", f"{residual:.1e}"],
        ],
    )
    return {
        "equilibria": 3 * len(task.inputs),
        "beta": BETA,
        "largest_difference": difference,
        "largest_residual": residual,
        "statuses": dict(statuses),
    }


def _draw(task: Task, history: list[float], before: Array, after: Array, path: Path) -> None:
    with drawing(path, (14, 4.6)) as figure:
        network, curve, result = figure.subplots(1, 3, width_ratios=[1.4, 1, 1])
        draw_network(figure, network, task.network, positions(task.graph))
        curve.semilogy(1e3 * np.array(history), color="black")
        curve.set(xlabel="step", ylabel="root mean square error (mV)", title="Learning curve")
        if task.network.diodes.size:
            _draw_function(result, task, before, after)
        else:
            _draw_drops(result, task, before, after)


def _draw_drops(axes: Axes, task: Task, before: Array, after: Array) -> None:
    sign, at = np.sign(task.targets[0]), np.arange(TARGETS)
    axes.bar(at - 0.2, 1e3 * sign * before[0], 0.36, color="0.75", label="before")
    axes.bar(at + 0.2, 1e3 * sign * after[0], 0.36, color="0.25", label="after")
    axes.axhline(1e3 * DROP, color="black", linestyle="--", linewidth=1, label="wanted")
    names = [
        f"{task.network.names[one][2:]}-{task.network.names[two][2:]}" for one, two in task.network.outputs.tolist()
    ]
    axes.set(xticks=at, xticklabels=names, xlabel="target edge", ylabel="drop (mV)", title="Drops at 1 V")
    axes.set_ylim(0, 1.2 * axes.get_ylim()[1])
    axes.legend(loc="upper center", ncols=3, fontsize=8)


def _draw_function(axes: Axes, task: Task, before: Array, after: Array) -> None:
    x, trained = np.linspace(-RANGE, RANGE, 101)[:, None], task.inputs[:, :1]
    axes.plot(x, parabola(x), "--", color="0.6", label="wanted")
    axes.plot(trained, before[:TRAINED], ":", color="0.6", label="before")
    outputs = SparseNewtonSolver().solve(task.network, np.concatenate([x, -x], axis=1)).outputs
    axes.plot(x, outputs, color="black", label="after")
    axes.plot(trained, after[:TRAINED], "o", color="black", markersize=4)
    axes.set(xlabel="input x (V)", ylabel="output (V)", title="Function, training inputs as dots")
    axes.legend()
