"""Quantities as typed by users: a number, an SI prefix and a unit ("100nS", "0.2 V", "4.7 kohm"), or only a number."""

import argparse
import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import BeforeValidator

from eqprop_analog.errors import UserError
from eqprop_analog.incoming import real_number

PREFIXES = {
    "y": -24,
    "z": -21,
    "a": -18,
    "f": -15,
    "p": -12,
    "n": -9,
    "u": -6,
    "µ": -6,
    "μ": -6,
    "m": -3,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
}
"""Prefixes and powers of ten; upper and lower case differ."""
UNITS = {
    "S": ("siemens", ("S", "siemens")),
    "V": ("volts", ("V", "volt", "volts")),
    "A": ("amperes", ("A", "amp", "ampere", "amperes")),
    "F": ("farads", ("F", "farad", "farads")),
    "s": ("seconds", ("s", "sec", "second", "seconds")),
    "ohm": ("ohms", ("ohm", "ohms", "Ohm", "Ohms", "Ω", "Ω")),
    "K": ("kelvin", ("K", "kelvin")),
    "°C": ("degrees Celsius", ("°C", "degC", "celsius")),
    "S²/V²": ("S²/V²", ("S²/V²", "S^2/V^2", "S2/V2")),
    "A²/V²": ("A²/V²", ("A²/V²", "A^2/V^2", "A2/V2")),
}
"""Name in words and spellings of each unit."""
BARE = ("°C", "S²/V²", "A²/V²")
"""Units without prefixes."""
MAX = sys.float_info.max
NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*")


class Quantity(float):
    """A number with its ``unit`` as written; an empty unit means only a number."""

    unit: str = ""


def quantity(given: Any, *units: str, name: str = "") -> Quantity:
    """Parse ``given``, a number or text, in one of ``units``; a value in another than the first has that ``unit``.

    Raises UserError, which begins with ``name``, for any other text or unit.
    """
    where = f"{name}: " if name else ""
    wanted = " or ".join(f"{UNITS[unit][0]} ({unit})" if UNITS[unit][0] != unit else unit for unit in units)
    if not isinstance(given, str):
        return Quantity(real_number(given, name or "quantity", wanted))
    found = NUMBER.fullmatch(given)
    if not found:
        raise UserError(f"{where}expected a number, or one with a unit such as {_example(units)}, got {given!r:.60}")
    digits, suffix = found.groups()
    power, unit = _suffix(suffix, units)
    if power is None or unit not in ("", *units):
        what = f", which is in {UNITS[unit][0]}" if unit else _hint(suffix)
        raise UserError(f"{where}expected {wanted}, such as {_example(units)}, got {given!r:.60}{what}")
    try:
        number = float(Decimal(digits).scaleb(power))
    except ArithmeticError:  # an exponent outside the range of decimals
        number = math.inf
    if math.isinf(number):
        raise UserError(
            f"{where}expected {wanted}, such as {_example(units)}, got {given!r:.60}, which is beyond {MAX:.0e}"
        )
    value = Quantity(number)
    value.unit = unit
    return value


def _suffix(suffix: str, units: tuple[str, ...]) -> tuple[int | None, str]:
    """Return the power of ten and the unit of a suffix; requested units have precedence, a prefix alone is allowed, else None."""
    if not suffix:
        return 0, ""
    for unit in (*units, *UNITS):
        for spelling in UNITS[unit][1]:
            if suffix == spelling:
                return 0, unit
            if suffix.endswith(spelling) and suffix.removesuffix(spelling) in PREFIXES and unit not in BARE:
                return PREFIXES[suffix.removesuffix(spelling)], unit
    if suffix in PREFIXES and not set(units) & set(BARE):
        return PREFIXES[suffix], ""
    return None, ""


def _example(units: tuple[str, ...]) -> str:
    return {
        "S": "100nS",
        "V": "0.2V",
        "A": "1nA",
        "F": "2pF",
        "s": "600s",
        "ohm": "4.7kohm",
        "K": "2K",
        "°C": "27°C",
    }.get(units[0], f"1e-14 {units[0]}")


def _hint(suffix: str) -> str:
    if suffix.lower() == "meg":
        return "; mega is M"
    return f"; prefixes are {' '.join(PREFIXES)}" if suffix else ""


def option(*units: str) -> Callable[[str], Quantity]:
    """Return the ``type`` of a command line option in ``units``."""

    def parse(text: str) -> Quantity:
        try:
            return quantity(text, *units)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse


def in_file(value: Any, *units: str, name: str = "") -> Any:
    """Convert a ``value`` of a file: text with a unit of ``units`` becomes a number, everything else is unchanged.

    Raises UserError, which begins with ``name``, for text without prefix and unit, because a number in a file has no
    quotes.
    """
    if not isinstance(value, str):
        return value
    found = NUMBER.fullmatch(value)
    if found and not found[2]:
        raise UserError(
            f"{name}{': ' if name else ''}expected a number without quotes, or one with a unit such as "
            f"{_example(units)}, got {value!r:.60}"
        )
    return float(quantity(value, *units, name=name))


@dataclass(frozen=True)
class InUnits(BeforeValidator):
    """The annotation that ``In`` returns."""

    units: tuple[str, ...] = ()


def In(*units: str) -> InUnits:  # noqa: N802 - reads as part of an annotation
    """Annotation of a setting in a file; see ``in_file``."""
    return InUnits(lambda value: in_file(value, *units), units=units)
