"""By which figure a training is judged and shown: wrong predictions, or of a regression the read-outs' error in volts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class Judged(Protocol):
    """What a pass over data has given (learning.trainer.Pass)."""

    @property
    def error(self) -> float:
        """Fraction of wrong predictions."""
        ...

    @property
    def rms(self) -> float:
        """Of the read-outs, volts."""
        ...


@dataclass(frozen=True)
class Measure:
    """A figure of every epoch, and how a person is shown it."""

    figure: str
    """Of a Pass; an epoch's entry has it as train_error, test_rms ..."""
    name: str
    """In words."""
    unit: str
    factor: float
    """From the figure to that unit."""
    digits: str
    """Format."""

    def of(self, done: Judged) -> float:
        """Of a pass, as it is saved: a fraction, or volts."""
        return float(getattr(done, self.figure))

    def within(self, entry: Mapping[str, Any], kind: str) -> float | None:
        """Of ``kind`` (train, test, validation) in an epoch's entry; None where that has none."""
        value = entry.get(f"{kind}_{self.figure}")
        return None if value is None else float(value)

    def text(self, value: float) -> str:
        """With its unit."""
        return f"{self.factor * value:{self.digits}} {self.unit}"

    @property
    def axis(self) -> str:
        """The label of an axis."""
        return f"{self.name} ({self.unit})"


PREDICTIONS = Measure("error", "error", "%", 100.0, ".2f")
VOLTS = Measure("rms", "error, rms", "mV", 1e3, ".3g")
