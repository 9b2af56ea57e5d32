"""``eqprop-analog board``: a programming plan for a board, and a virtual board for tests."""

import argparse
import threading
from pathlib import Path
from typing import Any

from eqprop_analog.bench.plan import plan, table
from eqprop_analog.bench.virtual import Converter, VirtualBoard
from eqprop_analog.cli import console, options
from eqprop_analog.devices.conductance import Technology
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.files import packaged, require_writable, write_csv
from eqprop_analog.quantities import option

SUMMARY = "Write the targets and pulses that program a board, cell by cell; or serve a virtual board that speaks SCPI."
EXAMPLES = """\
examples:
  cells, targets and pulses of a network:  program --network net.npz --specification everything --output cells.csv
  a board on which to test a bench:        serve --network netlists/xor.npz
  one with converters, noise and latency:  serve --layers 2 4 1 --adc-bits 12 --noise 50uV --latency 1ms

program: the pulses take each cell from the lower end of the devices' window (or from --start) to the level nearest to its
target, ignoring noise. serve: the commands are those of docs/board.md; the board runs until it is interrupted."""
ACTIONS = {
    "program": ("specification", "output", "start", "json"),
    "serve": ("adc_bits", "adc_range", "noise", "latency", "time_constant", "specification"),
}
"""Options that each action accepts."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("action", choices=list(ACTIONS), help="write a programming plan, or serve a virtual board")
    options.add_network(parser)
    group = parser.add_argument_group("board")
    group.add_argument(
        "--specification",
        metavar="NAME|FILE",
        help=f"the technology of the cells: one of {', '.join(packaged('specifications'))}, or a TOML file",
    )
    group.add_argument(
        "--output", type=Path, metavar="FILE.csv", help="program: the file to write (default program.csv)"
    )
    group.add_argument(
        "--start", type=Path, metavar="FILE.npz", help="program: the network that the cells hold at present"
    )
    group.add_argument("--adc-bits", type=int, metavar="N", help="serve: resolution of the readings (default: ideal)")
    group.add_argument(
        "--adc-range",
        type=option("V"),
        metavar="V",
        help="serve: the range of the readings is ± this voltage (default 1V)",
    )
    group.add_argument("--noise", type=option("V"), metavar="V", help="serve: rms noise of one reading")
    group.add_argument("--latency", type=option("s"), metavar="S", help="serve: latency of every command")
    options.add_json(parser, "the devices of the cells (program)")
    group.add_argument(
        "--time-constant", type=option("s"), metavar="S", help="serve: time constant with which the voltages settle"
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the plan, or serve a virtual board."""
    for name in {each for names in ACTIONS.values() for each in names} - set(ACTIONS[arguments.action]):
        if getattr(arguments, name) is not None:
            raise UserError(f"--{name.replace('_', '-')}: board {arguments.action} has no such option; leave it out")
    technology = None
    settings: dict[str, Any] = {}
    if arguments.specification is not None:
        technology = Specification.load(arguments.specification).technology
        settings["conductance_window"] = (technology.window.lowest, technology.window.highest)
    network: Any = options.network(arguments, **settings)
    if getattr(network, "crossbars", None) is None or not hasattr(network, "along_readout"):
        raise UserError(f"board: expected a network of crossbars, got a {network.family} network")
    if arguments.action == "program":
        _program(arguments, network, Technology() if technology is None else technology)
    else:
        _serve(arguments, network, technology)


def _program(arguments: argparse.Namespace, network: Any, technology: Technology) -> None:
    output = arguments.output or Path("program.csv")
    require_writable(output)
    start = None
    if arguments.start is not None:
        from eqprop_analog.core import load_network

        start = load_network(arguments.start).conductances
    plans = plan(network, technology, start)
    rows = table(plans)
    write_csv(output, rows)
    pulses = sum(abs(int(row["pulses"])) for row in rows)
    worst = max(abs(row["expected_siemens"] - row["target_siemens"]) for row in rows)
    console.say(
        f"{output}: {len(rows):,} cells, {pulses:,} pulses; at most {worst:.3g} S from the target, without noise"
    )
    options.report_figures(arguments, {"cells": rows, "pulses": pulses, "largest_deviation_siemens": worst})


def _serve(arguments: argparse.Namespace, network: Any, technology: Technology | None) -> None:
    bits, reach = arguments.adc_bits, 1.0 if arguments.adc_range is None else float(arguments.adc_range)
    if bits is not None and not 1 <= bits <= 32:
        raise UserError(f"--adc-bits: expected 1 to 32, got {bits}")
    for name in ("noise", "latency", "time_constant", "adc_range"):
        if (value := getattr(arguments, name)) is not None and value < 0:
            raise UserError(f"--{name.replace('_', '-')}: expected at least 0, got {float(value):g}")
    board = VirtualBoard(
        network,
        adc=Converter(bits, reach),
        noise=float(arguments.noise or 0),
        latency=float(arguments.latency or 0),
        time_constant=float(arguments.time_constant or 0),
        technology=technology,
        seed=arguments.seed,
    )
    with board:
        console.say(f"a virtual board of {'-'.join(map(str, network.layers))} at {board.host}:{board.port}; ^C ends it")
        threading.Event().wait()  # until a signal
