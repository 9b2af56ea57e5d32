"""A law as the table that configurations and saved networks hold: ``law``, its parameters, and ``arrangement``."""

from collections.abc import Mapping
from dataclasses import asdict

from eqprop_analog.devices.antiparallel import Antiparallel
from eqprop_analog.devices.clamp import Clamp
from eqprop_analog.devices.diode import NgspiceDiode
from eqprop_analog.devices.law import Law
from eqprop_analog.devices.piecewise_linear import PiecewiseLinear
from eqprop_analog.devices.shockley import Shockley

LAWS: dict[str, type[Law]] = {
    "clamp": Clamp,
    "piecewise-linear": PiecewiseLinear,
    "shockley": Shockley,
    "ngspice": NgspiceDiode,
}
"""Every law of one diode by its name in tables."""
ARRANGEMENTS = ("single", "antiparallel")
"""One diode a node, or two (devices.antiparallel); single goes without saying."""


def law_from(table: Mapping[str, object]) -> Law:
    """The law that a table describes. Raises ValueError, saying what there is, for anything else."""
    name, arrangement = table.get("law"), table.get("arrangement", "single")
    if name not in LAWS:
        raise ValueError(f'law "{name}" is unknown; there are {", ".join(LAWS)}')
    if arrangement not in ARRANGEMENTS:
        raise ValueError(f'arrangement "{arrangement}" is unknown; there are {", ".join(ARRANGEMENTS)}')
    parameters = {key: value for key, value in table.items() if key not in ("law", "arrangement")}
    try:
        law = LAWS[str(name)](**parameters)
        return Antiparallel(law) if arrangement == "antiparallel" else law
    except (TypeError, ValueError) as error:
        raise ValueError(f"parameters of law {name}: {error}") from error


def table_of(law: Law) -> dict[str, object]:
    """The table from which ``law_from`` makes this law again."""
    single = law.law if isinstance(law, Antiparallel) else law
    name = next(name for name, kind in LAWS.items() if type(single) is kind)
    arrangement = {} if single is law else {"arrangement": "antiparallel"}
    return {"law": name, **arrangement, **asdict(single)}  # type: ignore[call-overload]
