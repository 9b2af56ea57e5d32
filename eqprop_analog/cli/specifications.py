"""``eqprop-analog specifications``: the packaged technologies, and every key of a specification file."""

import argparse

from eqprop_analog.cli import console, options
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.chips.keys import keys
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.files import packaged, packaged_or_own

SUMMARY = "List the chip specifications that come with the package, print one as a TOML file, or explain every key."
EXAMPLES = """\
Without a name, all specifications are listed, one per line.

examples:
  write one to a file, with its sources:  everything > my-fab.toml
  check a file of your own:               my-fab.toml
  explain every key:                      --keys

Use it by `eqprop-analog chips --specification my-fab.toml` and `eqprop-analog netlist --specification my-fab.toml`."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument(
        "specification", nargs="?", metavar="NAME", help="a specification, or a TOML file (default: list all of them)"
    )
    parser.add_argument("--keys", action="store_true", help="explain every key and its default")
    options.add_json(parser, "every setting")


def run(arguments: argparse.Namespace) -> None:
    """List the specifications, print one, or explain the keys."""
    if arguments.keys:
        if arguments.specification is not None:
            raise UserError("--keys: this explains the keys of all specifications; leave out the name")
        _explain(arguments)
    elif arguments.specification is not None:
        path = packaged_or_own("specifications", arguments.specification, "specification")
        found = Specification.load(arguments.specification)
        console.result(path.read_text(encoding="utf-8-sig").rstrip())
        options.report_figures(arguments, {"specification": found.model_dump(mode="json")})
    else:
        every = {name: Specification.load(name) for name in packaged("specifications")}
        for name, each in every.items():
            console.result(f"{name:<24}{_window(each):<22}{each.description}")
        dumped = {name: each.model_dump(mode="json") for name, each in every.items()}
        options.report_figures(arguments, {"specifications": dumped})


def _window(specification: Specification) -> str:
    window = specification.technology.window
    return f"{1e6 * window.lowest:g} to {1e6 * window.highest:g} uS"


def _explain(arguments: argparse.Namespace) -> None:
    table = None
    for key in keys():
        if key.table != table:
            table = key.table
            console.result(f"\n[{table}]" if table else "top level of the file")
        law = f' (law "{key.law}")' if key.law else ""
        console.result(f"  {key.name:<20}{key.default:<14}{key.meaning}{law}")
    options.report_figures(arguments, {"keys": [vars(key) for key in keys()]})
