"""The console program ``eqprop-analog``; the scripts in ``scripts/`` are its subcommands under their own names."""

import argparse
import io
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NoReturn

from eqprop_analog.cli import (
    chips,
    console,
    demo,
    energy,
    lattice,
    matching,
    minima,
    netlist,
    simulate,
    study,
    train,
    transient,
    xor,
)
from eqprop_analog.errors import UserError

COMMANDS = (netlist, simulate, transient, energy, train, demo, xor, lattice, matching, minima, study, chips)
BAD_INPUT, INTERRUPTED = 2, 130


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line, and with -1e-7 taken for a number."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._negative_number_matcher = re.compile(r"^-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$", re.IGNORECASE)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and how to learn more, and exit with 2."""
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (--help shows every option)\n")


def parser() -> Parser:
    """The parser of all subcommands."""
    top = Parser(
        prog="eqprop-analog",
        description="Energy-based networks as analog circuits: compile to SPICE, solve, train by equilibrium propagation.",
        epilog="Exit codes: 0 done, 2 bad input or a missing program, 130 interrupted.",
    )
    top.add_argument("--version", action="version", version=version("eqprop-analog"))
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for module in COMMANDS:
        name = module.__name__.rpartition(".")[2]
        sub = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.SUMMARY,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_options(sub)
        sub.set_defaults(run=module.run)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code. Expected errors are one line on standard error, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Greek letters is no error
    options = parser().parse_args(arguments)
    console.show_log()
    try:
        options.run(options)
    except UserError as error:
        console.complain(str(error))
        return BAD_INPUT
    except OSError as error:
        console.complain(f"{error.filename or 'file'}: {error.strerror or error}")
        return BAD_INPUT
    except KeyboardInterrupt:
        console.complain(
            "interrupted; train --resume goes on after the last whole epoch, study and chips with what is missing"
        )
        return INTERRUPTED
    return 0


def run_script(command: str) -> NoReturn:
    """Entry of a script that is one subcommand."""
    sys.exit(main([command, *sys.argv[1:]]))
