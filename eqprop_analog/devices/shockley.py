"""The exponential junction of textbooks, in both directions."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.exponential import node_voltage, thermal_voltage
from eqprop_analog.devices.law import EMISSIONS, SATURATION_CURRENTS, require_celsius, require_rail, require_within

Array = np.ndarray

GMIN = 1e-12
"""Siemens that the simulator puts across its junction, and that ``circuits/shockley.lib`` takes away again."""


@dataclass(frozen=True)
class Shockley:
    """I(w) = I_S (exp(w/nV_T) - 1).

    w = rail - v is the voltage across the junction of a diode from the rail into the node, so that the node loses
    i(v) = -I(rail - v). Source: Shockley 1949, Bell System Technical Journal 28, 435.
    """

    saturation_current: float = 1e-9
    """I_S, amperes."""
    emission: float = 1.0
    """n, dimensionless."""
    rail: float = 0.2
    """Bias rail of the excitatory half, volts."""
    celsius: float = 27.0
    """Temperature of the junction and of its parameters, degrees Celsius."""

    def __post_init__(self) -> None:
        """Raise ValueError for what is no diode."""
        require_within(*SATURATION_CURRENTS, saturation_current=self.saturation_current)
        require_within(*EMISSIONS, emission=self.emission)
        require_celsius(self.celsius)
        require_rail(self.rail)

    @property
    def thermal_voltage(self) -> float:
        """nV_T = n k T / q, volts."""
        return self.emission * thermal_voltage(self.celsius)

    def _junction(self, w: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Current and slope."""
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
        """The one root v of conductance·v + i(v) = source, volts."""
        i_s, v_t = self.saturation_current, self.thermal_voltage
        return node_voltage(self._junction, i_s, v_t, self.rail, 0.0, conductance, source)

    def mismatch(self, v: Float[Array, "..."], current: Float[Array, "..."]) -> Float[Array, "..."]:
        """``current`` - i(v), amperes."""
        return current - self.current(v)

    def in_spice(self) -> "Shockley":
        """Itself: ``circuits/shockley.lib`` is exact."""
        return self

    @property
    def spice(self) -> tuple[str, dict[str, float]]:
        """Subcircuit ``shockley`` with its saturation current (A) and emission coefficient."""
        return "shockley", {"is": self.saturation_current, "n": self.emission}

    @property
    def options(self) -> dict[str, float]:
        """The simulator's gmin (S), which the subcircuit takes away, and its temperatures (°C)."""
        return {"gmin": GMIN, "temp": self.celsius, "tnom": self.celsius}
