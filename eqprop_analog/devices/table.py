"""A law as the table that configurations and saved networks hold: ``law``, its parameters, and a diode's ``arrangement``."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any, TypeVar

from eqprop_analog.devices.antiparallel import Antiparallel
from eqprop_analog.devices.clamp import Clamp
from eqprop_analog.devices.diode import NgspiceDiode
from eqprop_analog.devices.law import Law, require_law
from eqprop_analog.devices.piecewise_linear import PiecewiseLinear
from eqprop_analog.devices.shockley import Shockley
from eqprop_analog.errors import UserError
from eqprop_analog.quantities import quantity
from eqprop_analog.text import suggestion

LAWS: dict[str, type[Law]] = {
    "clamp": Clamp,
    "piecewise-linear": PiecewiseLinear,
    "shockley": Shockley,
    "ngspice": NgspiceDiode,
}
"""Every law of one diode by its name in tables."""
ARRANGEMENTS = ("single", "antiparallel")
"""One diode a node, or two (devices.antiparallel); single goes without saying."""

PARAMETER_UNITS = {
    "saturation_current": "A",
    "rail": "V",
    "celsius": "°C",
    "gmin": "S",
    "threshold": "V",
    "on_resistance": "ohm",
    "off_resistance": "ohm",
}
"""Of the laws' parameters."""

Thing = TypeVar("Thing")


def check_law(law: object) -> None:
    """UserError unless ``law`` has all that devices.law.Law asks for."""
    if isinstance(law, str):
        raise UserError(
            f'diode: expected a law, got the name "{law}"; law_from({{"law": "{law}"}}) makes one, laws are '
            f"{', '.join(LAWS)}{suggestion(law, LAWS)}"
        )
    require_law(law)


def law_from(table: Mapping[str, object]) -> Law:
    """The law of a diode that a table describes. Raises UserError, saying what there is, for anything else."""
    arrangement = table.get("arrangement", "single")
    if arrangement not in ARRANGEMENTS:
        near = suggestion(arrangement, ARRANGEMENTS)
        raise UserError(f'arrangement "{arrangement}" is unknown; there are {", ".join(ARRANGEMENTS)}{near}')
    law = one_of(LAWS, {key: value for key, value in table.items() if key != "arrangement"})
    try:
        return Antiparallel(law) if arrangement == "antiparallel" else law
    except ValueError as error:
        raise UserError(f"parameters of law {table['law']}: {error}") from error


def with_units(table: Mapping[str, Any]) -> dict[str, Any]:
    """``table`` with every parameter that is text, such as "1nA", as the number it stands for. Raises UserError."""
    return {
        name: float(quantity(value, PARAMETER_UNITS[name], name=name))
        if isinstance(value, str) and name in PARAMETER_UNITS
        else value
        for name, value in table.items()
    }


def table_of(law: Law) -> dict[str, object]:
    """The table from which ``law_from`` makes this law again."""
    if not isinstance(law, Antiparallel):
        return as_one_of(LAWS, law)
    table = as_one_of(LAWS, law.law)
    return {"law": table.pop("law"), "arrangement": "antiparallel", **table}


def one_of(laws: Mapping[str, type[Thing]], table: Mapping[str, object]) -> Thing:
    """That one of ``laws`` which a table names, with the table's other keys as parameters. Raises UserError."""
    name = table.get("law")
    if not isinstance(name, str) or name not in laws:
        raise UserError(f'law "{name}" is unknown; there are {", ".join(laws)}{suggestion(name, laws)}')
    try:
        return made(laws[name], {key: value for key, value in table.items() if key != "law"})
    except ValueError as error:
        raise UserError(f"parameters of law {name}: {error}") from error


def as_one_of(laws: Mapping[str, type[Thing]], law: Thing) -> dict[str, object]:
    """The table from which ``one_of`` makes this law again. Raises UserError for a law that is none of them."""
    for name, kind in laws.items():
        if type(law) is kind:
            return {"law": name, **parameters_of(law)}
    raise UserError(
        f"{type(law).__name__} has no name in tables, so a file cannot say which law it is; there are {', '.join(laws)}. Give "
        f"your own law one there (LAWS[name] = {type(law).__name__}), or save the arrays alone (np.savez, network.arrays())"
    )


def made(kind: type[Thing], parameters: Mapping[str, object]) -> Thing:
    """The dataclass with these parameters. Raises UserError for an unknown or missing one, or what it refuses itself."""
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for name in parameters:
        if name not in known:
            raise UserError(f'"{name}" is unknown; there are {", ".join(known)}{suggestion(name, known)}')
    for name, field in known.items():
        if name not in parameters and field.default is MISSING and field.default_factory is MISSING:
            raise UserError(f'"{name}" is missing')
    return kind(**parameters)


def parameters_of(thing: Any) -> dict[str, object]:
    """The parameters from which ``made`` makes this dataclass again; what is None is left out, as TOML has no word for it."""
    return {name: value for name, value in asdict(thing).items() if value is not None}
