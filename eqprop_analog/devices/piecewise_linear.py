"""The diode of behavioural circuit models: one resistance when it blocks, another when it conducts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.law import (
    LARGEST_VOLTAGE,
    RESISTANCES,
    beyond_rounding,
    in_double_precision,
    require_rail,
    require_within,
)
from eqprop_analog.errors import UserError

Array = np.ndarray


@dataclass(frozen=True)
class PiecewiseLinear:
    """I(w) = w/R_off below V_th, continuous, with slope 1/R_on above.

    w = rail - v is the voltage across a diode from the rail into the node, so that the node loses i(v) = -I(rail - v).
    Source: Watfa, Garcia-Ortiz, Sassatelli 2023, Frontiers in Computational Neuroscience 17, 1114651 (EBANA), its
    defaults.

    >>> import numpy as np
    >>> import eqprop_analog as ea
    >>> law = ea.PiecewiseLinear(rail=0.2)  # volts
    >>> [f"{i:.3g}" for i in law.current(np.array([-0.5, 0.2]))]  # amperes, out of the node
    ['-0.55', '0']
    """

    subcircuit: ClassVar[str] = "piecewise_linear"
    spice_parameters: ClassVar[Mapping[str, str]] = {
        "vth": "threshold",
        "ron": "on_resistance",
        "roff": "off_resistance",
    }
    units: ClassVar[Mapping[str, str]] = {
        "threshold": "V",
        "on_resistance": "ohm",
        "off_resistance": "ohm",
        "rail": "V",
    }

    threshold: float = 0.15
    """V_th, volts."""
    on_resistance: float = 1.0
    """R_on, ohms."""
    off_resistance: float = 1e20
    """R_off, ohms."""
    rail: float = 0.15
    """Bias rail of the excitatory half, volts; the default keeps the node above 0 V."""

    def __post_init__(self) -> None:
        """Raise UserError for invalid parameters."""
        in_double_precision(self)
        require_within(*RESISTANCES, on_resistance=self.on_resistance, off_resistance=self.off_resistance)
        require_within(-LARGEST_VOLTAGE, LARGEST_VOLTAGE, threshold=self.threshold)
        require_rail(self.rail)
        if np.any(np.less(self.off_resistance, self.on_resistance)):
            raise UserError(f"off_resistance must not be below on_resistance, got {self.off_resistance}")

    @property
    def knee(self) -> float:
        """Voltage of the node below which the diode conducts, rail - V_th, volts."""
        return self.rail - self.threshold

    def current(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """i(v) = -I(rail - v), amperes."""
        below = np.minimum(v - self.knee, 0)
        above = np.maximum(v, self.knee) - self.rail
        return above / self.off_resistance + below / self.on_resistance

    def slope(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """di/dv, siemens: 1/R_on where the diode conducts, 1/R_off elsewhere."""
        return np.where(v < self.knee, 1 / self.on_resistance, 1 / self.off_resistance).astype(v.dtype)

    def cocontent(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """Φ(v) = ∫ i dv, watts, from v = rail."""
        below = np.minimum(v - self.knee, 0)
        above = np.maximum(v, self.knee) - self.rail
        at_knee = -self.threshold / self.off_resistance
        return above * above / (2 * self.off_resistance) + below * (at_knee + below / (2 * self.on_resistance))

    def solve(self, conductance: Float[Array, "..."], source: Float[Array, "..."]) -> Float[Array, "..."]:
        """The root v of conductance·v + i(v) = source, volts, by cases."""
        off, on = 1 / self.off_resistance, 1 / self.on_resistance
        blocking = (source + off * self.rail) / (conductance + off)
        missing = conductance * self.knee - off * self.threshold - source
        return np.where(blocking < self.knee, self.knee - missing / (conductance + on), blocking)

    def mismatch(self, v: Float[Array, "..."], current: Float[Array, "..."]) -> Float[Array, "..."]:
        """``current`` - i(v), amperes, minus the effect of rounding of v on the steep side."""
        return beyond_rounding(self, v, current)

    def in_spice(self) -> "PiecewiseLinear":
        """The law itself; ``circuits/piecewise_linear.lib`` is exact."""
        return self

    @property
    def spice(self) -> tuple[str, dict[str, float]]:
        """Subcircuit ``piecewise_linear`` with threshold (V) and resistances (ohms)."""
        return "piecewise_linear", {"vth": self.threshold, "ron": self.on_resistance, "roff": self.off_resistance}

    @property
    def options(self) -> dict[str, float]:
        """An abstol (A): the conducting slope turns the rounding of a node's voltage into this current."""
        return {"abstol": max(1e-15, 1e-15 / self.on_resistance)}

    @classmethod
    def from_spice(
        cls,
        parameters: Mapping[str, float],
        rail: float,
        options: Mapping[str, float],  # noqa: ARG003 - no parameter depends on them
    ) -> tuple[Self, tuple[str, ...]]:
        """See devices.capabilities."""
        return cls(parameters["vth"], parameters["ron"], parameters["roff"], rail), ()

    @classmethod
    def drawn(cls, random: np.random.Generator, paired: bool = False) -> Self:  # noqa: ARG003 - pairs are not special
        """See devices.capabilities."""
        resistances = 10 ** random.uniform(-1, 4), 10 ** random.uniform(6, 20)
        return cls(random.uniform(0, 0.7), *resistances, rail=random.uniform(-0.5, 0.5))
