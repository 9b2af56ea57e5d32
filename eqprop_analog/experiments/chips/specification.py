"""The specification of a chip: every imperfection with its unit, as a TOML file.

A spread is a device-to-device standard deviation, drawn once for each chip. Omitted imperfections are ideal.
"""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from eqprop_analog.devices.cells import LINEAR, CellLaw, cell_from, cell_table
from eqprop_analog.devices.conductance import Technology
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.config import PAIR, Count, NotNegative, Positive, Text
from eqprop_analog.experiments.presets import refused
from eqprop_analog.files import packaged_or_own, read_toml
from eqprop_analog.networks.crossbars.wired import TILE
from eqprop_analog.quantities import In


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class DiodeTable(_Table):
    """Diodes of the hidden nodes."""

    saturation_current: NotNegative = 0.0
    """Standard deviation from node to node of ln I_S, the saturation current, dimensionless."""
    emission: NotNegative = 0.0
    """Standard deviation of ln n, the emission coefficient, dimensionless."""
    celsius: Annotated[float, Field(gt=-273.15, allow_inf_nan=False), In("°C")] | None = None
    """Temperature of the chip, degrees Celsius; by default, that of the diode's parameters."""
    temperature: Annotated[NotNegative, In("K")] = 0.0
    """Standard deviation of a node's temperature about the chip's, kelvin."""


class AmplifierTable(_Table):
    """Bidirectional amplifiers after the hidden nodes."""

    gain: NotNegative = 0.0
    """Standard deviation of ln of the voltage gain, dimensionless."""
    return_gain: NotNegative = 0.0
    """Standard deviation of ln of the current gain back into the node, dimensionless."""
    offset: Annotated[NotNegative, In("V")] = 0.0
    """Standard deviation of the input offset, volts."""
    input_conductance: Annotated[NotNegative, In("S")] = 0.0
    """Conductance from the node to ground, siemens."""
    output_resistance: Annotated[NotNegative, In("ohm")] = 0.0
    """Resistance in series with the row that it drives, ohms."""
    saturation: Annotated[Positive, In("V")] | None = None
    """Largest output voltage S, volts; the output is S tanh(A v/S)."""


class SourceTable(_Table):
    """The drivers of the input rows."""

    resistance: Annotated[NotNegative, In("ohm")] = 0.0
    """Resistance in series with every input row, ohms."""


class WireTable(_Table):
    """Wires of the crossbars."""

    resistance: Annotated[NotNegative, In("ohm")] = 0.0
    """Resistance of the wire from one cell to the next, ohms."""
    tile: Annotated[tuple[Count, Count], PAIR] = TILE
    """Largest number of rows and of columns of one array."""
    link_resistance: Annotated[NotNegative, In("ohm")] = 0.0
    """Resistance of the wire between each end of an array's rows and columns and the node that it leads to, ohms."""

    @model_validator(mode="after")
    def _linked(self) -> Self:
        if self.link_resistance and not self.resistance:
            raise ValueError(
                f"link_resistance: {self.link_resistance:g} ohm between arrays with ideal wires; set resistance above 0 ohm, or "
                "leave it out"
            )
        return self


class ReadoutTable(_Table):
    """Measurement of the nodes' voltages."""

    noise: Annotated[NotNegative, In("V")] = 0.0
    """Noise of one reading, volts rms."""
    offset: Annotated[NotNegative, In("V")] = 0.0
    """Standard deviation of the offset of a node's comparator, volts."""
    bits: Annotated[int, Field(ge=1, le=24)] | None = None
    """Resolution of the converter, bits; ideal if left out."""
    range: Annotated[Positive, In("V")] = 1.0
    """Range of the converter, which reads from -range to range, volts."""


class NudgeTable(_Table):
    """The circuit that nudges the outputs."""

    gain: NotNegative = 0.0
    """Standard deviation from output to output of ln of the nudge's β, dimensionless."""
    offset: Annotated[NotNegative, In("V")] = 0.0
    """Standard deviation of the offset of an output's target, volts."""


class Specification(_Table):
    """The common properties of all chips of one design; by default ideal, with conductances of 0 to 100 µS."""

    name: Text = "ideal"
    """Name of the technology, for messages and plots; by default, the name of the file."""
    description: Text = ""
    """One-line description, listed by `eqprop-analog specifications`."""
    conductance: dict[str, Any] = Field(default_factory=dict)
    """The programmable devices: window, noise, spread, stuck, drift and pulses of devices.conductance.Technology."""
    cell: dict[str, Any] = Field(default_factory=lambda: dict(LINEAR))
    """Current-voltage law of the programmable devices in the circuit; see devices.cells."""
    impedance_scaling: bool = False
    """Whether a network with another window is scaled to the devices' window: conductances, bias currents, nudges and diode
    currents are multiplied by one factor. Otherwise no constant of a network is changed, and a network that does not fit
    is refused."""
    diode: DiodeTable = DiodeTable()
    amplifier: AmplifierTable = AmplifierTable()
    source: SourceTable = SourceTable()
    wires: WireTable = WireTable()
    readout: ReadoutTable = ReadoutTable()
    retention: Annotated[NotNegative, In("s")] = 0.0
    """Time between the last write and the test, seconds, during which devices drift."""
    nudge: NudgeTable = NudgeTable()

    @field_validator("conductance")
    @classmethod
    def _known(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            Technology.from_table(value)
        except UserError as error:
            raise ValueError(str(error)) from error
        return value

    @field_validator("cell")
    @classmethod
    def _known_cell(cls, value: dict[str, Any]) -> dict[str, Any]:
        return cell_table(cell_from(value))

    @property
    def label(self) -> str:
        """The name in plain characters, for messages and netlists."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.name)[:40] or "unnamed"

    def settings(self) -> dict[str, Any]:
        """Every number, switch and law of the specification, by dotted names."""
        return dict(_leaves(self.model_dump(exclude_unset=True, exclude={"name", "description"}), ""))

    @cached_property
    def technology(self) -> Technology:
        """The programmable devices."""
        return Technology.from_table(self.conductance)

    @property
    def cell_law(self) -> CellLaw | None:
        """Of the devices in the circuit; None is linear."""
        return cell_from(self.cell)

    @property
    def wiring(self) -> dict[str, Any]:
        """What is around and in the crossbars' cells, as whole_chip.network.chip_of takes it."""
        wires = self.wires
        return {
            "wire_resistance": wires.resistance,
            "tile": wires.tile,
            "link_resistance": wires.link_resistance,
            "cell": self.cell_law,
        }

    @cached_property
    def circuit_is_ideal(self) -> bool:
        """Whether only devices and read-out are imperfect."""
        default = Specification()
        return (
            all(
                getattr(self, part) == getattr(default, part)
                for part in ("cell", "diode", "amplifier", "source", "nudge")
            )
            and not self.wires.resistance
        )

    def having(self, changes: Mapping[str, Any]) -> Self:
        """Return a copy with other values, by dotted names: ``{"conductance.spread.factor": 0.1}``.

        Raises UserError.
        """
        values = self.model_dump(exclude_unset=True)
        for name, value in changes.items():
            table = values
            *path, last = name.split(".")
            for key in path:
                table = table.setdefault(key, {})
                if not isinstance(table, dict):
                    raise UserError(f"specification: {name}: {key} is not a table")
            table[last] = deepcopy(value)
        return self.of(values)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Make a specification from the tables of a TOML file. Raises UserError."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise UserError(refused("specification", error, cls)) from error

    @classmethod
    def load(cls, name: str) -> Self:
        """Load a packaged specification by its name, or a TOML file. Raises UserError."""
        path = packaged_or_own("specifications", name, "specification")
        return cls.of({"name": path.stem, **read_toml(path, "specification")})


def _leaves(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", value
