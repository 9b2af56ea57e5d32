"""The single devices of a circuit, read back from its netlist lines, so that drawings and counts agree with the netlist."""

from collections.abc import Iterator
from dataclasses import dataclass

from eqprop_analog.spice.elements import Element

TERMINALS = {"R": 2, "C": 2, "V": 2, "I": 2, "B": 2, "G": 4}
"""Nets of a device, by the first letter of its name."""


@dataclass(frozen=True)
class Part:
    """One line of a netlist."""

    name: str
    nets: tuple[str, ...]
    """In the order of the line."""
    value: str
    """The text after the nets; for a subcircuit (X) its model and parameters."""

    @property
    def kind(self) -> str:
        """The first letter of the name."""
        return self.name[0]

    @property
    def number(self) -> float | None:
        """The value in SI units, if it is a number."""
        try:
            return float(self.value)
        except ValueError:
            return None


def parts(element: Element) -> Iterator[Part]:
    """Every device of ``element``, in the order of its lines; parameters (``.param``) are not devices."""
    for line in element.lines():
        if line.startswith("."):
            continue
        name, *words = line.split()
        if name[0] == "X":
            settings = (k for k, word in enumerate(words) if "=" in word)
            count = next(settings, len(words)) - 1
        else:
            count = TERMINALS[name[0]]
        yield Part(name, tuple(words[:count]), " ".join(words[count:]))
