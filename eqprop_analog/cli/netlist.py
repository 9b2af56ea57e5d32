"""``eqprop-analog netlist``: a layer shape or a saved network as a SPICE file."""

import argparse
import time
from pathlib import Path

from eqprop_analog.circuit import compile_network, static_netlist
from eqprop_analog.cli import console, options
from eqprop_analog.errors import UserError
from eqprop_analog.files import write_text
from eqprop_analog.nudging import Nudge

SUMMARY = "Write a network as a SPICE netlist that `ngspice -b FILE` runs as it stands."
EXAMPLES = """\
examples:
  every resistor of a 784x2-100-10 network:  --layers 784 100 10 --output mnist.cir
  a trained network, Norton form:            --network runs/demo/network.npz --form norton --output demo.cir
  with a nudge of 0.1 uS towards output 0:   --layers 2 4 1 --phase nudged --beta 1e-7 --output nudged.cir"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    options.add_network(parser)
    parser.add_argument(
        "--form",
        choices=["flat", "norton"],
        default="flat",
        help="every resistor, or crossbar 1 reduced (default flat)",
    )
    parser.add_argument(
        "--phase", choices=["free", "nudged"], default="free", help="without or with the nudge (default free)"
    )
    parser.add_argument(
        "--inputs", type=Path, metavar="X.npy", help="the input vector (default: uniform in [0, 1] from --seed)"
    )
    parser.add_argument(
        "--targets", type=Path, metavar="Y.npy", help="targets of the nudge, V (default: 1 V at output 0)"
    )
    parser.add_argument(
        "--beta", type=float, metavar="SIEMENS", help="nudge conductance (default: a tenth of the safe bound)"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.cir", help="the netlist")


def run(arguments: argparse.Namespace) -> None:
    """Compile, validate, write."""
    network = options.network(arguments)
    inputs = options.array(
        arguments.inputs, "inputs", network.layers[0], options.example_inputs(network, arguments.seed, 1)
    )
    targets = options.array(arguments.targets, "targets", network.classes, options.example_targets(network, 1))
    if len(inputs) != 1 or len(targets) != 1:
        raise UserError(f"a netlist holds one sample, got {len(inputs)} inputs and {len(targets)} targets")
    begin = time.perf_counter()
    nudge = None
    if arguments.phase == "nudged":
        nudge = options.injection(network, inputs, Nudge(targets, options.beta(arguments, network), network.nudge_kind))
    text = static_netlist(compile_network(network, inputs, [nudge], arguments.form))
    write_text(arguments.output, text)
    lines = text.count("\n")
    console.say(
        f"{arguments.output}: {lines} lines in {time.perf_counter() - begin:.2f} s; run it: ngspice -b {arguments.output}"
    )
