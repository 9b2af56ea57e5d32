"""Presets and TOML files, resolved with overrides into a checked configuration."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from eqprop_analog import data
from eqprop_analog.characterization.device_file import with_device_file
from eqprop_analog.core import families
from eqprop_analog.core.registry import USUAL
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.config import TrainConfig
from eqprop_analog.experiments.solvers import SURROGATE
from eqprop_analog.files import packaged, packaged_or_own, read_toml
from eqprop_analog.text import suggestion

DEFAULT_PRESETS = {"surrogate": "mnist-1024", "ngspice": "mnist-100-ngspice"}
"""The default preset for each solver."""
OWN_SHAPES = {"surrogate": "own-shape", "ngspice": "own-shape-ngspice"}
"""The preset for each solver if the circuit is described and no preset is named."""


def usual_preset(usual: Mapping[str, str], solver: str | None) -> str:
    """Return the preset in ``usual`` for ``solver``; for a user's solver that of ngspice, which converges, too."""
    return usual[SURROGATE if solver is None else solver if solver in usual else "ngspice"]


def models() -> dict[str, type[TrainConfig]]:
    """Return the configuration classes by ``model``, for all families that can be trained."""
    return {name: family.config() for name, family in families().items() if family.config is not None}


def presets() -> dict[str, Path]:
    """Return the files of the packaged presets, by name."""
    return packaged("presets")


def resolve(preset: str, overrides: Mapping[str, Any], data_dir: Path | None = None) -> TrainConfig:
    """Return the preset (a name, or a TOML file) with ``overrides`` in place of its values. Raises UserError.

    A user's data set of which only the location is configured is read, because the network follows from it.
    """
    path = packaged_or_own("presets", preset, "preset")
    values = read_toml(path, "configuration file")
    if isinstance(values.get("diode"), dict):
        values["diode"] = with_device_file(values["diode"], path.parent)
    model = values.get("model", USUAL)
    known = models()
    if not isinstance(model, str) or model not in known:
        raise UserError(
            f"configuration: model: expected one of {', '.join(known)}, got {model!r}{suggestion(model, known)}"
        )
    kind = known[model]
    overrides = _joined(values, overrides, kind)
    overrides = {**overrides, **_own_data(kind, values, overrides, data_dir)}
    strange = [name for name in overrides if name not in kind.model_fields]
    if strange:
        raise UserError(
            f"configuration: {strange[0]}: {path.stem} trains a {model} network, which has no such setting"
            f"{suggestion(strange[0], kind.model_fields)}"
        )
    # A preset's epochs apply to its data set, those of a user's file to the data set of the file.
    written = {} if preset in presets() else {name: values[name] for name in ("epochs",) if name in values}
    try:
        return kind.model_validate(kind.completed({**kind.adapted(values, {**written, **overrides}), **overrides}))
    except ValidationError as error:
        raise UserError(refused("configuration", error, kind)) from error


def _own_data(
    kind: type[TrainConfig], values: Mapping[str, Any], overrides: Mapping[str, Any], data_dir: Path | None
) -> dict[str, Any]:
    """Return ``dataset`` and ``own_data``, completed by what is found in a user's data set that was not read yet."""
    name, changed = str(overrides.get("dataset", values.get("dataset", "mnist"))), "dataset" in overrides
    own = overrides.get("own_data", values.get("own_data"))
    if name in kind.datasets:
        asked = overrides.get("own_data")
        if asked:
            raise UserError(
                f"configuration: own_data: {name} is a published data set, which has no such "
                f"settings; leave out {', '.join(asked)}"
            )
        return {} if own is None or not changed else {"own_data": None}
    if not isinstance(own, Mapping | None) or not (data.is_path(name) or name in data.NAMES):
        return {}
    settings = {key: value for key, value in (own or {}).items() if key != "found"}
    if own and "found" in own and not changed and "own_data" not in overrides:
        return {}
    try:
        asked_for = data.OwnData.model_validate(settings)
    except ValidationError as error:
        raise UserError(refused("configuration: own_data", error, data.OwnData)) from error
    found = data.opened(name, asked_for, data_dir).own
    path = name if name in data.NAMES else str(Path(name).absolute())
    return {"dataset": path, "own_data": found.model_dump(exclude_none=True)} if found else {}


def _joined(values: Mapping[str, Any], overrides: Mapping[str, Any], kind: type[BaseModel]) -> dict[str, Any]:
    """Return ``overrides`` with dotted names, such as diode.rail, put into their tables or into ``kind``'s default tables."""
    joined: dict[str, Any] = {}
    for name, value in overrides.items():
        table, _, key = name.partition(".")
        if not key:
            joined[name] = value
            continue
        usual = kind.model_fields[table].get_default(call_default_factory=True) if table in kind.model_fields else None
        whole = joined.get(table, values.get(table, {} if usual in (None, PydanticUndefined) else usual))
        if not isinstance(whole, Mapping):
            raise UserError(f"configuration: {name}: {table} is not a table, so it cannot contain {key}")
        joined[table] = {**whole, key: value}
    return joined


def refused(what: str, error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Return a UserError about a file's tables, one sentence per setting; ``model`` holds the settings for suggestions."""
    known = set() if model is None else _settings(model)
    return "; ".join(_sentence(what, problem, known) for problem in error.errors())


def _settings(model: type[BaseModel]) -> set[str]:
    """Return the names of the settings of a model and of its tables."""
    found = set(model.model_fields)
    for field in model.model_fields.values():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                found |= _settings(part)
    return found


def _sentence(what: str, problem: Mapping[str, Any], known: set[str]) -> str:
    where = ".".join(str(part) for part in problem["loc"] if isinstance(part, (str, int)))
    text = str(problem["msg"]).removeprefix("Value error, ")
    given = "" if problem["type"] in ("value_error", "missing") else f", got {problem['input']!r:.200}"
    near = ""
    if problem["type"] == "extra_forbidden":
        near = suggestion(problem["loc"][-1], known)
    elif problem["type"] == "literal_error":
        near = suggestion(problem["input"], re.findall(r"'([^']*)'", problem["ctx"]["expected"]))
    return f"{what}: {where + ': ' if where else ''}{text}{given}{near}"
