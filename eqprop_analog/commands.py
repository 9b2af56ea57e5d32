"""Commands of the console program that are about one kind of network: which there are, without the libraries that they need."""

import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points

from eqprop_analog import networks

ENTRY_POINTS = "eqprop_analog.commands"
"""The group in which an installed package names its own Command."""


@dataclass(frozen=True)
class Command:
    """A command that a kind of network adds."""

    name: str
    module: str
    """Has SUMMARY, EXAMPLES, add_options and run, as those in eqprop_analog.cli have; it is imported when it is typed."""
    purpose: str
    """Under which it is listed; see cli.PURPOSES."""
    interrupted: str = ""
    """What to tell a user who has interrupted it."""


def of_families() -> Iterator[Command]:
    """Those of every folder of eqprop_analog.networks that has a package ``commands``, then those of other packages."""
    for folder in pkgutil.iter_modules(networks.__path__, f"{networks.__name__}."):
        if folder.ispkg and any(found.name == "commands" for found in pkgutil.iter_modules(_paths(folder.name))):
            yield from import_module(f"{folder.name}.commands").COMMANDS
    for point in entry_points(group=ENTRY_POINTS):
        yield point.load()


def _paths(package: str) -> list[str]:
    return list(import_module(package).__path__)
