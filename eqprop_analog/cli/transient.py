"""``eqprop-analog transient``: simulates the settling of a sample in the free and then the nudged phase, with its energy."""

import argparse
from pathlib import Path

from eqprop_analog.cli import options, samples
from eqprop_analog.core import family_of

SUMMARY = "Simulate a network over time with a capacitance at every node: settling time and energy, free and nudged."
EXAMPLES = """\
examples:
  an untrained 4-6-2 network, 1 pF at every node: --layers 4 6 2
  a trained one, 0.2 pF hidden and 5 pF outputs:  --network net.npz --inputs x.npy --targets y.npy --capacitance 2e-13 5e-12
  test sample 7 of a data set:                    --network runs/demo/network.npz --dataset mnist --sample 7
  a Hopfield network and its ODE:                 --model hopfield --buffer sigmoid --layers 6 8 8 8 4

At t = 0 every node is at 0 V, and the inputs are switched on. Each phase lasts 20 times the slowest time constant."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    options.add_network(parser)
    samples.add_samples(parser, several=False)
    options.add_beta(parser)
    options.add_capacitance(parser, "; all nodes of a Hopfield network have the same capacitance")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/transient"), metavar="DIR", help="default runs/transient"
    )
    options.add_json(parser, "every figure, including the final voltages")


def run(arguments: argparse.Namespace) -> None:
    """Simulate by the functions of the network's kind; print, and write plot, waveforms and netlist."""
    network = options.network(arguments)
    simulate = family_of(network).feature("transient")
    simulate(arguments, network, *samples.solved(arguments, network, arguments.network))
