"""The junctions of one chip: one law, each diode with parameters and a temperature of its own."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.diode import NgspiceDiode
from eqprop_analog.devices.exponential import ZERO_CELSIUS, thermal_voltage
from eqprop_analog.devices.shockley import Shockley

Array = np.ndarray

BAND_GAP = 1.11
"""EG of SPICE's diode model, electronvolts."""
SATURATION_EXPONENT = 3.0
"""XTI of SPICE's diode model."""


def heating(emission: Float[Array, "..."], nominal: float, celsius: Float[Array, "..."]) -> Float[Array, "..."]:
    """I_S(T)/I_S(T_nom) of a junction, by emission coefficient and degrees Celsius of T_nom and T; see Junctions."""
    ratio = (celsius + ZERO_CELSIUS) / (nominal + ZERO_CELSIUS)
    gap = (ratio - 1) * BAND_GAP / (emission * thermal_voltage(celsius))
    return np.exp(gap + SATURATION_EXPONENT / emission * np.log(ratio))


@dataclass(frozen=True, eq=False)
class Junctions:
    """I_S(T) = I_S (T/T_nom)^(XTI/n) exp((T/T_nom - 1) EG/(n kT/q)), T the chip's temperature and the diode's mismatch.

    Source: ngspice 39, ``diotemp.c`` (DIOtempUpdate, TLEV = 0).
    """

    nominal: NgspiceDiode | Shockley
    """The law with the parameters of the model card, which hold at T_nom = its ``celsius``."""
    saturation_factor: Float[Array, " nodes"]
    """On I_S."""
    emission_factor: Float[Array, " nodes"]
    """On n."""
    celsius: float
    """Of the chip, degrees Celsius."""
    mismatch: Float[Array, " nodes"]
    """Temperature of each diode against the chip, kelvin."""

    @property
    def law(self) -> NgspiceDiode | Shockley:
        """The law whose parameters are arrays, one entry a node, at each diode's temperature."""
        emission = self.nominal.emission * self.emission_factor
        celsius = self.celsius + self.mismatch
        heated = heating(emission, self.nominal.celsius, celsius)
        current = self.nominal.saturation_current * self.saturation_factor * heated
        own: dict[str, Any] = {"saturation_current": current, "emission": emission, "celsius": celsius}
        return replace(self.nominal, **own)

    @property
    def spice(self) -> tuple[str, dict[str, Float[Array, " nodes"]]]:
        """The nominal law's subcircuit and every diode's own parameters at T_nom; SPICE itself takes them to T."""
        name, parameters = self.nominal.spice
        own = {
            "is": parameters["is"] * self.saturation_factor,
            "n": parameters["n"] * self.emission_factor,
        }
        above = self.celsius - self.nominal.celsius + self.mismatch
        if above.any():
            own["dtemp"] = np.array(self.mismatch)
            if isinstance(self.nominal, Shockley):
                own["above"] = above
        return name, own

    @property
    def options(self) -> dict[str, float]:
        """Those of the nominal law, the circuit at the chip's temperature."""
        return {**self.nominal.options, "temp": self.celsius}
