"""The protocol of a constitutive law, for both the surrogate and SPICE."""

from dataclasses import fields
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from eqprop_analog.errors import UserError
from eqprop_analog.incoming import real_array, real_number

Array = np.ndarray

CELSIUS = (-270.0, 1500.0)
"""Range of device temperatures, degrees Celsius: from just above absolute zero to above the melting point of silicon."""
LARGEST_VOLTAGE = 1e6
"""Largest voltage of a rail or a threshold, volts."""
SATURATION_CURRENTS = (1e-40, 1.0)
"""Range of the saturation current of junctions, amperes."""
EMISSIONS = (0.01, 1000.0)
"""Range of the emission coefficient n: 1 to 2 in silicon; other values are limited only by floating point."""
RESISTANCES = (1e-12, 1e24)
"""Range of the resistance of a conducting or blocking device, ohms."""


class Law(Protocol):
    """i = i(v), nondecreasing: the current that the diode of a hidden node draws from its node at voltage v.

    A law is written once, for the excitatory half of a layer: a diode from a rail *into* the node, which keeps the node
    above the rail. The inhibitory half is its mirror image, i_inh(v) = -i(-v), which the network computes. Arrays keep
    their dtype; voltages are in volts, currents in amperes, conductances in siemens.
    """

    @property
    def rail(self) -> float:
        """Voltage of the bias rail of the excitatory half, volts; that of the inhibitory half is -rail."""
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
        """The root v of conductance·v + i(v) = source, volts."""
        ...

    def mismatch(self, v: Float[Array, "..."], current: Float[Array, "..."]) -> Float[Array, "..."]:
        """Difference between ``current`` into the node and the diode's current at ``v``, amperes."""
        ...

    def in_spice(self) -> "Law":
        """The law that SPICE solves: this law, or a stated replacement if SPICE has no such element."""
        ...

    @property
    def spice(self) -> tuple[str, dict[str, float]]:
        """Name of the subcircuit (and of its file ``circuits/<name>.lib``) and its parameters."""
        ...

    @property
    def options(self) -> dict[str, float]:
        """Simulator options that this law needs."""
        ...


PARTS = ("rail", "current", "slope", "cocontent", "solve", "mismatch", "in_spice", "spice", "options")
"""Names of the methods of a law; see Law."""


def require_law(law: object, name: str = "diode") -> None:
    """Raise UserError unless ``law`` implements Law."""
    if isinstance(law, type):
        raise UserError(f"{name}: expected a law, got the class {law.__name__}; make one, {law.__name__}()")
    missing = [part for part in PARTS if not hasattr(law, part)]
    if missing:
        raise UserError(f"{name}: expected a law with {', '.join(missing)} (devices.law.Law), got {type(law).__name__}")


def in_double_precision(device: Any) -> None:
    """Convert every number of a frozen dataclass to float64, in place. Raises UserError.

    Arrays with one entry per node become float64, too; other values are left to the checks of the device.
    """
    for field in fields(device):
        value = getattr(device, field.name)
        if isinstance(value, np.ndarray) and value.ndim:
            object.__setattr__(device, field.name, real_array(value, field.name, float))
        elif isinstance(value, np.number | np.ndarray):
            object.__setattr__(device, field.name, real_number(value, field.name))


def require_finite(**parameters: object) -> None:
    """Raise UserError, which names the parameter, for text, true, false, NaN and infinity, also as an entry of an array."""
    for name, value in parameters.items():
        if not isinstance(value, np.ndarray) or not value.ndim:
            real_number(value, name)
        elif not real_array(value, name).size:
            raise UserError(f"{name} must be a number, or one number for each node, got an empty array")


def require_positive(**parameters: float) -> None:
    """Raise UserError, which names the parameter, unless it is a finite positive number or an array of them."""
    require_finite(**parameters)
    for name, value in parameters.items():
        if np.any(np.less_equal(value, 0)):
            raise UserError(f"{name} must be positive, got {value}")


def require_within(low: float, high: float, **parameters: float) -> None:
    """Raise UserError, which names the parameter, unless it is a number, or array of them, within the range of a device."""
    require_finite(**parameters)
    for name, value in parameters.items():
        if np.any(np.less(value, low)) or np.any(np.greater(value, high)):
            raise UserError(f"{name} must be between {low:g} and {high:g}, got {value}")


def require_celsius(celsius: float) -> None:
    """Raise UserError for a temperature, or array of them, outside the range of devices."""
    require_within(*CELSIUS, celsius=celsius)


def require_rail(rail: float) -> None:
    """Raise UserError for a voltage outside the range of supplies."""
    require_within(-LARGEST_VOLTAGE, LARGEST_VOLTAGE, rail=rail)


def beyond_rounding(law: Law, v: Float[Array, "..."], current: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return ``current`` - i(v) minus the effect of one rounding of v, amperes, which is large on a steep side."""
    error = current - law.current(v)
    rounding = np.spacing(np.abs(v)) * law.slope(np.nextafter(v, -np.inf))
    return np.sign(error) * np.maximum(np.abs(error) - rounding, 0)
