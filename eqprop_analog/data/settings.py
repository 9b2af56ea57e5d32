"""What a user says about a data set of their own, and what was found in it."""

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
"""Names or numbers; one alone needs no list."""


class DataSettings(BaseModel):
    """How a data set of the user's own is read, split and scaled: what can be said on a command line."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    target_column: Columns = Field(default_factory=list)
    """Of a table: what is to be predicted, by name, or by number from 1 on (-1 is the last). Several are a regression."""
    ignore_columns: Columns = Field(default_factory=list)
    """Of a table: columns that are no inputs."""
    split_column: Name | int | None = None
    """Of a table: the column that says "train" or "test" of every sample."""
    task: Task | None = None
    """Classes to be told apart, or numbers to be predicted; unless given, what the targets look like."""
    scaling: Scale | None = None
    """range: every input from -1 to 1 over the training samples; common: all of them by one factor, so that the largest is 1 or
    -1; none: as they are. Unless given, pixels go from 0 to 1, and all else by "range"."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Of the samples that are drawn for the test set, where the file does not say which those are."""
    split_seed: Annotated[int, Field(ge=0)] = 0
    """Of that draw; another than the training's, so that networks of several seeds are judged on the same samples."""


class Found(BaseModel):
    """What training takes from a data set before it sees a sample: written into a run's config.toml."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of the samples as they were read, so that another file of the same name is found out."""
    task: Task
    inputs: Count
    outputs: Count
    """Classes, or targets."""
    shape: Annotated[tuple[Count, Count, Count], Field(strict=False)] | None = None
    """Channels, height and width, where a sample is an image."""
    rms: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Root mean square of the scaled training inputs."""
    training: Count
    test: Count
    validation: Count
    """The last so many training samples: every choice is made on these, none on the test samples."""
    deviation: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Of a regression: root mean square of the test targets about the training targets' mean, volts: what guessing is off by."""
    classes: list[Name] = Field(default_factory=list)
    target_names: list[Name] = Field(default_factory=list)


class OwnData(DataSettings):
    """Both, as a run's configuration has them."""

    found: Found | None = None
    """None as long as nobody has read the data."""
