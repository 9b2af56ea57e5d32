"""ngspice's junction diode with a series resistance, as in real diodes and most model cards."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.diode import NgspiceDiode
from eqprop_analog.devices.exponential import UNITS, at_temperature
from eqprop_analog.devices.law import in_double_precision, require_within

if TYPE_CHECKING:
    from eqprop_analog.devices.capabilities import CompiledNode

Array = np.ndarray

SERIES_RESISTANCES = (1e-6, 1e12)
"""Range of the series resistance RS, ohms."""
PIVOTS = 0.9
"""ngspice's ``pivrel``. With its default, 1e-3, a junction's slope of 0.7 S becomes a pivot when the matrix is ordered. When the
junction then blocks, with 1e-12 S, rounding alone keeps Newton's iteration from converging."""


@dataclass(frozen=True)
class DiodeWithResistance:
    """I(w) = J(w - R_S I(w)), with J the junction of devices.diode (exponential, ngspice's reverse branch, gmin).

    w = rail - v is the voltage across junction and resistance from the rail into the node, so that the node loses
    i(v) = -I(rail - v). A node with conductance D and source s is equivalent to that of the junction with D/(1 + D R_S)
    and s/(1 + D R_S).
    """

    subcircuit: ClassVar[str] = "diode_rs"
    spice_parameters: ClassVar[Mapping[str, str]] = {
        "is": "saturation_current",
        "n": "emission",
        "rs": "series_resistance",
    }
    junction_temperatures: ClassVar[tuple[str, ...]] = ("dtemp",)
    """Parameters of the subcircuit for a junction's own temperature: see devices.junctions."""
    units: ClassVar[Mapping[str, str]] = {**UNITS, "series_resistance": "ohm"}

    saturation_current: float = 1e-9
    """I_S, amperes."""
    emission: float = 1.0
    """n, dimensionless."""
    series_resistance: float = 10.0
    """R_S, ohms."""
    rail: float = 0.2
    """Bias rail of the excitatory half, volts."""
    celsius: float = 27.0
    """Temperature of the junction and of its parameters, degrees Celsius."""
    gmin: float = 1e-12
    """Conductance that the simulator connects across every junction, siemens."""

    def __post_init__(self) -> None:
        """Raise UserError for invalid parameters."""
        in_double_precision(self)
        require_within(*SERIES_RESISTANCES, series_resistance=self.series_resistance)
        _ = self.junction

    @cached_property
    def junction(self) -> NgspiceDiode:
        """The junction behind the resistance, including its rail."""
        return NgspiceDiode(self.saturation_current, self.emission, self.rail, self.celsius, self.gmin)

    @property
    def thermal_voltage(self) -> float:
        """nV_T = n k T / q, volts."""
        return self.junction.thermal_voltage

    def _inside(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """Voltage between resistance and junction, volts: the root of the junction with 1/R_S to the node."""
        wide = np.asarray(v, np.float64)
        between = 1 / np.asarray(self.series_resistance)
        return self.junction.solve(np.broadcast_to(between, wide.shape), wide * between)

    def current(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """i(v) = -I(rail - v), amperes: computed by the junction or by R_S, whichever is less steep."""
        inside = self._inside(v)
        with np.errstate(over="ignore", invalid="ignore"):
            steep = self.junction.slope(inside) * self.series_resistance > 1
            current = np.where(steep, (v - inside) / self.series_resistance, self.junction.current(inside))
        return current.astype(v.dtype)

    def slope(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """di/dv, siemens: the junction's slope and 1/R_S in series; positive."""
        return (1 / (self.series_resistance + 1 / self.junction.slope(self._inside(v)))).astype(v.dtype)

    def cocontent(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """Φ(v) = ∫ i dv, watts: that of the junction at its own voltage, plus R_S i²/2."""
        inside = self._inside(v)
        return self.junction.cocontent(inside) + 0.5 * self.series_resistance * self.junction.current(inside) ** 2

    def solve(self, conductance: Float[Array, "..."], source: Float[Array, "..."]) -> Float[Array, "..."]:
        """The root v of conductance·v + i(v) = source, volts."""
        dtype = np.result_type(conductance, source)
        wide, given = np.asarray(conductance, np.float64), np.asarray(source, np.float64)
        wide, given = wide / (reduced := 1 + wide * self.series_resistance), given / reduced
        inside = self.junction.solve(wide, given)
        return (inside + self.series_resistance * (given - wide * inside)).astype(dtype)

    def mismatch(self, v: Float[Array, "..."], current: Float[Array, "..."]) -> Float[Array, "..."]:
        """``current`` - i(v), amperes."""
        return current - self.current(v)

    def in_spice(self) -> "DiodeWithResistance":
        """The law itself, because it is ngspice's."""
        return self

    @property
    def spice(self) -> tuple[str, dict[str, float]]:
        """Subcircuit ``diode_rs`` with its saturation current (A), emission coefficient and series resistance (ohms)."""
        return "diode_rs", {"is": self.saturation_current, "n": self.emission, "rs": self.series_resistance}

    @property
    def options(self) -> dict[str, float]:
        """The simulator's gmin (S) and temperatures (°C), and its pivot threshold."""
        return {"gmin": self.gmin, "temp": self.celsius, "tnom": self.celsius, "pivrel": PIVOTS}

    @classmethod
    def from_spice(
        cls, parameters: Mapping[str, float], rail: float, options: Mapping[str, float]
    ) -> tuple[Self, tuple[str, ...]]:
        """See devices.capabilities; with the saturation current at the circuit's temperature."""
        current, notes = at_temperature(parameters["is"], parameters["n"], options)
        return cls(current, parameters["n"], parameters["rs"], rail, options["temp"], options["gmin"]), notes

    def scaled(self, k: float) -> Self:
        """See devices.capabilities."""
        resistance = self.series_resistance / k
        return replace(
            self, saturation_current=k * self.saturation_current, series_resistance=resistance, gmin=k * self.gmin
        )

    def compiled_node(self, dtype: np.dtype[Any]) -> "CompiledNode":  # noqa: ARG002 - one formula for both
        """See devices.capabilities."""
        from eqprop_analog.devices.compiled import resistive_diode_node

        return resistive_diode_node(
            self.saturation_current, self.thermal_voltage, self.series_resistance, self.rail, self.gmin
        )
