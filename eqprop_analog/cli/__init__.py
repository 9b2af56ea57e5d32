"""The console program ``eqprop-analog``; four scripts in ``scripts/`` run its subcommands under other names.

A command is a module with SUMMARY, EXAMPLES, add_options and run; it is imported only when it is called. Commands for
any network are in this folder, those for one kind of network in the folder of that kind (see eqprop_analog.commands).
"""

import argparse
import io
import os
import re
import sys
import textwrap
import traceback
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import IntEnum
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from eqprop_analog import commands, extensions
from eqprop_analog.cli import console
from eqprop_analog.cli.completion import SHELLS, PrintCompletion
from eqprop_analog.cli.interrupts import Interrupts
from eqprop_analog.errors import NotMetError, UserError
from eqprop_analog.text import printable, sentence, suggestion

_GENERAL: Mapping[str, tuple[str, ...]] = {
    "build": ("netlist", "technology", "board"),
    "solve": ("simulate", "transient", "energy", "reram"),
    "train": ("demo", "train", "sweep"),
    "judge": ("verify",),
    "look": ("report", "presets", "specifications", "doctor"),
}
_OF_FAMILIES = {command.name: command for command in commands.of_families()}
PURPOSES: Mapping[str, tuple[str, ...]] = {
    purpose: (*names, *(name for name, command in _OF_FAMILIES.items() if command.purpose == purpose))
    for purpose, names in _GENERAL.items()
}
"""Names of commands by purpose; commands for any network come first."""
COMMANDS = tuple(name for names in PURPOSES.values() for name in names)
GOES_ON = {
    "train": "run the same command again to continue from the run folder's checkpoint",
    "demo": "run the same command again to continue from the run folder's checkpoint",
    "sweep": "run the same command again to continue with what is missing",
    **{name: command.interrupted for name, command in _OF_FAMILIES.items()},
}
"""Advice to a user who has interrupted a command."""


class Exit(IntEnum):
    """Exit codes of a command."""

    DONE = 0
    BUG = 1
    BAD_INPUT = 2
    NOT_MET = 3
    INTERRUPTED = 130
    BROKEN_PIPE = 141


EXITS = """\
exit codes:
  0    success
  1    an unexpected error, which is a bug
  2    invalid input, or something is missing; no file is left half-written
  3    finished, but a stated bound is not met (doctor: something required is missing)
  130  interrupted by ^C or SIGTERM
  141  the reader of the output closed the pipe"""
OVERVIEW = """\
begin with:
  eqprop-analog doctor                                        # check the installation on this machine
  eqprop-analog simulate --layers 4 6 2                       # solve a small circuit in ngspice and by the surrogate
  eqprop-analog train --preset mnist-100 --epochs 1           # train one epoch on MNIST and verify it in ngspice
  eqprop-analog COMMAND --help                                # show every option, with examples"""


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors, which takes -1e-7, -100nS and -1,0 as values."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._negative_number_matcher = re.compile(r"^-\.?\d\S*$")

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where to find help, and exit with code 2."""
        wrong = re.search(r"invalid choice: '(\S+)' \(choose from (.*)\)$", message)
        if wrong:
            message += suggestion(wrong[1], re.findall(r"[\w.-]+", wrong[2]))
        unknown = re.match(r"unrecognized arguments: (--[\w-]+)", message)
        if unknown:
            message += suggestion(unknown[1], self.options())
        self.exit(Exit.BAD_INPUT, f"{self.prog}: error: {sentence(message)} (--help shows every option)\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print a message; report an output that cannot be written."""
        stream = sys.stderr if file is None else file
        with console.written(stream):
            stream.write(message or "")

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """Return the value of an option.

        An empty value, as from an unset shell variable, is an error and not the default.
        """
        if not arg_string.strip() and action.nargs != argparse.PARSER:
            raise argparse.ArgumentError(
                action, "expected a value, got an empty one; leave out the option for its default"
            )
        return super()._get_value(action, arg_string)

    def options(self) -> list[str]:
        """Yield every option of this parser and of its subcommands."""
        found = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse has no public name for it
                found += [name for each in action.choices.values() for name in each.options()]
        return found


class _WholeNames(argparse.RawDescriptionHelpFormatter):
    """Formatter that breaks no option and no name at a hyphen."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


class _ByPurpose(_WholeNames):
    """Formatter without the list of commands, which the epilog shows by purpose."""

    def _iter_indented_subactions(self, action: argparse.Action) -> Generator[argparse.Action, None, None]:  # noqa: ARG002
        yield from ()


def module_of(name: str) -> ModuleType:
    """Import the command's module. Raises UserError if a library that it needs cannot be loaded."""
    try:
        return import_module(_OF_FAMILIES[name].module if name in _OF_FAMILIES else f"{__name__}.{name}")
    except Exception as error:
        raise UserError(
            f"{name} needs a library that cannot be loaded ({type(error).__name__}: {error}); "
            "`eqprop-analog doctor` reports what is missing and how to install it"
        ) from error


def parser(names: Iterable[str] = COMMANDS) -> Parser:
    """Return the parser with the subcommands of these names."""
    top = Parser(
        prog="eqprop-analog",
        description="Energy-based networks as analog circuits: compile to SPICE, solve, train by equilibrium propagation.",
        formatter_class=_ByPurpose,
        usage="%(prog)s [-q | -v] COMMAND [OPTION ...]",
    )
    add_common(top, default=False)
    top.add_argument(
        "--print-completion",
        action=PrintCompletion,
        default=argparse.SUPPRESS,
        choices=SHELLS,
        help="print the shell's completion script; bash: source <(eqprop-analog --print-completion bash)",
    )
    subparsers = top.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=Parser, title="commands", prog=top.prog
    )
    listed = dict.fromkeys(names, "")
    for name in listed:
        try:
            module = module_of(name)
        except UserError:
            if len(listed) == 1:
                raise
            listed[name] = "(a library that it needs cannot be loaded: see `eqprop-analog doctor`)"
            subparsers.add_parser(name)
            continue
        listed[name] = module.SUMMARY
        sub = subparsers.add_parser(
            name,
            help=module.SUMMARY,
            description=module.SUMMARY,
            epilog=f"{with_command_lines(module)}\n\n{EXITS}",
            formatter_class=_WholeNames,
        )
        module.add_options(sub)
        add_common(sub, default=argparse.SUPPRESS)
        sub.set_defaults(run=module.run)
    purposes = [
        "\n".join([f"{purpose}:", *(f"    {name:<16}{listed[name]}" for name in names if name in listed)])
        for purpose, names in PURPOSES.items()
    ]
    subparsers.help = "one of the commands below; `eqprop-analog COMMAND --help` explains it"
    top.epilog = "\n\n".join([*purposes, OVERVIEW, EXITS])
    return top


def add_common(parser: argparse.ArgumentParser, default: Any) -> None:
    """Add the options that every command accepts, before or after its name."""
    group = parser.add_argument_group("options of every command")
    loudness = group.add_mutually_exclusive_group()
    loudness.add_argument(
        "-q", "--quiet", action="store_true", default=default, help="print only results, warnings and errors"
    )
    loudness.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        default=default,
        help="print each step, and the traceback of an error",
    )
    group.add_argument(
        "--import",
        dest="extensions",
        action="append",
        default=default or argparse.SUPPRESS,
        metavar="FILE.py|MODULE",
        help="import this module first, for example to register a diode law of your own (may be repeated)",
    )
    try:
        number = version("eqprop-analog")
    except PackageNotFoundError:
        number = "unknown: this copy is not installed"
    group.add_argument("--version", action="version", version=number, help="print the version")


def with_command_lines(module: ModuleType) -> str:
    """Return the module's EXAMPLES with each line "  what:  OPTIONS" as a complete command line below its description."""
    command = f"eqprop-analog {module.__name__.rpartition('.')[2]}"
    text: str = module.EXAMPLES
    head, examples, lines = text.partition("examples:\n")
    return (
        head
        + examples
        + re.sub(r"^  (\S.*?):(?: +(?=-)|  +)(.*)$", rf"  # \1\n  {command} \2", lines, flags=re.MULTILINE)
    )


def main(
    arguments: Sequence[str] | None = None, parse: Callable[[Sequence[str]], argparse.Namespace] | None = None
) -> int:
    """Run a command line; returns the exit code (see Exit). Expected errors are printed in one line on standard error.

    ``parse`` returns another program's parsed options, including the common ones (add_common), ``command`` and ``run``.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    sys.stdout, sys.stderr = (stream or Path(os.devnull).open("w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Greek letters must not cause an error
    options = argparse.Namespace(verbose=False, command="")
    interrupts = Interrupts(last=arguments is None)
    try:
        with interrupts:
            code = _done(parse or _parsed, words, options)
        if not interrupts.arrived:
            return code
    except KeyboardInterrupt:
        pass
    except Exception as error:  # noqa: BLE001 - it is reported, with a traceback under --verbose
        if options.verbose:
            sys.stderr.write(printable(traceback.format_exc()))
        if not interrupts.arrived:  # otherwise it is a consequence of the interrupt
            code, text = _explained(error)
            console.error(text, "not met" if code == Exit.NOT_MET else "error")
            return code
    advice = GOES_ON.get(options.command)
    console.error("interrupted" + (f"; {advice}" if advice else ""))
    return Exit.INTERRUPTED


def _done(
    parse: Callable[[Sequence[str]], argparse.Namespace], words: Sequence[str], options: argparse.Namespace
) -> Exit:
    """Run the command line ``words``; ``options`` receives the parsed options as soon as they are known."""
    try:
        vars(options).update(vars(parse(words)))
        aside = getattr(options, "json", None) == Path("-")
        console.configure(quiet=options.quiet, verbose=options.verbose, aside=aside)
        for named in getattr(options, "extensions", ()):
            extensions.load(named)
        with _place(options):
            options.run(options)
        with console.written(sys.stdout):
            pass
    except BrokenPipeError:
        console.silence(sys.stdout)
        return Exit.BROKEN_PIPE
    return Exit.DONE


def _place(options: argparse.Namespace) -> AbstractContextManager[Any]:
    """Connect to the cluster of --cluster; without this option, nothing is imported for it."""
    address = getattr(options, "cluster", None)
    if address is None:
        return nullcontext()
    from eqprop_analog.spice.ngspice.cluster import on_cluster

    return on_cluster(address)


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; only the given command is imported, or all of them to be listed.

    Modules of --import are imported first, because a user's kind of network may add options.
    """
    for named in _imported_first(words):
        extensions.load(named)
    name = next((word for word in words if not word.startswith("-")), None)
    everything = parser([name] if name in COMMANDS else COMMANDS)
    if not words:
        everything.print_help()
        raise SystemExit(Exit.BAD_INPUT)
    return everything.parse_args(words)


def _imported_first(words: Sequence[str]) -> list[str]:
    """Return the values of --import."""
    found = [word.removeprefix("--import=") for word in words if word.startswith("--import=")]
    return found + [value for word, value in pairwise(words) if word == "--import"]


def _explained(error: Exception) -> tuple[Exit, str]:
    """Return the exit code and a one-line message."""
    match error:
        case NotMetError():
            return Exit.NOT_MET, str(error)
        case UserError():
            return Exit.BAD_INPUT, str(error)
        case MemoryError():
            return Exit.BAD_INPUT, f"out of memory ({error}); use fewer samples, workers or nodes at a time"
        case OSError():
            return Exit.BAD_INPUT, f"{error.filename or 'file'}: {error.strerror or error}"
        case _:
            said = " ".join(str(error).split())
            return Exit.BUG, (
                f"unexpected {type(error).__name__}: {said} - this is a bug; please report it with the command, its "
                "output with --verbose, and the output of `eqprop-analog doctor`"
            )


def run_script(*command: str) -> NoReturn:
    """Entry point of a script that runs one subcommand."""
    sys.argv[1:1] = command
    sys.exit(main())
