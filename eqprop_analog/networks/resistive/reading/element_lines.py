"""Reading of R, V, I and X lines in all forms that ngspice accepts; anything that a network cannot have is an error."""

from collections.abc import Sequence

from eqprop_analog.networks.resistive.reading.flat_devices import defaults
from eqprop_analog.spice.reading.expressions import number
from eqprop_analog.spice.reading.statements import Statement

COEFFICIENTS = ("tc", "tc1", "tc2")
"""Parameters of a resistor's temperature dependence."""
WITHOUT_EFFECT = ("ac", "temp", "dtemp", "noise", "noisy")
"""Parameters of a resistor that have no effect on an operating point without temperature coefficients."""
SMALLEST = 1e-15
"""Smallest resistance, ohms; below it, the conductance may not be a finite number."""
OF_TIME = ("pulse", "sin", "exp", "pwl", "sffm", "am", "trnoise", "trrandom")
"""Functions of time; an operating point uses the dc value of a source."""
OF_FREQUENCY = ("ac", "distof1", "distof2")
"""Parameters of sources that are used by other analyses only."""


def resistance(statement: Statement) -> float:
    """Ohms of an R device, of either sign: ``1k``, ``r=1k``, ``resistance=1k``, with ``m`` and ``scale``. Raises UserError."""
    words = _values(statement)
    if words[:1] in (["r"], ["resistance"]):
        del words[0]
    settings = _pairs(words[1:])
    unknown = [key for key in settings if key not in ("m", "scale", *WITHOUT_EFFECT, *COEFFICIENTS)]
    if not words or len(words) % 2 == 0 or unknown:
        statement.refuse(
            f"expected the nets {' and '.join(statement.terms[1:3])}, and ohms; resistors of a network have neither models nor "
            f"coefficients"
        )
    ohms = statement.value(words[0])
    numbers = {key: statement.value(word) for key, word in settings.items()}
    if any(numbers.get(key) for key in COEFFICIENTS):
        statement.refuse(
            f"expected the nets {' and '.join(statement.terms[1:3])}, and ohms that do not change with temperature: coefficients "
            f"of 0"
        )
    multiplied = [numbers.get(key, 1.0) for key in ("scale", "m")]
    if min(multiplied) <= 0:
        statement.refuse("expected m and scale above zero")
    ohms *= multiplied[0] / multiplied[1]
    if not SMALLEST <= abs(ohms) < float("inf"):
        statement.refuse(f"expected a resistance of at least {SMALLEST:g} ohm")
    return ohms


def positive_resistance(statement: Statement) -> float:
    """Ohms of an R device, which must be positive. Raises UserError."""
    ohms = resistance(statement)
    if ohms < 0:
        statement.refuse(f"expected a resistance of at least {SMALLEST:g} ohm")
    return ohms


def constant(statement: Statement) -> float:
    """Volts or amperes of a V or I device at direct current: ``1``, ``dc 1``, ``1 ac 1``, ``m=2``. Raises UserError."""
    words, value, of_time, factor = _values(statement), None, "", 1.0
    if words and not _is_key(words[0]):
        value = statement.value(words.pop(0))
    while words:
        key, arguments = words.pop(0), []
        while words and not _is_key(words[0]):
            arguments.append(words.pop(0))
        if key == "dc" and value is None and len(arguments) == 1:
            value = statement.value(arguments[0])
        elif key == "m" and len(arguments) == 1 and statement.text[0] == "i":
            factor = statement.value(arguments[0])
        elif key in OF_TIME:
            of_time = key
        elif key not in OF_FREQUENCY or len(arguments) > 2 or None in map(number, arguments):
            nets = " and ".join(statement.terms[1:3])
            statement.refuse(
                f'expected the nets {nets}, and a number; "{" ".join([key, *arguments])[:40]}" is not understood'
            )
    if value is None and of_time:
        statement.refuse(f"a function of time without a dc value; add dc and the value that replaces {of_time}")
    return factor * (0.0 if value is None else value)


def instance(statement: Statement, subcircuits: set[str]) -> tuple[list[str], str, dict[str, float]]:
    """Two nets, subcircuit and all parameters of an X device, including default values. Raises UserError."""
    _, *words = statement.pins
    nets, rest = words[:2], words[2:]
    if not rest or "=" in rest[0]:
        statement.refuse("expected 2 nets, a subcircuit and its parameters")
    model = rest[0]
    if model not in subcircuits:
        statement.refuse(f"there is no .subckt {model[:60]}")
    return nets, model, {**defaults(model), **statement.settings(rest[1:])}


def _values(statement: Statement) -> list[str]:
    """The terms after the two nets. Raises UserError if they are incomplete."""
    text = statement.text
    if text.endswith(("=", ",", "(")) or text.count("(") != text.count(")") or "==" in text.replace(" ", ""):
        statement.refuse("a value or a bracket is missing")
    return statement.terms[3:]


def _is_key(word: str) -> bool:
    return word in ("dc", "m", *OF_TIME, *OF_FREQUENCY)


def _pairs(words: Sequence[str]) -> dict[str, str]:
    return dict(zip(words[::2], words[1::2], strict=False))
