"""The junctions of one chip: one law, with parameters and a temperature for each diode."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, cast

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.exponential import heating
from eqprop_analog.devices.law import Law

Array = np.ndarray


class Junction(Law, Protocol):
    """I = I_S f(w/n V_T): a law whose parameters may be arrays, and whose subcircuit has the parameters ``is`` and ``n``."""

    saturation_current: float
    """I_S, amperes."""
    emission: float
    """n, dimensionless."""
    celsius: float
    """Temperature of the junction and of its parameters, degrees Celsius."""
    junction_temperatures: ClassVar[tuple[str, ...]]
    """Temperature parameters of its subcircuit: ``dtemp`` relative to the circuit, ``above`` relative to ``tnom``; kelvin."""


def junction_of(law: Law) -> Junction | None:
    """Return the law if it is a junction (it states ``junction_temperatures``), else None."""
    return cast("Junction", law) if hasattr(law, "junction_temperatures") else None


@dataclass(frozen=True, eq=False)
class Junctions:
    """I_S(T) = I_S (T/T_nom)^(XTI/n) exp((T/T_nom - 1) EG/(n kT/q)), T = chip temperature + diode mismatch.

    Source: ngspice 39, ``diotemp.c`` (DIOtempUpdate, TLEV = 0).
    """

    nominal: Junction
    """The law with the parameters of the model card, which hold at T_nom, its ``celsius``."""
    saturation_factor: Float[Array, " nodes"]
    """Factor on I_S of each diode."""
    emission_factor: Float[Array, " nodes"]
    """Factor on n of each diode."""
    celsius: float
    """Temperature of the chip, degrees Celsius."""
    mismatch: Float[Array, " nodes"]
    """Temperature of each diode relative to the chip, kelvin."""

    def of(self, some: slice) -> "Junctions":
        """Return the junctions of some of the nodes."""
        return replace(
            self,
            saturation_factor=self.saturation_factor[some],
            emission_factor=self.emission_factor[some],
            mismatch=self.mismatch[some],
        )

    @property
    def law(self) -> Junction:
        """The law with arrays as parameters, one entry per node, at each diode's temperature."""
        emission = self.nominal.emission * self.emission_factor
        celsius = self.celsius + self.mismatch
        heated = heating(emission, self.nominal.celsius, celsius)
        current = self.nominal.saturation_current * self.saturation_factor * heated
        own: dict[str, Any] = {"saturation_current": current, "emission": emission, "celsius": celsius}
        return replace(self.nominal, **own)  # type: ignore[type-var]

    @property
    def spice(self) -> tuple[str, dict[str, Float[Array, " nodes"]]]:
        """The nominal law's subcircuit and every diode's parameters at T_nom; SPICE converts them to T."""
        name, parameters = self.nominal.spice
        alike = {key: np.full_like(self.saturation_factor, value) for key, value in parameters.items()}
        own = alike | {
            "is": parameters["is"] * self.saturation_factor,
            "n": parameters["n"] * self.emission_factor,
        }
        above = self.celsius - self.nominal.celsius + self.mismatch
        if above.any():
            asked = {"dtemp": np.array(self.mismatch), "above": above}
            own |= {name: asked[name] for name in self.nominal.junction_temperatures}
        return name, own

    @property
    def options(self) -> dict[str, float]:
        """Simulator options of the nominal law, with the circuit at the chip's temperature."""
        return {**self.nominal.options, "temp": self.celsius}
