"""The conductances that a device can be set to: a window and its levels."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.law import require_finite
from eqprop_analog.errors import UserError

Array = np.ndarray
Values = Float[Array, "..."]
"""One number a device, or one for all of them, in arrays of any shape."""


@dataclass(frozen=True)
class Window:
    """G = G_min + k (G_max - G_min)/(N - 1), k = 0 ... N - 1: N levels equally spaced in conductance."""

    lowest: float = 0.0
    """G_min, siemens."""
    highest: float = 1e-4
    """G_max, siemens."""
    levels: int | None = None
    """N, both ends included; None is every conductance between them."""

    def __post_init__(self) -> None:
        """Raise UserError for what is no window."""
        require_finite(lowest=self.lowest, highest=self.highest)
        if self.levels is not None:
            require_finite(levels=self.levels)
        if not 0 <= self.lowest < self.highest:
            raise UserError(f"expected 0 <= lowest < highest in siemens, got {self.lowest:g} and {self.highest:g}")
        if self.levels is not None and (self.levels < 2 or self.levels != int(self.levels)):
            raise UserError(f"levels must be a whole number of at least 2, got {self.levels}")

    @property
    def span(self) -> float:
        """G_max - G_min, siemens."""
        return self.highest - self.lowest

    def nearest(self, wanted: Values) -> Values:
        """The level nearest to each of the conductances ``wanted`` (S), as a new array of their dtype."""
        delivered = np.clip(wanted, self.lowest, self.highest)
        if self.levels is None:
            return delivered
        step = self.span / (self.levels - 1)
        delivered -= self.lowest
        delivered /= step
        np.rint(delivered, out=delivered)
        delivered *= step
        delivered += self.lowest
        return np.minimum(delivered, delivered.dtype.type(self.highest), out=delivered)


def confine(conductance: Values, lowest: Values, highest: Values) -> Values:
    """``conductance`` (S) clipped to [``lowest``, ``highest``] (S), in place."""
    if lowest.ndim == 0:
        return np.clip(conductance, lowest, highest, out=conductance)
    np.maximum(conductance, lowest, out=conductance)  # NumPy's clip is four times slower between arrays
    return np.minimum(conductance, highest, out=conductance)
