"""ngspice's junction diode, including its reverse branch and gmin."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

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

if TYPE_CHECKING:
    from eqprop_analog.devices.capabilities import CompiledNode

Array = np.ndarray

EXP_3 = float(np.exp(-3))


@dataclass(frozen=True)
class NgspiceDiode:
    """I(w) = I_S (exp(w/nV_T) - 1) + g_min w, and I(w) = -I_S (1 + (3nV_T/we)³) + g_min w below w = -3nV_T.

    w = rail - v is the voltage across the junction of a diode from the rail into the node, so that the node loses
    i(v) = -I(rail - v). Source: ngspice 39, ``diosetup.c`` and ``dioload.c``, level 1 without breakdown or resistance.

    >>> import numpy as np
    >>> import eqprop_analog as ea
    >>> law = ea.NgspiceDiode(saturation_current=1e-9, rail=0.2)  # amperes, volts
    >>> [f"{i:.3g}" for i in law.current(np.array([-0.2, 0.5]))]  # amperes, out of the node
    ['-0.0052', '9.99e-10']
    """

    subcircuit: ClassVar[str] = "diode"
    spice_parameters: ClassVar[Mapping[str, str]] = {"is": "saturation_current", "n": "emission"}
    junction_temperatures: ClassVar[tuple[str, ...]] = ("dtemp",)
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
    gmin: float = 1e-12
    """Conductance that the simulator connects across every junction, siemens."""

    def __post_init__(self) -> None:
        """Raise UserError for invalid parameters."""
        in_double_precision(self)
        require_within(*SATURATION_CURRENTS, saturation_current=self.saturation_current)
        require_within(*EMISSIONS, emission=self.emission)
        require_celsius(self.celsius)
        require_rail(self.rail)
        require_within(0, 1, gmin=self.gmin)

    @property
    def thermal_voltage(self) -> float:
        """nV_T = n k T / q, volts."""
        return self.emission * thermal_voltage(self.celsius)

    def _junction(self, w: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Current and slope of the junction without gmin."""
        i_s, v_t = self.saturation_current, self.thermal_voltage
        knee = -3 * v_t
        deep = np.minimum(w, knee)
        grown = np.exp(np.maximum(w, knee) / v_t)
        ratio = knee / deep
        cubed = EXP_3 * ratio * ratio * ratio
        current = i_s * ((grown - 1) + (cubed - EXP_3))  # one of the two differences is constant in each branch
        return current, i_s * np.where(w < knee, -3 * cubed / deep, grown / v_t)

    def current(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """i(v) = -I(rail - v), amperes."""
        w = self.rail - v
        with np.errstate(over="ignore"):
            return -self._junction(w)[0] - self.gmin * w

    def slope(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """di/dv = I'(rail - v), siemens; positive."""
        with np.errstate(over="ignore"):
            return self._junction(self.rail - v)[1] + self.gmin

    def cocontent(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """Φ(v) = ∫ i dv, watts: the integral of the junction's current from w = 0 to rail - v."""
        w, i_s, v_t = self.rail - v, self.saturation_current, self.thermal_voltage
        knee = -3 * v_t
        with np.errstate(over="ignore"):
            forward = v_t * np.expm1(np.maximum(w, knee) / v_t) - np.maximum(w, knee)
        deeper = np.minimum(w, knee)
        reverse = -(deeper - knee) + (knee / -np.e) ** 3 / 2 * (1 / deeper**2 - 1 / knee**2)
        return i_s * (forward + reverse) + 0.5 * self.gmin * w**2

    def solve(self, conductance: Float[Array, "..."], source: Float[Array, "..."]) -> Float[Array, "..."]:
        """The root v of conductance·v + i(v) = source, volts."""
        i_s, v_t = self.saturation_current, self.thermal_voltage
        return node_voltage(self._junction, i_s, v_t, self.rail, self.gmin, conductance, source)

    def mismatch(self, v: Float[Array, "..."], current: Float[Array, "..."]) -> Float[Array, "..."]:
        """``current`` - i(v), amperes."""
        return current - self.current(v)

    def in_spice(self) -> "NgspiceDiode":
        """The law itself, because it is ngspice's."""
        return self

    @property
    def spice(self) -> tuple[str, dict[str, float]]:
        """Subcircuit ``diode`` with its saturation current (A) and emission coefficient."""
        return "diode", {"is": self.saturation_current, "n": self.emission}

    @property
    def options(self) -> dict[str, float]:
        """The simulator's gmin (S) and temperatures (°C)."""
        return {"gmin": self.gmin, "temp": self.celsius, "tnom": self.celsius}

    @classmethod
    def from_spice(
        cls, parameters: Mapping[str, float], rail: float, options: Mapping[str, float]
    ) -> tuple[Self, tuple[str, ...]]:
        """See devices.capabilities; with the saturation current at the circuit's temperature."""
        current, notes = at_temperature(parameters["is"], parameters["n"], options)
        return cls(current, parameters["n"], rail, options["temp"], options["gmin"]), notes

    @classmethod
    def drawn(cls, random: np.random.Generator, paired: bool = False) -> Self:  # noqa: ARG003 - pairs are not special
        """See devices.capabilities."""
        return cls(**random_junction(random))

    def scaled(self, k: float) -> Self:
        """See devices.capabilities."""
        return replace(self, saturation_current=k * self.saturation_current, gmin=k * self.gmin)

    def compiled_node(self, dtype: np.dtype[Any]) -> "CompiledNode":
        """See devices.capabilities."""
        from eqprop_analog.devices.compiled import diode_node

        return diode_node(self.saturation_current, self.thermal_voltage, self.rail, self.gmin, dtype)
