"""Commands about layered resistive networks. This module imports nothing that may be missing."""

from eqprop_analog.commands import Command

_GOES_ON = "run the same command again to continue with the missing results"
COMMANDS = (
    Command("device", f"{__name__}.device", "build"),
    Command("translate", f"{__name__}.translate", "build"),
    Command("xor", f"{__name__}.xor", "train"),
    Command("chips", f"{__name__}.chips", "train", _GOES_ON),
    Command("wires", f"{__name__}.wires", "train", _GOES_ON),
    Command("study", f"{__name__}.study", "judge", _GOES_ON),
)
