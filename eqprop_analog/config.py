"""The configuration of a training run: presets, TOML files, overrides, and the checks on all of them."""

import math
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from eqprop_analog.devices import law_from
from eqprop_analog.errors import UserError
from eqprop_analog.learning.trainer import Rule
from eqprop_analog.learning.truncated import Method
from eqprop_analog.learning.update import Rates
from eqprop_analog.models import Outputs, ResistiveNetwork
from eqprop_analog.nudging import Cost, Kind

DEFAULT_PRESETS = {"surrogate": "mnist-1024", "ngspice": "mnist-100-ngspice"}
"""What is trained, by solver, if nobody says otherwise."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class TrainConfig(BaseModel):
    """Everything that decides a training run's result, and how it is computed; SI units."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str = ""
    dataset: Literal["mnist", "fashion-mnist"] = "mnist"
    layers: list[Count] = Field(min_length=2)
    """Inputs, and nodes of every layer."""
    outputs: Outputs = "single"
    """One output node a class, or pairs of them."""
    input_gain: Positive = 1.0
    """Volts at an input of 1."""
    amplifier_gain: Positive | list[Positive] = 1.0
    conductance_window: tuple[NotNegative, Positive] = (0.0, 1e-4)
    """Siemens."""
    diode: dict[str, str | float] = {"law": "ngspice"}
    """``law``, its parameters, and ``arrangement``: "single" or "antiparallel"."""
    bias_row: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    """Volts of one further row of crossbar 1; 0 is none."""

    method: Method = "equilibrium-propagation"
    """Nudged phases, or the exact response of the free one to compare them with."""
    nudging: Literal["centred", "one-sided"] = "centred"
    kind: Kind = "conductance"
    cost: Cost = "squared-error"
    beta: Positive
    """Siemens; amperes for cross-entropy."""
    conductance_rates: NotNegative | list[NotNegative]
    """S²/V², one for all crossbars or one each."""
    bias_rates: NotNegative | list[NotNegative]
    """A²/V²."""
    decay: Positive = 1.0
    """Factor on all rates after each epoch."""
    cosine: Count | None = None
    """Epochs over which half a cosine takes all rates to zero as well."""
    batch_size: Count = 4
    epochs: Count = 10
    limit: Count | None = None
    """Train on this many random images an epoch instead of all."""
    shift: Annotated[int, Field(ge=0)] = 0
    """Move every training image by up to so many pixels across and down, at random."""
    validation: bool = False
    """Hold out the last 10,000 training images and report their error instead of the test set's."""
    seed: Annotated[int, Field(ge=0)] = 0

    solver: Literal["surrogate", "ngspice"] = "surrogate"
    sweeps: Count | None = None
    """Surrogate only: truncate every training phase after this many sweeps instead of converging."""
    test_sweeps: Count | None = None
    """Surrogate only: the same for the test images."""
    precision: Literal["float32", "float64"] = "float64"
    workers: Count = 1
    """ngspice only: worker processes."""
    threads: Count = 1
    """BLAS threads."""
    on_failure: Literal["stop", "skip"] = "stop"
    """What training does about a sample without a certified equilibrium: end with its status, or leave it out."""

    @field_validator("diode")
    @classmethod
    def _known_law(cls, value: dict[str, str | float]) -> dict[str, str | float]:
        law_from(value)
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        crossbars = len(self.layers) - 1
        for name in ("conductance_rates", "bias_rates"):
            given = getattr(self, name)
            if isinstance(given, list) and len(given) != crossbars:
                raise ValueError(f"{name}: {len(given)} values for {crossbars} crossbars")
        if isinstance(self.amplifier_gain, list) and len(self.amplifier_gain) != crossbars - 1:
            raise ValueError(f"amplifier_gain: {len(self.amplifier_gain)} values for {crossbars - 1} hidden layers")
        if self.kind == "conductance" and self.cost != "squared-error":
            raise ValueError('cost: a conductance can only nudge by the squared error; set kind="current" for others')
        if self.kind == "conductance" and self.outputs == "pairs":
            raise ValueError('kind: a conductance cannot nudge a pair of outputs; set kind = "current"')
        if self.solver == "ngspice" and self.precision == "float32":
            raise ValueError('precision: ngspice computes in float64; set precision = "float64"')
        if self.solver == "ngspice" and not self.sweeps == self.test_sweeps is None:
            raise ValueError("sweeps: ngspice always converges; leave sweeps and test_sweeps out")
        if self.method == "implicit" and (self.sweeps is None or self.on_failure == "skip"):
            raise ValueError('method: "implicit" needs a fixed number of sweeps and on_failure = "stop"')
        return self

    def network(self) -> ResistiveNetwork:
        """A fresh network of this configuration and seed, float64."""
        return ResistiveNetwork.dense(
            self.layers,
            self.seed,
            diode=law_from(self.diode),
            amplifier_gain=self.amplifier_gain,
            input_gain=self.input_gain,
            conductance_window=self.conductance_window,
            bias_row=self.bias_row,
            outputs=self.outputs,
        )

    @property
    def classes(self) -> int:
        """Read-outs: output nodes, or pairs of them."""
        return self.layers[-1] // 2 if self.outputs == "pairs" else self.layers[-1]

    def rule(self, epoch: int) -> Rule:
        """The learning rule in epoch 0, 1, ..."""
        rates = Rates(self._spread(self.conductance_rates), self._spread(self.bias_rates))
        annealed = 1.0 if self.cosine is None else (1 + math.cos(math.pi * min(epoch / self.cosine, 1))) / 2
        return Rule(rates.scaled(annealed * self.decay**epoch), self.beta, self.nudging, self.kind, self.cost)

    def _spread(self, rates: float | list[float]) -> tuple[float, ...]:
        return tuple(rates) if isinstance(rates, list) else (rates,) * (len(self.layers) - 1)

    def toml(self) -> str:
        """The resolved configuration as a file that reproduces the run (``--preset FILE``)."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def presets() -> dict[str, Path]:
    """Files of the presets that come with the package, by name."""
    folder = Path(str(files("eqprop_analog"))) / "presets"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def resolve(preset: str, overrides: Mapping[str, Any]) -> TrainConfig:
    """The preset (a name, or a TOML file) with ``overrides`` in place of its own values. Raises UserError.

    ``solver="ngspice"`` over a surrogate preset also turns to float64 and converged phases, which is all ngspice does.
    """
    known = presets()
    path = known.get(preset) or Path(preset)
    if path.suffix != ".toml":
        raise UserError(f'preset "{preset}" is unknown; there are {", ".join(known)}, or name a .toml file')
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such configuration file") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: not a readable TOML file ({error})") from error
    if "layers" in overrides:
        values = {**values, **_rates_for(values, len(overrides["layers"]) - 1)}
    if overrides.get("solver") == "ngspice":
        values = {**values, "precision": "float64"}
        values = {name: value for name, value in values.items() if name not in ("sweeps", "test_sweeps")}
    try:
        return TrainConfig.model_validate({**values, **overrides})
    except ValidationError as error:
        raise UserError("; ".join(map(_sentence, error.errors()))) from error


def _rates_for(values: Mapping[str, Any], crossbars: int) -> dict[str, list[float]]:
    """Rates of a preset of another depth: its first for all crossbars but the last, which keeps the preset's last."""
    lists = {name: values[name] for name in ("conductance_rates", "bias_rates") if isinstance(values.get(name), list)}
    return {
        name: [rates[0]] * (crossbars - 1) + [rates[-1]]
        for name, rates in lists.items()
        if rates and len(rates) != crossbars
    }


def _sentence(problem: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in problem["loc"] if isinstance(part, (str, int)))
    text = str(problem["msg"]).removeprefix("Value error, ")
    given = "" if problem["type"] in ("value_error", "missing") else f", got {problem['input']!r}"
    return f"configuration: {where + ': ' if where else ''}{text}{given}"
