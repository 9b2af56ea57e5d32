"""A memristor with threshold voltages whose state moves exponentially fast beyond them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.law import require_finite, require_positive
from eqprop_analog.errors import UserError

Array = np.ndarray


@dataclass(frozen=True)
class Yakopcic2011:
    """i(v, x) = a x sinh(b v),   dx/dt = η g(v) f(v, x),   0 <= x <= 1.

    a is a₁ for v >= 0 and a₂ below. g is A_p (e^v - e^V_p) above V_p, -A_n (e^-v - e^V_n) below -V_n, and 0 between (v in
    volts). f is 1 until the state nears the end it moves to: for ηv >= 0 and x >= x_p, exp(-α_p (x - x_p)) (1 - x)/(1 - x_p);
    for ηv < 0 and x <= 1 - x_n, exp(α_n (x + x_n - 1)) x/(1 - x_n).

    Source: Yakopcic, Taha, Subramanyam, Pino & Rogers 2011, "A memristor device model", IEEE Electron Device Letters 32,
    1436; IEEE TCAD 32, 1201 (2013). The defaults are the authors' for the silver chalcogenide device of Oblea et al. 2010 (IJCNN)
    under 0.45 V, 100 Hz: millisiemens, switched in a millisecond.
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
    """η: 1 if a positive voltage raises x, else -1."""

    def __post_init__(self) -> None:
        """Raise UserError for what is no memristor."""
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

    def slope(self, v: Float[Array, "..."], state: Float[Array, "..."]) -> Float[Array, "..."]:
        """di/dv at a fixed state, siemens."""
        return self._amplitude(v) * self.b * state * np.cosh(self.b * v)

    def cocontent(self, v: Float[Array, "..."], state: Float[Array, "..."]) -> Float[Array, "..."]:
        """∫i dv from 0 at a fixed state, watts."""
        return self._amplitude(v) * state / self.b * 2 * np.sinh(self.b * v / 2) ** 2

    def conductance(self, state: Float[Array, "..."]) -> Float[Array, "..."]:
        """di/dv at v = 0+, siemens: a₁ b x."""
        return self.a1 * self.b * state

    def state(self, conductance: Float[Array, "..."]) -> Float[Array, "..."]:
        """The x whose conductance (S) at v = 0+ this is."""
        return conductance / (self.a1 * self.b)

    def rate(self, v: Float[Array, "..."], state: Float[Array, "..."]) -> Float[Array, "..."]:
        """dx/dt, 1/second."""
        above, below = np.maximum(v, self.vp), np.minimum(v, -self.vn)
        speed = self.ap * (np.exp(above) - np.exp(self.vp)) - self.an * (np.exp(-below) - np.exp(self.vn))
        late, early = np.maximum(state - self.xp, 0), np.minimum(state + self.xn - 1, 0)
        rising = np.exp(-self.alphap * late) * np.minimum((1 - state) / (1 - self.xp), 1)
        falling = np.exp(self.alphan * early) * np.minimum(state / (1 - self.xn), 1)
        return self.eta * speed * np.where(self.eta * v < 0, falling, rising)

    @property
    def spice(self) -> tuple[str, dict[str, float]]:
        """Subcircuit ``yakopcic2011`` (nets te, be, state) and its parameters; ``x0`` is the user's."""
        names = ("a1", "a2", "b", "vp", "vn", "ap", "an", "xp", "xn", "alphap", "alphan", "eta")
        return "yakopcic2011", {name: float(getattr(self, name)) for name in names}
