"""The ideal diode of deep resistive networks, and the piecewise-linear one that replaces it in SPICE."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.law import (
    RESISTANCES,
    beyond_rounding,
    in_double_precision,
    require_finite,
    require_rail,
    require_within,
)
from eqprop_analog.errors import UserError

if TYPE_CHECKING:
    from eqprop_analog.devices.capabilities import CompiledNode

Array = np.ndarray

STAND_IN_RESISTANCE = 1e-6
"""R_on of its replacement in SPICE, ohms: a current of 1 mA displaces a clamped node by 1 nV."""


@dataclass(frozen=True)
class Clamp:
    """i(v) = min(v - rail, 0)/R_on; for R_on = 0, v >= rail and any i <= 0 at v = rail.

    Source: Scellier 2024, arXiv 2402.11674, section 3 (ideal diodes).

    >>> import numpy as np
    >>> import eqprop_analog as ea
    >>> law = ea.Clamp(rail=0.0)  # volts
    >>> law.solve(np.array([1e-6, 1e-6]), np.array([-1e-6, 2e-6])).tolist()  # siemens and amperes give volts
    [0.0, 2.0]
    """

    subcircuit: ClassVar[str] = "clamp"
    spice_parameters: ClassVar[Mapping[str, str]] = {"ron": "on_resistance"}
    units: ClassVar[Mapping[str, str]] = {"rail": "V", "on_resistance": "ohm"}

    rail: float = 0.0
    """Voltage below which an excitatory node cannot fall, volts."""
    on_resistance: float = 0.0
    """R_on, ohms; 0 is the ideal clamp."""

    def current(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """i(v), amperes; zero at and above the rail, and -inf below the rail of an ideal clamp."""
        below = np.minimum(v - self.rail, 0)
        if self.on_resistance == 0:
            return np.where(below < 0, -np.inf, 0).astype(v.dtype)
        return below / self.on_resistance

    def slope(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """di/dv, siemens: 1/R_on where the clamp carries current; an ideal clamp carries current at the rail."""
        if self.on_resistance == 0:
            return np.where(v <= self.rail, np.inf, 0).astype(v.dtype)
        return np.where(v < self.rail, 1 / self.on_resistance, 0).astype(v.dtype)

    def cocontent(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """Φ(v) = min(v - rail, 0)²/2R_on, watts; +inf where an ideal clamp forbids v."""
        below = np.minimum(v - self.rail, 0)
        if self.on_resistance == 0:
            return np.where(below < 0, np.inf, 0).astype(v.dtype)
        return below * below / (2 * self.on_resistance)

    def solve(self, conductance: Float[Array, "..."], source: Float[Array, "..."]) -> Float[Array, "..."]:
        """The root v of conductance·v + i(v) = source, volts: max(source/conductance, rail) for the ideal clamp."""
        v = source / conductance
        if self.on_resistance == 0:
            return np.maximum(v, self.rail)
        below = (conductance * self.rail - source) / (conductance + 1 / self.on_resistance)
        return np.where(v < self.rail, self.rail - below, v)

    def mismatch(self, v: Float[Array, "..."], current: Float[Array, "..."]) -> Float[Array, "..."]:
        """Difference between ``current`` and the clamp's current, amperes; an ideal clamp carries any current <= 0 at its rail.

        The steep side of a replacement turns the rounding of v into a current, which is not counted.
        """
        if self.on_resistance:
            return beyond_rounding(self, v, current)
        return np.where(v == self.rail, np.maximum(current, 0), current - self.current(v))

    def in_spice(self) -> "Clamp":
        """A clamp of 1 µΩ if this one is ideal, because SPICE has no element of unbounded slope."""
        return self if self.on_resistance else replace(self, on_resistance=STAND_IN_RESISTANCE)

    def __post_init__(self) -> None:
        """Raise UserError for invalid parameters."""
        in_double_precision(self)
        require_rail(self.rail)
        require_finite(on_resistance=self.on_resistance)
        if self.on_resistance != 0:
            require_within(*RESISTANCES, on_resistance=self.on_resistance)

    @property
    def spice(self) -> tuple[str, dict[str, float]]:
        """Subcircuit ``clamp`` with its on-resistance (ohms)."""
        return "clamp", {"ron": self.in_spice().on_resistance}

    @property
    def options(self) -> dict[str, float]:
        """An abstol (A) for the replacement: its slope turns the rounding of a node's voltage into this current."""
        return {"abstol": max(1e-15, 1e-15 / self.in_spice().on_resistance)}

    @classmethod
    def from_spice(
        cls,
        parameters: Mapping[str, float],
        rail: float,
        options: Mapping[str, float],  # noqa: ARG003 - no parameter depends on them
    ) -> tuple[Self, tuple[str, ...]]:
        """See devices.capabilities; the replacement of an ideal clamp becomes an ideal clamp."""
        return cls(rail, 0.0 if parameters["ron"] == STAND_IN_RESISTANCE else parameters["ron"]), ()

    @classmethod
    def drawn(cls, random: np.random.Generator, paired: bool = False) -> Self:
        """See devices.capabilities; half of the clamps are ideal, and ideal pairs leave a range of voltages between them."""
        rail = random.uniform(-0.5, 0.5)
        resistance = 0.0 if random.random() < 0.5 else 10 ** random.uniform(-3, 4)
        return cls(-abs(rail) if paired and not resistance else rail, resistance)

    def scaled(self, k: float) -> Self:
        """See devices.capabilities: an ideal clamp is unchanged. Raises UserError for a clamp with a resistance."""
        if self.on_resistance:
            raise UserError(
                f"mapping: {self} cannot be scaled to other conductances; use a junction or an ideal clamp, got k = "
                f"{k:g}"
            )
        return self

    @property
    def lowest(self) -> float | None:
        """The voltage below which the node of an ideal clamp cannot fall, volts; None for any other clamp."""
        return None if self.on_resistance else self.rail

    def compiled_node(self, dtype: np.dtype[Any]) -> "CompiledNode | None":  # noqa: ARG002 - the same in both
        """See devices.capabilities; only an ideal clamp has one."""
        if self.on_resistance:
            return None
        from eqprop_analog.devices.compiled import clamp_node

        return clamp_node(self.rail)
