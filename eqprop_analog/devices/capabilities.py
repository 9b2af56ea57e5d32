"""Optional capabilities of a law in addition to devices.Law, and the consequences if a law lacks them.

- ``scaled(k)``: the law whose current is k times this one's. For impedance scaling to chips with another window; a
  network whose law lacks it is not scaled.
- ``drawn(random, paired)``, a class method: a random law, to be half of an antiparallel pair or not. For the agreement
  study, which omits laws without it.
- ``compiled_node(dtype)``: a CompiledNode, or None. For compiled training; without it, training uses NumPy, and
  says so.
- ``subcircuit``, ``spice_parameters`` and ``from_spice(parameters, rail, options)``, a class method that returns the law
  and a note about it. For netlists that are read back; without them, such a netlist is refused.
- ``units``: the SI unit of each parameter. For "1nA" in files, and for messages.
- ``junction_temperatures``: parameters of the subcircuit. For junctions of a chip, each with its own I_S, n and
  temperature.
- ``lowest``: the voltage below which a node cannot fall, if this describes the law completely. For training on a GPU,
  which uses ``solve`` and ``slope`` of any other law (kernels.torch.arrays).
- ``subcircuit_text(dialect)``: the subcircuit's text. For a law whose subcircuit is not a file in ``circuits/``.
- ``subcircuit`` and ``from_subcircuit(lines, value, rail)``, a class method that returns the law of a
  subcircuit in ngspice's language: ``lines`` are those between .subckt and .ends, in lower case; ``value`` converts a
  word to a number. For netlists that are read back.
- ``own_subcircuit()``: the law whose subcircuit is the device from which this law was made, or None. For solvers and
  netlists on request; its currents are then measured.
- ``in_words()``: the parameters in one line. For a law with many parameters.
- ``slopes_between(low, high)``: the smallest and the largest slope between two voltages. For a law whose slope is not
  monotone.

Each law states its capabilities itself; this module does not distinguish laws. DiodeLaw is a base class with some of
them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.law import Law
from eqprop_analog.errors import UserError

Array = np.ndarray

STEPS = 300
"""Largest number of steps; Newton's method alone takes about 12, bisection alone about 60."""
SCALING = 1e-9
"""Largest difference between a scaled law's current and k times the law's current, relative to the largest current."""


class DiodeLaw(ABC):
    """i = i(v): base class of a user's law, with defaults for the node solve, SPICE, and netlists in both directions.

    A frozen dataclass that inherits from it has a field ``rail``, and defines ``current``, ``slope`` and ``cocontent``.
    """

    rail: float
    """Voltage of the bias rail of the excitatory half, volts."""
    subcircuit: ClassVar[str]
    """Name of the subcircuit and of its file."""
    spice_parameters: ClassVar[Mapping[str, str]]
    """The field for each parameter of the subcircuit, such as {"vt": "threshold"}."""
    units: ClassVar[Mapping[str, str]] = {}
    """SI units of the fields."""

    @abstractmethod
    def current(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """i(v), amperes."""

    @abstractmethod
    def slope(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """di/dv, siemens."""

    @abstractmethod
    def cocontent(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """Φ(v), watts."""

    def solve(self, conductance: Float[Array, "..."], source: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the root v of conductance·v + i(v) = source, volts, by iteration (``root``); a closed form can override it."""
        return root(self, conductance, source)

    def mismatch(self, v: Float[Array, "..."], current: Float[Array, "..."]) -> Float[Array, "..."]:
        """``current`` - i(v), amperes."""
        return current - self.current(v)

    def in_spice(self) -> Self:
        """The law itself, because SPICE has it."""
        return self

    @property
    def spice(self) -> tuple[str, dict[str, float]]:
        """The subcircuit and its parameters from the fields."""
        return self.subcircuit, {key: getattr(self, name) for key, name in self.spice_parameters.items()}

    @property
    def options(self) -> dict[str, float]:
        """None."""
        return {}

    @classmethod
    def from_spice(
        cls,
        parameters: Mapping[str, float],
        rail: float,
        options: Mapping[str, float],  # noqa: ARG003 - simulator options, on which no field depends
    ) -> tuple[Self, tuple[str, ...]]:
        """Return the law of a subcircuit with these parameters, and a note about it."""
        make: Callable[..., Self] = cls
        own = {name: parameters[key.lower()] for key, name in cls.spice_parameters.items()}
        return make(**own, rail=rail), ()


@dataclass(frozen=True)
class CompiledNode:
    """A law's node solve inside compiled loops (kernels.numba.nodes)."""

    parameters: Any
    """A NamedTuple of numbers and arrays, of a class specific to this law; they are converted to the network's precision."""
    solve: Callable[[Any, float, float], float] | None = None
    """(parameters, conductance, source) → the root of one node: plain Python with ``math``, compiled by numba."""
    loop: Callable[[Any, Array, Array, Array], None] | None = None
    """Alternatively: (parameters, polarity, conductance, v) for a whole layer; replaces the currents in ``v`` by the roots."""


def root(law: Any, conductance: Float[Array, "..."], source: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return the root v of conductance·v + i(v) = source, volts, for any nondecreasing i, by bracketed Newton steps.

    It is computed in float64 and rounded once. The bracket is the residual at the rail, divided by the conductance.
    Every third step is a bisection, and also a step from a voltage at which the law overflows.
    """
    dtype = np.result_type(conductance, source)
    g, s = (np.multiply(values, 1, dtype=np.float64) for values in (conductance, source))
    rail = np.zeros_like(g * s) + law.rail
    with np.errstate(all="ignore"):
        missing = (s - g * rail - law.current(rail)) / g
        low, high = rail + np.minimum(missing, 0), rail + np.maximum(missing, 0)
        v = np.clip(s / g, low, high)
        for step in range(STEPS):
            error = g * v + law.current(v) - s
            low, high = np.where(error < 0, v, low), np.where(error > 0, v, high)
            moved = v - error / (g + law.slope(v))
            newton = np.isfinite(moved) & (low <= moved) & (moved <= high) & (step % 3 < 2)
            moved = np.where(newton, moved, 0.5 * (low + high))
            moved = np.where(error == 0, v, moved)
            settled = np.abs(moved - v) <= 2 * np.spacing(np.maximum(np.abs(v), abs(law.rail)))
            v = moved
            if settled.all():
                break
    return v.astype(dtype)


def scaled(law: Law, k: float) -> Law:
    """Return the law whose current is k times that of ``law``.

    Raises UserError if its ``scaled`` is missing or wrong.
    """
    scale = getattr(law, "scaled", None)
    if scale is None:
        raise UserError(
            f"mapping: {law} cannot be scaled to other conductances, because its law has no scaled(k); use a "
            "junction or ideal clamp"
        )
    other: Law = scale(k)
    v = law.rail + np.linspace(-1, 1, 41)
    with np.errstate(all="ignore"):
        wanted, found = k * np.asarray(law.current(v)), np.asarray(other.current(v))
    bounded = np.isfinite(wanted)
    largest = np.abs(wanted[bounded]).max(initial=0)
    if not np.allclose(found[bounded], wanted[bounded], rtol=SCALING, atol=SCALING * largest * 1e-6):
        raise UserError(f"mapping: {type(law).__name__}.scaled({k:g}) does not multiply its current by {k:g}")
    return other


def changes(one: Law, other: Law) -> str:
    """Describe the parameters that differ between two laws of a kind, with units; "" if none does.

    Long lists are abbreviated to their ends, and removed text to its name.
    """
    units: Mapping[str, str] = getattr(one, "units", {})
    pairs = [(f.name, getattr(one, f.name), getattr(other, f.name)) for f in fields(one)]  # type: ignore[arg-type]
    return ", ".join(
        f"without {name}"
        if becomes == ""
        else f"{name} from {_ends(was)} to {_ends(becomes)} {units.get(name, '')}".rstrip()
        for name, was, becomes in pairs
        if was != becomes
    )


def _ends(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({_ends(value[0])} ... {_ends(value[-1])})"
    return str(value) if isinstance(value, bool | str) else f"{value:.4g}"


def compiled_node(law: Law, dtype: np.dtype[Any]) -> CompiledNode | None:
    """Return the law's compiled node for that precision; None if it has none."""
    state = getattr(law, "compiled_node", None)
    return None if state is None else state(dtype)
