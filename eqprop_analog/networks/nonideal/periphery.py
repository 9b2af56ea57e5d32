"""The periphery of one sampled chip with its imperfections: diodes, amplifiers, sources and nudges."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.devices.exponential import ZERO_CELSIUS
from eqprop_analog.devices.junctions import junction_of
from eqprop_analog.errors import UserError
from eqprop_analog.incoming import real_array, real_number
from eqprop_analog.networks.resistive.network import ResistiveNetwork

Array = np.ndarray
PerNode = float | Sequence[ArrayLike]
"""One number for all hidden nodes, or one for each hidden layer, itself a number or an array over the layer's nodes."""

POSITIVE = ("saturation_factor", "emission_factor", "forward_factor", "return_factor", "saturation_voltage")
NOT_NEGATIVE = ("input_conductance", "output_resistance")
JUNCTION = ("saturation_factor", "emission_factor", "celsius", "temperature_mismatch")
"""Quantities that only junctions have (laws "ngspice" and "shockley")."""


@dataclass(frozen=True, eq=False)
class Periphery:
    """a = S tanh(A f (v + o)/S) before R_out; v supplies b/A times the current of this output, and g_in v. Defaults: ideal.

    A is the gain of the network. A layer of gain 1 also has amplifiers if the periphery gives them an imperfection.
    """

    saturation_factor: PerNode = 1.0
    """Factor of I_S of each node's diode (of both diodes of an antiparallel pair)."""
    emission_factor: PerNode = 1.0
    """Factor of n of each node's diode."""
    celsius: float | None = None
    """Temperature of the chip, degrees Celsius; None: the temperature of the parameters of the law."""
    temperature_mismatch: PerNode = 0.0
    """Temperature difference between each node's diode and the chip, kelvin."""
    forward_factor: PerNode = 1.0
    """f, the factor of each amplifier's voltage gain A."""
    return_factor: PerNode = 1.0
    """b, the factor of each amplifier's return gain 1/A."""
    offset: PerNode = 0.0
    """o, the offset at each amplifier's input, volts."""
    saturation_voltage: PerNode = math.inf
    """S, the saturation voltage of each amplifier's output, volts; inf for a whole layer: no saturation."""
    output_resistance: PerNode = 0.0
    """R_out, the output resistance of each amplifier, in series with its row, ohms."""
    input_conductance: PerNode = 0.0
    """g_in, the input conductance of each amplifier, from its node to ground, siemens."""
    source_resistance: float | Float[Array, " rows"] = 0.0
    """Resistance in series with each row of crossbar 1, including the bias row, ohms."""
    nudge_factor: float | Float[Array, " outputs"] = 1.0
    """Factor of the nudge of each output node, conductance or current."""
    target_offset: float | Float[Array, " classes"] = 0.0
    """Offset of the target voltage of each class, volts; squared error only."""

    def hidden(self, name: str, ideal: ResistiveNetwork) -> Float[Array, " hidden"]:
        """Quantity ``name`` of all hidden nodes, layer by layer. Raises UserError for shapes that do not fit."""
        value, sizes = getattr(self, name), ideal.layers[1:-1]
        if not isinstance(value, Sequence) and not (isinstance(value, Array) and value.ndim):
            return np.full(sum(sizes), _spread(name, value, 1))
        if len(value) != len(sizes):
            raise UserError(
                f"{name}: expected one number, or one entry for each of {len(sizes)} hidden layers, got {len(value)}"
            )
        return np.concatenate(
            [_spread(name, part, size) for part, size in zip(value, sizes, strict=True)] or [np.zeros(0)]
        )

    def rows(self, ideal: ResistiveNetwork) -> Float[Array, " rows"]:
        """Resistance in series with each row of crossbar 1, ohms."""
        return _spread("source_resistance", self.source_resistance, ideal.crossbars[0].rows)

    def outputs(self, ideal: ResistiveNetwork) -> Float[Array, " outputs"]:
        """Factor of the nudge of each output node."""
        return _spread("nudge_factor", self.nudge_factor, ideal.layers[-1])

    def targets(self, ideal: ResistiveNetwork) -> Float[Array, " classes"]:
        """Offset of the target of each class, volts."""
        return _spread("target_offset", self.target_offset, ideal.classes)

    def differs(self, names: Sequence[str]) -> bool:
        """Whether any of these quantities differs from the ideal circuit."""
        return any(
            not _equals(getattr(self, field.name), field.default) for field in fields(self) if field.name in names
        )

    def validate(self, ideal: ResistiveNetwork) -> None:
        """Raise UserError for shapes that do not fit ``ideal``, and for impossible values of a chip or its diodes."""
        for name in (*POSITIVE, *NOT_NEGATIVE, "offset", "temperature_mismatch"):
            _require(name, self.hidden(name, ideal))
        saturates = self.hidden("saturation_voltage", ideal)
        ends = np.cumsum((0, *ideal.layers[1:-1])).tolist()
        if any(0 < np.isfinite(saturates[a:b]).sum() < b - a for a, b in pairwise(ends)):
            raise UserError("saturation_voltage: expected finite volts for all amplifiers of a layer, or inf for all")
        _require("source_resistance", self.rows(ideal))
        _require("nudge_factor", self.outputs(ideal))
        _require("target_offset", self.targets(ideal))
        if not self.differs(JUNCTION):
            return
        law = junction_of(ideal.single_diode)
        if law is None:
            wrong = next(name for name in JUNCTION if self.differs([name]))
            raise UserError(
                f"{wrong}: diodes of law {type(ideal.single_diode).__name__} have neither I_S nor n nor a temperature; use law "
                f'"ngspice" or "shockley", or leave it out'
            )
        celsius = law.celsius if self.celsius is None else real_number(self.celsius, "celsius", "degrees")
        coldest = celsius + self.hidden("temperature_mismatch", ideal).min(initial=0)
        if not (math.isfinite(celsius) and coldest > -ZERO_CELSIUS):
            raise UserError(
                f"celsius: expected diodes above absolute zero, got {celsius} with a coldest diode at {coldest}"
            )


def _equals(value: PerNode | None, default: object) -> bool:
    if value is None or default is None:
        return value is default
    parts = value if isinstance(value, Sequence | np.ndarray) else [value]
    return all(bool(np.all(np.asarray(part) == default)) for part in parts)


def _spread(name: str, value: ArrayLike, size: int) -> Float[Array, " size"]:
    try:
        return np.broadcast_to(real_array(value, name, float, finite=False), (size,))
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{name}: expected one number or an array of {size}, got shape {np.shape(value)}") from error


def _require(name: str, values: Float[Array, " some"]) -> None:
    if name in POSITIVE or name == "nudge_factor":
        good, what = values > 0, "positive numbers"
    elif name in NOT_NEGATIVE or name == "source_resistance":
        good, what = values >= 0, "numbers of at least 0"
    else:
        good, what = np.isfinite(values), "finite numbers"
    if name != "saturation_voltage":
        good = good & np.isfinite(values)
    if not good.all():
        raise UserError(f"{name}: expected {what}, got {values[int(np.argmin(good))]}")
