"""The SPICE text of a device that a law carries: definitions alone, wherever the law comes from.

A saved network or a device file may come from anybody, and ngspice runs commands and reads files for whoever writes its netlist.
"""

import re
from functools import cache, lru_cache

from eqprop_analog.devices.registry import REGISTRIES
from eqprop_analog.errors import UserError
from eqprop_analog.files import packaged_circuits
from eqprop_analog.text import in_one_line, printable

NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
"""Of a subcircuit."""
BEGINS = (".subckt", ".macro")
ENDS = (".ends", ".eom")
KEPT = (".param", ".params", ".parameter", ".func", ".if", ".elseif", ".else", ".endif")
"""Statements beside subcircuits and models that stay as they are."""
COMMENTS = "*$;#"
"""With which comments begin; ngspice executes those that begin with an asterisk and a number sign."""
CODE_MODELS = "a"
"""The letter of devices that are programs: among ngspice's are some that start processes and read files."""
SCALES = (1e-9, 1.0)
"""Metres of a unit of length."""
DEVICE = "measured_device"
"""Name of the subcircuit around a device of the user's own."""
OUR_PARAMETERS = ("input_gain", "nodes_per_class", "g_min", "g_max", "rail", "beta", "gain")
"""Names that netlists have already."""
SETTING = re.compile(r"(\w+)\s*=\s*('[^']*'|\{[^}]*\}|\S+)")


def unfit(statement: str, *, inside: bool) -> str:
    """What is wrong with a statement of a library, ``inside`` a subcircuit or beside them; empty for one that may stay."""
    written = statement.split(maxsplit=1)[0]
    word = written.lower()
    if inside:
        if word[0] == CODE_MODELS:
            return f"{word:.30}: a code model can start programs and read files; write the device without any"
        if word[0] == "." and word not in (*BEGINS, *ENDS, *KEPT, ".model"):
            return f"{word:.30} inside a subcircuit; a library has models, subcircuits and parameters alone"
        return ""
    if word not in (*KEPT, ".model"):
        return f"{written:.30}: a library has models, subcircuits and parameters alone; take this line out of the file"
    taken = {name.lower() for name, _ in SETTING.findall(statement)} & set(OUR_PARAMETERS) if word in KEPT else set()
    return f"netlists have a parameter {min(taken)} of their own; give this one another name" if taken else ""


def our_subcircuits() -> set[str]:
    """Names that subcircuits of netlists have already: the package's own, and those of registered laws."""
    laws = {getattr(law, "subcircuit", "") for registry in REGISTRIES for law in registry.values()}
    return {DEVICE, *_packaged_subcircuits(), *laws} - {""}


@cache
def _packaged_subcircuits() -> frozenset[str]:
    return frozenset(path.stem for path in packaged_circuits().glob("*.lib"))


def require_definitions(text: str, name: str) -> None:
    """Raise UserError unless ``text`` is what ``device from-spice`` keeps of a library, with subcircuit ``name`` in it."""
    if not NAME.fullmatch(name):
        raise UserError(
            f"spice_name: expected the name of a subcircuit, letters, digits and _, got {in_one_line(name):.60}"
        )
    names = _subcircuits(text)
    taken = sorted(names & our_subcircuits())
    if taken or name.lower() not in names:
        what = ", ".join(taken or sorted(names)) or "none"
        raise UserError(
            f"spice_text: expected subcircuit {name}, and none of a netlist's own names; there is {in_one_line(what):.200}"
        )


@lru_cache(maxsize=8)
def _subcircuits(text: str) -> frozenset[str]:
    """Names of the subcircuits in ``text``. Raises UserError where there is anything but definitions."""
    names, depth = set(), 0
    for statement in _statements(text):
        words = statement.lower().split()
        if not depth and words[0] in BEGINS:
            names.add("".join(words[1:2]))
        depth += (words[0] in BEGINS) - (words[0] in ENDS)
        why = unfit(statement, inside=bool(depth) or words[0] in ENDS)
        if why or depth < 0:
            raise _refused(why or f"{in_one_line(statement):.60}: it ends no subcircuit")
    if depth:
        raise _refused("a subcircuit has no .ends")
    return frozenset(names)


def _statements(text: str) -> list[str]:
    """Continuation lines joined to those before. UserError for comments and for what is no text."""
    found: list[str] = []
    for line in text.split("\n"):
        part = line.strip()
        if not part or part[0] in COMMENTS or printable(part) != part:
            raise _refused(f'expected no comments, empty lines and control characters, got "{in_one_line(line):.60}"')
        if part[0] == "+" and found:
            found[-1] += f" {part[1:]}"
        else:
            found.append(part)
    return found


def _refused(why: str) -> UserError:
    return UserError(f"spice_text: {why}. The text of a device is made by `eqprop-analog device from-spice`")
