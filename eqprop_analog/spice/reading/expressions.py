"""Numbers and expressions as ngspice reads them; nothing is executed, and only arithmetic functions exist."""

import math
import operator
import re
from collections.abc import Callable, Mapping

MANTISSA = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
SUFFIX = "(?:(meg|mil|[tgkmunpf\u00b5])[a-z\u03a9\u2126]*|(?![edtgkmunpf\u00b5])[a-z\u03a9\u2126]+)?"
"""Pattern of a scale (including \u00b5) and a unit, which may be an ohm sign.

Not e or d alone: ngspice skips it, 2em is 0.002.
"""
NUMBER = re.compile(rf"([+-]?{MANTISSA})(?:(?:e|d(?![+-]))([+-]?[0-9]{{1,5}}))?{SUFFIX}", re.ASCII)
"""Pattern of a number. In ngspice, Fortran's 1d3 is 1000, but 1d+3 and 1d-3 are 1; the latter are refused here."""
EXPONENTS = {"t": 12, "g": 9, "meg": 6, "k": 3, "m": -3, "u": -6, "\u00b5": -6, "n": -9, "p": -12, "f": -15}
"""SPICE's suffixes: m is milli, meg is 1e6; letters after them are units and have no effect."""
MIL = 25.4e-6
TOKEN = re.compile(
    rf"(?P<number>{MANTISSA}(?:e[+-]?[0-9]{{1,5}})?{SUFFIX})"
    r"|(?P<name>[a-z_][a-z0-9_]*)|(?P<operator>\*\*|[-+*/^(),])",
    re.ASCII,
)
LONGEST = 500
"""Largest number of characters of an expression."""
DEEPEST = 30
"""Largest depth of nested brackets and of nested parameters."""


def _power(base: float, exponent: float) -> float:
    """Compute ^ and **; raises ValueError for a negative base, whose sign ngspice drops."""
    if base < 0:
        raise ValueError("a negative number to a power")
    return math.pow(base, exponent)


FUNCTIONS: dict[str, tuple[int, Callable[..., float]]] = {
    "sqrt": (1, math.sqrt),
    "sqr": (1, lambda x: x * x),
    "exp": (1, math.exp),
    "ln": (1, math.log),
    "log": (1, math.log),
    "log10": (1, math.log10),
    "abs": (1, abs),
    "sin": (1, math.sin),
    "cos": (1, math.cos),
    "tan": (1, math.tan),
    "atan": (1, math.atan),
    "min": (2, min),
    "max": (2, max),
    "pow": (2, math.pow),
    "pwr": (2, _power),
}
"""Functions with their numbers of arguments; ``log`` is the natural logarithm, as in ngspice."""
OPERATORS: dict[str, tuple[int, Callable[[float, float], float]]] = {
    "+": (1, operator.add),
    "-": (1, operator.sub),
    "*": (2, operator.mul),
    "/": (2, operator.truediv),
    "^": (4, _power),
    "**": (4, _power),
}
"""Operators with their precedence. All are left-associative, including powers: 2^3^2 is 64."""
SIGNS = 3
"""Precedence of a sign: -2^2 is -4."""


def number(word: str) -> float | None:
    """Return the number of a word such as 2.5e6, 2.5meg or 1kohm; None if it is not a number."""
    found = NUMBER.fullmatch(word)
    if found is None:
        return None
    mantissa, exponent, suffix = found.groups()
    power = int(exponent or 0) + EXPONENTS.get(suffix, 0)
    return float(f"{mantissa}e{power}") * (MIL if suffix == "mil" else 1)


class Parameters:
    """The ``.param`` lines of a netlist, by name, each evaluated on demand."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts
        self._known: dict[str, float] = {}
        self._open: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self.texts

    def __getitem__(self, name: str) -> float:
        """Return the value of a parameter. Raises ValueError with the reason."""
        if name not in self._known:
            if name not in self.texts:
                raise ValueError(f"there is no .param {name[:60]}")
            if name in self._open or len(self._open) >= DEEPEST:
                raise ValueError(f".param {name[:60]} depends on itself, or on too many others")
            self._open.append(name)
            try:
                self._known[name] = self.evaluated(self.texts[name])
            finally:
                self._open.pop()
        return self._known[name]

    def get(self, name: str) -> float | None:
        """Return the value of a parameter, or None if it does not exist."""
        return self[name] if name in self.texts else None

    def evaluated(self, text: str) -> float:
        """Evaluate an expression, with or without braces or quotes. Raises ValueError with the reason."""
        bare = text.strip(" ")
        if bare[:1] + bare[-1:] in ("{}", "''") and len(bare) > 1:
            bare = bare[1:-1]
        if len(bare) > LONGEST:
            raise ValueError(f"an expression of more than {LONGEST} characters")
        try:
            value = float(_Expression(bare, self).value())
        except (ArithmeticError, ValueError, TypeError) as error:
            raise ValueError(str(error) or type(error).__name__) from error
        if not math.isfinite(value):
            raise ValueError("it is not finite")
        return value


class _Expression:
    """One expression, by precedence climbing."""

    def __init__(self, text: str, parameters: Parameters) -> None:
        self.parameters, self.tokens, place = parameters, [], 0
        while place < len(text):
            if text[place] == " ":
                place += 1
                continue
            found = TOKEN.match(text, place)
            if found is None:
                raise ValueError(f'"{text[place : place + 20]}" is not understood')
            self.tokens.append((str(found.lastgroup), found[0]))
            place = found.end()
        self.tokens.append(("end", ""))
        self.depth = 0

    def value(self) -> float:
        """Return the value of the whole expression."""
        result = self._sum(0)
        if self.tokens[0][0] != "end":
            raise ValueError(f'"{self.tokens[0][1][:20]}" is not expected there')
        return result

    def _sum(self, least: int) -> float:
        """Evaluate operators with a precedence above ``least``."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError("too many brackets")
        left = self._operand()
        while self.tokens[0][1] in OPERATORS and OPERATORS[self.tokens[0][1]][0] > least:
            precedence, applied = OPERATORS[self._next()]
            left = applied(left, self._sum(precedence))
        self.depth -= 1
        return left

    def _operand(self) -> float:
        kind, text = self.tokens[0]
        self._next()
        if kind == "number":
            value = number(text)
            if value is not None:
                return value
        elif text in ("-", "+"):
            value = self._sum(SIGNS)
            return -value if text == "-" else value
        elif text == "(":
            return self._bracketed(1)[0]
        elif kind == "name" and self.tokens[0][1] == "(" and text in FUNCTIONS:
            count, function = FUNCTIONS[text]
            self._next()
            return float(function(*self._bracketed(count)))
        elif kind == "name" and self.tokens[0][1] != "(":
            return self.parameters[text]
        raise ValueError(f'"{text[:20]}" is not expected there' if text else "it ends too early")

    def _bracketed(self, count: int) -> list[float]:
        """Evaluate a number of values and the closing bracket."""
        values = [self._sum(0)]
        while self.tokens[0][1] == ",":
            self._next()
            values.append(self._sum(0))
        if self._next() != ")" or len(values) != count:
            raise ValueError(f"expected {count} value{'s' * (count > 1)} and a closing bracket")
        return values

    def _next(self) -> str:
        return self.tokens.pop(0)[1] if len(self.tokens) > 1 else self.tokens[0][1]
