"""A study of chips: sweeps of imperfections, and the resulting cases."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from eqprop_analog.core.registry import family
from eqprop_analog.devices.cells import LINEAR
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.experiments.config import Count, Text
from eqprop_analog.experiments.presets import refused, resolve
from eqprop_analog.files import packaged_or_own, read_toml
from eqprop_analog.networks.resistive.chips.chip import Chip
from eqprop_analog.networks.resistive.chips.mapping import require_same_window, scaling_notes
from eqprop_analog.networks.resistive.chips.protocols import PROTOCOLS, Protocol, Recipe
from eqprop_analog.networks.resistive.config import ResistiveConfig

CIRCUIT = frozenset(
    {
        "layers",
        "outputs",
        "input_gain",
        "amplifier_gain",
        "conductance_window",
        "diode",
        "bias_row",
        "dataset",
        "own_data",
        "validation",
        "precision",
    }
)
"""Settings that the network written into a chip must share with the training on the chip."""
ONLY = {
    "solver": "surrogate",
    "method": "equilibrium-propagation",
    "device": "cpu",
    "on_failure": "stop",
    "wire_resistance": 0.0,
    "cell": LINEAR,
}
"""Settings with a fixed value for networks on chips."""


class Point(BaseModel):
    """One point on a curve."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    x: Annotated[float, Field(allow_inf_nan=False)]
    """The value of the imperfection, in the unit of the curve."""
    having: dict[str, Any] = Field(default_factory=dict)
    """Changes of the specification at this point, by dotted names."""


class Curve(BaseModel):
    """A sweep of one imperfection, from zero to large values."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    label: Text
    """Name with unit, for tables and axes."""
    points: list[Point] = Field(min_length=1)
    protocols: list[Protocol] = Field(list(PROTOCOLS), min_length=1)
    training: dict[str, Any] = Field(default_factory=dict)
    """Settings of learning on the chip that differ on this curve."""
    confirm: float | None = None
    """The values of x at which the first chip is also solved in ngspice."""

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        for what, values in (("x", [point.x for point in self.points]), ("protocols", self.protocols)):
            if len(set(values)) < len(values):
                raise ValueError(f"{what}: {self.name} contains a duplicate")
        circuit = sorted(CIRCUIT & self.training.keys())
        if circuit:
            raise ValueError(f"training: {circuit[0]} belongs to the circuit, which is the same for the whole study")
        return self

    @model_validator(mode="after")
    def _on_the_curve(self) -> Self:
        if self.confirm is not None and self.confirm not in [point.x for point in self.points]:
            raise ValueError(f"confirm: {self.confirm} is not among the points of {self.name}")
        return self


class Study(BaseModel):
    """The chips of a study, and the imperfections that are varied."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    description: Text = ""
    preset: str
    """Training configuration of the network: a preset's name or a TOML file."""
    training: dict[str, Any] = Field(default_factory=dict)
    """Settings that replace those of the preset."""
    specification: dict[str, Any] = Field(default_factory=dict)
    """The specification that all curves modify; see experiments.chips.specification."""
    chips: Count = 3
    seed: int = Field(0, ge=0)
    target_error: float = Field(0.05, gt=0, lt=1)
    """Largest test error of a good chip, as a fraction."""
    sweeps: list[Curve] = Field(min_length=1)

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """A study from the tables of a TOML file. Raises UserError."""
        try:
            study = cls.model_validate(values)
        except ValidationError as error:
            raise UserError(refused("study", error, cls)) from error
        names = [sweep.name for sweep in study.sweeps]
        if len(set(names)) < len(names):
            raise UserError("study: two sweeps have the same name")
        for _ in study.cases():
            pass
        return study

    @classmethod
    def load(cls, name: str) -> Self:
        """A packaged study by its name, or the study in a TOML file. Raises UserError."""
        return cls.of(read_toml(packaged_or_own("studies", name, "study"), "study"))

    @property
    def varies(self) -> bool:
        """Whether the study has more than one point."""
        return sum(len(sweep.points) for sweep in self.sweeps) > 1

    def cases(self) -> Iterator[tuple[Curve, Point, "Case"]]:
        """All cases of the study; the same case may belong to several curves. Raises UserError."""
        yield from self._cases

    @cached_property
    def _cases(self) -> list[tuple[Curve, Point, "Case"]]:
        return list(self._each())

    def _each(self) -> Iterator[tuple[Curve, Point, "Case"]]:
        base = Specification.of(self.specification)
        software = _config(self.preset, self.training)
        network = software.network()
        for sweep in self.sweeps:
            config = _config(self.preset, self.training | sweep.training) if sweep.training else software
            for point in sweep.points:
                specification = base.having(point.having)
                require_same_window(network, specification)
                for protocol in sweep.protocols:
                    for chip in range(self.chips):
                        confirm = chip == 0 and point.x == sweep.confirm
                        yield sweep, point, Case(software, config, specification, protocol, self.seed, chip, confirm)

    def scaling_notes(self) -> tuple[str, ...]:
        """Sentences on the changes when the trained network is mapped to the devices; see networks.resistive.chips.mapping."""
        network = _config(self.preset, self.training).network()
        windows = {case.specification.technology.window for _, _, case in self.cases()}
        return tuple(dict.fromkeys(note for window in windows for note in scaling_notes(network, window)))


def _config(preset: str, changes: dict[str, Any]) -> ResistiveConfig:
    config: Any = resolve(preset, changes)
    family(config.model).feature("chip netlist", f"study: preset {preset}")  # UserError if such networks have no chips
    for name, value in ONLY.items():
        if (given := getattr(config, name)) != value:
            raise UserError(f'study: preset {preset}: {name}: chips can be trained only with "{value}", got "{given}"')
    if config.regression:
        raise UserError(f"study: preset {preset}: {config.dataset} is a regression; chips are judged by classes")
    return cast("ResistiveConfig", config)


@dataclass(frozen=True)
class Case:
    """One chip that is programmed or trained by one protocol."""

    software: ResistiveConfig
    """Training configuration of the network that is written into it."""
    config: ResistiveConfig
    """Training configuration on the chip."""
    specification: Specification
    protocol: Protocol
    seed: int
    chip: int
    keep: bool
    """Whether its conductances are stored next to its figures."""

    @property
    def key(self) -> str:
        """Digest of everything on which its result depends: the name of its file."""
        # Without impedance_scaling the windows are equal, so the setting has no effect.
        parts = [
            _decisive(self.config),
            _decisive_specification(self.specification),
        ]
        parts += [_decisive(self.software)] if self.protocol != "in-situ" else []
        return _hash(*parts, self.protocol, self.seed, self.chip)

    @property
    def software_key(self) -> str:
        """The same for the network that is written into it."""
        window = self.specification.technology.window
        return _hash(_decisive(self.software), window.lowest, window.highest)

    @property
    def recipe(self) -> Recipe:
        """The recipe of training on the chip."""
        return Recipe(self.config, self.specification.technology.window)

    def drawn(self) -> Chip:
        """The chip, not yet programmed."""
        return Chip.drawn(self.specification, self.recipe.fresh(), self.seed, self.chip)


LATER = {
    "connections": None,
    "data_copy": "",
    "passes": 1,
    "own_data": None,
    "test_every": 1,
    "tolerance": None,
    "wire_resistance": 0.0,
    "tile": [128, 128],
    "link_resistance": 0.0,
    "cell": LINEAR,
    "read_at": "nodes",
}
"""Settings that were added after files were first named by all settings, and their defaults."""


def _decisive(config: ResistiveConfig) -> dict[str, Any]:
    """Its settings without those of LATER at their default, so that names of older results remain valid."""
    settings = config.model_dump(mode="json")
    return {name: value for name, value in settings.items() if name not in LATER or value != LATER[name]}


def _decisive_specification(specification: Specification) -> dict[str, Any]:
    """Its settings without those of LATER at their default."""
    settings = specification.model_dump(mode="json", exclude={"name", "description", "impedance_scaling"})
    if settings["cell"] == LINEAR:
        del settings["cell"]
    if not settings["wires"]["link_resistance"]:
        del settings["wires"]["link_resistance"]
    return settings


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
