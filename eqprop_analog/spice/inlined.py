"""Subcircuits written out in the netlist itself, device by device: what a sweep that is loaded for every batch is made of.

ngspice writes them out as well, with the same names, but takes a quarter of a netlist's loading time for it. And it has five
unknowns an amplifier where three would do (see ``_without_ammeters``).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from eqprop_analog.spice.reading.expressions import Parameters
from eqprop_analog.spice.reading.statements import INNER, Statement, source_of

NODES = {"r": 2, "c": 2, "d": 2, "v": 2, "i": 2, "e": 4, "g": 4, "f": 2, "h": 2}
"""Devices that can be written out, by the letter that their names begin with, and how many nets each joins."""
WORDS = {"v": 4, "i": 4, "e": 6, "g": 6, "f": 5, "h": 5}
"""How many words such a device's line has; with more or fewer it says something else."""
CONTROLLED = "fh"
"""Those whose next word is the voltage source that controls them."""
NOT_NETS = re.compile(r"[(),\"]")
"""Brackets and commas separate words in some places of a line alone; quotes hold names of files."""


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

    def joined(self, nets: int, given: Mapping[str, str]) -> "Subcircuit":
        """An instance on so many nets, ``filled``. Raises ValueError for another number of nets than it has ports, too."""
        if nets != len(self.ports):
            raise ValueError(f"{self.name}: {len(self.ports)} ports, got {nets} nets")
        return self.filled(given)

    def filled(self, given: Mapping[str, str]) -> "Subcircuit":
        """With the parameters of an instance. Raises ValueError for others than it has, and for values not understood."""
        if not given.keys() <= self.defaults.keys():
            raise ValueError(f"{self.name}: no such parameter")
        parameters = Parameters({**self.defaults, **given})

        def number(expression: re.Match[str]) -> str:
            return repr(parameters.evaluated(expression[0]))

        devices = tuple(tuple(INNER.sub(number, word) for word in words) for words in self.devices)
        models = {name: INNER.sub(number, text) for name, text in self.models.items()}
        return Subcircuit(self.name, self.ports, {}, _without_ammeters(devices, self.ports), models)


def _without_ammeters(devices: tuple[tuple[str, ...], ...], ports: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The same circuit where a source of 0 V in series with an E element is left out: the E element's own current is read.

    That is two unknowns fewer, the net between the two and a current. Raises ValueError for values that are no numbers.
    """
    for source in devices:
        if source[0][0] != "v" or float(source[3]) != 0 or source[1] in ports:
            continue
        between, behind = source[1:3]
        touching = [each for each in devices if between in each[1 : 1 + NODES[each[0][0]]] and each is not source]
        if len(touching) != 1 or touching[0][0][0] != "e" or touching[0][1:3] != (between, "0"):
            continue
        driver = touching[0]
        merged = (driver[0], behind, *driver[2:])

        def read(each: tuple[str, ...], meter: str = source[0], driver: str = driver[0]) -> tuple[str, ...]:
            if each[0][0] not in CONTROLLED or each[3] != meter:
                return each
            return (*each[:3], driver, repr(-float(each[4])))  # it flows into an E element where it flows out of a V

        rest = (merged if each is driver else read(each) for each in devices if each is not source)
        return _without_ammeters(tuple(rest), ports)
    return devices


@lru_cache(maxsize=64)
def read_subcircuit(text: str) -> Subcircuit | None:
    """The subcircuit in ``text``; None if it has anything but devices that can be written out."""
    try:
        source = source_of(f"\n{text}", "subcircuit")
        ((head, body),) = source.blocks
        found = _of_devices(head, body)
        filled = found.filled({})
    except ValueError:
        return None
    over = source.statements or source.parameters.texts or "{" in repr((filled.devices, *filled.models.values()))
    return None if over else found


def _of_devices(head: Statement, body: Sequence[Statement]) -> Subcircuit:
    """Raises ValueError where a statement is not a device that can be written out, or the model of one."""
    _, name, *words = head.words
    ports = tuple(word for word in words if "=" not in word)
    devices, models = [], {}
    for each in body:
        first, *more = each.words
        if first == ".model" and '"' not in each.text:
            models[more[0]] = " ".join(more[1:])
        elif first[0] in NODES and not NOT_NETS.search(INNER.sub("", each.text)):
            devices.append(tuple(each.parts))
            if len(devices[-1]) < 4 or len(devices[-1]) != WORDS.get(first[0], len(devices[-1])):
                each.refuse("other words than such a device has")
        else:
            each.refuse("no device that can be written out")
    return Subcircuit(name, ports, dict(word.split("=", 1) for word in words[len(ports) :]), tuple(devices), models)


@dataclass
class Inlined:
    """Writes out the instances of those of ``texts`` that it can."""

    texts: Sequence[str]
    """Of the circuit's subcircuits."""
    kept: list[str] = field(init=False)
    """Those that instances still need."""
    _known: dict[str, tuple[Subcircuit, str]] = field(init=False)
    _forms: dict[tuple[str, ...], str] = field(init=False, default_factory=dict)
    """What an instance of this name, number of nets and parameters is written as: {0} its name, {1}, ... its nets."""

    def __post_init__(self) -> None:
        """Read the texts."""
        read = [read_subcircuit(text) for text in self.texts]
        self._known = {each.name: (each, text) for each, text in zip(read, self.texts, strict=True) if each is not None}
        self.kept = [text for text, each in zip(self.texts, read, strict=True) if each is None]
        if any(re.search(r"^\s*x", text, re.IGNORECASE | re.MULTILINE) for text in self.kept):
            self.kept = list(self.texts)  # one may be made of others

    def lines(self, lines: Iterable[str]) -> Iterator[str]:
        """``lines``, with an instance's devices in its place, before the first of its kind the models that they need."""
        for line in lines:
            if line[:1] != "X":
                yield line
                continue
            name, *words = line.split()
            count = sum("=" not in word for word in words)
            key = words[count - 1].lower(), str(count - 1), *words[count:]
            if key not in self._forms and key[0] in self._known:
                yield from self._begin(key)
            yield self._forms[key].format(name, *words[: count - 1]) if key in self._forms else line

    def _begin(self, key: tuple[str, ...]) -> Iterator[str]:
        """What instances with these words behind their nets need; how they are written is known from here on."""
        subcircuit, text = self._known[key[0]]
        try:
            filled = subcircuit.joined(int(key[1]), dict(word.lower().split("=", 1) for word in key[2:]))
        except ValueError:  # ngspice says what is wrong, or knows better
            del self._known[key[0]]
            yield text
            return
        names = {model: f"{key[0]}_{model}_{len(self._forms)}" for model in filled.models}
        self._forms[key] = _form(filled, names)
        yield from (f".model {names[model]} {card}" for model, card in filled.models.items())


def _form(filled: Subcircuit, names: Mapping[str, str]) -> str:
    """The lines of an instance's devices, with places for its name and its nets, and ``names`` for its models."""
    at = {port: f"{{{number}}}" for number, port in enumerate(filled.ports, start=1)} | {"0": "0"}
    lines = []
    for device, *words in filled.devices:
        ends, rest = words[: NODES[device[0]]], words[NODES[device[0]] :]
        if device[0] in CONTROLLED:
            rest = [f"{rest[0][0]}.{{0}}.{rest[0]}", *rest[1:]]
        ends = [at.get(net, f"{{0}}.{net}") for net in ends]
        lines.append(" ".join([f"{device[0]}.{{0}}.{device}", *ends, *(names.get(word, word) for word in rest)]))
    return "\n".join(lines)
