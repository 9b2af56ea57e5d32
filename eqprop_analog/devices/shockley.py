"""The exponential junction of textbooks, in both directions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.exponential import UNITS, at_temperature, node_voltage, random_junction, thermal_voltage
from eqprop_analog.devices.law import (
    EMISSIONS,
    SATURATION_CURRENTS,
    in_double_precision,
    require_celsius,
    require_rail,
    require_within,
)

Array = np.ndarray

GMIN = 1e-12
"""Conductance, siemens, that the simulator connects across its junction, and that ``circuits/shockley.lib`` cancels."""


@dataclass(frozen=True)
class Shockley:
    """I(w) = I_S (exp(w/nV_T) - 1).

    w = rail - v is the voltage across the junction of a diode from the rail into the node, so that the node loses
    i(v) = -I(rail - v). Source: Shockley 1949, Bell System Technical Journal 28, 435.

    >>> import numpy as np
    >>> import eqprop_analog as ea
    >>> law = ea.Shockley(saturation_current=1e-9, rail=0.2)  # amperes, volts
    >>> [f"{i:.3g}" for i in law.current(np.array([-0.2, 0.2]))]  # amperes, out of the node
    ['-0.0052', '-0']
    """

    subcircuit: ClassVar[str] = "shockley"
    spice_parameters: ClassVar[Mapping[str, str]] = {"is": "saturation_current", "n": "emission"}
    junction_temperatures: ClassVar[tuple[str, ...]] = ("dtemp", "above")
    """Parameters of the subcircuit for a junction's own temperature: see devices.junctions."""
    units: ClassVar[Mapping[str, str]] = UNITS

    saturation_current: float = 1e-9
    """I_S, amperes."""
    emission: float = 1.0
    """n, dimensionless."""
    rail: float = 0.2
    """Bias rail of the excitatory half, volts."""
    celsius: float = 27.0
    """Temperature of the junction and of its parameters, degrees Celsius."""

    def __post_init__(self) -> None:
        """Raise UserError for invalid parameters."""
        in_double_precision(self)
        require_within(*SATURATION_CURRENTS, saturation_current=self.saturation_current)
        require_within(*EMISSIONS, emission=self.emission)
        require_celsius(self.celsius)
        require_rail(self.rail)

    @property
    def thermal_voltage(self) -> float:
        """nV_T = n k T / q, volts."""
        return self.emission * thermal_voltage(self.celsius)

    def _junction(self, w: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Current and slope of the junction."""
        current = self.saturation_current * np.expm1(w / self.thermal_voltage)
        return current, (current + self.saturation_current) / self.thermal_voltage

    def current(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """i(v) = -I(rail - v), amperes."""
        with np.errstate(over="ignore"):
            return -self._junction(self.rail - v)[0]

    def slope(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """di/dv = I'(rail - v), siemens; not negative."""
        with np.errstate(over="ignore"):
            return self._junction(self.rail - v)[1]

    def cocontent(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """Φ(v) = ∫ i dv, watts: the integral of the junction's current from w = 0 to rail - v."""
        w, v_t = self.rail - v, self.thermal_voltage
        with np.errstate(over="ignore"):
            return self.saturation_current * (v_t * np.expm1(w / v_t) - w)

    def solve(self, conductance: Float[Array, "..."], source: Float[Array, "..."]) -> Float[Array, "..."]:
        """The root v of conductance·v + i(v) = source, volts."""
        i_s, v_t = self.saturation_current, self.thermal_voltage
        return node_voltage(self._junction, i_s, v_t, self.rail, 0.0, conductance, source)

    def mismatch(self, v: Float[Array, "..."], current: Float[Array, "..."]) -> Float[Array, "..."]:
        """``current`` - i(v), amperes."""
        return current - self.current(v)

    def in_spice(self) -> "Shockley":
        """The law itself; ``circuits/shockley.lib`` is exact."""
        return self

    @property
    def spice(self) -> tuple[str, dict[str, float]]:
        """Subcircuit ``shockley`` with its saturation current (A) and emission coefficient."""
        return "shockley", {"is": self.saturation_current, "n": self.emission}

    @property
    def options(self) -> dict[str, float]:
        """The simulator's gmin (S), which the subcircuit cancels, and its temperatures (°C)."""
        return {"gmin": GMIN, "temp": self.celsius, "tnom": self.celsius}

    @classmethod
    def from_spice(
        cls, parameters: Mapping[str, float], rail: float, options: Mapping[str, float]
    ) -> tuple[Self, tuple[str, ...]]:
        """See devices.capabilities; with the saturation current at the circuit's temperature."""
        current, notes = at_temperature(parameters["is"], parameters["n"], options)
        return cls(current, parameters["n"], rail, options["temp"]), notes

    @classmethod
    def drawn(cls, random: np.random.Generator, paired: bool = False) -> Self:  # noqa: ARG003 - pairs are not special
        """See devices.capabilities."""
        return cls(**random_junction(random))

    def scaled(self, k: float) -> Self:
        """See devices.capabilities."""
        return replace(self, saturation_current=k * self.saturation_current)
