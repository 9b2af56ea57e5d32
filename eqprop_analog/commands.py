"""Commands of the console program that are about one kind of network: which there are, without the libraries that they need."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

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
    for path in networks.__path__:
        for folder in sorted(each.parents[1].name for each in Path(path).glob("*/commands/__init__.py")):
            yield from import_module(f"{networks.__name__}.{folder}.commands").COMMANDS
    for point in entry_points(group=ENTRY_POINTS):
        yield point.load()
