"""A memristor with threshold voltages, above which its state changes exponentially fast."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.integrate import cumulative_trapezoid

from eqprop_analog.devices.conductance.table_pulses import TablePulses
from eqprop_analog.devices.law import require_finite, require_positive
from eqprop_analog.errors import UserError

Array = np.ndarray

RAMP = 0.01
"""Rise time and fall time of a pulse, as a fraction of its width."""
GRID = 4001
"""Number of states on which a pulse's curve is integrated."""
POINTS = 501
"""Number of points of the resulting table."""


@dataclass(frozen=True)
class Yakopcic2011:
    """i(v, x) = a x sinh(b v),   dx/dt = η g(v) f(v, x),   0 <= x <= 1.

    a is a₁ for v >= 0 and a₂ below. g is A_p (e^v - e^V_p) above V_p, -A_n (e^-v - e^V_n) below -V_n, and 0 between (v
    in volts). f is 1 until the state approaches the end towards which it moves: for ηv >= 0 and x >= x_p, exp(-α_p (x -
    x_p)) (1 - x)/(1 - x_p); for ηv < 0 and x <= 1 - x_n, exp(α_n (x + x_n - 1)) x/(1 - x_n).

    Source: Yakopcic, Taha, Subramanyam, Pino & Rogers 2011, "A memristor device model", IEEE Electron Device Letters 32,
    1436; IEEE TCAD 32, 1201 (2013). The defaults are the authors' for the silver chalcogenide device of Oblea et al.
    2010 (IJCNN) under 0.45 V, 100 Hz: millisiemens, switched in a millisecond.
    """

    a1: float = 0.17
    """a₁, amperes."""
    a2: float = 0.17
    """a₂, amperes."""
    b: float = 0.05
    """1/volt."""
    vp: float = 0.16
    """V_p, volts."""
    vn: float = 0.15
    """V_n, volts."""
    ap: float = 4000.0
    """A_p, 1/second."""
    an: float = 4000.0
    """A_n, 1/second."""
    xp: float = 0.3
    """x_p."""
    xn: float = 0.5
    """x_n."""
    alphap: float = 1.0
    """α_p."""
    alphan: float = 5.0
    """α_n."""
    eta: int = 1
    """η: 1 if a positive voltage increases x, else -1."""

    def __post_init__(self) -> None:
        """Raise UserError for invalid parameters."""
        require_positive(a1=self.a1, a2=self.a2, b=self.b, ap=self.ap, an=self.an)
        require_finite(vp=self.vp, vn=self.vn, alphap=self.alphap, alphan=self.alphan)
        if min(self.vp, self.vn, self.alphap, self.alphan) < 0:
            raise UserError(f"vp, vn, alphap and alphan must not be negative, got {self}")
        if not (0 <= self.xp < 1 and 0 <= self.xn < 1):
            raise UserError(f"xp and xn must lie in 0 ... 1, below 1, got {self.xp} and {self.xn}")
        if self.eta not in (1, -1):
            raise UserError(f"eta must be 1 or -1, got {self.eta}")

    def _amplitude(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        return np.where(v < 0, self.a2, self.a1)

    def current(self, v: Float[Array, "..."], state: Float[Array, "..."]) -> Float[Array, "..."]:
        """i(v, x) from the top electrode to the bottom one, amperes."""
        return self._amplitude(v) * state * np.sinh(self.b * v)

    def conductance(self, state: Float[Array, "..."]) -> Float[Array, "..."]:
        """di/dv at v = 0+, siemens: a₁ b x."""
        return self.a1 * self.b * state

    def state(self, conductance: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the state x for a conductance (S) at v = 0+."""
        return conductance / (self.a1 * self.b)

    def rate(self, v: Float[Array, "..."], state: Float[Array, "..."]) -> Float[Array, "..."]:
        """dx/dt, 1/second."""
        above, below = np.maximum(v, self.vp), np.minimum(v, -self.vn)
        speed = self.ap * (np.exp(above) - np.exp(self.vp)) - self.an * (np.exp(-below) - np.exp(self.vn))
        late, early = np.maximum(state - self.xp, 0), np.minimum(state + self.xn - 1, 0)
        rising = np.exp(-self.alphap * late) * np.minimum((1 - state) / (1 - self.xp), 1)
        falling = np.exp(self.alphan * early) * np.minimum(state / (1 - self.xn), 1)
        return self.eta * speed * np.where(self.eta * v < 0, falling, rising)

    def dose(self, volts: float, width: float) -> float:
        """Return ∫g dt of a pulse of ``volts`` and ``width`` (s), with rise and fall of RAMP: the change of x for f = 1.

        Because dx/dt = η g(v(t)) f(x), pulses of any shape move the state along the same curve, by a distance given by
        their dose.
        """
        ramp = RAMP * width
        time = np.concatenate([np.linspace(0, ramp, 501), np.linspace(ramp + width, 2 * ramp + width, 501)])
        rate = self.rate(
            volts * np.clip(np.minimum(time, 2 * ramp + width - time) / ramp, 0, 1), np.full_like(time, 0.5)
        )
        still = self.rate(np.array(volts), np.array(0.5))
        return abs(float(np.trapezoid(rate, time) / still)) * abs(self._speed(volts))

    def _speed(self, volts: float) -> float:
        """g, 1/second, at constant voltage."""
        if volts > self.vp:
            return float(self.ap * (np.exp(volts) - np.exp(self.vp)))
        return float(-self.an * (np.exp(-volts) - np.exp(self.vn))) if volts < -self.vn else 0.0

    def pulses(self, volts: float, width: float, states: tuple[float, float]) -> TablePulses:
        """Return the law of pulses of ±``volts`` and ``width`` (s) in the window of conductances between two ``states``.

        Raises UserError for pulses below a threshold, and for states that do not form a window.
        """
        low, high = states
        if not 0 < low < high < 1:
            raise UserError(f"states: expected 0 < lowest < highest < 1, got {low:g} and {high:g}")
        x = np.linspace(low, high, GRID)
        curves = []
        for sign in (1, -1):
            applied = sign * self.eta * abs(volts)
            if not self._speed(applied):
                raise UserError(
                    f"pulses: expected more than {self.vp:g} V and {self.vn:g} V, the thresholds, got {abs(volts):g} V"
                )
            slowing = np.abs(self.rate(np.full(GRID, applied), x)) / abs(self._speed(applied))
            doses = cumulative_trapezoid(1 / slowing, x, initial=0)
            number = doses / self.dose(applied, width)
            place = np.interp(np.linspace(0, number[-1], POINTS), number, (x - low) / (high - low))
            curves.append((place, float(number[-1])))
        (rise, up), (fall, down) = curves
        rise[[0, -1]] = fall[[0, -1]] = 0, 1
        return TablePulses(tuple(rise.tolist()), tuple(fall[::-1].tolist()), up, down, "stochastic")

    @property
    def spice(self) -> tuple[str, dict[str, float]]:
        """Subcircuit ``yakopcic2011`` (nets te, be, state) and its parameters; the user sets ``x0``."""
        names = ("a1", "a2", "b", "vp", "vn", "ap", "an", "xp", "xn", "alphap", "alphan", "eta")
        return "yakopcic2011", {name: float(getattr(self, name)) for name in names}
