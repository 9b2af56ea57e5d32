"""What a constitutive law must give so that both the mathematics and SPICE can use it."""

import math
from typing import Protocol

import numpy as np
from jaxtyping import Float

from eqprop_analog.errors import UserError

Array = np.ndarray


class Law(Protocol):
    """i = i(v), nondecreasing: the current that one hidden node's diode draws out of its node at voltage v.

    A law is written once, for the excitatory half of a layer (a diode from a rail *into* the node, which keeps the node
    above the rail). The inhibitory half is its mirror image, i_inh(v) = -i(-v), and whoever uses the law mirrors it.
    Arrays keep their dtype; voltages are in volts, currents in amperes, conductances in siemens.
    """

    @property
    def rail(self) -> float:
        """Voltage of the bias rail of the excitatory half, volts; the inhibitory half hangs on -rail."""
        ...

    def current(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """i(v), amperes."""
        ...

    def slope(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """di/dv, siemens."""
        ...

    def cocontent(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """Φ(v) = ∫ i dv, watts, up to a constant."""
        ...

    def solve(self, conductance: Float[Array, "..."], source: Float[Array, "..."]) -> Float[Array, "..."]:
        """The one root v of conductance·v + i(v) = source, volts."""
        ...

    def mismatch(self, v: Float[Array, "..."], current: Float[Array, "..."]) -> Float[Array, "..."]:
        """How far ``current`` flowing into the node is from what the diode can carry at ``v``, amperes."""
        ...

    def in_spice(self) -> "Law":
        """The law that SPICE solves in place of this one: itself, or a stated stand-in where SPICE has no such element."""
        ...

    @property
    def spice(self) -> tuple[str, dict[str, float]]:
        """Name of the subcircuit (and of its file ``circuits/<name>.lib``) and its parameters."""
        ...

    @property
    def options(self) -> dict[str, float]:
        """Simulator options that this law needs to be what it says."""
        ...


def require_finite(**parameters: object) -> None:
    """Raise UserError, naming the parameter, for text, true and false, NaN and infinity; of an array, for any of its entries."""
    for name, value in parameters.items():
        entries = value.tolist() if isinstance(value, np.ndarray) else (value,)
        for entry in entries:
            if not isinstance(entry, int | float) or isinstance(entry, bool) or not math.isfinite(entry):
                raise UserError(f"{name} must be a finite number, got {entry!r}")


def require_positive(**parameters: float) -> None:
    """Raise UserError, naming the parameter, for anything but a finite number, or array of them, above zero."""
    require_finite(**parameters)
    for name, value in parameters.items():
        if np.any(np.less_equal(value, 0)):
            raise UserError(f"{name} must be positive, got {value}")


def beyond_rounding(law: Law, v: Float[Array, "..."], current: Float[Array, "..."]) -> Float[Array, "..."]:
    """``current`` - i(v) less what one rounding of v makes of it, amperes: a steep side makes amperes of it."""
    error = current - law.current(v)
    rounding = np.spacing(np.abs(v)) * law.slope(np.nextafter(v, -np.inf))
    return np.sign(error) * np.maximum(np.abs(error) - rounding, 0)
