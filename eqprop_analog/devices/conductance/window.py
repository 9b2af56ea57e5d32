"""The conductances to which a device can be set: a window and its levels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.law import require_finite
from eqprop_analog.errors import UserError

Array = np.ndarray
Values = Float[Array, "..."]
"""One number per device, or one for all devices, in arrays of any shape."""


@dataclass(frozen=True)
class Window:
    """G = G_min + k (G_max - G_min)/(N - 1), k = 0 ... N - 1: N levels equally spaced in conductance; or a list of levels."""

    lowest: float = 0.0
    """G_min, the lowest conductance of the nominal device, siemens."""
    highest: float = 1e-4
    """G_max, its highest conductance, siemens."""
    levels: int | tuple[float, ...] | None = None
    """Number N of equally spaced levels, including both ends, or an ascending list of their conductances in siemens; by default,
    every conductance between the ends."""

    def __post_init__(self) -> None:
        """Raise UserError for an invalid window."""
        require_finite(lowest=self.lowest, highest=self.highest)
        if not 0 <= self.lowest < self.highest:
            raise UserError(f"expected 0 <= lowest < highest in siemens, got {self.lowest:g} and {self.highest:g}")
        if isinstance(self.levels, list | tuple):
            object.__setattr__(self, "levels", self._listed(self.levels))
        elif self.levels is not None:
            require_finite(levels=self.levels)
            if self.levels < 2 or self.levels != int(self.levels):
                raise UserError(f"levels must be a whole number of at least 2, got {self.levels}")

    def _listed(self, levels: Sequence[float]) -> tuple[float, ...]:
        for level in levels:
            require_finite(levels=level)
        if len(levels) < 2 or (np.diff(levels) <= 0).any():
            raise UserError(
                f"levels: expected at least two conductances (siemens) in ascending order, got {list(levels)}"
            )
        if levels[0] < self.lowest or levels[-1] > self.highest:
            raise UserError(
                f"levels: expected conductances between lowest and highest, {self.lowest:g} to {self.highest:g} S, got "
                f"{levels[0]:g} to {levels[-1]:g} S"
            )
        return tuple(float(level) for level in levels)

    @property
    def span(self) -> float:
        """G_max - G_min, siemens."""
        return self.highest - self.lowest

    def nearest(self, wanted: Values) -> Values:
        """Return the level nearest to each of the conductances ``wanted`` (S), as a new array of their dtype."""
        delivered = np.clip(wanted, self.lowest, self.highest)
        if self.levels is None:
            return delivered
        if isinstance(self.levels, tuple):
            levels = np.array(self.levels, delivered.dtype)
            return levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, delivered)]
        step = self.span / (self.levels - 1)
        delivered -= self.lowest
        delivered /= step
        np.rint(delivered, out=delivered)
        delivered *= step
        delivered += self.lowest
        return np.minimum(delivered, delivered.dtype.type(self.highest), out=delivered)

    def spacing(self, wanted: Values) -> Values:
        """Return the spacing of the levels around each of the conductances ``wanted`` (S), siemens; 0 without levels."""
        if self.levels is None:
            return np.zeros(())
        if not isinstance(self.levels, tuple):
            return np.asarray(self.span / (self.levels - 1))
        gaps = np.diff(self.levels)
        return gaps[np.clip(np.searchsorted(self.levels, wanted, "right") - 1, 0, len(gaps) - 1)]


def confine(conductance: Values, lowest: Values, highest: Values) -> Values:
    """Clip ``conductance`` (S) to [``lowest``, ``highest``] (S), in place."""
    if lowest.ndim == 0:
        return np.clip(conductance, lowest, highest, out=conductance)
    np.maximum(conductance, lowest, out=conductance)  # NumPy's clip is four times slower between arrays
    return np.minimum(conductance, highest, out=conductance)
