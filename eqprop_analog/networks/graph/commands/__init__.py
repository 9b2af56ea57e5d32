"""Commands about networks on graphs. This module imports nothing that may be missing."""

from eqprop_analog.commands import Command

COMMANDS = (
    Command(
        "lattice",
        f"{__name__}.lattice",
        "train",
        "run the same command again to continue from the run folder's checkpoint",
    ),
)
