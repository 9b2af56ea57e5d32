"""Stuck cells, which no write changes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from eqprop_analog.devices.conductance.window import Values
from eqprop_analog.devices.law import require_finite
from eqprop_analog.errors import UserError

Array = np.ndarray


@dataclass(frozen=True)
class StuckCells:
    """P(stuck on, at the device's own G_max) = p_on,   P(stuck off, at its own G_min) = p_off.

    Source: Chen et al. 2015, "RRAM defect modeling and failure analysis based on March test and a novel squeeze-search
    scheme", IEEE Trans. Computers 64, 180: about a tenth of a 4-Mbit HfO2 chip.
    """

    on: float = 0.0
    """p_on, fraction of cells that stay at their highest conductance, whatever is written."""
    off: float = 0.0
    """p_off, fraction of cells that stay at their lowest conductance, whatever is written."""

    def __post_init__(self) -> None:
        """Raise UserError for invalid probabilities."""
        require_finite(on=self.on, off=self.off)
        if not (self.on >= 0 and self.off >= 0 and self.on + self.off <= 1):
            raise UserError(f"stuck fractions must be at least 0 and together at most 1, got {self.on} and {self.off}")

    def cells(self, uniform: Values) -> tuple[Bool[Array, "..."], Bool[Array, "..."]]:
        """Return (stuck on, stuck off) for these uniform variates; a larger fraction includes the cells of a smaller one."""
        return uniform < self.on, uniform >= 1 - self.off
