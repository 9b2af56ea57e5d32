"""A technology of programmable conductances: all its imperfections, each from its own file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from eqprop_analog.devices.conductance.drift import Drift, PowerLawDrift
from eqprop_analog.devices.conductance.drift_joshi2020 import Joshi2020Drift
from eqprop_analog.devices.conductance.exponential_pulses import ExponentialPulses
from eqprop_analog.devices.conductance.linear_pulses import LinearPulses
from eqprop_analog.devices.conductance.programming_noise import GaussianNoise, LogNormalNoise, ProgrammingNoise
from eqprop_analog.devices.conductance.pulses import PulseLaw
from eqprop_analog.devices.conductance.relaxation_falcone2025 import Falcone2025Relaxation
from eqprop_analog.devices.conductance.soft_bounds import SoftBounds
from eqprop_analog.devices.conductance.spread import Spread
from eqprop_analog.devices.conductance.stuck import StuckCells
from eqprop_analog.devices.conductance.table_pulses import TablePulses
from eqprop_analog.devices.conductance.window import Window
from eqprop_analog.devices.registry import Registry, made, parameters_of
from eqprop_analog.errors import UserError
from eqprop_analog.quantities import in_file

NOISES: Registry[ProgrammingNoise] = Registry("law", {"gaussian": GaussianNoise, "log-normal": LogNormalNoise})
DRIFTS: Registry[Drift] = Registry(
    "law", {"power-law": PowerLawDrift, "joshi2020": Joshi2020Drift, "falcone2025": Falcone2025Relaxation}
)
PULSES: Registry[PulseLaw] = Registry(
    "law",
    {"linear": LinearPulses, "soft-bounds": SoftBounds, "exponential": ExponentialPulses, "table": TablePulses},
)


@dataclass(frozen=True)
class Technology:
    """The common properties of all chips of one technology; by default ideal devices between 0 and 100 µS."""

    window: Window = field(default_factory=Window)
    noise: ProgrammingNoise | None = None
    """Programming noise, resampled at every write; None is no noise."""
    spread: Spread = field(default_factory=Spread)
    """Device-to-device variation."""
    stuck: StuckCells = field(default_factory=StuckCells)
    drift: Drift | None = None
    """Drift after a write; None is no drift."""
    pulses: PulseLaw = field(default_factory=LinearPulses)
    """Pulse law, by which training changes a conductance."""

    @classmethod
    def from_table(cls, table: Mapping[str, object]) -> "Technology":
        """Make the technology of a TOML file's table [conductance]; omitted imperfections are ideal.

        ``window``, ``spread`` and ``stuck`` hold parameters; ``noise``, ``drift`` and ``pulses`` a ``law`` (NOISES,
        DRIFTS, PULSES) and its parameters, with or without units. Raises UserError, which names table and key, for
        anything else.
        """
        parts: dict[str, Any] = {}
        for name, values in table.items():
            if name not in _MAKERS:
                raise UserError(f'conductance: "{name}" is unknown; there are {", ".join(_MAKERS)}')
            if not isinstance(values, Mapping):
                raise UserError(f"conductance.{name}: expected a table, got {values!r}")
            try:
                parts[name] = _MAKERS[name](_with_units(name, values))
            except ValueError as error:
                raise UserError(f"conductance.{name}: {error}") from error
        return cls(**parts)

    def table(self) -> dict[str, object]:
        """Return the table from which ``from_table`` makes this technology.

        Raises UserError for a law without a name.
        """
        laws = {
            "noise": None if self.noise is None else NOISES.table_of(self.noise),
            "drift": None if self.drift is None else DRIFTS.table_of(self.drift),
            "pulses": PULSES.table_of(self.pulses),
        }
        parts = {"window": self.window, "spread": self.spread, "stuck": self.stuck}
        tables = {name: parameters_of(part) for name, part in parts.items()} | laws
        return {name: tables[name] for name in _MAKERS if tables[name] is not None}


def _with_units(table: str, values: Mapping[str, object]) -> dict[str, object]:
    """Return ``values`` with text such as "3nS" converted to numbers. Raises UserError."""
    return {key: _number(value, UNITS.get((table, key), ""), key) for key, value in values.items()}


def _number(value: object, unit: str, name: str) -> object:
    """Convert ``value``, or every entry of a list, from text to ``unit``; an integer number of levels has no unit."""
    if not unit or (name == "levels" and not isinstance(value, list)):
        return value
    return (
        [in_file(each, unit, name=name) for each in value]
        if isinstance(value, list)
        else in_file(value, unit, name=name)
    )


UNITS = {
    **{("window", key): "S" for key in ("lowest", "highest", "levels")},
    ("noise", "absolute"): "S",
    **{("drift", key): "S" for key in ("highest", "fall", "initial", "widening")},
    ("drift", "reference"): "s",
}
"""Units of the parameters that have one, by table and key."""
_MAKERS: dict[str, Callable[[Mapping[str, object]], object]] = {
    "window": partial(made, Window),
    "noise": NOISES.from_table,
    "spread": partial(made, Spread),
    "stuck": partial(made, StuckCells),
    "drift": DRIFTS.from_table,
    "pulses": PULSES.from_table,
}
