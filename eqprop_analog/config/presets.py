"""Presets and TOML files, resolved with overrides into a checked configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from eqprop_analog.config.base import TrainConfig
from eqprop_analog.config.hopfield import HopfieldConfig
from eqprop_analog.config.resistive import ResistiveConfig
from eqprop_analog.errors import UserError
from eqprop_analog.files import packaged, packaged_or_own, read_toml

DEFAULT_PRESETS = {"surrogate": "mnist-1024", "ngspice": "mnist-100-ngspice"}
"""What is trained, by solver, if nobody says otherwise."""

MODELS: Mapping[str, type[TrainConfig]] = {"resistive": ResistiveConfig, "hopfield": HopfieldConfig}
"""Configurations by their ``model``."""


def presets() -> dict[str, Path]:
    """Files of the presets that come with the package, by name."""
    return packaged("presets")


def resolve(preset: str, overrides: Mapping[str, Any]) -> TrainConfig:
    """The preset (a name, or a TOML file) with ``overrides`` in place of its own values. Raises UserError."""
    path = packaged_or_own("presets", preset, "preset")
    values = read_toml(path, "configuration file")
    model = values.get("model", "resistive")
    if not isinstance(model, str) or model not in MODELS:
        raise UserError(f"configuration: model: expected one of {', '.join(MODELS)}, got {model!r}")
    kind = MODELS[model]
    strange = [name for name in overrides if name not in kind.model_fields]
    if strange:
        raise UserError(f"configuration: {strange[0]}: {path.stem} trains a {model} network, which has no such setting")
    try:
        return kind.model_validate({**kind.adapted(values, overrides), **overrides})
    except ValidationError as error:
        raise UserError(refused("configuration", error)) from error


def refused(what: str, error: ValidationError) -> str:
    """What is wrong with a file's tables, one sentence a setting."""
    return "; ".join(_sentence(what, problem) for problem in error.errors())


def _sentence(what: str, problem: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in problem["loc"] if isinstance(part, (str, int)))
    text = str(problem["msg"]).removeprefix("Value error, ")
    given = "" if problem["type"] in ("value_error", "missing") else f", got {problem['input']!r:.200}"
    return f"{what}: {where + ': ' if where else ''}{text}{given}"
