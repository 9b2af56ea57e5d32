"""The user's settings of a data set, and what was found in it."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from eqprop_analog.text import printable

Task = Literal["classification", "regression"]
Scale = Literal["range", "common", "none"]


def _shown(text: str) -> str:
    if printable(text) != text:
        raise ValueError("expected text without control characters")
    return text


Name = Annotated[str, Field(max_length=200), AfterValidator(_shown)]
Count = Annotated[int, Field(ge=1, le=2**53)]
Columns = Annotated[list[Name | int], BeforeValidator(lambda given: [given] if isinstance(given, str | int) else given)]
"""Names or numbers of columns; a single one needs no list."""


class DataSettings(BaseModel):
    """How a data set of the user is read, split and scaled: the settings that a command line accepts."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    target_column: Columns = Field(default_factory=list)
    """Columns of a table to predict, by name or by number from 1 (-1 is the last). Several columns are a regression."""
    ignore_columns: Columns = Field(default_factory=list)
    """Columns of a table that are not inputs."""
    split_column: Name | int | None = None
    """Column of a table that says "train" or "test" for every sample."""
    task: Task | None = None
    """Classification or regression; by default, it is inferred from the targets."""
    scaling: Scale | None = None
    """range: every input from -1 to 1 over the training samples; common: all inputs by one factor, so that the largest is 1 or
    -1; none: unchanged. By default, pixels are scaled to 0 to 1, and everything else by "range"."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Fraction of the samples that are drawn for the test set, if the file does not say which they are."""
    split_seed: Annotated[int, Field(ge=0)] = 0
    """Seed of that draw, independent of the training's, so that networks of several seeds are tested on the same samples."""


class Found(BaseModel):
    """Properties of a data set that training uses; they are written into a run's config.toml."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of the samples as read, so that another file of the same name is detected."""
    task: Task
    inputs: Count
    outputs: Count
    """Number of classes or targets."""
    shape: Annotated[tuple[Count, Count, Count], Field(strict=False)] | None = None
    """Channels, height and width if a sample is an image, else None."""
    rms: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Root mean square of the scaled training inputs."""
    training: Count
    test: Count
    validation: Count
    """Number of training samples, the last ones, on which all choices are made; no choice is made on the test samples."""
    deviation: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Error of predicting the mean in a regression: rms of the test targets about the training targets' mean, volts."""
    classes: list[Name] = Field(default_factory=list)
    target_names: list[Name] = Field(default_factory=list)


class OwnData(DataSettings):
    """Settings and findings, as in a run's configuration."""

    found: Found | None = None
    """None until the data are read."""
