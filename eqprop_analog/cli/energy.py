"""``eqprop-analog energy``: power of every part at each equilibrium, settling times, and the energy of both."""

import argparse
from pathlib import Path

from eqprop_analog.cli import options, samples
from eqprop_analog.core import family_of
from eqprop_analog.errors import UserError
from eqprop_analog.files import require_writable
from eqprop_analog.quantities import option
from eqprop_analog.spice.ngspice.sweeps import TIME_LIMIT

SUMMARY = "Report where power goes at each equilibrium, how long a circuit takes to settle, and the energy of both."
EXAMPLES = """\
examples:
  a fresh 16-12-4 network, measured in ngspice, too: --layers 16 12 4 --amplifier-gain 3
  a trained one on ten test images:                  --network runs/demo/network.npz --dataset mnist --samples 10
  its every resistor in ngspice (minutes):           --network runs/demo/network.npz --dataset mnist --samples 1 --ngspice
  0.2 pF at hidden nodes, 5 pF at outputs:           --network net.npz --capacitance 2e-13 5e-12

Powers are the flat circuit's, every resistor counted. A phase lasts its slowest time constant times ln(1/fraction); its energy is
the heat at its equilibrium times that: all that is dissipated, where -β, a negative conductance, counts as a supply. An inference
is the free phase, a training sample the free phase and both nudged ones.
(`eqprop-analog transient` integrates one sample's power along the way.)"""

LARGEST = 100_000
"""Resistors times operating points that ngspice measures without being asked: some ten seconds."""


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
        help="what is left of a phase's change when it counts as settled (default 0.001)",
    )
    parser.add_argument(
        "--ngspice",
        action=argparse.BooleanOptionalAction,
        help="measure every device's power in ngspice, too "
        f"(default: where resistors x samples x 3 phases are at most {LARGEST:,})",
    )
    parser.add_argument(
        "--time-limit",
        type=option("s"),
        metavar="SECONDS",
        help=f"what ngspice may take for one operating point (default {TIME_LIMIT:g})",
    )
    parser.add_argument("--output", type=Path, default=Path("runs/energy"), metavar="DIR", help="default runs/energy")
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Have the network's kind compute, measure, print, write figures, table and plot."""
    if arguments.ngspice is False and arguments.time_limit is not None:
        raise UserError("--time-limit: is what ngspice may take; leave it out, or --no-ngspice")
    network = options.network(arguments)
    report = family_of(network).feature("energy", "energy report")
    require_writable(arguments.output / "energy.json")
    report(arguments, network, *samples.solved(arguments, network, arguments.network))
