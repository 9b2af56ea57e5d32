"""Shell completion: shtab writes the scripts from the kind of value that each option accepts."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eqprop_analog.cli import console

SHELLS = ("bash", "zsh", "tcsh")
NAMED = {"preset": "presets", "specification": "specifications", "study": "studies"}
"""Options whose values are names of packaged files, and the folder of these files; a TOML file is accepted, too."""


class PrintCompletion(argparse.Action):
    """Print the completion script of the whole program, and exit."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002 - argparse's signature
        values: str | Sequence[Any] | None,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        """Pass every option's kind of value to shtab, and print its script."""
        import shtab

        for action in _actions(parser):
            kind = _kind(action)
            if kind:
                action.complete = kind  # type: ignore[attr-defined]
        with console.written(sys.stdout):
            sys.stdout.write(shtab.complete(parser, str(values)) + "\n")
        parser.exit()


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to list them
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for sub in dict.fromkeys(action.choices.values()):
                yield from _actions(sub)


def _kind(action: argparse.Action) -> dict[str, Any] | None:
    """Return shtab's completion of an option: by its type, the file ending in its metavar, or the files that it names."""
    import shtab

    from eqprop_analog.cli.options import figures_file

    if action.dest in NAMED:
        return _names(action.dest)
    if action.type not in (Path, figures_file):
        return None
    metavar = str(action.metavar)
    if metavar == "DIR":
        return dict(shtab.DIRECTORY)
    return dict(shtab.glob(f"*{Path(metavar).suffix}") if Path(metavar).suffix in (".npz", ".npy") else shtab.FILE)


def _names(option: str) -> dict[str, Any]:
    from eqprop_analog.files import packaged

    names = " ".join(packaged(NAMED[option]))
    function = f"_eqprop_analog_{option}_file"
    bash = f'{function}() {{ compgen -W "{names}" -- "$1"; compgen -f -X "!*.toml" -- "$1"; compgen -d -- "$1"; }}'
    zsh = f'{function}() {{ compadd -- {names}; _files -g "*.toml" }}'
    return {"bash": function, "zsh": function, "tcsh": f"({names})", "preamble": {"bash": bash, "zsh": zsh}}
