"""The specification of a technology of programmable conductances: its imperfections, each from its own file."""

from dataclasses import dataclass, field

from eqprop_analog.devices.conductance.drift import Drift
from eqprop_analog.devices.conductance.linear_pulses import LinearPulses
from eqprop_analog.devices.conductance.programming_noise import ProgrammingNoise
from eqprop_analog.devices.conductance.pulses import PulseLaw
from eqprop_analog.devices.conductance.spread import Spread
from eqprop_analog.devices.conductance.stuck import StuckCells
from eqprop_analog.devices.conductance.window import Window


@dataclass(frozen=True)
class Technology:
    """What all chips of one fab have in common; as it stands, ideal devices between 0 and 100 µS."""

    window: Window = field(default_factory=Window)
    noise: ProgrammingNoise | None = None
    """Anew at every write; None is none."""
    spread: Spread = field(default_factory=Spread)
    """From device to device."""
    stuck: StuckCells = field(default_factory=StuckCells)
    drift: Drift | None = None
    """After a write; None is none."""
    pulses: PulseLaw = field(default_factory=LinearPulses)
    """How training changes a conductance."""
