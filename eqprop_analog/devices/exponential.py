"""Common parts of exponential junctions: thermal voltage with ngspice's constants, and the root with a resistor."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
from jaxtyping import Float

Array = np.ndarray
Celsius = TypeVar("Celsius", float, Array)
"""Degrees Celsius, a number or an array."""
Junction = Callable[[Float[Array, "..."]], tuple[Float[Array, "..."], Float[Array, "..."]]]
"""Current I(w), amperes, and slope dI/dw, siemens."""

# ngspice's constants (CODATA 2014). With the 2019 values, the surrogate and ngspice differ by 9e-8 V.
BOLTZMANN = 1.38064852e-23
ELEMENTARY_CHARGE = 1.6021766208e-19
ZERO_CELSIUS = 273.15

SETTLED = {np.dtype(np.float64): 1e-8, np.dtype(np.float32): 1e-4}
"""Newton step, relative to the voltage over which the slope changes, after which the next error is below rounding."""
STEPS = 100
"""Largest number of Newton steps; ordinary nodes take one or two, nodes held only by ngspice's reverse current about 12."""


UNITS = {"saturation_current": "A", "rail": "V", "celsius": "°C", "gmin": "S"}
"""Units of the junctions' parameters."""
BAND_GAP = 1.11
"""EG of SPICE's diode model, electronvolts."""
SATURATION_EXPONENT = 3.0
"""XTI of SPICE's diode model."""


def thermal_voltage(celsius: Celsius) -> Celsius:
    """Return V_T = k T / q, volts."""
    return BOLTZMANN * (celsius + ZERO_CELSIUS) / ELEMENTARY_CHARGE


def node_voltage(
    junction: Junction,
    saturation_current: float,
    thermal: float,
    rail: float,
    gmin: float,
    conductance: Float[Array, "..."],
    source: Float[Array, "..."],
) -> Float[Array, "..."]:
    """Return the root v of conductance·v - I(rail - v) - gmin·(rail - v) = source, volts.

    Newton's iteration on the junction starts at the root for I_S (exp(w/V) - 1), V = ``thermal``, and converges to
    rounding. It is computed in float64 for any precision, and rounded once. ``junction`` must not deviate from the
    exponential more than ngspice's.
    """
    dtype = np.result_type(conductance, source)
    total = np.add(conductance, gmin, dtype=np.float64)
    current = np.multiply(conductance, rail, dtype=np.float64) - source  # I(w) + total·w = current
    scale = total * thermal
    log_ratio = np.log(saturation_current / scale)
    w = thermal * (log_omega((current + saturation_current) / scale + log_ratio) - log_ratio)
    for _ in range(STEPS):
        flowing, slope = junction(w)
        step = (flowing + total * w - current) / (slope + total)
        w -= step
        if not (np.abs(step) > SETTLED[dtype] * (thermal - np.minimum(w, 0))).any():
            break
    return (rail - w).astype(dtype)


def log_omega(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """Solve u + exp u = z, u = ln ω(z) (Wright), to 1e-4 of max(1, |u|), in a third of the time of scipy's wrightomega."""
    small, large = np.exp(np.minimum(z, 1)), np.maximum(z, 1)
    u = np.where(z > 1, np.log(large - np.log(large)), z - small / (1 + (1 - 1 / np.e) * small))
    omega = np.exp(u)
    error, slope = omega + u - z, omega + 1
    return u - 2 * error * slope / (2 * slope * slope - error * omega)  # Halley's step


def heating(emission: Float[Array, "..."], nominal: float, celsius: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return I_S(T)/I_S(T_nom) of a junction, given its emission coefficient and T_nom and T in °C; see devices.junctions."""
    ratio = (celsius + ZERO_CELSIUS) / (nominal + ZERO_CELSIUS)
    gap = (ratio - 1) * BAND_GAP / (emission * thermal_voltage(celsius))
    return np.exp(gap + SATURATION_EXPONENT / emission * np.log(ratio))


def at_temperature(current: float, emission: float, options: Mapping[str, float]) -> tuple[float, tuple[str, ...]]:
    """Return I_S (A) at the circuit's temperature of a junction whose parameters hold at ``tnom``, and a note about it."""
    celsius, nominal = options["temp"], options["tnom"]
    if celsius == nominal:
        return current, ()
    with np.errstate(all="ignore"):  # the law refuses an invalid current
        heated = float(current * heating(np.array(emission), nominal, np.array(celsius)))
    where = f"at {nominal:g} C it is {current:g} A; the circuit is at {celsius:g} C"
    return heated, (f"the saturation current of the diodes becomes {heated:.6g} A in the network ({where})",)


def random_junction(random: np.random.Generator) -> dict[str, float]:
    """Draw the parameters of a junction for the agreement study."""
    return {
        "saturation_current": 10 ** random.uniform(-15, -6),
        "emission": random.uniform(1, 2.5),
        "celsius": random.uniform(-40, 125),
        "rail": random.uniform(-0.5, 1),
    }
