"""The time of one equilibrium of a square lattice: sparse Newton, one dense solve per sample, and ngspice, in one run.

Reports median milliseconds per equilibrium, over a batch of samples in the free phase and under nudges of ±beta, with a warm
start if the solver supports it. Validation, certificate and, for ngspice, netlist text and loading are included. All voltages
are compared first.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks import add_repeats
from eqprop_analog import Equilibrium, GraphNetwork, GraphNgspiceSolver, NgspiceDiode, Nudge, SparseNewtonSolver
from eqprop_analog.cli import console, options
from eqprop_analog.errors import NotMetError, UserError
from eqprop_analog.networks.graph.equations import GraphEquations, output_resistance
from eqprop_analog.networks.graph.topologies import square_lattice, with_diodes

AGREEMENT = 1e-9
"""Largest difference of voltages, volts."""
Phases = tuple[Equilibrium, ...] | list[np.ndarray]


def lattice(side: int, diodes: float) -> GraphNetwork:
    """A lattice: log-uniform conductances over two decades around 1 µS, two input nodes, rails at 0 and 1 V, three read-outs."""
    random = np.random.default_rng(side)
    graph = square_lattice(side, side)
    for edge in graph.edges:
        graph.edges[edge]["conductance"] = 1e-6 * 10 ** random.uniform(-1, 1)
    nodes = [divmod(int(k), side) for k in random.permutation(side * side)[:8]]
    mixed = with_diodes(graph, diodes, nodes[:4], seed=0)
    outputs = [nodes[4], nodes[5], (nodes[6], nodes[7])]
    return GraphNetwork.from_graph(
        mixed, nodes[:2], outputs, {nodes[2]: 0.0, nodes[3]: 1.0}, diode=NgspiceDiode(rail=0.0)
    )


def dense(network: GraphNetwork, inputs: np.ndarray, nudges: list[Nudge]) -> list[np.ndarray]:
    """Solve a network of resistors as a short script does it, by numpy.linalg.solve for each sample and phase."""
    free = GraphEquations.of(network, inputs)
    found = []
    for equations in (free, *(free.nudged([nudge], None) for nudge in nudges)):
        scatter, rows, starts = network.stencil
        matrix = np.zeros((len(network.free),) * 2)
        columns = np.repeat(np.arange(len(network.free)), np.diff(starts))
        matrix[rows, columns] = scatter @ equations.select(slice(0, 1)).slopes(equations.sources[:1])[0]
        voltages = equations.sources.copy()
        for sample, current in zip(voltages, equations.residuals(voltages), strict=True):
            sample[network.free] = np.linalg.solve(matrix, current)
        found.append(voltages)
    return found


def milliseconds(solve: Callable[[], Phases], repeats: int) -> tuple[float, list[np.ndarray]]:
    """Median milliseconds per equilibrium after a warm-up, and all voltages."""
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        phases = solve()
        times.append(time.perf_counter() - begin)
    voltages = [phase.require().voltages[0] if isinstance(phase, Equilibrium) else phase for phase in phases]
    return 1e3 * statistics.median(times[1:]) / sum(map(len, voltages)), voltages


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument(
        "--sides", type=int, nargs="+", default=[8, 16, 32], metavar="N", help="nodes on a side (default 8 16 32)"
    )
    parser.add_argument("--samples", type=int, default=20, help="samples in a batch (default 20)")
    add_repeats(parser, 3)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure, print and write."""
    for name, values in (("sides", arguments.sides), ("samples", [arguments.samples])):
        if min(values) < (3 if name == "sides" else 1):
            raise UserError(f"--{name}: expected at least {3 if name == 'sides' else 1}, got {min(values)}")
    ngspice, found = GraphNgspiceSolver(), []
    for diodes in (0.0, 0.2):
        for side in arguments.sides:
            network = lattice(side, diodes)
            random = np.random.default_rng(0)
            inputs, targets = (
                random.uniform(-5, 5, (arguments.samples, 2)),
                random.uniform(-1, 1, (arguments.samples, 3)),
            )
            beta = 0.1 / float(np.linalg.eigvalsh(output_resistance(network))[-1])
            case = (network, inputs, [Nudge(targets, beta), Nudge(targets, -beta)])
            methods: dict[str, Callable[[], Phases]] = {
                "sparse Newton": partial(SparseNewtonSolver().solve_phases, *case),
                "ngspice": partial(ngspice.solve_phases, *case),
            }
            if not diodes:
                methods["dense"] = partial(dense, *case)
            figures: dict[str, float | int] = {"side": side, "diodes": len(network.diodes)}
            reference = None
            for name, method in methods.items():
                figures[name], voltages = milliseconds(method, arguments.repeats)
                reference = voltages if reference is None else reference
                difference = max(float(np.abs(a - b).max()) for a, b in zip(voltages, reference, strict=True))
                figures[f"{name} largest difference"] = difference
                if not difference <= AGREEMENT:
                    raise NotMetError(f"{name}: voltages differ from sparse Newton's by {difference:.1e} V")
            found.append(figures)
    ngspice.close()
    console.table(
        f"{arguments.samples} samples, free and under ±beta: ms per equilibrium; largest |ΔV| from sparse Newton",
        ["lattice", "diodes", "sparse Newton", "ngspice", "dense", "ngspice |ΔV| (V)"],
        [
            [
                f"{row['side']} x {row['side']}",
                str(row["diodes"]),
                f"{row['sparse Newton']:.3g}",
                f"{row['ngspice']:.3g}",
                f"{row['dense']:.3g}" if "dense" in row else "",
                f"{row['ngspice largest difference']:.1e}",
            ]
            for row in found
        ],
    )
    options.report_figures(arguments, {"cases": found})
