"""Commands about Hopfield networks. This module imports nothing that may be missing."""

from eqprop_analog.commands import Command

COMMANDS = (
    Command("matching", f"{__name__}.matching", "judge"),
    Command("minima", f"{__name__}.minima", "judge"),
    Command("patches", f"{__name__}.patches", "judge"),
)
