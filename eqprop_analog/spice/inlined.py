"""Subcircuits expanded in the netlist, device by device, for sweeps that are loaded for every batch.

ngspice also expands them, with the same names, but this takes a quarter of a netlist's loading time, and its amplifiers
have five unknowns where three are sufficient (see ``_without_ammeters``).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from eqprop_analog.spice.reading.expressions import Parameters
from eqprop_analog.spice.reading.statements import INNER, Statement, source_of

NODES = {"r": 2, "c": 2, "d": 2, "v": 2, "i": 2, "e": 4, "g": 4, "f": 2, "h": 2}
"""Devices that can be expanded, by the first letter of their names, and their numbers of nets."""
WORDS = {"v": 4, "i": 4, "e": 6, "g": 6, "f": 5, "h": 5}
"""Numbers of words of such a device's line; other lines have another meaning."""
CONTROLLED = "fh"
"""Devices whose next word is the voltage source that controls them."""
NOT_NETS = re.compile(r"[(),\"]")
"""Brackets and commas are separators only in some parts of a line; quotes enclose names of files."""


@dataclass(frozen=True)
class Subcircuit:
    """A subcircuit that consists only of devices, with numbers instead of its parameters after ``filled``."""

    name: str
    ports: tuple[str, ...]
    defaults: Mapping[str, str]
    devices: tuple[tuple[str, ...], ...]
    """Words of each device's line."""
    models: Mapping[str, str]
    """Text of each .model card behind its name."""

    def joined(self, nets: int, given: Mapping[str, str]) -> "Subcircuit":
        """Return an instance on a number of nets, ``filled``.

        Raises ValueError also if the number differs from that of its ports.
        """
        if nets != len(self.ports):
            raise ValueError(f"{self.name}: {len(self.ports)} ports, got {nets} nets")
        return self.filled(given)

    def filled(self, given: Mapping[str, str]) -> "Subcircuit":
        """Return it with the parameters of an instance.

        Raises ValueError for unknown parameters and for unreadable values.
        """
        if not given.keys() <= self.defaults.keys():
            raise ValueError(f"{self.name}: no such parameter")
        parameters = Parameters({**self.defaults, **given})

        def number(expression: re.Match[str]) -> str:
            return repr(parameters.evaluated(expression[0]))

        devices = tuple(tuple(INNER.sub(number, word) for word in words) for words in self.devices)
        models = {name: INNER.sub(number, text) for name, text in self.models.items()}
        return Subcircuit(self.name, self.ports, {}, _without_ammeters(devices, self.ports), models)


def _without_ammeters(devices: tuple[tuple[str, ...], ...], ports: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the circuit without sources of 0 V in series with an E element, whose own current is used instead.

    This saves two unknowns, the net between the two and a current. Raises ValueError for values that are not numbers.
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
            return (*each[:3], driver, repr(-float(each[4])))  # the sign of the current of an E element is opposite

        rest = (merged if each is driver else read(each) for each in devices if each is not source)
        return _without_ammeters(tuple(rest), ports)
    return devices


@lru_cache(maxsize=64)
def read_subcircuit(text: str) -> Subcircuit | None:
    """Return the subcircuit in ``text``; None if it has anything but devices that can be expanded."""
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
    """Return the subcircuit.

    Raises ValueError if a statement is neither a device that can be expanded nor the model of one.
    """
    _, name, *words = head.words
    ports = tuple(word for word in words if "=" not in word)
    devices, models = [], {}
    for each in body:
        first, *more = each.words
        if first == ".model" and len(more) > 1 and '"' not in each.text:
            models[more[0]] = " ".join(more[1:])
        elif first[0] in NODES and not NOT_NETS.search(INNER.sub("", each.text)):
            devices.append(tuple(each.parts))
            if len(devices[-1]) < 4 or len(devices[-1]) != WORDS.get(first[0], len(devices[-1])):
                each.refuse("unexpected number of words for such a device")
        else:
            each.refuse("not a device that can be expanded")
    return Subcircuit(name, ports, dict(word.split("=", 1) for word in words[len(ports) :]), tuple(devices), models)


@dataclass
class Inlined:
    """Expands the instances of those of ``texts`` for which this is possible."""

    texts: Sequence[str]
    """Texts of the circuit's subcircuits."""
    kept: list[str] = field(init=False)
    """Subcircuits that instances still need."""
    _known: dict[str, tuple[Subcircuit, str]] = field(init=False)
    _forms: dict[tuple[str, ...], str] = field(init=False, default_factory=dict)
    """Expansion of an instance by name, number of nets and parameters: {0} is its name, {1}, ... are its nets."""

    def __post_init__(self) -> None:
        """Read the texts."""
        read = [read_subcircuit(text) for text in self.texts]
        self._known = {each.name: (each, text) for each, text in zip(read, self.texts, strict=True) if each is not None}
        self.kept = [text for text, each in zip(self.texts, read, strict=True) if each is None]
        if any(re.search(r"^\s*x", text, re.IGNORECASE | re.MULTILINE) for text in self.kept):
            self.kept = list(self.texts)  # a subcircuit may contain others

    def lines(self, lines: Iterable[str]) -> Iterator[str]:
        """Return ``lines`` with instances replaced by their devices; the first of each kind is preceded by its models."""
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
        """Return the models of instances with these words after their nets, and store their expansion."""
        subcircuit, text = self._known[key[0]]
        try:
            filled = subcircuit.joined(int(key[1]), dict(word.lower().split("=", 1) for word in key[2:]))
        except ValueError:  # ngspice reports the error, or accepts it
            del self._known[key[0]]
            yield text
            return
        names = {model: f"{key[0]}_{model}_{len(self._forms)}" for model in filled.models}
        self._forms[key] = _form(filled, names)
        yield from (f".model {names[model]} {card}" for model, card in filled.models.items())


def _form(filled: Subcircuit, names: Mapping[str, str]) -> str:
    """Return the lines of an instance's devices, with placeholders for its name and nets, and ``names`` for its models."""
    at = {port: f"{{{number}}}" for number, port in enumerate(filled.ports, start=1)} | {"0": "0"}
    lines = []
    for device, *words in filled.devices:
        ends, rest = words[: NODES[device[0]]], words[NODES[device[0]] :]
        if device[0] in CONTROLLED:
            rest = [f"{rest[0][0]}.{{0}}.{rest[0]}", *rest[1:]]
        ends = [at.get(net, f"{{0}}.{net}") for net in ends]
        lines.append(" ".join([f"{device[0]}.{{0}}.{device}", *ends, *(names.get(word, word) for word in rest)]))
    return "\n".join(lines)
