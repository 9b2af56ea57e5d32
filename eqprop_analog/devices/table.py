"""A law as a table in configurations and saved networks: ``law``, its parameters, and a diode's ``arrangement``."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from eqprop_analog.devices.antiparallel import Antiparallel
from eqprop_analog.devices.clamp import Clamp
from eqprop_analog.devices.diode import NgspiceDiode
from eqprop_analog.devices.diode_rs import DiodeWithResistance
from eqprop_analog.devices.law import Law, require_law
from eqprop_analog.devices.piecewise_linear import PiecewiseLinear
from eqprop_analog.devices.registry import Registry, require_table
from eqprop_analog.devices.shockley import Shockley
from eqprop_analog.devices.tabulated import Tabulated
from eqprop_analog.errors import UserError
from eqprop_analog.text import suggestion

L = TypeVar("L", bound=Law)

LAWS: Registry[Law] = Registry(
    "law",
    {
        "clamp": Clamp,
        "piecewise-linear": PiecewiseLinear,
        "shockley": Shockley,
        "ngspice": NgspiceDiode,
        "diode-rs": DiodeWithResistance,
        "table": Tabulated,
    },
)
"""All laws of single diodes by their names in tables."""
ARRANGEMENTS = ("single", "antiparallel")
"""One diode per node, or two (devices.antiparallel); single is the default."""


def register_law(name: str) -> Callable[[type[L]], type[L]]:
    """A class decorator that registers a law as ``name``, for configurations, saved networks, the study and netlists.

    Its subcircuit is ``<spice name>.lib`` in the folder of the module of the class; that of a dialect is in a subfolder
    with the dialect's name. Raises UserError if the name is taken, or if that of the subcircuit has capitals, which
    SPICE ignores.
    """

    def known(kind: type[L]) -> type[L]:
        subcircuit = getattr(kind, "subcircuit", "")
        if subcircuit != subcircuit.lower():
            raise UserError(f'law "{name}": subcircuit: expected lower case, as SPICE reads it, got "{subcircuit}"')
        LAWS[name] = kind
        return kind

    return known


def check_law(law: object) -> None:
    """Raise UserError unless ``law`` implements devices.law.Law."""
    if isinstance(law, str):
        raise UserError(
            f'diode: expected a law, got the name "{law}"; make one by law_from({{"law": "{law}"}}); the laws are '
            f"{', '.join(LAWS)}{suggestion(law, LAWS)}"
        )
    require_law(law)


def law_from(table: Mapping[str, object]) -> Law:
    """Return the law of a diode that a table describes. Raises UserError, which lists the laws, for anything else."""
    require_table(table, "law")
    arrangement = table.get("arrangement", "single")
    if arrangement not in ARRANGEMENTS:
        near = suggestion(arrangement, ARRANGEMENTS)
        raise UserError(f'arrangement "{arrangement}" is unknown; there are {", ".join(ARRANGEMENTS)}{near}')
    law = LAWS.from_table({key: value for key, value in table.items() if key != "arrangement"})
    try:
        return Antiparallel(law) if arrangement == "antiparallel" else law
    except ValueError as error:
        raise UserError(f"parameters of law {table['law']}: {error}") from error


def with_units(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``table`` with text such as "1nA" converted to numbers. Raises UserError."""
    return LAWS.with_units(table)


def table_of(law: Law) -> dict[str, object]:
    """Return the table from which ``law_from`` makes this law."""
    if not isinstance(law, Antiparallel):
        return LAWS.table_of(law)
    table = LAWS.table_of(law.law)
    return {"law": table.pop("law"), "arrangement": "antiparallel", **table}


def in_words(law: Law) -> str:
    """Describe a law by its name and parameters in one line, and long tables by their ends."""
    table = table_of(law)
    words: Callable[[], str] | None = getattr(getattr(law, "law", law), "in_words", None)
    if words is None:
        return ", ".join(f"{name} = {value}" for name, value in table.items())
    return ", ".join([f"{name} = {table[name]}" for name in ("law", "arrangement") if name in table] + [words()])
