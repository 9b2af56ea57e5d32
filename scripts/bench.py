#!/usr/bin/env python3
"""Benchmarks: the speed of the surrogate, of ngspice and of training, the agreement of trainings, and the survival of kills."""

import argparse
import sys
from collections.abc import Sequence

from benchmarks import cluster, hopfield, lattice, mesh, pace, recipe, reliability, spice, surrogate, training, wires

from eqprop_analog import cli

EXAMPLES = f"""\
Results are compared before times: the exit code is 3 if two methods differ by more than a nanovolt. Figures are medians of
interleaved runs. Ratios within one run are more reliable than times, because a machine may be shared.

examples:
  # the surrogate, in two minutes
  scripts/bench.py surrogate --quick
  # ngspice, without the method that takes minutes
  scripts/bench.py spice --quick --json spice.json
  # time of an epoch in ngspice, relative to that of its operating points alone, with one short repeat
  scripts/bench.py pace --batches 10 --repeats 1
  # small lattices
  scripts/bench.py lattice --sides 8 16
  # small arrays with wires by ngspice's two direct solvers
  scripts/bench.py mesh --sizes 16 32 64
  # sweeps and gradients of the CIFAR-10 network on a GPU
  scripts/bench.py hopfield --json hopfield.json
  # trajectories of weights, 2,000 images
  scripts/bench.py training --limit 2000
  # the recipe for your own shapes, compared with a grid around it, one of nine cases
  scripts/bench.py recipe --only 3
  # training through wires, and arrays up to 256 x 256
  scripts/bench.py wires --batches 50 --ohms 3e4 --arrays 64 256
  # killed runs, without long runs
  scripts/bench.py reliability --kills 8 --epochs 0
  # a cluster of two processes, compared with two worker processes
  scripts/bench.py cluster --repeats 5

{cli.EXITS}"""
BENCHMARKS = {
    "surrogate": surrogate,
    "spice": spice,
    "pace": pace,
    "lattice": lattice,
    "mesh": mesh,
    "hopfield": hopfield,
    "training": training,
    "wires": wires,
    "recipe": recipe,
    "reliability": reliability,
    "cluster": cluster,
}


def parser() -> cli.Parser:
    """Return the parser, with a subcommand for each benchmark."""
    top = cli.Parser(
        prog="scripts/bench.py",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    cli.add_common(top, default=False)
    kinds = top.add_subparsers(
        dest="command",
        required=True,
        metavar="WHAT",
        parser_class=cli.Parser,
        title="benchmarks",
        prog=top.prog,
        help="one of these",
    )
    for name, module in BENCHMARKS.items():
        text = module.__doc__ or ""
        sub = kinds.add_parser(
            name,
            help=text.partition("\n")[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_options(sub)
        cli.add_common(sub, default=argparse.SUPPRESS)
        sub.set_defaults(run=module.run)
    return top


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """The options of a command line."""
    return parser().parse_args(words)


if __name__ == "__main__":
    sys.exit(cli.main(parse=parsed))
