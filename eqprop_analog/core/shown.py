"""The display of objects: one line in a Python session, and a small table with a picture in a notebook."""

from collections.abc import Mapping
from importlib import import_module
from typing import Protocol

PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}
DIGITS = 3


class Shown(Protocol):
    """Base class of objects that display facts about themselves."""

    def facts(self) -> Mapping[str, str]:
        """Facts shown to the user, by name, with units."""
        return {}

    def __repr__(self) -> str:
        """Return one line, for arrays of any size."""
        return f"{type(self).__name__}({', '.join(f'{name} {value}' for name, value in self.facts().items())})"

    def _repr_html_(self) -> str:
        """Return the display in Jupyter."""
        return str(import_module("eqprop_analog.plotting.notebook").html(self))


def quantity_text(value: float, unit: str) -> str:
    """Format with three digits, a prefix and the unit: "100 µS"; 0 and values outside the prefixes have no prefix."""
    if value == 0 or not abs(value) < float("inf"):
        return f"{value:g} {unit}".strip()
    scientific = f"{value:.{DIGITS - 1}e}"
    power = 3 * (int(scientific.partition("e")[2]) // 3)
    if power not in PREFIXES or (not unit and power):
        return f"{value:.{DIGITS}g} {unit}".strip()
    return f"{float(scientific) / 10.0**power:.{DIGITS}g} {PREFIXES[power]}{unit}".strip()


def sizes_text(sizes: tuple[int, ...]) -> str:
    """Format layers as in figures: 784-100-10."""
    return "-".join(map(str, sizes))
