"""What a constitutive law must give so that both the mathematics and SPICE can use it."""

from dataclasses import fields
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from eqprop_analog.errors import UserError
from eqprop_analog.incoming import real_array, real_number

Array = np.ndarray

CELSIUS = (-270.0, 1500.0)
"""Temperatures of devices, degrees Celsius: from just above absolute zero to where silicon has melted."""
LARGEST_VOLTAGE = 1e6
"""Of a rail or a threshold, volts."""
SATURATION_CURRENTS = (1e-40, 1.0)
"""Of junctions, amperes."""
EMISSIONS = (0.01, 1000.0)
"""Emission coefficients n: 1 to 2 in silicon; anything that stays within floating point is left to the user."""
RESISTANCES = (1e-12, 1e24)
"""Of a device that conducts or blocks, ohms."""


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
        """i(v), amperes, at voltages ``v``."""
        ...

    def slope(self, v: Float[Array, "..."]) -> Float[Array, "..."]:
        """di/dv at ``v``, siemens; monotone in v, so that the ends of an interval bound it."""
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


PARTS = ("rail", "current", "slope", "cocontent", "solve", "mismatch", "in_spice", "spice", "options")
"""What a law has; see Law."""


def require_law(law: object, name: str = "diode") -> None:
    """UserError unless ``law`` has all that Law asks for."""
    if isinstance(law, type):
        raise UserError(f"{name}: expected a law, got the class {law.__name__}; make one, {law.__name__}()")
    missing = [part for part in PARTS if not hasattr(law, part)]
    if missing:
        raise UserError(f"{name}: expected a law with {', '.join(missing)} (devices.law.Law), got {type(law).__name__}")


def in_double_precision(device: Any) -> None:
    """Bring every number of a frozen dataclass into float64, in place, so that none computes in less. Raises UserError.

    An array of them, one a node, becomes float64 too; what is neither is left to the checks of the device.
    """
    for field in fields(device):
        value = getattr(device, field.name)
        if isinstance(value, np.ndarray) and value.ndim:
            object.__setattr__(device, field.name, real_array(value, field.name, float))
        elif isinstance(value, np.number | np.ndarray):
            object.__setattr__(device, field.name, real_number(value, field.name))


def require_finite(**parameters: object) -> None:
    """Raise UserError, naming the parameter, for text, true and false, NaN and infinity; of an array, for any of its entries."""
    for name, value in parameters.items():
        if not isinstance(value, np.ndarray) or not value.ndim:
            real_number(value, name)
        elif not real_array(value, name).size:
            raise UserError(f"{name} must be a number, or one number for each node, got an empty array")


def require_positive(**parameters: float) -> None:
    """Raise UserError, naming the parameter, for anything but a finite number, or array of them, above zero."""
    require_finite(**parameters)
    for name, value in parameters.items():
        if np.any(np.less_equal(value, 0)):
            raise UserError(f"{name} must be positive, got {value}")


def require_within(low: float, high: float, **parameters: float) -> None:
    """Raise UserError, naming the parameter, for anything but a number, or array of them, that a device may have."""
    require_finite(**parameters)
    for name, value in parameters.items():
        if np.any(np.less(value, low)) or np.any(np.greater(value, high)):
            raise UserError(f"{name} must be between {low:g} and {high:g}, got {value}")


def require_celsius(celsius: float) -> None:
    """Raise UserError for a temperature, or array of them, at which there is no such device."""
    require_within(*CELSIUS, celsius=celsius)


def require_rail(rail: float) -> None:
    """Raise UserError for a voltage that no supply has."""
    require_within(-LARGEST_VOLTAGE, LARGEST_VOLTAGE, rail=rail)


def beyond_rounding(law: Law, v: Float[Array, "..."], current: Float[Array, "..."]) -> Float[Array, "..."]:
    """``current`` - i(v) less what one rounding of v makes of it, amperes: a steep side makes amperes of it."""
    error = current - law.current(v)
    rounding = np.spacing(np.abs(v)) * law.slope(np.nextafter(v, -np.inf))
    return np.sign(error) * np.maximum(np.abs(error) - rounding, 0)
