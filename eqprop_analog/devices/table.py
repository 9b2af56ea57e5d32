"""A law as the table that configurations and saved networks hold: ``law``, its parameters, and a diode's ``arrangement``."""

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
"""Every law of one diode by its name in tables."""
ARRANGEMENTS = ("single", "antiparallel")
"""One diode a node, or two (devices.antiparallel); single goes without saying."""


def register_law(name: str) -> Callable[[type[L]], type[L]]:
    """A class decorator that makes a law known by ``name``, to configurations, saved networks, the study and netlists.

    Its subcircuit is ``<spice name>.lib`` beside the module that the class is written in, a dialect's own in a folder there
    of the dialect's name. Raises UserError if another law has the name, or the subcircuit's has capitals (SPICE has none).
    """

    def known(kind: type[L]) -> type[L]:
        subcircuit = getattr(kind, "subcircuit", "")
        if subcircuit != subcircuit.lower():
            raise UserError(f'law "{name}": subcircuit: expected lower case, as SPICE reads it, got "{subcircuit}"')
        LAWS[name] = kind
        return kind

    return known


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
    """``table`` with every parameter that is text, such as "1nA", as the number it stands for. Raises UserError."""
    return LAWS.with_units(table)


def table_of(law: Law) -> dict[str, object]:
    """The table from which ``law_from`` makes this law again."""
    if not isinstance(law, Antiparallel):
        return LAWS.table_of(law)
    table = LAWS.table_of(law.law)
    return {"law": table.pop("law"), "arrangement": "antiparallel", **table}


def in_words(law: Law) -> str:
    """A law by its name and parameters in one line, long tables by their ends."""
    table = table_of(law)
    words: Callable[[], str] | None = getattr(getattr(law, "law", law), "in_words", None)
    if words is None:
        return ", ".join(f"{name} = {value}" for name, value in table.items())
    return ", ".join([f"{name} = {table[name]}" for name in ("law", "arrangement") if name in table] + [words()])
