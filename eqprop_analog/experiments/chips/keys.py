"""Every key of a specification file with its default and its meaning, derived from the classes that read it."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from eqprop_analog.devices.cells import CELLS, LINEAR
from eqprop_analog.devices.conductance.spread import Spread
from eqprop_analog.devices.conductance.stuck import StuckCells
from eqprop_analog.devices.conductance.technology import DRIFTS, NOISES, PULSES
from eqprop_analog.devices.conductance.window import Window
from eqprop_analog.devices.registry import Registry
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.experiments.meanings import meanings


@dataclass(frozen=True)
class Key:
    """One key of a specification file."""

    table: str
    """Table of the key in the file, such as "conductance.noise"; "" is the head of the file."""
    name: str
    law: str
    """The ``law`` of its table for which the key exists; "" means any."""
    default: str
    """The default in TOML; "required" if there is none, "left out" if omission has its own meaning."""
    meaning: str


PARTS: Mapping[str, type] = {"window": Window, "spread": Spread, "stuck": StuckCells}
LAWS: Mapping[str, Registry[Any]] = {"noise": NOISES, "drift": DRIFTS, "pulses": PULSES}


def keys() -> list[Key]:
    """Return all keys, table by table in the order of the specification's fields."""
    found: list[Key] = []
    for name, field in Specification.model_fields.items():
        if name == "conductance":
            found += _conductance()
        elif name == "cell":
            found += _cell()
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += list(_of_model(name, field.annotation))
        else:
            found.append(Key("", name, "", _shown(field.default), meanings(Specification)[name]))
    return sorted(found, key=lambda key: key.table != "")  # the head of a TOML file precedes its tables


def markdown() -> str:
    """Return the keys as a Markdown table for the documentation, one line per key."""
    rows = ["| table | key | default | meaning |", "| --- | --- | --- | --- |"]
    for key in keys():
        of_law = f'`law = "{key.law}"`: ' if key.law else ""
        table = f"`[{key.table}]`" if key.table else ""
        rows.append(f"| {table} | `{key.name}` | {key.default} | {of_law}{key.meaning} |")
    return "\n".join(rows) + "\n"


def _of_model(table: str, model: type[BaseModel]) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        yield Key(table, name, "", _shown(field.default), meanings(model)[name])


def _conductance() -> list[Key]:
    found = [key for name, kind in PARTS.items() for key in _of_dataclass(f"conductance.{name}", "", kind)]
    for name, registry in LAWS.items():
        known = ", ".join(f'"{law}"' for law in registry)
        found.append(Key(f"conductance.{name}", "law", "", "required", f"Name of the law: {known}."))
        for law, kind in registry.items():
            found += _of_dataclass(f"conductance.{name}", law, kind)
    return found


def _cell() -> list[Key]:
    known = ", ".join(f'"{law}"' for law in (LINEAR["law"], *CELLS))
    found = [Key("cell", "law", "", f'"{LINEAR["law"]}"', f"Current-voltage law of the cells, I = G f(V): {known}.")]
    for law, kind in CELLS.items():
        found += _of_dataclass("cell", law, kind)
    return found


def _of_dataclass(table: str, law: str, kind: Any) -> list[Key]:
    return [
        Key(table, field.name, law, _shown(field.default), meanings(kind).get(field.name, "")) for field in fields(kind)
    ]


def _shown(default: Any) -> str:
    if default in (MISSING, PydanticUndefined):
        return "required"
    if default is None:
        return "left out"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, str):
        return f'"{default}"'
    return f"{list(default)}" if isinstance(default, tuple) else f"{default:g}"
