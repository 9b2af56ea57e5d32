"""``eqprop-analog energy``: power of every part, settling times, and energy of an inference and a training sample."""

import argparse
from pathlib import Path

from eqprop_analog.cli import options, samples
from eqprop_analog.core import family_of
from eqprop_analog.errors import UserError
from eqprop_analog.files import require_writable
from eqprop_analog.quantities import option
from eqprop_analog.spice.ngspice.sweeps import TIME_LIMIT

SUMMARY = (
    "Report the power of every part at each equilibrium, the settling times, and the energy of an "
    "inference and of a training sample."
)
EXAMPLES = """\
examples:
  an untrained 16-12-4 network, also in ngspice:     --layers 16 12 4 --amplifier-gain 3
  a trained network on ten test images:              --network runs/demo/network.npz --dataset mnist --samples 10
  every one of its resistors in ngspice (minutes):   --network runs/demo/network.npz --dataset mnist --samples 1 --ngspice
  0.2 pF at hidden nodes, 5 pF at outputs:           --network net.npz --capacitance 2e-13 5e-12

Powers are those of the flat circuit, with every resistor. A phase lasts its slowest time constant times ln(1/fraction). Its
energy is that time multiplied by the heat at its equilibrium, where -β, a negative conductance, counts as a supply. An inference
is the free phase; a training sample is the free phase and both nudged phases.
(`eqprop-analog transient` integrates the power of one sample over time.)"""

LARGEST = 100_000
"""Largest number of resistors times operating points that ngspice measures by default; it takes about ten seconds."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    options.add_network(parser)
    samples.add_samples(parser)
    options.add_beta(parser)
    options.add_capacitance(parser)
    parser.add_argument(
        "--fraction",
        type=float,
        default=1e-3,
        help="remaining part of a phase's change at which it counts as settled (default 0.001)",
    )
    parser.add_argument(
        "--ngspice",
        action=argparse.BooleanOptionalAction,
        help="measure the power of every device in ngspice, too "
        f"(default: where resistors x samples x 3 phases are at most {LARGEST:,})",
    )
    parser.add_argument(
        "--time-limit",
        type=option("s"),
        metavar="SECONDS",
        help=f"time limit for one operating point in ngspice (default {TIME_LIMIT:g})",
    )
    parser.add_argument("--output", type=Path, default=Path("runs/energy"), metavar="DIR", help="default runs/energy")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Compute and measure by the functions of the network's kind; print, and write figures, table and plot."""
    if arguments.ngspice is False and arguments.time_limit is not None:
        raise UserError("--time-limit: applies to ngspice only; leave it out, or leave out --no-ngspice")
    network = options.network(arguments)
    report = family_of(network).feature("energy", "energy report")
    require_writable(arguments.output / "energy.json")
    report(arguments, network, *samples.solved(arguments, network, arguments.network))
