"""Subcircuits written out in the netlist itself, device by device: what a sweep that is loaded for every batch is made of.

ngspice writes them out as well, with the same names, but takes a quarter of a netlist's loading time for it. And it has five
unknowns an amplifier where three would do (see ``_without_ammeters``).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from eqprop_analog.spice.reading.expressions import Parameters

NODES = {"R": 2, "C": 2, "D": 2, "V": 2, "I": 2, "E": 4, "G": 4, "F": 2, "H": 2}
"""Devices that can be written out, by the letter that their names begin with, and how many nets each joins."""
CONTROLLED = "FH"
"""Those whose next word is the voltage source that controls them."""
HEAD = re.compile(r"\.subckt (\S+) ((?:[^ =]+ )*?[^ =]+)(?: params: (.*))?", re.IGNORECASE)
MODEL = re.compile(r"\.model (\S+) (.*)", re.IGNORECASE)
BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Subcircuit:
    """A subcircuit of devices alone, with numbers in place of its parameters once ``filled``."""

    name: str
    ports: tuple[str, ...]
    defaults: Mapping[str, str]
    devices: tuple[tuple[str, ...], ...]
    """Words of each device's line."""
    models: Mapping[str, str]
    """Text of each .model card behind its name."""

    def filled(self, given: Mapping[str, str]) -> "Subcircuit":
        """With the parameters of an instance."""
        parameters = Parameters({**self.defaults, **given})

        def number(braces: re.Match[str]) -> str:
            return repr(parameters.evaluated(braces[1]))

        devices = tuple(tuple(BRACES.sub(number, word) for word in words) for words in self.devices)
        models = {name: BRACES.sub(number, text) for name, text in self.models.items()}
        return Subcircuit(self.name, self.ports, {}, _without_ammeters(devices, self.ports), models)


def _without_ammeters(devices: tuple[tuple[str, ...], ...], ports: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The same circuit where a source of 0 V in series with an E element is left out: the E element's own current is read.

    That is two unknowns fewer, the net between the two and a current.
    """
    for source in devices:
        if source[0][0] != "V" or float(source[3]) != 0 or source[1] in ports:
            continue
        between, behind = source[1:3]
        touching = [each for each in devices if between in each[1 : 1 + NODES[each[0][0]]] and each is not source]
        if len(touching) != 1 or touching[0][0][0] != "E" or touching[0][1:3] != (between, "0"):
            continue
        driver = touching[0]
        merged = (driver[0], behind, *driver[2:])

        def read(each: tuple[str, ...], meter: str = source[0], driver: tuple[str, ...] = driver) -> tuple[str, ...]:
            if each[0][0] not in CONTROLLED or each[3] != meter:
                return each
            return (*each[:3], driver[0], repr(-float(each[4])))  # it flows into an E element where it flows out of a V

        rest = (merged if each is driver else read(each) for each in devices if each is not source)
        return _without_ammeters(tuple(rest), ports)
    return devices


def read_subcircuit(text: str) -> Subcircuit | None:
    """The subcircuit in ``text``; None if it has anything but devices that can be written out."""
    lines = [line.strip() for line in text.split("\n") if line.strip() and not line.startswith("*")]
    head = HEAD.fullmatch(lines[0]) if lines else None
    if head is None or not lines[-1].lower().startswith(".ends"):
        return None
    defaults = dict(word.split("=", 1) for word in (head[3] or "").split())
    devices, models = [], {}
    for line in lines[1:-1]:
        model = MODEL.fullmatch(line)
        if model is not None:
            models[model[1]] = model[2]
        elif line[0] in NODES:
            devices.append(tuple(line.split()))
        else:
            return None
    return Subcircuit(head[1], tuple(head[2].split()), defaults, tuple(devices), models)


@lru_cache(maxsize=64)
def _read(text: str) -> Subcircuit | None:
    return read_subcircuit(text)


@dataclass
class Inlined:
    """Writes out the instances of those of ``texts`` that it can."""

    texts: Sequence[str]
    """Of the circuit's subcircuits."""
    kept: list[str] = field(init=False)
    """Those that instances still need."""
    _known: dict[str, Subcircuit] = field(init=False)
    _filled: dict[tuple[str, ...], tuple[Subcircuit, dict[str, str]]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Read the texts."""
        read = [_read(text) for text in self.texts]
        self._known = {each.name: each for each in read if each is not None}
        self.kept = [text for text, each in zip(self.texts, read, strict=True) if each is None]

    def lines(self, lines: Iterable[str]) -> Iterator[str]:
        """``lines``, with an instance's devices, and the models that these need, in its place."""
        for line in lines:
            if line[:1] != "X":
                yield line
                continue
            name, *words = line.split()
            given = [word for word in words if "=" in word]
            *nets, model = words[: len(words) - len(given)]
            if model in self._known:
                yield from self._instance(name, nets, (model, *given))
            else:
                yield line

    def _instance(self, name: str, nets: list[str], key: tuple[str, ...]) -> Iterator[str]:
        if key not in self._filled:
            filled = self._known[key[0]].filled(dict(word.split("=", 1) for word in key[1:]))
            names = {model: f"{key[0]}_{model}_{len(self._filled)}" for model in filled.models}
            self._filled[key] = filled, names
            yield from (f".model {names[model]} {text}" for model, text in filled.models.items())
        filled, names = self._filled[key]
        at = dict(zip(filled.ports, nets, strict=True))
        at["0"] = "0"
        for device, *words in filled.devices:
            count = NODES[device[0]]
            ends = [at.get(net) or f"{name}.{net}" for net in words[:count]]
            rest = words[count:]
            if device[0] in CONTROLLED:
                rest = [f"{rest[0][0]}.{name}.{rest[0]}", *rest[1:]]
            yield " ".join([f"{device[0]}.{name}.{device}", *ends, *(names.get(word, word) for word in rest)])
