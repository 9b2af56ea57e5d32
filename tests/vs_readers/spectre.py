"""A strict reader of Spectre's language, as far as a network's netlist needs it: everything outside its grammar is refused.

It knows nothing of how the netlists are written; it follows the language's own description. What it reads it can say as SPICE,
so that ngspice solves what was read.
"""

import re
from dataclasses import dataclass, field

NAME = r"[A-Za-z_]\w*"
NET = r"[A-Za-z_0-9]\w*"
DEEPEST = 8
"""Parentheses in parentheses."""
INSIDE = r"[^()]*"
for _ in range(DEEPEST):
    INSIDE = rf"(?:[^()]|\({INSIDE}\))*"
EXPRESSION = rf"(?:\({INSIDE}\)|[\w.+-]+)"
PARAMETER = re.compile(rf"\s*({NAME})=({EXPRESSION})(?=\s|$)")
INSTANCE = re.compile(rf"({NAME}) \(({NET}(?: {NET})*)\) ({NAME})((?: {NAME}={EXPRESSION})*)")
MASTERS = {
    "resistor": {"r"},
    "capacitor": {"c"},
    "vsource": {"type", "dc"},
    "isource": {"type", "dc"},
    "vcvs": {"gain"},
    "vccs": {"gm"},
    "cccs": {"gain", "probe"},
    "ccvs": {"rm", "probe"},
    "bsource": {"i", "v"},
}
"""The parameters of the masters that are used."""
PINS = {"vcvs": 4, "vccs": 4}


@dataclass
class Instance:
    """One element."""

    name: str
    nets: tuple[str, ...]
    master: str
    parameters: dict[str, str]


@dataclass
class Scope:
    """The top level, or a subcircuit."""

    pins: tuple[str, ...] = ()
    parameters: dict[str, str] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    models: dict[str, dict[str, str]] = field(default_factory=dict)
    subcircuits: dict[str, "Scope"] = field(default_factory=dict)
    analyses: dict[str, dict[str, str]] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    guesses: dict[str, str] = field(default_factory=dict)
    saved: tuple[str, ...] = ()


def assigned(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(text.rstrip()):
        match = PARAMETER.match(text, at)
        assert match, f"no parameter: {text[at:]!r}"
        assert match[1] not in found, f"given twice: {match[1]}"
        found[match[1]], at = match[2], match.end()
    return found


def logical(text: str) -> list[str]:
    lines: list[str] = []
    for line in text.split("\n"):
        if line.startswith("+"):
            lines[-1] += " " + line[1:].strip()
        elif line.strip() and not line.startswith("//"):
            lines.append(line)
    return lines


def read(text: str, included: dict[str, str] | None = None) -> Scope:  # noqa: C901 - one case a keyword
    """The top level. Raises AssertionError for text that is not in Spectre's language."""
    assert text.startswith("//"), "the first line is a title to a program that begins in SPICE's language"
    assert text.split("\n")[1] == "simulator lang=spectre"
    top = Scope()
    stack = [top]
    for line in logical(text)[1:]:
        word, _, rest = line.partition(" ")
        here = stack[-1]
        if word == "subckt":
            match = re.fullmatch(rf"({NAME}) \(({NET}(?: {NET})*)\)", rest)
            assert match, line
            assert match[1] not in MASTERS | {"diode": set()}, f"{match[1]} is a master of Spectre's"
            here.subcircuits[match[1]] = Scope(tuple(match[2].split()))
            stack.append(here.subcircuits[match[1]])
        elif word == "ends":
            stack.pop()
            assert stack
            assert list(stack[-1].subcircuits)[-1] == rest
        elif word == "parameters":
            here.parameters |= assigned(rest)
        elif word == "model":
            name, master, given = (rest + " ").split(" ", 2)
            assert master == "diode"
            here.models[name] = assigned(given)
            assert here.models[name].keys() <= {"level", "is", "n", "rs"}
        elif word == "nodeset":
            top.guesses |= assigned(rest)
        elif word == "global":
            assert rest == "0"
        elif word == "save":
            top.saved += tuple(rest.split())
        elif word == "include":
            other = read((included or {})[rest.strip('"')])
            here.subcircuits |= other.subcircuits
            here.instances |= other.instances
        elif rest.startswith("options "):
            top.options |= assigned(rest.removeprefix("options "))
        elif rest.startswith("dc"):
            top.analyses[word] = assigned(rest.removeprefix("dc").strip())
        else:
            match = INSTANCE.fullmatch(line)
            assert match, f"no Spectre: {line}"
            one = Instance(match[1], tuple(match[2].split()), match[3], assigned(match[4]))
            assert one.name not in here.instances, f"there twice: {one.name}"
            here.instances[one.name] = one
    assert stack == [top], "a subcircuit without its end"
    require_known(top, {})
    return top


def require_known(scope: Scope, outer: dict[str, Scope]) -> None:
    """Every master exists and has the parameters and pins that are given."""
    known = outer | scope.subcircuits
    for one in scope.instances.values():
        if one.master in MASTERS:
            assert one.parameters.keys() <= MASTERS[one.master], one
            assert len(one.nets) == PINS.get(one.master, 2), one
            if "probe" in one.parameters:
                assert scope.instances[one.parameters["probe"]].master == "vsource"
        elif one.master in scope.models:
            assert len(one.nets) == 2
            assert one.parameters.keys() <= {"trise"}
        else:
            assert one.master in known, f"no such master: {one.master}"
            assert len(one.nets) == len(known[one.master].pins), one
            assert one.parameters.keys() <= known[one.master].parameters.keys(), one
    for inner in scope.subcircuits.values():
        require_known(inner, known)


def spice(top: Scope) -> list[str]:
    """What was read, in ngspice's language, according to this reader's definition of the masters."""
    return ["* read back", *_scope(top)]


def _scope(scope: Scope) -> list[str]:
    lines = []
    for name, inner in scope.subcircuits.items():
        plain = {key: value for key, value in inner.parameters.items() if "(" not in value}
        given = " ".join(f"{key}={value}" for key, value in plain.items())
        lines.append(f".subckt {name} {' '.join(inner.pins)}" + (f" params: {given}" if given else ""))
        lines += [f".param {k}={{{_spiced(v)}}}" for k, v in inner.parameters.items() if k not in plain]
        lines += [*_scope(inner), f".ends {name}"]
    for name, values in scope.models.items():
        lines.append(f".model {name} D({' '.join(f'{k}={{{v}}}' for k, v in values.items() if k != 'level')})")
    return lines + [_element(one, scope) for one in scope.instances.values()]


def _element(one: Instance, scope: Scope) -> str:
    nets, values = " ".join(one.nets), {key: _spiced(value) for key, value in one.parameters.items()}
    braced = {key: f"{{{value}}}" for key, value in values.items()}
    if one.master in scope.models:
        return f"D{one.name} {nets} {one.master} " + (f"dtemp={braced['trise']}" if "trise" in braced else "")
    if one.master == "bsource":
        ((kind, value),) = values.items()
        return f"B{one.name} {nets} {kind}={value}"
    letter = {"resistor": "R", "capacitor": "C", "vsource": "V", "isource": "I", "vcvs": "E", "vccs": "G"}.get(
        one.master
    )
    if letter:
        (value,) = (each for key, each in braced.items() if key != "type")
        return f"{letter}{one.name} {nets} {value}"
    if one.master in ("cccs", "ccvs"):
        factor = braced.get("gain", braced.get("rm"))
        return f"{'F' if one.master == 'cccs' else 'H'}{one.name} {nets} V{values['probe']} {factor}"
    given = " ".join(f"{key}={value}" for key, value in braced.items())
    return f"X{one.name} {nets} {one.master} {given}".rstrip()


def _spiced(value: str) -> str:
    return re.sub(r"\btemp\b", "temper", value.replace("**", "^"))
