"""Spectre's own language (Cadence Spectre Circuit Simulator Reference): translation of every line of a netlist.

An instance is ``name (nets) master parameter=value``; a subcircuit begins with ``subckt``, followed by a line with
its parameters; a comment begins with //. Directions of currents and signs of controlled sources are SPICE's.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from eqprop_analog.errors import UserError
from eqprop_analog.spice.dialects import PHASES, Dialect, coarser, pairs

OWN = "spectre:"
"""Prefix of a line that is already in Spectre's language."""
LONGEST = 200
"""Largest number of characters of a line, after which it is continued on the next."""
SUBCIRCUIT = "eq_"
"""Prefix of the names of subcircuits, because "diode" is a master in Spectre."""
BEHAVIOURAL = re.compile(r"(B\S+) (\S+) (\S+) ([VI])=(.+)")
MODEL = re.compile(r"\.model (\S+) D\((.*)\)", re.IGNORECASE)
SIMPLE = re.compile(r"[A-Za-z_]\w*|[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
NODESET = re.compile(r"\.nodeset v\((\S+)\)=(\S+)")
ASSIGNED = re.compile(r"(\w+)=(\{[^}]*\}|\S+)")
TWO_PINS = {"R": "resistor r=", "C": "capacitor c=", "V": "vsource type=dc dc=", "I": "isource type=dc dc="}
CONTROLLED = {"E": ("vcvs gain=", 4), "G": ("vccs gm=", 4), "F": ("cccs gain=", 2), "H": ("ccvs rm=", 2)}
"""Master and parameter, and number of nets; F and H elements then name the source that measures the current."""


class Spectre(Dialect):
    """Spectre, with results as text files next to the netlist."""

    name = "spectre"
    command = "spectre"
    note = (
        "For Spectre. Its k, q and junctions in reverse differ from ngspice's: expect voltage differences of 1e-7 V.",
    )

    def options(self, settings: Mapping[str, float], models: Sequence[str]) -> list[str]:  # noqa: ARG002
        """Options of the whole simulation; results are written as text."""
        given = coarser(settings)
        names = {
            "reltol": "reltol",
            "vabstol": "vntol",
            "iabstol": "abstol",
            "gmin": "gmin",
            "temp": "temp",
            "tnom": "tnom",
        }
        chosen = pairs({name: given[key] for name, key in names.items()})
        return [
            f"{OWN}global 0",
            f"{OWN}simulatorOptions options {chosen} rawfmt=psfascii",
        ]

    def operating_point(self, outputs: Sequence[str]) -> list[str]:
        """Save the outputs in the folder NETLIST.raw, file dcOp.dc."""
        return [f"{OWN}save {' '.join(outputs)}", f"{OWN}dcOp dc maxiters=500"]

    def two_phases(self, outputs: Sequence[str]) -> list[str]:
        """Sweep V(phase), saved in NETLIST.raw, file phases.dc: first the free phase, then the nudged one."""
        (_, start), (_, stop) = PHASES
        sweep = f"phases dc dev=Vphase param=dc start={start} stop={stop} step=1 maxiters=500"
        return [f"{OWN}save {' '.join(outputs)}", OWN + sweep]

    def finished(self, lines: Sequence[str]) -> list[str]:
        """Translate a whole netlist to Spectre's language. Raises UserError for a line that has no translation."""
        title, *rest = _logical(lines)
        said = [*_translated(title), "simulator lang=spectre", *(part for line in rest for part in _translated(line))]
        return [part for line in said for part in _wrapped(line)]


def _logical(lines: Sequence[str]) -> Iterator[str]:
    """Return the lines without line ends, with continuations joined."""
    waiting: str | None = None
    for line in (each for text in lines for each in text.split("\n")):
        if line.startswith("+") and waiting is not None:
            waiting = f"{waiting} {line[1:].strip()}"
            continue
        if waiting is not None:
            yield waiting
        waiting = line
    if waiting is not None:
        yield waiting


def _wrapped(line: str) -> Iterator[str]:
    """Split a long line into several, which begin with a plus sign."""
    while len(line) > LONGEST and not line.startswith("//") and (at := line.rfind(" ", 3, LONGEST)) > 0:
        yield line[:at]
        line = "+ " + line[at + 1 :]
    yield line


def _translated(line: str) -> list[str]:
    if line.startswith(OWN):
        return [line.removeprefix(OWN)]
    if not line.strip():
        return [""]
    if line.startswith("*"):
        return [f"//{line[1:]}"]
    return _statement(line) if line.startswith(".") else [_instance(line)]


def _statement(line: str) -> list[str]:
    word, _, rest = line.partition(" ")
    if word == ".subckt":
        head, _, given = rest.partition("params:")
        name, *pins = head.split()
        parameters = [f"parameters {_assigned(given)}"] if given.strip() else []
        return [f"subckt {SUBCIRCUIT}{name} ({' '.join(pins)})", *parameters]
    if found := MODEL.fullmatch(line) or NODESET.fullmatch(line):
        inside = f"diode level=1 {_assigned(found[2].lower())}"
        return [f"model {found[1]} {inside}" if word == ".model" else f"nodeset {found[1]}={found[2]}"]
    said = {
        ".end": [],
        ".ends": [f"ends {SUBCIRCUIT}{rest.strip()}"],
        ".param": [f"parameters {_assigned(rest)}"],
        ".include": ['include "{}"'.format(rest.strip().strip('"'))],
    }
    if word in said:
        return said[word]
    raise UserError(f"Spectre: this line has no translation: {line:.80}; use another --dialect")


def _instance(line: str) -> str:
    if found := BEHAVIOURAL.fullmatch(line):
        return f"{found[1]} ({found[2]} {found[3]}) bsource {found[4].lower()}={_expression(found[5])}"
    name, *words = line.split()
    kind = name[0].upper()
    if kind in TWO_PINS:
        return f"{name} ({words[0]} {words[1]}) {TWO_PINS[kind]}{_expression(' '.join(words[2:]))}"
    if kind in CONTROLLED:
        master, nets = CONTROLLED[kind]
        probe = [] if nets == 4 else [f"probe={words[nets]}"]
        value = _expression(" ".join(words[nets + len(probe) :]))
        return " ".join([f"{name} ({' '.join(words[:nets])}) {master}{value}", *probe])
    if kind == "D":
        return f"{name} ({words[0]} {words[1]}) {words[2]} {_assigned(' '.join(words[3:])).replace('dtemp=', 'trise=')}".rstrip()
    if kind == "X":
        own = [k for k, word in enumerate(words) if "=" in word]
        end = own[0] if own else len(words)
        assigned = _assigned(" ".join(words[end:]))
        return f"{name} ({' '.join(words[: end - 1])}) {SUBCIRCUIT}{words[end - 1]} {assigned}".rstrip()
    raise UserError(f"Spectre: this element has no translation: {line:.80}; use another --dialect")


def _assigned(text: str) -> str:
    """Format ``name=value`` of each, values as expressions."""
    return " ".join(f"{name}={_expression(value)}" for name, value in ASSIGNED.findall(text))


def _expression(text: str) -> str:
    """Format a value without braces, powers as two asterisks, functions in lower case; in parentheses unless it is a number."""
    plain = text.strip().replace("{", "").replace("}", "").replace("^", "**")
    plain = re.sub(r"\bV\(", "v(", plain)
    return plain if SIMPLE.fullmatch(plain) else f"({plain})"
