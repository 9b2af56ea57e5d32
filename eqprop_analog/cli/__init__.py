"""The console program ``eqprop-analog``; four scripts in ``scripts/`` are its subcommands under their own names.

A command is a module with SUMMARY, EXAMPLES, add_options and run; it is imported when it is typed. Commands of any network are
here, those of one kind of network in its folder (see eqprop_analog.commands).
"""

import argparse
import io
import os
import re
import sys
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
"""Commands, those of any network first."""
COMMANDS = tuple(name for names in PURPOSES.values() for name in names)
GOES_ON = {
    "train": "run the same command again to continue from the run folder's checkpoint",
    "demo": "run the same command again to continue from the run folder's checkpoint",
    "sweep": "run the same command again to continue with what is missing",
    **{name: command.interrupted for name, command in _OF_FAMILIES.items()},
}
"""What to tell a user who has interrupted it."""


class Exit(IntEnum):
    """How a command ends."""

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
  2    bad input, or something is missing; no file is left half written
  3    finished, but a stated bound is not met (doctor: something required is missing)
  130  interrupted by ^C or SIGTERM
  141  the reader of the output has closed it"""
OVERVIEW = """\
begin with:
  eqprop-analog doctor                                        # what this machine has, and what is missing
  eqprop-analog simulate --layers 4 6 2                       # a small circuit, solved in ngspice and by the surrogate
  eqprop-analog train --preset mnist-100 --epochs 1           # one epoch on MNIST, and its verification in ngspice
  eqprop-analog COMMAND --help                                # every option, with examples"""


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line, and with -1e-7, -100nS and -1,0 taken for values."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._negative_number_matcher = re.compile(r"^-\.?\d\S*$")

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and how to learn more, and exit with 2."""
        wrong = re.search(r"invalid choice: '(\S+)' \(choose from (.*)\)$", message)
        if wrong:
            message += suggestion(wrong[1], re.findall(r"[\w.-]+", wrong[2]))
        unknown = re.match(r"unrecognized arguments: (--[\w-]+)", message)
        if unknown:
            message += suggestion(unknown[1], self.options())
        self.exit(Exit.BAD_INPUT, f"{self.prog}: error: {sentence(message)} (--help shows every option)\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print it, or say what keeps it from being printed."""
        stream = sys.stderr if file is None else file
        with console.written(stream):
            stream.write(message or "")

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """The value of an option; an empty one, of a variable that is not set, is not taken for one that is left out."""
        if not arg_string.strip() and action.nargs != argparse.PARSER:
            raise argparse.ArgumentError(action, "expected a value, got an empty one; leave it out for the default")
        return super()._get_value(action, arg_string)

    def options(self) -> list[str]:
        """Every option of this parser and of its subcommands."""
        found = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse has no other name for it
                found += [name for each in action.choices.values() for name in each.options()]
        return found


class _ByPurpose(argparse.RawDescriptionHelpFormatter):
    """The commands are in the epilog, by purpose, and not once more in a list."""

    def _iter_indented_subactions(self, action: argparse.Action) -> Generator[argparse.Action, None, None]:  # noqa: ARG002
        yield from ()


def module_of(name: str) -> ModuleType:
    """The command's module; UserError where a library that it needs cannot be loaded."""
    try:
        return import_module(_OF_FAMILIES[name].module if name in _OF_FAMILIES else f"{__name__}.{name}")
    except Exception as error:
        raise UserError(
            f"{name} needs a library that cannot be loaded ({type(error).__name__}: {error}); "
            "`eqprop-analog doctor` says what is missing and how to get it"
        ) from error


def parser(names: Iterable[str] = COMMANDS) -> Parser:
    """The parser of the subcommands of these names."""
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
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_options(sub)
        add_common(sub, default=argparse.SUPPRESS)
        sub.set_defaults(run=module.run)
    purposes = [
        "\n".join([f"{purpose}:", *(f"    {name:<16}{listed[name]}" for name in names if name in listed)])
        for purpose, names in PURPOSES.items()
    ]
    subparsers.help = "one of these; `eqprop-analog COMMAND --help` explains it"
    top.epilog = "\n\n".join([*purposes, OVERVIEW, EXITS])
    return top


def add_common(parser: argparse.ArgumentParser, default: Any) -> None:
    """What every command takes, before its name or after."""
    group = parser.add_argument_group("of every command")
    loudness = group.add_mutually_exclusive_group()
    loudness.add_argument(
        "-q", "--quiet", action="store_true", default=default, help="print only results, warnings and errors"
    )
    loudness.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        default=default,
        help="print each step, and the module from which an error comes",
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
    """The module's EXAMPLES with each line "  what:  OPTIONS" as a command line that can be typed, below what it does."""
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
    """Run a command line; returns the exit code (see Exit). Expected errors are one line on standard error.

    ``parse``: another program's options, with the common ones (add_common), ``command`` and ``run`` among them.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    sys.stdout, sys.stderr = (stream or Path(os.devnull).open("w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Greek letters is no error
    options = argparse.Namespace(verbose=False, command="")
    interrupts = Interrupts(last=arguments is None)
    try:
        with interrupts:
            code = _done(parse or _parsed, words, options)
        if not interrupts.arrived:
            return code
    except KeyboardInterrupt:
        pass
    except Exception as error:  # noqa: BLE001 - it is reported, and with --verbose shown
        if options.verbose:
            sys.stderr.write(printable(traceback.format_exc()))
        if not interrupts.arrived:  # else it is what code made of the interrupt
            code, text = _explained(error)
            console.error(text, "not met" if code == Exit.NOT_MET else "error")
            return code
    advice = GOES_ON.get(options.command)
    console.error("interrupted" + (f"; {advice}" if advice else ""))
    return Exit.INTERRUPTED


def _done(
    parse: Callable[[Sequence[str]], argparse.Namespace], words: Sequence[str], options: argparse.Namespace
) -> Exit:
    """Do what the ``words`` ask for; ``options`` become theirs as soon as they are understood."""
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
    """The cluster of --cluster; where none is named, nothing is imported for it."""
    address = getattr(options, "cluster", None)
    if address is None:
        return nullcontext()
    from eqprop_analog.spice.ngspice.cluster import on_cluster

    return on_cluster(address)


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    """Only the command that is typed is imported; for anything else all are, to be listed.

    What --import names comes before: kinds of networks of the user's own bring options.
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
    """The values of --import."""
    found = [word.removeprefix("--import=") for word in words if word.startswith("--import=")]
    return found + [value for word, value in pairwise(words) if word == "--import"]


def _explained(error: Exception) -> tuple[Exit, str]:
    """Exit code and one line."""
    match error:
        case NotMetError():
            return Exit.NOT_MET, str(error)
        case UserError():
            return Exit.BAD_INPUT, str(error)
        case MemoryError():
            return Exit.BAD_INPUT, f"out of memory ({error}); ask for less at once: fewer samples, workers or nodes"
        case OSError():
            return Exit.BAD_INPUT, f"{error.filename or 'file'}: {error.strerror or error}"
        case _:
            said = " ".join(str(error).split())
            return Exit.BUG, (
                f"unexpected {type(error).__name__}: {said} - this is a bug; please report it with the command, what the same "
                "with --verbose prints, and `eqprop-analog doctor`"
            )


def run_script(*command: str) -> NoReturn:
    """Entry of a script that is one subcommand."""
    sys.argv[1:1] = command
    sys.exit(main())
