"""The figure of merit of a training: the fraction of wrong predictions, or the read-out error of a regression in volts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class Judged(Protocol):
    """The result of a pass over data (learning.trainer.Pass)."""

    @property
    def error(self) -> float:
        """Fraction of wrong predictions."""
        ...

    @property
    def rms(self) -> float:
        """Root mean square error of the read-outs, volts."""
        ...


@dataclass(frozen=True)
class Measure:
    """A figure of every epoch, and how it is displayed."""

    figure: str
    """Name of the figure in a Pass; an epoch's entry stores it as train_error, test_rms, ..."""
    name: str
    """Name in words."""
    unit: str
    factor: float
    """Factor from the figure to the displayed unit."""
    digits: str
    """Format."""

    def of(self, done: Judged) -> float:
        """Return the figure of a pass as saved: a fraction, or volts."""
        return float(getattr(done, self.figure))

    def within(self, entry: Mapping[str, Any], kind: str) -> float | None:
        """Return the figure of ``kind`` (train, test, validation) in an epoch's entry; None if it has none."""
        value = entry.get(f"{kind}_{self.figure}")
        return None if value is None else float(value)

    def text(self, value: float) -> str:
        """Return the value with its unit."""
        return f"{self.factor * value:{self.digits}} {self.unit}"

    @property
    def axis(self) -> str:
        """The label of an axis."""
        return f"{self.name} ({self.unit})"


PREDICTIONS = Measure("error", "error", "%", 100.0, ".2f")
VOLTS = Measure("rms", "error, rms", "mV", 1e3, ".3g")
