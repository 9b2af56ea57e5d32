"""ngspice's own junction diode, reverse branch and gmin included."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import wrightomega

from eqprop_analog.devices.law import require_finite, require_positive

Array = np.ndarray

# ngspice's constants (CODATA 2014). With the 2019 values the surrogate and ngspice part by 9e-8 V.
BOLTZMANN = 1.38064852e-23
ELEMENTARY_CHARGE = 1.6021766208e-19
ZERO_CELSIUS = 273.15

SETTLED = 1e-9
"""Relative step after which Newton's next error, its square, is below rounding."""
POLISH = 100
"""Steps at most; ordinary nodes take two, nodes that hang on the reverse current alone a dozen."""


@dataclass(frozen=True)
class NgspiceDiode:
    """I(w) = I_S (exp(w/nV_T) - 1) + g_min w, and I(w) = -I_S (1 + (3nV_T/we)³) + g_min w below w = -3nV_T.

    w = rail - v is the voltage across the junction of a diode from the rail into the node, so that the node loses
    i(v) = -I(rail - v). Source: ngspice 39, ``diosetup.c`` and ``dioload.c``, level 1 without breakdown or resistance.
    """

    saturation_current: float = 1e-9
    """I_S, amperes."""
    emission: float = 1.0
    """n, dimensionless."""
    rail: float = 0.2
    """Bias rail of the excitatory half, volts."""
    celsius: float = 27.0
    """Temperature of the junction and of its parameters, degrees Celsius."""
    gmin: float = 1e-12
    """Conductance that the simulator puts across every junction, siemens."""

    def __post_init__(self) -> None:
        """Raise ValueError for what is no diode."""
        require_positive(saturation_current=self.saturation_current, emission=self.emission)
        require_positive(**{"celsius above absolute zero": self.celsius + ZERO_CELSIUS})
        require_finite(rail=self.rail, gmin=self.gmin)
        if self.gmin < 0:
            raise ValueError(f"gmin must not be negative, got {self.gmin}")

    @property
    def thermal_voltage(self) -> float:
        """nV_T = n k T / q, volts."""
        return self.emission * BOLTZMANN * (self.celsius + ZERO_CELSIUS) / ELEMENTARY_CHARGE

    def _junction(self, w: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Current and slope of the junction without gmin."""
        i_s, v_t = self.saturation_current, self.thermal_voltage
        deep = np.minimum(w, -3 * v_t)
        cubed = self._cubed(deep)
        grown = np.exp(np.maximum(w, -3 * v_t) / v_t)
        reverse = w < -3 * v_t
        current = i_s * (np.where(reverse, -cubed, grown) - 1)
        slope = i_s * np.where(reverse, 3 * cubed / deep, grown / v_t)
        return current, slope

    def _cubed(self, deep: Float[Array, "..."]) -> Float[Array, "..."]:
        """(3nV_T/we)³ of the reverse branch."""
        ratio = (3 * self.thermal_voltage / np.e) / deep
        return ratio * ratio * ratio

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
        """The one root v of conductance·v + i(v) = source, volts.

        The exponential law has a closed form by the Wright ω function (ω + ln ω = z). One Newton step takes it over to
        ngspice's reverse branch; in float64 more of them, on the whole law, win the last bits.
        """
        i_s, v_t = self.saturation_current, self.thermal_voltage
        total = conductance + self.gmin
        current = conductance * self.rail - source  # I(w) + conductance·w = current
        scale = total * v_t
        level = (current + i_s) / scale
        log_ratio = np.log(i_s / scale)
        omega = wrightomega(level + log_ratio)
        with np.errstate(divide="ignore"):
            w = v_t * np.where(omega > 1, np.log(omega) - log_ratio, level - omega)
        deep = np.minimum(w, -3 * v_t)
        cubed = self._cubed(deep)
        w = w + i_s * (cubed + np.exp(deep / v_t)) / (total + 3 * i_s * cubed / deep)
        if w.dtype != np.float32:
            w = self._polish(w, total, current)
        return self.rail - w

    def _polish(
        self, w: Float[Array, "..."], total: Float[Array, "..."], current: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """Newton's iteration on I(w) + total·w = current to the last bits; it falls monotonically from above the root."""
        for _ in range(POLISH):
            junction, slope = self._junction(w)
            step = (junction + total * w - current) / (slope + total)
            w = w - step
            if (np.abs(step) <= SETTLED * (np.abs(w) + self.thermal_voltage)).all():
                break
        return w

    def mismatch(self, v: Float[Array, "..."], current: Float[Array, "..."]) -> Float[Array, "..."]:
        """``current`` - i(v), amperes."""
        return current - self.current(v)

    def in_spice(self) -> "NgspiceDiode":
        """Itself: this law is ngspice's."""
        return self

    @property
    def spice(self) -> tuple[str, dict[str, float]]:
        """Subcircuit ``diode`` with its saturation current (A) and emission coefficient."""
        return "diode", {"is": self.saturation_current, "n": self.emission}

    @property
    def options(self) -> dict[str, float]:
        """The simulator's gmin (S) and temperatures (°C)."""
        return {"gmin": self.gmin, "temp": self.celsius, "tnom": self.celsius}
