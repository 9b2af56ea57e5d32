"""Pulses of constant size throughout the window."""

from dataclasses import dataclass

from eqprop_analog.devices.conductance.pulses import Counting, PulseLaw
from eqprop_analog.devices.conductance.window import Values
from eqprop_analog.devices.law import require_positive


@dataclass(frozen=True)
class LinearPulses(PulseLaw):
    """G ← G + n (G_max - G_min)/P for n pulses, clipped to the window."""

    pulses: float = 1000
    """P, number of pulses from one end of the window to the other."""
    counting: Counting = "exact"
    cycle_noise: float = 0.0

    def __post_init__(self) -> None:
        """Raise UserError for invalid parameters."""
        require_positive(pulses=self.pulses)
        super().__post_init__()

    def worth(self, span: float) -> tuple[float, float]:
        """P/span, up and down."""
        return self.pulses / span, self.pulses / span

    def move(self, conductance: Values, pulses: Values, lowest: Values, highest: Values) -> None:
        """Move the devices by equal steps."""
        conductance += pulses * ((highest - lowest) / self.pulses).astype(pulses.dtype, copy=False)
