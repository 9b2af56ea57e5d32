"""The one law of all diodes of a flat netlist, at the temperature that the netlist has."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from eqprop_analog.circuit.element_lines import constant, instance
from eqprop_analog.circuit.flat_devices import LAWS, FlatDevices, defaults
from eqprop_analog.circuit.statements import Source, Statement
from eqprop_analog.devices import Antiparallel, Clamp, Law, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.devices.clamp import STAND_IN_RESISTANCE
from eqprop_analog.devices.junctions import heating
from eqprop_analog.devices.shockley import GMIN
from eqprop_analog.errors import UserError

NOTED = re.compile(r"diodes: (antiparallel pairs of )?(\w+)((?:, \w+ = \S+)*)\.$", re.IGNORECASE)
"""How the header names the law."""
Key = tuple[str, ...]


@dataclass(frozen=True)
class DiodeReader:
    """Every method raises UserError naming the device."""

    source: Source
    devices: FlatDevices

    def law(self, sizes: Sequence[int]) -> tuple[Law, tuple[str, ...]]:
        """The law of all diodes, ``sizes`` the nodes of layers 1..L; and what was worked out for it, in sentences."""
        rails = self.devices.values("rail", lambda key: (f"rail_{key[0]}", "0"), constant)
        if len(sizes) == 1:
            for statement in self.devices.found["rail"].values():
                statement.refuse("there are no diodes, so there are no rails")
            return self._noted(), ()
        rail = self._rail(rails)
        found = self.devices.found["diode"]
        first = next(iter(found.values()))
        given = self._instance(first)
        paired = any(member for member, _, _ in found)
        law, notes = self._law(first, *given, rail, paired=paired)
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
                    f"every diode of a network is alike; this one differs from the first, in line {first.number}: "
                    f"{_difference(given, other)}"
                )
        return law, notes

    def _rail(self, rails: dict[Key, float]) -> float:
        """Volts of rail_p, which are those of rail_n with the other sign."""
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
        if model not in LAWS or not given.keys() <= defaults(model).keys():
            expected = "; ".join(f"{name} with {', '.join(sorted(LAWS[name]))}" for name in LAWS)
            statement.refuse(f"expected one of the diodes: {expected}")
        celsius, nominal = self.devices.option("temp"), self.devices.option("tnom")
        for key in sorted(given.keys() - LAWS[model]):
            usual = celsius - nominal if key == "above" else defaults(model)[key]
            if not np.isclose(given[key], usual, rtol=1e-12, atol=1e-9 if key == "above" else 0):
                statement.refuse(f"{key}: expected {usual:g}, which all diodes of a network have, got {given[key]:g}")
        notes: tuple[str, ...] = ()
        if model in ("diode", "shockley"):
            self._require_gmin(statement)
            if celsius != nominal:
                cold = given["is"]
                with np.errstate(all="ignore"):  # what is no current is refused below
                    given = {**given, "is": float(cold * heating(np.array(given["n"]), nominal, np.array(celsius)))}
                where = f"at {nominal:g} C it is {cold:g} A; the circuit is at {celsius:g} C"
                notes = (f"the diodes' saturation current becomes {given['is']:.6g} A in the network ({where})",)
        try:
            law: Law
            if model == "diode":
                law = NgspiceDiode(given["is"], given["n"], rail, celsius, self.devices.option("gmin"))
            elif model == "shockley":
                law = Shockley(given["is"], given["n"], rail, celsius)
            elif model == "clamp":
                law = Clamp(rail, 0.0 if given["ron"] == STAND_IN_RESISTANCE else given["ron"])
            else:
                law = PiecewiseLinear(given["vth"], given["ron"], given["roff"], rail)
            return (Antiparallel(law) if paired else law), notes
        except ValueError as error:
            statement.refuse(f"{error} (at {celsius:g} C)")

    def _require_gmin(self, statement: Statement) -> None:
        """UserError unless the gmin that Shockley's subcircuit takes away is the one that there is."""
        if "shockley" in statement.text.split() and self.devices.option("gmin") != GMIN:
            self.devices.options["gmin"][1].refuse(f"option gmin: expected {GMIN:g} with diodes of subcircuit shockley")

    def _noted(self) -> Law:
        """Where there is no hidden layer, the law that the header names, to write it again; ngspice's without it."""
        for comment in self.source.comments:
            found = NOTED.search(comment.text)
            if found:
                given = comment.settings(re.sub(r"\s", "", found[3]).lower().split(",")[1:])
                model = found[2].lower()
                if model in LAWS:
                    given = {**defaults(model), **given}
                return self._law(comment, model, given, -1.0 if found[1] else 0.0, paired=bool(found[1]))[0]
        return NgspiceDiode(celsius=self.devices.option("temp"), gmin=self.devices.option("gmin"))


def _nets(sizes: Sequence[int], *, paired: bool) -> Iterator[tuple[Key, list[str]]]:
    """Name's parts and nets of every diode there must be."""
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
