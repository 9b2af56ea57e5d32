"""The time of an array with wires in ngspice by each of its direct solvers, and in the surrogate, in one run.

Solves one operating point of an N x N array of cells of 1 to 100 µS with wires and a diode at every column, and reads the
voltages of all columns. The time includes netlist text and loading, but not the start of the process. Processor time, which
other programs on the machine hardly change, is reported as well; it includes the start of the process, about one second.
ngspice's voltages are compared with those of the surrogate, which eliminates the wires once (reduction) and then solves.
"""

import argparse
import logging
import resource
import time
from concurrent.futures import TimeoutError as TimeLimitExceeded
from typing import Any

import numpy as np

from eqprop_analog import ResistiveNetwork
from eqprop_analog.cli import console, options
from eqprop_analog.errors import NotMetError, UserError
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.newton import NonidealNewtonSolver
from eqprop_analog.spice.netlist import KLU, SPARSE
from eqprop_analog.spice.ngspice import library as libngspice
from eqprop_analog.spice.ngspice.workers import Workers

log = logging.getLogger(__name__)

AGREEMENT = 1e-9
"""Largest difference, relative to the largest voltage or 1 V."""
SIZES, OHMS, TIME_LIMIT = (64, 128, 256), 1.0, 300.0
WAYS = {"SPARSE": SPARSE, "KLU": KLU}


def array(size: int, ohms: float) -> tuple[NonidealNetwork, np.ndarray]:
    """An array of N rows (N/2 inputs) and N hidden nodes with a diode each, one output, and the input of each row pair, volts."""
    random = np.random.default_rng(size)
    network = ResistiveNetwork.dense([size // 2, size, 1], seed=size)
    for matrix in network.conductances:
        matrix[...] = 10 ** random.uniform(-6, -4, matrix.shape)
    return NonidealNetwork(network, wire_resistance=ohms, tile=(size, size)), random.uniform(-1, 1, (1, size // 2))


def in_ngspice(circuit: Any, settings: dict[str, float], limit: float) -> tuple[float, float, np.ndarray | None]:
    """Seconds, processor seconds, and the voltages (None if the time limit of ``limit`` seconds is exceeded)."""
    work, before = Workers(1, limit), _processor_seconds()
    try:
        work.result(work.submit(libngspice.load))
        begin = time.perf_counter()
        try:
            found = np.asarray(work.result(work.submit(libngspice.sweep, circuit, settings)))[0]
        except TimeLimitExceeded:
            found = None
        seconds = time.perf_counter() - begin
    finally:
        work.close()
    return seconds, _processor_seconds() - before, found


def _processor_seconds() -> float:
    """Processor time of all child processes that have ended, seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def by_surrogate(chip: NonidealNetwork, inputs: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Seconds of the reduction, seconds of one certified equilibrium after it, and the voltages."""
    begin = time.perf_counter()
    chip.equations(inputs)
    _ = chip.output_stiffness
    reduced = time.perf_counter()
    NonidealNewtonSolver().solve(chip, inputs).require()
    middle = time.perf_counter()
    found = NonidealNewtonSolver().solve(chip, inputs).require()
    return reduced - begin, time.perf_counter() - middle, np.concatenate(found.voltages, axis=1)[0]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=list(SIZES), metavar="N", help="numbers of rows (default 64 128 256)"
    )
    parser.add_argument("--ohms", type=float, default=OHMS, help="resistance of one segment of a wire (default 1)")
    parser.add_argument(
        "--solvers", nargs="+", choices=list(WAYS), default=list(WAYS), help="direct solvers of ngspice (default both)"
    )
    parser.add_argument(
        "--time-limit",
        type=float,
        default=TIME_LIMIT,
        metavar="SECONDS",
        help=f"time limit for one array (default {TIME_LIMIT:g})",
    )
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure, print and write."""
    if min(arguments.sizes) < 2:
        raise UserError(f"--sizes: expected at least 2, got {min(arguments.sizes)}")
    if not (np.isfinite(arguments.ohms) and arguments.ohms > 0):
        raise UserError(f"--ohms: expected a resistance above 0 ohms, got {arguments.ohms}")
    if not (np.isfinite(arguments.time_limit) and arguments.time_limit > 0):
        raise UserError(f"--time-limit: expected more than 0 seconds, got {arguments.time_limit}")
    work = Workers(1, 60)
    try:
        version = work.result(work.submit(libngspice.load))
        klu = work.result(work.submit(libngspice.has_klu))
    finally:
        work.close()
    ways = [name for name in arguments.solvers if klu or name != "KLU"]
    if len(ways) < len(arguments.solvers):
        log.info("this libngspice (version %s) was not compiled with KLU, so KLU is not measured", version)
    found = [_measured(size, ways, arguments) for size in arguments.sizes]
    console.table(
        f"one operating point of an array with {arguments.ohms:g} ohm a segment, ngspice {version}",
        ["array", "nodes", *ways, "largest |ΔV| (V)", "surrogate: reduction", "equilibrium"],
        [
            [
                f"{row['size']} x {row['size']}",
                f"{row['nodes']:,}",
                *(_shown(row[name], arguments.time_limit) for name in ways),
                f"{row['largest_difference']:.1e}" if row["largest_difference"] is not None else "",
                f"{row['reduction_seconds']:.2g} s",
                f"{1e3 * row['surrogate_seconds']:.2g} ms",
            ]
            for row in found
        ],
    )
    options.report_figures(arguments, {"ngspice": version, "klu": klu, "ohms": arguments.ohms, "arrays": found})


def _measured(size: int, ways: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    chip, inputs = array(size, arguments.ohms)
    reduction, seconds, expected = by_surrogate(chip, inputs)
    circuit = chip.circuit(inputs, validate=False)
    row: dict[str, Any] = {
        "size": size,
        "nodes": 2 * circuit.mesh,
        "reduction_seconds": reduction,
        "surrogate_seconds": seconds,
        "largest_difference": None,
    }
    for name in ways:
        took, spent, measured = in_ngspice(circuit, WAYS[name], arguments.time_limit)
        row[name] = {"seconds": took, "processor_seconds": spent, "finished": measured is not None}
        if measured is None:
            continue
        difference = float(np.abs(measured - expected).max())
        row["largest_difference"] = max(difference, row["largest_difference"] or 0.0)
        if not difference <= AGREEMENT * max(1.0, float(np.abs(expected).max())):
            raise NotMetError(f"{name}, {size} x {size}: voltages differ from the surrogate's by {difference:.1e} V")
    return row


def _shown(figures: dict[str, Any], limit: float) -> str:
    if not figures["finished"]:
        return f"> {limit:g} s"
    return f"{figures['seconds']:.2g} s ({figures['processor_seconds']:.2g} s of processor time)"
