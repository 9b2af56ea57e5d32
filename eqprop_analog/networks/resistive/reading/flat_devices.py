"""The devices and other statements of a flat netlist, by their names."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import zip_longest
from typing import Any

from eqprop_analog.devices import LAWS
from eqprop_analog.devices.law import CELSIUS
from eqprop_analog.spice.netlist import TOLERANCES, library
from eqprop_analog.spice.reading.foreign import program_of_line, program_of_option, refuse_program
from eqprop_analog.spice.reading.statements import Statement, source_of

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
"""Name patterns of all devices of the flat form; # is an index."""
KINDS = {letter: [kind for kind, name in NAMES.items() if name.pattern[0] == letter] for letter in "rvix"}
NO_NETWORK = {
    "hopfield": "a Hopfield network's netlist cannot be read back; use its .npz",
    "norton": "the Norton form has only the sums of crossbar 1, not its conductances; write --form flat",
    "as subcircuits": "subcircuits cannot be read back; write the network with --form flat",
    "testbench": "a testbench cannot be read back; write the network with --form flat",
}
"""Messages for the netlists of this package that cannot be read back."""
OTHER_FORMS = {"norton": re.compile(r"[bir]n1_\d+"), "hopfield": re.compile(r"(xb|rl|rr)\d+_\d+(_\d+)?")}
"""Names of devices that only other forms have."""
IN_ITS_PLACE = {
    "d": "write a diode as Xd<l>_<j> anode cathode diode is=... n=..., between a rail and a hidden node; ",
    **dict.fromkeys(
        "efgh", "write an amplifier, both its sources, as Xa<l>_<j> h<l>_<j> a<l>_<j> amplifier gain=...; "
    ),
    **dict.fromkeys("cl", "a network has only resistors; leave out devices that matter only over time; "),
}
"""Advice on devices that a network has under other names or not at all, by their first letter."""
OF_DIODES = ("temp", "tnom", "gmin")
"""Options that belong to the diode's law."""
SCALE = "scale"
"""Options that belong to a user's own SPICE device."""
HARMLESS = f"""
{" ".join(key for key in TOLERANCES if key not in OF_DIODES)}
itl3 itl4 itl5 itl6 pivtol pivrel chgtol trtol maxord method xmu gminsteps srcsteps ramptime klu sparse limpts lvltim cptime
acct noacct list nomod nopage node opts noopiter warn maxwarns interp numdgt seed seedinfo savecurrents keepopinfo autostop
bypass noinit trytocompact
"""
"""Options that change how ngspice finds or prints an operating point, but not which circuit it is."""
NO_DEVICES = """
.op .tran .dc .ac .tf .sens .noise .disto .pz .four .meas .measure .print .plot .probe .save .width .title .nodeset .ic
.global .end
"""
"""Lines that change neither the circuit nor its operating point, analyses and measurements among them."""
COMMANDS = """
op run tran dc ac tf sens noise disto pz let unlet linearize fft meas measure print quit exit echo display plot gnuplot asciiplot
hardcopy write wrdata save show showmod listing rusage status version setplot settype destroy if else end
"""
"""Commands of a ``.control`` block that do not change the circuit."""
SHOWN_SETTINGS = "numdgt width height noaskquit nobreak nomoremode"
"""Variables that ``set`` may change."""
Nets = Callable[[tuple[str, ...]], Sequence[str]]


def readable() -> dict[str, Any]:
    """Diode laws by the names of their subcircuits, for laws that define how they are read (devices.capabilities)."""
    return {law.subcircuit: law for law in LAWS.values() if hasattr(law, "subcircuit") and hasattr(law, "from_spice")}


def with_own_text() -> dict[str, Any]:
    """The same for laws that are defined by the text of their subcircuit, which has no parameters."""
    return {
        law.subcircuit: law for law in LAWS.values() if hasattr(law, "subcircuit") and hasattr(law, "from_subcircuit")
    }


@cache
def defaults(model: str) -> dict[str, float]:
    """Parameters of a packaged subcircuit with their default values."""
    if model not in (*readable(), "amplifier"):
        return {}
    ((opening, _),) = source_of("\n" + library(model), model).blocks
    return opening.settings([word for word in opening.words if "=" in word])


@dataclass
class FlatDevices:
    """The statement of every device, by its kind and indices."""

    found: dict[str, dict[tuple[str, ...], Statement]] = field(default_factory=lambda: {kind: {} for kind in NAMES})
    options: dict[str, tuple[float, Statement]] = field(default_factory=dict)
    """The given values of OF_DIODES."""
    subcircuits: set[str] = field(default_factory=set)
    texts: dict[str, list[Statement]] = field(default_factory=dict)
    """The texts of the subcircuits of ``with_own_text``."""
    device: Any = None
    """The law of the diodes if their subcircuit is a user's own SPICE device."""
    control: Statement | None = None
    notes: list[str] = field(default_factory=list)
    """Sentences on the values that were assumed."""
    _temp: float | None = None

    @staticmethod
    def names(line: str) -> bool:
        """Whether the line starts with the name of a device of a flat netlist."""
        first = (*line.lower().split(None, 1), "")[0]
        return any(NAMES[kind].fullmatch(first) for kind in KINDS.get(first[:1], ()))

    def add(self, statement: Statement) -> None:
        """Read one element. Raises UserError."""
        name = statement.text.split(None, 1)[0]
        for kind in KINDS.get(name[0], ()):
            matched = NAMES[kind].fullmatch(name)
            if matched:
                earlier = self.found[kind].setdefault(matched.groups(), statement)
                if earlier is not statement:
                    statement.refuse(f"{name} is already defined in line {earlier.number}")
                return
        program = program_of_line(name)
        if program:
            refuse_program(statement, program)
        for form, pattern in OTHER_FORMS.items():
            if pattern.fullmatch(name):
                statement.refuse(NO_NETWORK[form])
        statement.refuse(
            f"not understood; {IN_ITS_PLACE.get(name[0], '')}expected a device of a flat netlist (R<l>_<row>_<column>, Vxp_i, "
            f"Vxn_i, Vxb, Vrail_p, Vrail_n, Ib<l>_j, Xd<l>_j, Xa<l>_j, Vy_k, Rnudge_k, Inudge_k)"
        )

    def directive(self, statement: Statement) -> None:
        """Read a dot command. Raises UserError if it changes anything in the circuit except options and temperature."""
        first, *words = statement.words
        if first in (".opt", ".option", ".options"):
            self._set(statement, words)
        elif first.split("=")[0] == ".temp":
            values = [word for word in (first.partition("=")[2], *words) if word]
            if len(values) != 1:
                statement.refuse("expected one temperature in degrees Celsius")
            self._temp = _celsius(statement, values[0])
        elif first in (".include", ".inc", ".lib"):
            model = " ".join(words).strip("\"'").removesuffix(".lib")
            if model not in (*readable(), "amplifier"):
                statement.refuse("only packaged subcircuits can be included, by their names; no file is opened")
            self.subcircuits.add(model)
            self.notes.append(
                f"line {statement.number} includes {model}.lib; the packaged file of this name is used, and no file "
                "is opened"
            )
        elif first not in NO_DEVICES.split():
            program = program_of_line(first)
            if program:
                refuse_program(statement, program)
            statement.refuse(
                "not understood; expected .options, .subckt, .control as they are written, .param, .temp or .end"
            )

    def _set(self, statement: Statement, words: Sequence[str]) -> None:
        seen = set()
        for word in words:
            key, equals, value = word.rstrip(",").partition("=")
            program = program_of_option(key)
            if program:
                refuse_program(statement, program)
            if key in seen or key not in (*HARMLESS.split(), *self._of_diodes):
                twice = "there twice" if key in seen else "not understood, or changes the circuit (as rshunt does)"
                statement.refuse(
                    f'option "{key[:60]}" is {twice}; there are {", ".join((*OF_DIODES, *sorted(TOLERANCES)))}'
                )
            seen.add(key)
            if key in self._of_diodes:
                if not equals:
                    statement.refuse(f"expected {key}=number")
                number = _celsius(statement, value) if key in ("temp", "tnom") else statement.value(value)
                self.options[key] = number, statement

    @property
    def _of_diodes(self) -> tuple[str, ...]:
        return OF_DIODES if self.device is None else (*OF_DIODES, SCALE)

    def option(self, key: str) -> float:
        """Values of OF_DIODES; ``.temp`` has priority over ``.options``, and ngspice's defaults apply otherwise."""
        if key == "temp" and self._temp is not None:
            return self._temp
        return self.options[key][0] if key in self.options else float({**TOLERANCES, SCALE: 1.0}[key])

    def values(self, kind: str, nets: Nets, read: Callable[[Statement], float]) -> dict[tuple[str, ...], float]:
        """The number of each device of a kind, which must connect ``nets(key)``. Raises UserError."""
        values = {}
        for key, statement in self.found[kind].items():
            given, expected = statement.terms[1:3], list(nets(key))
            if given not in (expected, expected[::-1]):
                statement.refuse(f"expected the nets {' and '.join(expected)}, and a number")
            value = read(statement)
            values[key] = value if given == expected or statement.text[0] == "r" else -value
        return values

    def block(self, opening: Statement, inside: list[Statement]) -> None:
        """Read a packaged ``.subckt``, or the ``.control`` block, which may have harmless commands only. Raises UserError."""
        if opening.text.startswith(".control"):
            if self.control is not None or len(opening.words) > 1:
                opening.refuse("expected one .control block")
            self.control = opening
            self._require_harmless(inside)
            return
        name = (*opening.words, "", "")[1]
        if name in with_own_text():
            self.texts[name] = inside
            self.subcircuits.add(name)
            return
        if name not in (*readable(), "amplifier"):
            names = ", ".join((*readable(), *with_own_text(), "amplifier"))
            opening.refuse(
                f"expected one of the subcircuits {names}; register your own law by --import FILE.py, and your own "
                "SPICE device by --diode FILE.toml"
            )
        ((known, body),) = source_of("\n" + library(name), name).blocks
        for ours, given in zip_longest((known, *body), (opening, *inside)):
            if ours is None or given is None or ours.parts != given.parts:
                (given or opening).refuse(
                    f"subcircuit {name} differs from the packaged one, which is the only one that networks have"
                )
        self.subcircuits.add(name)

    def _require_harmless(self, commands: Iterable[Statement]) -> None:
        for command in commands:
            first, *words = command.text.split()
            setting = (words or [""])[0].split("=")[0] in SHOWN_SETTINGS.split()
            redirected = any(character in command.text for character in "`;<>") and first != "if"
            if (first not in COMMANDS.split() and not (first == "set" and setting)) or redirected:
                command.refuse(
                    "commands are not executed; expected the .control block as written, no block, or only commands "
                    "such as op and print"
                )


def _celsius(statement: Statement, word: str) -> float:
    """A temperature in degrees Celsius. Raises UserError."""
    value = statement.value(word)
    if not CELSIUS[0] <= value <= CELSIUS[1]:
        statement.refuse(f"temp: expected degrees Celsius within {CELSIUS[0]:g} and {CELSIUS[1]:g}, got {value:g}")
    return value
