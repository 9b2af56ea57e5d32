"""``eqprop-analog bench``: how fast it is, against what it could be, in one run."""

import argparse

from eqprop_analog.cli import add_common, console
from eqprop_analog.cli.benchmarks import lattice, spice, surrogate, training

SUMMARY = (
    "Measure speed: of the surrogate, of ways to ask ngspice, of lattices; and train in both solvers side by side."
)
EXAMPLES = """\
Results are compared before times are: the exit code is 3 if two ways differ by more than a nanovolt. Figures are medians of
interleaved runs; ratios within one run mean more than times, because a machine may be shared.

examples:
  the surrogate, in two minutes:                 surrogate --quick
  ngspice, without what takes minutes:           spice --quick --json spice.json
  small lattices:                                lattice --sides 8 16
  trajectories of weights, 2,000 images:         training --limit 2000"""
BENCHMARKS = {"surrogate": surrogate, "spice": spice, "lattice": lattice, "training": training}


def add_options(parser: argparse.ArgumentParser) -> None:
    """A subcommand for each benchmark."""
    kinds = parser.add_subparsers(
        dest="benchmark", required=True, metavar="WHAT", title="benchmarks", help="one of these"
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
        add_common(sub, default=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> None:
    """Run the one that was named."""
    console.say(f"bench {arguments.benchmark}: this takes a while")
    BENCHMARKS[arguments.benchmark].run(arguments)
