"""All programs that netlists are written for, by their names in options."""

from eqprop_analog.spice.dialects import DIALECTS, Dialect
from eqprop_analog.spice.spectre import Spectre

PROGRAMS: dict[str, Dialect] = {**DIALECTS, Spectre.name: Spectre()}
