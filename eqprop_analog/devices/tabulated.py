"""A tabulated device: the piecewise-linear curve through its knots is the law, in NumPy and in SPICE."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.devices.law import (
    LARGEST_VOLTAGE,
    beyond_rounding,
    in_double_precision,
    require_celsius,
    require_rail,
    require_within,
)
from eqprop_analog.devices.spice_text import DEVICE, SCALES, require_definitions
from eqprop_analog.errors import UserError
from eqprop_analog.incoming import numbers

if TYPE_CHECKING:
    from eqprop_analog.devices.capabilities import CompiledNode

Array = np.ndarray

LEAST_SLOPE = 1e-12
"""Smallest slope beyond both ends of a table, siemens: the conductance of simulators across a junction."""
MOST_KNOTS = 20_000
LARGEST_CURRENT = 1e6
"""Amperes."""
PAIRS_A_LINE = 4
FAR = 1e3
"""Extension of a table beyond its ends, volts, for dialects whose function is constant outside its knots."""
DEVICE_TOLERANCES = {"reltol": 1e-9, "vntol": 1e-11}
"""Tolerances for transistors, whose internal nodes (0.1 to 1 S, against µS in a network) limit the rounding: 5e-10 V."""
SOURCE = re.compile(r"b\S*\s+anode\s+cathode\s+i\s*=\s*pwl\s*\(\s*v\s*\(\s*anode\s*,\s*cathode\s*\)\s*,([^()]*)\)\s*")
"""Pattern of the source in subcircuit tabulated, for ngspice."""
FUNCTIONS = {"ngspice": "pwl", "ltspice": "table", "xyce": "table"}
"""The linearly interpolating function of behavioural sources, by dialect."""


@dataclass(frozen=True)
class Tabulated:
    """I(w) = I_k + (w - w_k)(I_{k+1} - I_k)/(w_{k+1} - w_k) between knots, continued beyond both ends.

    w = rail - v is the voltage across a device from the rail into the node, so that the node loses i(v) = -I(rail - v).
    The currents must not decrease; beyond the ends, the slope is that of the outermost piece, or 1e-12 S if that is
    larger.

    A table made from a SPICE device (``device from-spice``) contains its subcircuit: ``own_subcircuit`` is then the
    same law with that device as its subcircuit.
    """

    subcircuit: ClassVar[str] = "tabulated"
    units: ClassVar[Mapping[str, str]] = {"voltages": "V", "currents": "A", "rail": "V"}

    voltages: tuple[float, ...]
    """w_k across the device, ascending, volts."""
    currents: tuple[float, ...]
    """I_k through the device, nondecreasing, amperes."""
    rail: float = 0.0
    """Bias rail of the excitatory half, volts."""
    spice_text: str = ""
    """SPICE text of the device from which the table was made, a two-pin subcircuit with its models; empty for none."""
    spice_name: str = ""
    """Name of that subcircuit."""
    spice_scale: float = 1.0
    """Metres of a unit of length in that text (ngspice's option scale)."""
    celsius: float = 27.0
    """Temperature at which the table holds, degrees Celsius."""
    as_device: bool = False
    """Whether SPICE uses the device itself instead of the table."""

    def __post_init__(self) -> None:
        """Raise UserError unless the table is monotone."""
        in_double_precision(self)
        voltages, currents = numbers(self.voltages, "voltages"), numbers(self.currents, "currents")
        object.__setattr__(self, "voltages", voltages)
        object.__setattr__(self, "currents", currents)
        if len(voltages) != len(currents) or not 2 <= len(voltages) <= MOST_KNOTS:
            raise UserError(
                f"voltages and currents: expected 2 to {MOST_KNOTS:,} of both, one current for each "
                f"voltage, got {len(voltages)} and "
                f"{len(currents)}"
            )
        for name, values, most in (("voltages", voltages, LARGEST_VOLTAGE), ("currents", currents, LARGEST_CURRENT)):
            if not np.abs(values).max() <= most:
                raise UserError(f"{name}: expected at most {most:g} in magnitude, got {np.abs(values).max():g}")
        falls = np.diff(voltages) <= 0
        if falls.any():
            k = int(np.argmax(falls))
            raise UserError(f"voltages: expected ascending values, got {voltages[k + 1]:g} V after {voltages[k]:g} V")
        falls = np.diff(currents) < 0
        if falls.any():
            k = int(np.argmax(falls))
            raise UserError(
                f"currents: expected values that do not decrease with the voltage, got {currents[k + 1]:g} A at "
                f"{voltages[k + 1]:g} V after {currents[k]:g} A"
            )
        require_rail(self.rail)
        require_celsius(self.celsius)
        self._require_device()
        if self.as_device and not (self.spice_text and self.spice_name):
            raise UserError("as_device: the table was not made from a SPICE device; leave out as_device")

    def _require_device(self) -> None:
        """Raise UserError if a device's text is not only definitions, and for an invalid name or scale."""
        for name in ("spice_text", "spice_name"):
            if not isinstance(getattr(self, name), str):
                raise UserError(f"{name}: expected text, got {type(getattr(self, name)).__name__}")
        if not isinstance(self.as_device, bool):
            raise UserError(f"as_device: expected true or false, got {self.as_device!r:.40}")
        require_within(*SCALES, spice_scale=self.spice_scale)
        if self.spice_text or self.spice_name:
            require_definitions(self.spice_text, self.spice_name)

    @cached_property
    def _knots(self) -> tuple[Float[Array, " knots"], Float[Array, " knots"], Float[Array, " pieces"]]:
        """w_k (V), I_k (A), and the slopes before, between and after the knots (S)."""
        w, current = np.array(self.voltages), np.array(self.currents)
        inside = np.diff(current) / np.diff(w)
        ends = np.maximum([inside[0], inside[-1]], LEAST_SLOPE)
        return w, current, np.concatenate([ends[:1], inside, ends[1:]])

    @cached_property
    def _charge(self) -> Float[Array, " knots"]:
        """∫ I dw from the first knot to each, watts."""
        w, current, _ = self._knots
        return np.concatenate([[0.0], np.cumsum(0.5 * (current[1:] + current[:-1]) * np.diff(w))])

    @cached_property
    def _extremes(self) -> tuple[list[Array], list[Array]]:
        """Smallest and largest of every 1, 2, 4, ... neighbouring slopes, for ``slopes_between``."""
        least, largest = [self._knots[2]], [self._knots[2]]
        while 2 ** len(least) <= len(least[0]):
            half = 2 ** (len(least) - 1)
            least.append(np.minimum(least[-1][:-half], least[-1][half:]))
            largest.append(np.maximum(largest[-1][:-half], largest[-1][half:]))
        return least, largest

    def _piece(self, w: Float[Array, "..."]) -> Int[Array, "..."]:
        """Return the index of the piece of each voltage; 0 is before the first knot."""
        return np.searchsorted(self._knots[0], w, side="right")

    def _on(self, w: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."], Int[Array, "..."]]:
        """Return the distance from the reference knot of a piece (V), the slope (S), and the index of the knot."""
        piece = self._piece(w)
        knot = np.maximum(piece - 1, 0)
        return w - self._knots[0][knot], self._knots[2][piece], knot

    def current(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """i(v) = -I(rail - v), amperes."""
        away, slope, knot = self._on(self.rail - np.asarray(v, np.float64))
        return -(self._knots[1][knot] + away * slope).astype(v.dtype)

    def slope(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """di/dv, siemens; not negative."""
        return self._knots[2][self._piece(self.rail - np.asarray(v, np.float64))].astype(v.dtype)

    def slopes_between(
        self, low: Float[Array, "..."], high: Float[Array, "..."]
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """See devices.capabilities: over all pieces between the voltages."""
        w = self._knots[0]
        first = np.searchsorted(w, self.rail - np.asarray(high), side="left")
        last = np.searchsorted(w, self.rail - np.asarray(low), side="right")
        level = np.floor(np.log2(last - first + 1)).astype(int)
        least, largest = np.empty(level.shape), np.empty(level.shape)
        for k in np.unique(level):
            here = level == k
            one, other = first[here], last[here] - 2**k + 1
            least[here] = np.minimum(self._extremes[0][k][one], self._extremes[0][k][other])
            largest[here] = np.maximum(self._extremes[1][k][one], self._extremes[1][k][other])
        return least, largest

    def cocontent(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """Φ(v) = ∫ i dv, watts: the integral of the device's current from the first knot to rail - v."""
        away, slope, knot = self._on(self.rail - np.asarray(v, np.float64))
        return self._charge[knot] + away * (self._knots[1][knot] + 0.5 * away * slope)

    def solve(self, conductance: Float[Array, "..."], source: Float[Array, "..."]) -> Float[Array, "..."]:
        """The root v of conductance·v + i(v) = source, volts: its piece by bisection over the knots, then by division."""
        dtype = np.result_type(conductance, source)
        g, s = np.broadcast_arrays(np.asarray(conductance, np.float64), np.asarray(source, np.float64))
        w, current, slopes = self._knots
        wanted = g * self.rail - s
        low, high = np.zeros(g.shape, int), np.full(g.shape, len(w))
        for _ in range(len(w).bit_length()):
            middle = (low + high) // 2
            at = np.minimum(middle, len(w) - 1)
            before = (g * w[at] + current[at] <= wanted) & (low < high)
            low, high = np.where(before, middle + 1, low), np.where(before | (low >= high), high, middle)
        knot = np.maximum(low - 1, 0)
        missing = wanted - g * w[knot] - current[knot]
        return (self.rail - w[knot] - missing / (g + slopes[low])).astype(dtype)

    def mismatch(self, v: Float[Array, "..."], current: Float[Array, "..."]) -> Float[Array, "..."]:
        """``current`` - i(v), amperes, minus the effect of rounding of v on a steep piece."""
        return beyond_rounding(self, v, current)

    def in_spice(self) -> Self:
        """The law itself: SPICE has the table as a piecewise-linear source, or the device."""
        return self

    def own_subcircuit(self) -> Self | None:
        """See devices.capabilities."""
        return replace(self, as_device=True) if self.spice_text else None

    @property
    def spice(self) -> tuple[str, dict[str, float]]:
        """Subcircuit ``tabulated``, or ``measured_device`` around the device's own; both without parameters."""
        return DEVICE if self.as_device else self.subcircuit, {}

    def subcircuit_text(self, dialect: str = "ngspice") -> str:
        """See devices.capabilities."""
        return self._device(dialect) if self.as_device else self._table(dialect)

    def _device(self, dialect: str) -> str:
        if dialect != "ngspice":
            raise UserError(
                f"the diode is the SPICE device {self.spice_name}, whose text is for ngspice; write the netlist for "
                "ngspice, or use the table (--devices table)"
            )
        return "\n".join(
            [
                f"* The user's subcircuit {self.spice_name}: from the rail to a node (anode to cathode), or from a node",
                "* to the other rail: the inhibitory half has the same device reversed. Vmeter measures its current.",
                self.spice_text.rstrip(),
                f".subckt {DEVICE} anode cathode",
                "Vmeter anode inside 0",
                f"Xdevice inside cathode {self.spice_name}",
                f".ends {DEVICE}",
            ]
        )

    def _table(self, dialect: str) -> str:
        if dialect not in FUNCTIONS:
            raise UserError(
                f"{dialect} has no behavioural sources that interpolate a table, and therefore no tabulated diode; "
                "use a junction (laws ngspice and shockley) or another --dialect"
            )
        w, current = self._written(dialect)
        pairs = [f"{v!r},{i!r}" for v, i in zip(w.tolist(), current.tolist(), strict=True)]
        lines = [",".join(pairs[k : k + PAIRS_A_LINE]) for k in range(0, len(pairs), PAIRS_A_LINE)]
        body = ",\n+ ".join(lines)
        source = f"{FUNCTIONS[dialect]}(V(anode,cathode),\n+ {body})"
        if dialect == "xyce":
            source = f"{{{source}}}"
        return "\n".join(
            [
                "* Tabulated device: pairs of volts (anode - cathode) and amperes; linear between and beyond them.",
                ".subckt tabulated anode cathode",
                f"Bd anode cathode I={source}",
                ".ends tabulated",
            ]
        )

    def _written(self, dialect: str) -> tuple[Float[Array, " pairs"], Float[Array, " pairs"]]:
        """Return the knots (V and A), including those that extend the ends as in the law."""
        w, current, slopes = self._knots
        if dialect != "ngspice":
            reached = current[0] - FAR * slopes[0], current[-1] + FAR * slopes[-1]
            return np.r_[w[0] - FAR, w, w[-1] + FAR], np.r_[reached[0], current, reached[1]]
        if slopes[1] >= slopes[0] and slopes[-2] >= slopes[-1]:  # ngspice continues the outermost piece
            return w, current
        return np.r_[w[0] - 1, w, w[-1] + 1], np.r_[current[0] - slopes[0], current, current[-1] + slopes[-1]]

    @classmethod
    def from_subcircuit(cls, lines: Sequence[str], value: Callable[[str], float], rail: float) -> Self:
        """See devices.capabilities."""
        found = SOURCE.fullmatch(lines[0]) if len(lines) == 1 else None
        words = found[1].split(",") if found else []
        if len(words) < 4 or len(words) % 2:
            raise UserError(
                "subcircuit tabulated: expected one source, Bd anode cathode I=pwl(V(anode,cathode), volts,amperes, "
                "...), with at least two pairs"
            )
        numbers = [value(word.strip()) for word in words]
        pairs = np.array(numbers[::2]), np.array(numbers[1::2])
        for inside in (slice(1, -1), slice(None)) if len(words) >= 8 else (slice(None),):
            law = cls(tuple(pairs[0][inside].tolist()), tuple(pairs[1][inside].tolist()), rail)
            if all(map(np.array_equal, law._written("ngspice"), pairs)):
                return law
        raise UserError(
            f"subcircuit tabulated: the slope of its outermost pieces is below {LEAST_SLOPE:g} S, so that ngspice "
            "does not continue them as the law does; expected at least that slope"
        )

    @property
    def options(self) -> dict[str, float]:
        """An abstol (A) for the table, whose steepest piece turns rounding into current; for a device, its tolerances."""
        if self.as_device:
            scale = {} if self.spice_scale == 1 else {"scale": self.spice_scale}
            return {**DEVICE_TOLERANCES, "temp": self.celsius, "tnom": 27.0, **scale}
        return {"abstol": max(1e-15, 1e-15 * float(self._knots[2].max()))}

    def scaled(self, k: float) -> Self:
        """See devices.capabilities; only the table, because transistor currents do not scale by a factor k everywhere."""
        currents = tuple(k * current for current in self.currents)
        return replace(self, currents=currents, spice_text="", spice_name="", spice_scale=1.0, as_device=False)

    def in_words(self) -> str:
        """See devices.capabilities."""
        made = f", made from subcircuit {self.spice_name}" if self.spice_name else ""
        return (
            f"{len(self.voltages)} knots from {self.voltages[0]:.4g} V, {self.currents[0]:.4g} A to "
            f"{self.voltages[-1]:.4g} V, {self.currents[-1]:.4g} A{made}, rail = {self.rail}"
        )

    def compiled_node(self, dtype: np.dtype[Any]) -> "CompiledNode":  # noqa: ARG002 - one formula for both
        """See devices.capabilities."""
        from eqprop_analog.devices.compiled import table_node

        return table_node(*self._knots, self.rail)
