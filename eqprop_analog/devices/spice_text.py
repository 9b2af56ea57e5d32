"""The SPICE text of a device that a law contains: only definitions are allowed, for a law from any source.

A saved network or a device file may come from an untrusted source, and ngspice executes commands and reads files as
directed by its netlist.
"""

import re
from functools import cache, lru_cache

from eqprop_analog.devices.registry import REGISTRIES
from eqprop_analog.errors import UserError
from eqprop_analog.files import packaged_circuits
from eqprop_analog.text import in_one_line, printable

NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
"""Pattern of the name of a subcircuit."""
BEGINS = (".subckt", ".macro")
ENDS = (".ends", ".eom")
KEPT = (".param", ".params", ".parameter", ".func", ".if", ".elseif", ".else", ".endif")
"""Statements apart from subcircuits and models that are kept unchanged."""
COMMENTS = "*$;#"
"""First characters of comments; ngspice executes comments that begin with an asterisk and a number sign."""
CODE_MODELS = "a"
"""Letter of code models; some of ngspice's start processes and read files."""
SCALES = (1e-9, 1.0)
"""Range of the unit of length, metres."""
DEVICE = "measured_device"
"""Name of the subcircuit around a user's device."""
OUR_PARAMETERS = ("input_gain", "nodes_per_class", "g_min", "g_max", "rail", "beta", "gain")
"""Names of parameters in our netlists."""
SETTING = re.compile(r"(\w+)\s*=\s*('[^']*'|\{[^}]*\}|\S+)")


def unfit(statement: str, *, inside: bool) -> str:
    """Return what is wrong with a statement of a library, ``inside`` a subcircuit or outside; empty if it is allowed."""
    written = statement.split(maxsplit=1)[0]
    word = written.lower()
    if inside:
        if word[0] == CODE_MODELS:
            return f"{word:.30}: a code model can start programs and read files; write the device without code models"
        if word[0] == "." and word not in (*BEGINS, *ENDS, *KEPT, ".model"):
            return f"{word:.30} inside a subcircuit; a library may contain only models, subcircuits and parameters"
        return ""
    if word not in (*KEPT, ".model"):
        return f"{written:.30}: a library may contain only models, subcircuits and parameters; remove this line from the file"
    taken = {name.lower() for name, _ in SETTING.findall(statement)} & set(OUR_PARAMETERS) if word in KEPT else set()
    return f"{min(taken)} is the name of a parameter of our netlists; rename this one" if taken else ""


def our_subcircuits() -> set[str]:
    """Return the names of subcircuits in our netlists: those of this package, and those of registered laws."""
    laws = {getattr(law, "subcircuit", "") for registry in REGISTRIES for law in registry.values()}
    return {DEVICE, *_packaged_subcircuits(), *laws} - {""}


@cache
def _packaged_subcircuits() -> frozenset[str]:
    return frozenset(path.stem for path in packaged_circuits().glob("*.lib"))


def require_definitions(text: str, name: str) -> None:
    """Raise UserError unless ``text`` has the form that ``device from-spice`` writes, with subcircuit ``name`` in it."""
    if not NAME.fullmatch(name):
        raise UserError(
            f"spice_name: expected the name of a subcircuit (letters, digits and _), got {in_one_line(name):.60}"
        )
    names = _subcircuits(text)
    taken = sorted(names & our_subcircuits())
    if taken or name.lower() not in names:
        what = ", ".join(taken or sorted(names)) or "none"
        raise UserError(
            f"spice_text: expected subcircuit {name}, and no name of our netlists; got {in_one_line(what):.200}"
        )


@lru_cache(maxsize=8)
def _subcircuits(text: str) -> frozenset[str]:
    """Return the names of the subcircuits in ``text``. Raises UserError for anything but definitions."""
    names, depth = set(), 0
    for statement in _statements(text):
        words = statement.lower().split()
        if not depth and words[0] in BEGINS:
            names.add("".join(words[1:2]))
        depth += (words[0] in BEGINS) - (words[0] in ENDS)
        why = unfit(statement, inside=bool(depth) or words[0] in ENDS)
        if why or depth < 0:
            raise _refused(why or f"{in_one_line(statement):.60}: there is no subcircuit to end")
    if depth:
        raise _refused("a subcircuit has no .ends")
    return frozenset(names)


def _statements(text: str) -> list[str]:
    """Join continuation lines to the previous ones. Raises UserError for comments and control characters."""
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
    return UserError(f"spice_text: {why}. Use `eqprop-analog device from-spice` to make the text of a device")
