"""The JSON files of runs and studies: every figure is checked when they are read."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from eqprop_analog.core.equilibrium import Status
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.presets import refused
from eqprop_analog.files import UNREADABLE

TEXT_BYTES = 2**26
"""Largest JSON file that is read, bytes; a study of many epochs and circuits has less than a hundredth of it."""


def _statuses(counts: dict[str, int]) -> dict[str, int]:
    for name in counts:
        if name not in Status.__members__:
            raise ValueError(
                f"{name!r:.40} is not a status of an equilibrium; the statuses are {', '.join(Status.__members__)}"
            )
    return counts


Count = Annotated[int, Field(ge=0, le=2**53)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Statuses = Annotated[dict[str, Count], AfterValidator(_statuses)]
"""Number of samples by the name of their status."""


class Strict(BaseModel):
    """A model that converts nothing and refuses unknown entries."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Figures(BaseModel):
    """A model that converts nothing and keeps figures that a later version may add."""

    model_config = ConfigDict(strict=True, extra="allow")


class Epoch(Strict):
    """A finished epoch."""

    epoch: Count
    train_error: Fraction
    test_error: Fraction | None = None
    validation_error: Fraction | None = None
    train_rms: NotNegative | None = None
    test_rms: NotNegative | None = None
    validation_rms: NotNegative | None = None
    seconds: Positive
    samples: Annotated[Count, Field(ge=1)]
    statuses: Statuses
    contrast_checks: Count | None = None
    """Number of contrasts that were computed in two ways (networks.nonideal.in_situ), and their largest deviation."""
    contrast_deviation: NotNegative | None = None


class AgreementFigures(Figures):
    """agreement.Agreement in metrics.json."""

    form: Literal["flat", "norton"]
    samples: Annotated[Count, Field(ge=1)]
    nodes: Annotated[Count, Field(ge=1)]
    beta: Finite
    statuses: Statuses
    largest_difference: NotNegative
    median_difference: NotNegative
    relative_difference: NotNegative
    largest_residual: NotNegative
    gradient_difference: Annotated[float, Field(ge=0)]
    same_predictions: bool
    ngspice_seconds: NotNegative
    surrogate_seconds: NotNegative
    met: bool


class Warned(Figures):
    """findings.Finding in metrics.json."""

    kind: str
    text: str


class CellFigures(Figures):
    """findings.Cells in metrics.json."""

    crossbar: Annotated[Count, Field(ge=1)]
    at_minimum: Fraction
    at_maximum: Fraction
    below_gmin: Fraction
    share_below_gmin: Fraction = 0.0


class Metrics(Figures):
    """The metrics.json of a run."""

    test_error: Fraction | None
    validation_error: Fraction | None
    train_error: Fraction
    history: Annotated[list[Epoch], Field(min_length=1)]
    samples_per_second: Positive
    peak_memory_bytes: Count
    free_parameters: Count | None = None
    resistors: Count | None = None
    statuses: Statuses
    config: dict[str, Any]
    seed: Count
    versions: dict[str, str]
    agreement: list[AgreementFigures] = Field(default_factory=list)
    warnings: list[Warned] = Field(default_factory=list)
    cells: list[CellFigures] = Field(default_factory=list)

    @model_validator(mode="after")
    def _of_one_run(self) -> "Metrics":
        every = checked_every(self.config)
        require_history(self.history, validation=self.validation_error is not None, every=every)
        last = self.history[-1]
        if last.test_error is None and last.validation_error is None:
            raise ValueError("history: the last epoch has no test or validation error")
        for name in ("train_error", "test_error", "validation_error"):
            if getattr(self, name) != getattr(last, name):
                raise ValueError(f"{name}: differs from that of the last epoch in history")
        return self


class Circuit(Figures):
    """One circuit of an agreement study; figures of the comparison only where both solvers succeeded."""

    seed: Count
    number: Count
    statuses: dict[Literal["ngspice", "surrogate"], Statuses]
    met: bool
    relative_difference: NotNegative | None = None
    gradient_difference: NotNegative | None = None
    condition: Annotated[float, Field(ge=0)] | None = None
    voltage_bound: NotNegative | None = None
    gradients: Count | None = None
    gradients_bound_by_rounding: Count | None = None
    gradient_roundings: NotNegative | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Circuit":
        if set(self.statuses) != {"ngspice", "surrogate"}:
            raise ValueError("statuses: expected those of ngspice and of the surrogate")
        compared = [getattr(self, name) for name in COMPARED]
        if any(value is None for value in compared) and "relative_difference" in self.model_fields_set:
            raise ValueError("a figure of the comparison is missing")
        return self


COMPARED = (
    "relative_difference",
    "gradient_difference",
    "condition",
    "voltage_bound",
    "gradients",
    "gradients_bound_by_rounding",
    "gradient_roundings",
)


class ChipFigures(Figures):
    """One chip of a study, or the reason for its failure."""

    test_error: Fraction | None = None
    validation_error: Fraction | None = None
    statuses: Statuses = Field(default_factory=dict)
    failure: str | None = None
    seconds: NotNegative = 0.0
    training_errors: list[Fraction] = Field(default_factory=list)
    """Training error of each epoch on the chip."""

    @model_validator(mode="after")
    def _one_of_two(self) -> "ChipFigures":
        if (self.failure is None) == (self.test_error is None and self.validation_error is None):
            raise ValueError("expected an error, or the reason for a failure")
        return self


def checked_every(config: Mapping[str, Any]) -> int:
    """Return ``test_every`` of a saved configuration; 1 for versions without this setting."""
    every = config.get("test_every", 1)
    if not isinstance(every, int) or every < 1:
        raise ValueError(f"config: test_every: expected a positive integer, got {every!r:.40}")
    return every


def require_history(history: Sequence[Epoch], *, validation: bool, every: int = 1) -> None:
    """Raise ValueError unless epochs are consecutive and every ``every``-th one was tested, on the same images."""
    for number, entry in enumerate(history, start=1):
        kinds = entry.test_error is not None, entry.validation_error is not None
        tested = number % every == 0 or any(kinds)
        if entry.epoch != number or kinds != (tested and not validation, tested and validation):
            raise ValueError(f"history: epoch {number} is missing, or of another kind")


Read = TypeVar("Read", bound=BaseModel)


def checked(model: type[Read], found: Any, what: str) -> Read:
    """Validate ``found`` by ``model``. Raises ValueError, which names the wrong figure."""
    if not isinstance(found, Mapping):
        raise ValueError(f"{what}: expected a table, got {type(found).__name__}")
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise ValueError(refused(what, error)[:500]) from error


def read_record(path: Path, model: type[BaseModel], what: str, advice: str = "") -> dict[str, Any]:
    """Return the figures in a JSON file.

    Raises UserError, which calls the file ``what``, unless they match ``model``.
    """
    try:
        if path.stat().st_size > TEXT_BYTES:
            raise ValueError(f"more than {TEXT_BYTES:,} bytes")
        found = json.loads(path.read_text(encoding="utf-8"))
        checked(model, found, path.stem)
    except UNREADABLE as error:
        raise UserError(f"{path}: not {what}, or damaged ({error}){advice}") from error
    return dict(found)


def read_metrics(folder: Path) -> dict[str, Any]:
    """Return the metrics.json of the run in ``folder``. Raises UserError."""
    return read_record(folder / "metrics.json", Metrics, "the metrics of a run")
