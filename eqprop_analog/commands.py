"""Commands of the console program for one kind of network, listed without importing the libraries that they need."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from eqprop_analog import networks

ENTRY_POINTS = "eqprop_analog.commands"
"""The group of entry points by which an installed package registers a Command."""


@dataclass(frozen=True)
class Command:
    """A command that a kind of network adds."""

    name: str
    module: str
    """Module with SUMMARY, EXAMPLES, add_options and run, as in eqprop_analog.cli; imported when the command is called."""
    purpose: str
    """Purpose under which it is listed; see cli.PURPOSES."""
    interrupted: str = ""
    """Advice to a user who has interrupted it."""


def of_families() -> Iterator[Command]:
    """Return the commands of every folder of eqprop_analog.networks with a package ``commands``, then those of other packages."""
    for path in networks.__path__:
        for folder in sorted(each.parents[1].name for each in Path(path).glob("*/commands/__init__.py")):
            yield from import_module(f"{networks.__name__}.{folder}.commands").COMMANDS
    for point in entry_points(group=ENTRY_POINTS):
        yield point.load()
