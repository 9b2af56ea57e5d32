"""The common law of all diodes of a flat netlist, at the temperature of the netlist."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from eqprop_analog.devices import Antiparallel, Law, NgspiceDiode
from eqprop_analog.devices.spice_text import DEVICE
from eqprop_analog.errors import UserError
from eqprop_analog.networks.resistive.reading.element_lines import constant, instance
from eqprop_analog.networks.resistive.reading.flat_devices import (
    OF_DIODES,
    SCALE,
    FlatDevices,
    defaults,
    readable,
    with_own_text,
)
from eqprop_analog.spice.reading.statements import Source, Statement

NOTED = re.compile(r"diodes: (antiparallel pairs of )?(\w+)((?:, \w+ = \S+)*)\.$", re.IGNORECASE)
"""The line of the header that names the law."""
Key = tuple[str, ...]


@dataclass(frozen=True)
class DiodeReader:
    """Reader of the diodes; every method raises UserError with the name of the device."""

    source: Source
    devices: FlatDevices

    def law(self, sizes: Sequence[int]) -> tuple[Law, tuple[str, ...]]:
        """The law of all diodes, and sentences on assumed values; ``sizes``: number of nodes of layers 1..L."""
        rails = self.devices.values("rail", lambda key: (f"rail_{key[0]}", "0"), constant)
        if len(sizes) == 1:
            for statement in self.devices.found["rail"].values():
                statement.refuse("without diodes, there are no rails")
            return self._noted(), ()
        rail = self._rail(rails)
        found = self.devices.found["diode"]
        first = next(iter(found.values()))
        given = self._instance(first)
        paired = any(member for member, _, _ in found)
        law, notes = self._law(first, *given, rail, paired=paired)
        self._require_options(first, law)
        expected = dict(_nets(sizes, paired=paired))
        for (member, layer, j), nets in expected.items():
            if (member, layer, j) not in found:
                raise UserError(f"{self.source.file}: Xd{member}{layer}_{j} is missing, a diode {' '.join(nets)}")
        for key, statement in found.items():
            if statement.pins[1:3] != expected.get(key):
                here = expected.get(key, ["rail_p or rail_n", "its node; two diodes at every node or one"])
                statement.refuse(f"expected the nets {' and '.join(here)}")
            if (other := self._instance(statement)) != given:
                statement.refuse(
                    f"all diodes of a network are equal; this one differs from the first, in line {first.number}: "
                    f"{_difference(given, other)}"
                )
        return law, notes

    def _rail(self, rails: dict[Key, float]) -> float:
        """Voltage of rail_p, volts; rail_n must have the opposite voltage."""
        if rails.keys() == {("p",), ("n",)} and rails["p",] == -rails["n",]:
            return rails["p",]
        why = "expected Vrail_p and Vrail_n, one minus the other"
        if len(rails) == 2:
            self.devices.found["rail"]["n",].refuse(f"{why}; got {rails['p',]:g} V and {rails['n',]:g} V")
        raise UserError(f"{self.source.file}: {why}")

    def _instance(self, statement: Statement) -> tuple[str, dict[str, float]]:
        _, model, given = instance(statement, self.devices.subcircuits)
        return model, given

    def _law(
        self, statement: Statement, model: str, given: dict[str, float], rail: float, *, paired: bool
    ) -> tuple[Law, tuple[str, ...]]:
        laws = readable()
        if self.devices.device is not None or model in self.devices.texts:
            return self._by_its_text(statement, model, given, rail, paired=paired), ()
        if model not in laws or not given.keys() <= defaults(model).keys():
            expected = "; ".join(f"{name} with {', '.join(sorted(laws[name].spice_parameters))}" for name in laws)
            statement.refuse(f"expected one of the diodes: {expected}")
        kind = laws[model]
        options = {key: self.devices.option(key) for key in OF_DIODES}
        celsius = options["temp"]
        for key in sorted(given.keys() - {key.lower() for key in kind.spice_parameters}):
            usual = celsius - options["tnom"] if key == "above" else defaults(model)[key]
            if not np.isclose(given[key], usual, rtol=1e-12, atol=1e-9 if key == "above" else 0):
                statement.refuse(f"{key}: expected {usual:g}, as for all diodes of a network, got {given[key]:g}")
        try:
            law, notes = kind.from_spice({**defaults(model), **given}, rail, options)
            law = Antiparallel(law) if paired else law
        except ValueError as error:
            statement.refuse(f"{error} (at {celsius:g} C)")
        return law, notes

    def _by_its_text(
        self, statement: Statement, model: str, given: dict[str, float], rail: float, *, paired: bool
    ) -> Law:
        """The law of the packaged subcircuit, or that of the user's SPICE device."""
        device = self.devices.device
        if given or (device is not None and model != device.spice[0]):
            statement.refuse(f"expected subcircuit {model if device is None else device.spice[0]}, without parameters")
        if device is not None:
            law = replace(device, rail=rail, as_device=False)
        else:
            inside = self.devices.texts[model]
            first = inside[0] if inside else statement
            try:
                law = with_own_text()[model].from_subcircuit([each.text for each in inside], first.value, rail)
            except ValueError as error:
                first.refuse(str(error))
        return Antiparallel(law) if paired else law

    def _require_options(self, statement: Statement, law: Law) -> None:
        """Raise UserError if the law needs another gmin, temperature or scale than those of the netlist."""
        law = self.devices.device or law
        for key in ("gmin", "temp", SCALE):
            needed, there = law.options.get(key, 1.0 if key == SCALE else None), self.devices.option(key)
            if needed is not None and needed != there:
                _, where = self.devices.options.get(key, (there, statement))
                where.refuse(
                    f"option {key}: expected {needed:g} with diodes of subcircuit {law.spice[0]}, got {there:g}"
                )

    def _noted(self) -> Law:
        """Without a hidden layer, the law that the header names (by default ngspice's diode), to write it again."""
        for comment in self.source.comments:
            found = NOTED.search(comment.text)
            if found:
                given = comment.settings(re.sub(r"\s", "", found[3]).lower().split(",")[1:])
                model = found[2].lower()
                if model in readable():
                    given = {**defaults(model), **given}
                elif model in (*with_own_text(), DEVICE):
                    break
                return self._law(comment, model, given, -1.0 if found[1] else 0.0, paired=bool(found[1]))[0]
        return NgspiceDiode(celsius=self.devices.option("temp"), gmin=self.devices.option("gmin"))


def _nets(sizes: Sequence[int], *, paired: bool) -> Iterator[tuple[Key, list[str]]]:
    """Parts of the name and nets of every required diode."""
    for layer, size in enumerate(sizes[:-1], start=1):
        for j in range(size):
            node = f"h{layer}_{j}"
            for member in ("p", "n") if paired else ("",):
                above = member == "p" if paired else 2 * j < size
                yield (member, str(layer), str(j)), ["rail_p", node] if above else [node, "rail_n"]


def _difference(one: tuple[str, dict[str, float]], other: tuple[str, dict[str, float]]) -> str:
    if one[0] != other[0]:
        return f"{other[0]} instead of {one[0]}"
    return ", ".join(
        f"{key} = {other[1].get(key)} instead of {one[1].get(key)}"
        for key in one[1]
        if one[1][key] != other[1].get(key)
    )
