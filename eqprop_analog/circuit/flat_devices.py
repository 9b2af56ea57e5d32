"""The devices that a flat netlist may have, by their names, and all else that may stand in it, word for word."""

import re
from dataclasses import dataclass, field
from itertools import zip_longest

from eqprop_analog.circuit.netlist import TOLERANCES, library
from eqprop_analog.circuit.statements import Statement, source_of

INDEX = "(0|[1-9][0-9]{0,8})"
NAMES = {
    kind: re.compile(pattern.replace("#", INDEX), re.ASCII)
    for kind, pattern in {
        "resistor": "r#_#_#",
        "row": "vx([pn])_#",
        "bias row": "vxb",
        "rail": "vrail_([pn])",
        "bias": "ib#_#",
        "diode": "xd([pn]?)#_#",
        "amplifier": "xa#_#",
        "target": "vy_#",
        "nudge": "rnudge_#",
        "pull": "inudge_#",
    }.items()
}
"""Of every device of the flat form; # is an index."""
KINDS = {letter: [kind for kind, name in NAMES.items() if name.pattern[0] == letter] for letter in "rvix"}
LAWS = {"diode": {"is", "n"}, "shockley": {"is", "n"}, "clamp": {"ron"}, "piecewise_linear": {"vth", "ron", "roff"}}
"""Parameters of each diode's subcircuit."""


@dataclass
class FlatDevices:
    """Every device by its kind and indices, with its statement."""

    found: dict[str, dict[tuple[str, ...], Statement]] = field(default_factory=lambda: {kind: {} for kind in NAMES})
    options: dict[str, tuple[float, Statement]] = field(default_factory=dict)
    subcircuits: set[str] = field(default_factory=set)
    control: list[Statement] | None = None

    def add(self, statement: Statement) -> None:
        """One element. Raises UserError."""
        name = statement.text.split(None, 1)[0]
        for kind in KINDS.get(name[0], ()):
            matched = NAMES[kind].fullmatch(name)
            if matched:
                earlier = self.found[kind].setdefault(matched.groups(), statement)
                if earlier is not statement:
                    statement.refuse(f"{name} is there already, in line {earlier.number}")
                return
        statement.refuse(
            "not understood; expected a device of a flat netlist (R<l>_<row>_<column>, Vxp_i, Vxn_i, Vxb, Vrail_p, Vrail_n, "
            "Ib<l>_j, Xd<l>_j, Xa<l>_j, Vy_k, Rnudge_k, Inudge_k)"
        )

    def directive(self, statement: Statement) -> None:
        """A line with a dot. Raises UserError for all but options, a packaged subcircuit's name, and the end."""
        first, *words = statement.words
        if first in (".options", ".option"):
            for key, value in statement.settings(words).items():
                if key not in TOLERANCES:
                    statement.refuse(f'option "{key[:60]}" is not understood; there are {", ".join(TOLERANCES)}')
                self.options[key] = value, statement
        elif first in (".include", ".inc"):
            model = " ".join(words).strip("\"'").removesuffix(".lib")
            if model not in (*LAWS, "amplifier"):
                statement.refuse("only packaged subcircuits are included, by their names; no file is opened")
            self.subcircuits.add(model)
        elif first != ".end":
            statement.refuse("not understood; expected .options, .subckt, .control as they are written, or .end")

    def block(self, opening: Statement, inside: list[Statement]) -> None:
        """A ``.subckt``, which must be a packaged one, or the ``.control`` block, which is looked at later."""
        if opening.text.startswith(".control"):
            if self.control is not None or len(opening.words) > 1:
                opening.refuse("expected one .control block, as it is written")
            self.control = [opening, *inside]
            return
        name = (*opening.words, "", "")[1]
        if name not in (*LAWS, "amplifier"):
            opening.refuse(f"expected one of the subcircuits {', '.join((*LAWS, 'amplifier'))}")
        ((known, body),) = source_of("\n" + library(name), name).blocks
        for ours, given in zip_longest((known, *body), (opening, *inside)):
            if ours is None or given is None or ours.words != given.words:
                (given or opening).refuse(f"subcircuit {name} is not the one that is written; networks have no other")
        self.subcircuits.add(name)
