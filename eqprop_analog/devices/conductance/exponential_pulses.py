"""Conductance exponential in the number of pulses: the model of NeuroSim."""

from dataclasses import dataclass

import numpy as np

from eqprop_analog.devices.conductance.pulses import Counting, PulseLaw, approach
from eqprop_analog.devices.conductance.window import Values
from eqprop_analog.devices.law import require_finite, require_positive
from eqprop_analog.errors import UserError


@dataclass(frozen=True)
class ExponentialPulses(PulseLaw):
    """Up: G(p) = G_min + B₊ (1 - exp(-ν₊ p/P₊));   down: G(p) = G_max - B₋ (1 - exp(-ν₋ p/P₋)).

    B = (G_max - G_min)/(1 - exp(-ν)), so that P pulses lead from one end of the window to the other; p is the position
    of the device on the curve. ν → 0 is linear, ν > 0 is steep at first, ν < 0 is steep at the end. In NeuroSim's
    notation, A = P/ν. Source: Chen, Peng & Yu 2018, "NeuroSim: a circuit-level macro model for benchmarking
    neuro-inspired architectures in online learning", IEEE TCAD 37, 3067.
    """

    up: float
    """ν₊, nonlinearity of potentiation: above 0 steep at first, below 0 steep at the end; not 0."""
    down: float
    """ν₋, nonlinearity of depression, likewise; not 0."""
    pulses_up: float = 100
    """P₊, number of pulses up from one end of the window to the other."""
    pulses_down: float = 100
    """P₋, number of pulses down from one end of the window to the other."""
    counting: Counting = "truncated"
    cycle_noise: float = 0.0

    def __post_init__(self) -> None:
        """Raise UserError for invalid parameters."""
        require_finite(up=self.up, down=self.down)
        require_positive(pulses_up=self.pulses_up, pulses_down=self.pulses_down)
        if not (1e-6 <= abs(self.up) <= 100 and 1e-6 <= abs(self.down) <= 100):
            raise UserError(
                f"nonlinearity: expected 1e-6 to 100 of either sign (LinearPulses is 0), got {self.up} and {self.down}"
            )
        super().__post_init__()

    @property
    def rates(self) -> tuple[float, float]:
        """ν/P up and down, per pulse."""
        return self.up / self.pulses_up, self.down / self.pulses_down

    def _asymptotes(self, lowest: Values, highest: Values) -> tuple[Values, Values]:
        """G_min + B₊ and G_max - B₋, siemens: the limits for infinitely many pulses without the window."""
        span = highest - lowest
        return lowest - span / float(np.expm1(-self.up)), highest + span / float(np.expm1(-self.down))

    def worth(self, span: float) -> tuple[float, float]:
        """P/span: correct on average over the window, as in NeuroSim."""
        return self.pulses_up / span, self.pulses_down / span

    def move(self, conductance: Values, pulses: Values, lowest: Values, highest: Values) -> None:
        """Move the devices along the curves."""
        approach(conductance, pulses, *self._asymptotes(lowest, highest), self.rates)
