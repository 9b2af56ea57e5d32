"""A netlist that this package wrote in the flat form for ngspice, perhaps edited by hand, as a network again.

The file is read as text. What the network becomes is compiled anew from the numbers in it; its own lines are never given to a
simulator. So what stands in it besides the network's devices must be what is written there, word for word: subcircuits,
``.control`` block. Tolerances in ``.options`` may differ, and are not kept; comments say nothing but the input gain and
whether outputs are pairs.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Float

from eqprop_analog.circuit.dialects import control
from eqprop_analog.circuit.elements import Injection
from eqprop_analog.circuit.flat_devices import LAWS, FlatDevices
from eqprop_analog.circuit.netlist import TOLERANCES
from eqprop_analog.circuit.statements import Source, Statement, read_source, source_of
from eqprop_analog.devices import Antiparallel, Clamp, Law, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.devices.clamp import STAND_IN_RESISTANCE
from eqprop_analog.errors import UserError
from eqprop_analog.models import ResistiveNetwork

Array = np.ndarray

SPARSEST = 1000
"""Cells of the crossbars a line of the file, at most: names with huge indices cannot ask for all memory."""
SMALLEST = 1e-15
"""Ohms; below, the conductance may be no finite number."""
OTHERS = {
    "hopfield network": "a Hopfield network's netlist is not read back; keep its .npz",
    "norton form": "the Norton form has only the sums of crossbar 1, not its conductances; write --form flat",
    "as subcircuits": "subcircuits are not read back; write the network with --form flat",
    "testbench": "a testbench is not read back; write the network with --form flat",
}
"""Titles of what is not read."""


@dataclass(frozen=True, eq=False)
class WrittenNetlist:
    """What a netlist says: ``static_netlist(compile_network(network, inputs, [injection], "flat"))`` is its text."""

    network: ResistiveNetwork
    """Its window reaches from 0 S to the largest conductance, 100 uS at least: a netlist does not tell it."""
    inputs: Float[Array, "1 inputs"]
    """As the data gives them: volts over the network's input gain."""
    injection: Injection | None
    """The nudge, if there is one."""


def read_netlist(path: Path) -> WrittenNetlist:
    """The network of a flat netlist. Raises UserError naming the line that it does not understand."""
    return _network_of(read_source(path))


def netlist_of(text: str, name: str = "netlist") -> WrittenNetlist:
    """``read_netlist`` of a text, called ``name`` in messages."""
    return _network_of(source_of(text, name))


def _network_of(source: Source) -> WrittenNetlist:
    for title, why in OTHERS.items():
        if title in source.title.lower():
            raise UserError(f"{source.file}: {why}")
    devices = FlatDevices()
    for statement in source.statements:
        if statement.text[0] == ".":
            devices.directive(statement)
        else:
            devices.add(statement)
    for opening, inside in source.blocks:
        devices.block(opening, inside)
    lines = source.statements[-1].number if source.statements else 1
    return _Reader(source, devices, lines).network()


@dataclass(frozen=True)
class _Reader:
    source: Source
    devices: FlatDevices
    lines: int

    def network(self) -> WrittenNetlist:
        """Layer by layer; then everything that must agree with it."""
        depth = _count(self, [key[0] for key in self.devices.found["resistor"]], "crossbars R<l>_<row>_<column>", 1)
        volts, bias_row = self._rows()
        gain = self._input_gain()
        sizes = self._sizes(depth)
        diode = self._diode(sizes)
        for (layer, _), statement in self.devices.found["amplifier"].items():
            if not 0 < int(layer) < depth:
                statement.refuse(f"expected an amplifier of layers 1 to {depth - 1}")
        gains = tuple(self._gain(layer, size) for layer, size in enumerate(sizes[:-1], start=1))
        rows = [
            *(f"xp_{i}" for i in range(len(volts))),
            *(f"xn_{i}" for i in range(len(volts))),
            *["xb"] * bool(bias_row),
        ]
        conductances = self._conductances(rows, sizes, gains)
        largest = max(float(matrix.max()) for matrix in conductances)
        pairs = any(comment.text.startswith("Outputs are pairs") for comment in self.source.comments)
        network = ResistiveNetwork(
            conductances,
            tuple(self._biases(sizes)),
            diode,
            gains,
            gain,
            (0.0, max(1e-4, largest)),
            bias_row,
            "pairs" if pairs else "single",
        )
        try:
            network.validate()
        except UserError as error:
            self.fail(str(error))
        self._require_options(network)
        self._require_control(network)
        with np.errstate(over="ignore"):
            inputs = nearest(volts / gain, lambda x: gain * x, volts)[None]
        if not np.isfinite(inputs).all():
            self.fail(f"input gain {gain:g} V a unit: the inputs are too large")
        return WrittenNetlist(network, inputs, self._injection(sizes[-1]))

    def fail(self, why: str) -> NoReturn:
        """Raise UserError for the file as a whole."""
        raise UserError(f"{self.source.file}: {why}")

    def _values(self, kind: str, nets: Callable[[tuple[str, ...]], Sequence[str]]) -> dict[tuple[str, ...], float]:
        """The one number of each V, I or R device of a kind, which must join ``nets(key)``."""
        values = {}
        for key, statement in self.devices.found[kind].items():
            _, *words = statement.words
            expected = list(nets(key))
            if len(words) == 4 and words[2] == "dc":
                del words[2]
            if len(words) != 3 or (words[:2] != expected and (statement.text[0] != "r" or words[1::-1] != expected)):
                statement.refuse(f"expected the nets {' and '.join(expected)}, and a number")
            values[key] = statement.value(words[2])
        return values

    def _rows(self) -> tuple[Float[Array, " inputs"], float]:
        """Volts of the rows at +x, and of the bias row or 0."""
        volts = self._values("row", lambda key: (f"x{key[0]}_{key[1]}", "0"))
        count = _count(self, [i for sign, i in volts if sign == "p"], "sources Vxp_i")
        for (sign, i), value in volts.items():
            partner = volts.get(("n" if sign == "p" else "p", i))
            if partner is None or partner != -value:
                self.devices.found["row"][sign, i].refuse(f"expected both Vxp_{i} and Vxn_{i}, one minus the other")
        bias = self._values("bias row", lambda _: ("xb", "0")).get(())
        if bias == 0:
            self.devices.found["bias row"][()].refuse("a bias row at 0 V is none; expected another voltage")
        return np.array([volts["p", str(i)] for i in range(count)]), bias or 0.0

    def _input_gain(self) -> float:
        """Volts per unit of input, which a comment says; 1 without it."""
        for comment in self.source.comments:
            found = re.match(r"Input gain (\S+) V a unit", comment.text)
            if found:
                gain = comment.value(found[1].lower())
                if gain <= 0:
                    comment.refuse("expected a positive input gain")
                return gain
        return 1.0

    def _sizes(self, depth: int) -> list[int]:
        """Nodes of layers 1..L."""
        sizes = []
        for layer in range(1, depth):
            mine = [j for _, at, j in self.devices.found["diode"] if at == str(layer)]
            sizes.append(_count(self, list(dict.fromkeys(mine)), f"diodes Xd{layer}_j"))
        for (_, at, _), statement in self.devices.found["diode"].items():
            if not 0 < int(at) < depth:
                statement.refuse(f"expected a diode of layers 1 to {depth - 1}")
        last = dict.fromkeys(j for at, _, j in self.devices.found["resistor"] if at == str(depth))
        return [*sizes, _count(self, list(last), f"columns of R{depth}_<row>_<column>")]

    def _diode(self, sizes: Sequence[int]) -> Law:
        """The one law of all diodes."""
        rails = self._values("rail", lambda key: (f"rail_{key[0]}", "0"))
        if len(sizes) == 1:
            for statement in self.devices.found["rail"].values():
                statement.refuse("there are no diodes, so there are no rails")
            return self._noted_diode()
        if rails.keys() != {("p",), ("n",)} or rails["p",] != -rails["n",]:
            self.fail("expected Vrail_p and Vrail_n, one minus the other")
        diodes = self.devices.found["diode"]
        first = next(iter(diodes.values()))
        model, law = self._instance(first, 2)
        paired = any(member for member, _, _ in diodes)
        diode = self._law(first, model, law, rails["p",], paired=paired)
        expected = dict(self._diode_nets(sizes, paired=paired))
        for (member, layer, j), nets in expected.items():
            if (member, layer, j) not in diodes:
                self.fail(f"Xd{member}{layer}_{j} is missing, a diode {' '.join(nets)}")
        for key, statement in diodes.items():
            if statement.words[1:3] != expected.get(key):
                nets = expected.get(key, ["rail_p or rail_n", "its node; two diodes at every node or one"])
                statement.refuse(f"expected the nets {' and '.join(nets)}")
            if self._instance(statement, 2) != (model, law):
                statement.refuse("every diode of a network is alike; this one differs from the first")
        return diode

    def _diode_nets(self, sizes: Sequence[int], *, paired: bool) -> Iterator[tuple[tuple[str, ...], list[str]]]:
        """Name's parts and nets of every diode there must be."""
        for layer, size in enumerate(sizes[:-1], start=1):
            for j in range(size):
                node = f"h{layer}_{j}"
                for member in ("p", "n") if paired else ("",):
                    above = member == "p" if paired else 2 * j < size
                    yield (member, str(layer), str(j)), ["rail_p", node] if above else [node, "rail_n"]

    def _law(self, statement: Statement, model: str, given: dict[str, float], rail: float, *, paired: bool) -> Law:
        if model not in LAWS or given.keys() != LAWS[model]:
            expected = "; ".join(f"{name} with {', '.join(sorted(LAWS[name]))}" for name in LAWS)
            statement.refuse(f"expected one of the diodes: {expected}")
        celsius, gmin = self._option("temp"), self._option("gmin")
        try:
            law: Law
            if model == "diode":
                law = NgspiceDiode(given["is"], given["n"], rail, celsius, gmin)
            elif model == "shockley":
                law = Shockley(given["is"], given["n"], rail, celsius)
            elif model == "clamp":
                law = Clamp(rail, 0.0 if given["ron"] == STAND_IN_RESISTANCE else given["ron"])
            else:
                law = PiecewiseLinear(given["vth"], given["ron"], given["roff"], rail)
            return Antiparallel(law) if paired else law
        except ValueError as error:
            statement.refuse(str(error))

    def _noted_diode(self) -> Law:
        """Where there is no hidden layer, the law that the header names, to write it again; ngspice's without it."""
        for comment in self.source.comments:
            found = re.search(r"diodes: (antiparallel pairs of )?(\w+)((?:, \w+ = \S+)*)\.$", comment.text)
            if found:
                given = comment.settings(re.sub(r"\s", "", found[3]).lower().split(",")[1:])
                return self._law(comment, found[2], given, -1.0 if found[1] else 0.0, paired=bool(found[1]))
        return NgspiceDiode(celsius=self._option("temp"), gmin=self._option("gmin"))

    def _instance(self, statement: Statement, nets: int) -> tuple[str, dict[str, float]]:
        """Subcircuit and parameters of an X device."""
        words = statement.words[1 + nets :]
        if not words or "=" in words[0]:
            statement.refuse(f"expected {nets} nets, a subcircuit and its parameters")
        if words[0] not in self.devices.subcircuits:
            statement.refuse(f"there is no .subckt {words[0][:60]}")
        return words[0], statement.settings(words[1:])

    def _gain(self, layer: int, size: int) -> float:
        """Of the amplifiers of a layer; 1 where there are none."""
        mine = {j: each for (l, j), each in self.devices.found["amplifier"].items() if l == str(layer)}
        if not mine:
            return 1.0
        if _count(self, list(mine), f"amplifiers Xa{layer}_j") != size:
            self.fail(f"expected {size} amplifiers Xa{layer}_j, one a node, or none; got {len(mine)}")
        gains = []
        for j, statement in mine.items():
            expected = [f"h{layer}_{j}", f"a{layer}_{j}"]
            model, given = self._instance(statement, 2)
            if statement.words[1:3] != expected or model != "amplifier" or given.keys() != {"gain"}:
                statement.refuse(f"expected {' and '.join(expected)}, amplifier, gain=...")
            gains.append(given["gain"])
            if gains[-1] != gains[0] or gains[0] == 1:
                statement.refuse("expected one gain for all amplifiers of a layer, and no amplifiers where it is 1")
        return gains[0]

    def _conductances(
        self, rows: list[str], sizes: list[int], gains: Sequence[float]
    ) -> tuple[Float[Array, "..."], ...]:
        shapes = list(zip([len(rows), *sizes], sizes, strict=False))
        if sum(i * j for i, j in shapes) > SPARSEST * self.lines:
            self.fail(f"crossbars of {shapes} cells for {self.lines} lines; fewer than one in {SPARSEST} is there")
        ohms = [np.full(shape, np.inf) for shape in shapes]
        hidden = list(enumerate(sizes[:-1], start=1))
        drives = [rows, *([f"{'h' if gains[l - 1] == 1 else 'a'}{l}_{j}" for j in range(size)] for l, size in hidden)]
        nodes = [*([f"h{l}_{j}" for j in range(size)] for l, size in hidden), [f"o_{k}" for k in range(sizes[-1])]]
        for (number, row, column), statement in self.devices.found["resistor"].items():
            l, i, j = int(number) - 1, int(row), int(column)
            if i >= shapes[l][0] or j >= shapes[l][1]:
                statement.refuse(
                    f"crossbar {l + 1} has rows 0 to {shapes[l][0] - 1} and columns 0 to {shapes[l][1] - 1}"
                )
            words = statement.text.split()
            if len(words) != 4 or {words[1], words[2]} != {drives[l][i], nodes[l][j]}:
                statement.refuse(f"expected the nets {drives[l][i]} and {nodes[l][j]}, and ohms")
            resistance = statement.value(words[3])
            if resistance < SMALLEST:
                statement.refuse(f"expected a resistance of {SMALLEST:g} ohm or more")
            ohms[l][i, j] = resistance
        return tuple(nearest(1 / each, lambda g: 1 / g, each) for each in ohms)

    def _biases(self, sizes: Sequence[int]) -> Iterator[Float[Array, " nodes"]]:
        def node(key: tuple[str, ...]) -> tuple[str, str]:
            return "0", f"o_{key[1]}" if int(key[0]) == len(sizes) else f"h{key[0]}_{key[1]}"

        biases = [np.zeros(size) for size in sizes]
        for key, amperes in self._values("bias", node).items():
            layer, j = map(int, key)
            if not 0 < layer <= len(sizes) or j >= sizes[layer - 1]:
                self.devices.found["bias"][key].refuse("there is no such node")
            biases[layer - 1][j] = amperes
        yield from biases

    def _injection(self, outputs: int) -> Injection | None:
        targets = self._values("target", lambda key: (f"y_{key[0]}", "0"))
        nudges = self._values("nudge", lambda key: (f"y_{key[0]}", f"o_{key[0]}"))
        pulls = self._values("pull", lambda key: ("0", f"o_{key[0]}"))
        if not targets and not nudges and not pulls:
            return None
        everywhere = {(str(k),) for k in range(outputs)}
        if pulls.keys() == everywhere and not targets and not nudges:
            return 0.0, np.array([[pulls[str(k),] for k in range(outputs)]])
        if pulls or targets.keys() != everywhere or nudges.keys() != everywhere or len(set(nudges.values())) > 1:
            self.fail("expected a nudge Vy_k and Rnudge_k of one resistance, or Inudge_k, at every output, or at none")
        ohms = np.array([nudges["0",]])
        if abs(ohms[0]) < SMALLEST:
            self.devices.found["nudge"]["0",].refuse(
                f"expected a resistance of {SMALLEST:g} ohm or more, of either sign"
            )
        g = float(nearest(1 / ohms, lambda g: 1 / g, ohms)[0])
        y = np.array([[targets[str(k),] for k in range(outputs)]])
        with np.errstate(over="ignore"):
            current = nearest(g * y, lambda c: c / g, y)
        if not np.isfinite(current).all():
            self.fail("the nudge's targets are too large")
        return g, current

    def _option(self, key: str) -> float:
        return self.devices.options[key][0] if key in self.devices.options else float(TOLERANCES[key])

    def _require_options(self, network: ResistiveNetwork) -> None:
        """Temperatures and gmin, which belong to the diode's law."""
        written = {**TOLERANCES, **network.diode.options}
        for key in ("gmin", "temp", "tnom"):
            if self._option(key) != written[key]:
                self.devices.options[key][1].refuse(f"option {key}: expected {written[key]:g} with these diodes")

    def _require_control(self, network: ResistiveNetwork) -> None:
        """The ``.control`` block that is written, or none."""
        outputs = [f"o_{k}" for k in range(network.layers[-1])]
        written = [line.split() for line in control(["op", *(f"print v({net})" for net in outputs)], outputs[-1])][:-1]
        if self.devices.control is None:
            return
        for ours, given in zip_longest(written, self.devices.control):
            if ours is None or given is None or given.words != ours:
                (given or self.devices.control[0]).refuse(
                    "commands are not run; expected the .control block as it is written, or none"
                )


def _count(reader: _Reader, indices: Sequence[str], what: str, start: int = 0) -> int:
    """How many there are, counted from ``start`` without a gap. Raises UserError."""
    found = {int(index) for index in indices}
    if not found or min(found) != start or max(found) != start + len(found) - 1:
        some = ", ".join(map(str, sorted(found)[:8])) or "none"
        reader.fail(f"{what}: expected all from {start} on without a gap, and at least one; got {some}")
    return len(found)


def nearest(
    guess: Float[Array, "..."], image: Callable[[Array], Array], wanted: Float[Array, "..."]
) -> Float[Array, "..."]:
    """The numbers beside ``guess`` of which ``image`` is ``wanted`` to the last bit, or the guess where there is none."""
    best = guess.copy()
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        for steps, towards in ((n, way) for n in (1, 2, 3) for way in (-np.inf, np.inf)):
            missed = image(best) != wanted
            if not missed.any():
                break
            beside = guess
            for _ in range(steps):
                beside = np.nextafter(beside, towards)
            best = np.where(missed & (image(beside) == wanted), beside, best)
    return best
