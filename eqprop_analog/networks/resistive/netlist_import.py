"""Conversion of a flat netlist for ngspice, written by this package or by hand with the same names, to a network.

The file is read as text. The network is compiled again from the numbers in the file, whose lines are never passed to a
simulator. Therefore its subcircuits must be identical to the packaged ones, and any other device is an error that names the line.
Tolerances in ``.options`` are not kept. Properties that a circuit does not contain (the unit of the inputs, the read-out of the
outputs, the conductance window) are read from ``.param``; otherwise they must be given or are assumed with a message.
"""

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float

from eqprop_analog.characterization.device_file import diode_table
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.devices import Law, law_from
from eqprop_analog.errors import UserError
from eqprop_analog.networks.resistive.equations import NodalEquations
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.reading.diodes import DiodeReader
from eqprop_analog.networks.resistive.reading.element_lines import constant, instance, positive_resistance, resistance
from eqprop_analog.networks.resistive.reading.flat_devices import NO_NETWORK, FlatDevices, defaults
from eqprop_analog.networks.resistive.reading.own_devices import require_no_other, without_device
from eqprop_analog.spice.elements import Injection
from eqprop_analog.spice.reading.expressions import number
from eqprop_analog.spice.reading.statements import Source, read_source, source_of

Array = np.ndarray
log = logging.getLogger(__name__)

SPARSEST = 1000
"""Largest ratio of crossbar cells to lines of the file, so that names with huge indices cannot exhaust the memory."""
WINDOW = (0.0, 1e-4)
"""Default conductance window, siemens; its upper limit is raised to the largest conductance if necessary."""
OUTPUTS = {1: "single", 2: "pairs"}
"""Names of the read-outs by the number of nodes for each class."""


@dataclass(frozen=True, eq=False)
class Given:
    """Properties given by the user for a netlist that does not state them; None: not given."""

    input_gain: float | None = None
    """Input gain, volts per unit of input."""
    outputs: str | None = None
    """"single" or "pairs"."""
    conductance_window: tuple[float, float] | None = None
    """(G_min, G_max), siemens."""
    diode: Law | None = None
    """The law of the SPICE device that the netlist uses as diode."""


NOTHING = Given()


@dataclass(frozen=True, eq=False)
class WrittenNetlist:
    """The contents of a netlist; ``static_netlist(compile_network(network, inputs, [injection], "flat"))`` is its text."""

    network: ResistiveNetwork
    inputs: Float[Array, "1 inputs"]
    """Inputs as in the data: volts divided by the input gain of the network."""
    injection: Injection | None
    """The nudge, if there is one."""
    notes: tuple[str, ...] = ()
    """Sentences on the values that were assumed or derived."""

    @property
    def nudge(self) -> Nudge | None:
        """The nudge if conductances pull every read-out to a voltage; None for a free phase or a current nudge."""
        if self.injection is None or self.network.classes != self.network.layers[-1]:
            return None
        g, current = float(np.max(self.injection[0])), np.asarray(self.injection[1])
        return Nudge(current / g, g) if g else None

    def phase(self) -> NodalEquations | None:
        """The equations of the nudged phase; None for a free phase."""
        if self.injection is None:
            return None
        g, current = (np.atleast_2d(np.asarray(part, float)) for part in self.injection)
        free = NodalEquations.of(self.network, self.network.check_inputs(self.inputs))
        return replace(free, nudge_conductance=g, nudge_current=current)


def read_netlist(path: Path, given: Given = NOTHING) -> WrittenNetlist:
    """The network of a flat netlist; assumptions are logged. Raises UserError with the line that is not understood."""
    return _network_of(read_source(path), given)


def read(path: Path, **given: Any) -> WrittenNetlist:
    """``read_netlist`` with properties from command-line options."""
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    if isinstance(values.get("diode"), str):
        values["diode"] = law_from(diode_table(values["diode"]))
    return read_netlist(path, Given(**values))


def netlist_in_text(text: str, name: str = "netlist", given: Given = NOTHING) -> WrittenNetlist:
    """``read_netlist`` for a text, which messages call ``name``."""
    return _network_of(source_of(text, name), given)


def _network_of(source: Source, given: Given) -> WrittenNetlist:
    for title, why in NO_NETWORK.items():
        if title in source.title.lower() and "eqprop-analog:" in source.title.lower():
            raise UserError(f"{source.file}: {why}")
    source, device = without_device(source, given.diode)
    devices = FlatDevices(device=device)
    if device is not None:
        devices.subcircuits.add(device.spice[0])
    for statement in source.statements:
        if statement.text[0] == ".":
            devices.directive(statement)
        else:
            devices.add(statement)
    for opening, inside in source.blocks:
        devices.block(opening, inside)
    lines = source.statements[-1].number if source.statements else 1
    written = _Reader(source, devices, lines, given).network()
    if source.title[:1] == "." or FlatDevices.names(source.title):
        note = f"the first line is the title, as in ngspice, and is ignored: {source.title[:60]!r}"
        written = replace(written, notes=(note, *written.notes))
    for note in written.notes:
        log.warning("%s: %s", source.file, note)
    return written


@dataclass(frozen=True)
class _Reader:
    source: Source
    devices: FlatDevices
    lines: int
    given: Given

    def network(self) -> WrittenNetlist:
        """Read the network layer by layer, then everything that must agree with it."""
        depth = _count(self, [key[0] for key in self.devices.found["resistor"]], "crossbars R<l>_<row>_<column>", 1)
        volts, bias_row = self._rows()
        sizes = self._sizes(depth)
        diode, notes = DiodeReader(self.source, self.devices).law(sizes)
        if self.given.diode is not None:
            require_no_other(self.source.file, self.given.diode, diode)
        for (layer, _), statement in self.devices.found["amplifier"].items():
            if not 0 < int(layer) < depth:
                statement.refuse(f"expected an amplifier of layers 1 to {depth - 1}")
        gains = tuple(self._gain(layer, size) for layer, size in enumerate(sizes[:-1], start=1))
        rows = [
            *(f"xp_{i}" for i in range(len(volts))),
            *(f"xn_{i}" for i in range(len(volts))),
            *["xb"] * bool(bias_row),
        ]
        conductances = self._conductances(rows, sizes)
        stated = _Stated(self.source, self.given)
        gain, pairs = stated.input_gain(), stated.pairs(sizes[-1])
        network = ResistiveNetwork(
            conductances,
            tuple(self._biases(sizes)),
            diode,
            gains,
            gain,
            stated.window(max(float(matrix.max()) for matrix in conductances)),
            bias_row,
            "pairs" if pairs else "single",
        )
        try:
            network.validate()
        except UserError as error:
            self.fail(str(error))
        with np.errstate(over="ignore"):
            inputs = nearest(volts / gain, lambda x: gain * x, volts)[None]
        if not np.isfinite(inputs).all():
            self.fail(f"input gain {gain:g} V per unit: the inputs are too large")
        return WrittenNetlist(network, inputs, self._injection(sizes[-1]), (*stated.notes, *self.devices.notes, *notes))

    def fail(self, why: str) -> NoReturn:
        """Raise UserError for the file as a whole."""
        raise UserError(f"{self.source.file}: {why}")

    def _rows(self) -> tuple[Float[Array, " inputs"], float]:
        """Voltages of the rows at +x, and of the bias row (0 without one), volts."""
        volts = self.devices.values("row", lambda key: (f"x{key[0]}_{key[1]}", "0"), constant)
        count = _count(self, [i for sign, i in volts if sign == "p"], "sources Vxp_i")
        for (sign, i), value in volts.items():
            partner = volts.get(("n" if sign == "p" else "p", i))
            if partner is None or partner != -value:
                self.devices.found["row"][sign, i].refuse(f"expected both Vxp_{i} and Vxn_{i}, one minus the other")
        bias = self.devices.values("bias row", lambda _: ("xb", "0"), constant).get(())
        if bias == 0:
            self.devices.found["bias row"][()].refuse("a bias row at 0 V has no effect; expected another voltage")
        return np.array([volts["p", str(i)] for i in range(count)]), bias or 0.0

    def _sizes(self, depth: int) -> list[int]:
        """Number of nodes of layers 1..L."""
        sizes = []
        for layer in range(1, depth):
            mine = [j for _, at, j in self.devices.found["diode"] if at == str(layer)]
            mine += [j for at, j in self.devices.found["amplifier"] if at == str(layer)]
            mine += [j for at, _, j in self.devices.found["resistor"] if at == str(layer)]
            sizes.append(_count(self, list(dict.fromkeys(mine)), f"nodes h{layer}_j"))
        for (_, at, _), statement in self.devices.found["diode"].items():
            if not 0 < int(at) < depth:
                statement.refuse(f"expected a diode of layers 1 to {depth - 1}")
        last = dict.fromkeys(j for at, _, j in self.devices.found["resistor"] if at == str(depth))
        return [*sizes, _count(self, list(last), f"columns of R{depth}_<row>_<column>")]

    def _gain(self, layer: int, size: int) -> float:
        """Gain of the amplifiers of a layer; 1 without amplifiers."""
        mine = {j: each for (l, j), each in self.devices.found["amplifier"].items() if l == str(layer)}
        if not mine:
            return 1.0
        if _count(self, list(mine), f"amplifiers Xa{layer}_j") != size:
            self.fail(f"expected {size} amplifiers Xa{layer}_j, one for each node, or none; got {len(mine)}")
        gains: list[float] = []
        for j, statement in mine.items():
            expected = [f"h{layer}_{j}", f"a{layer}_{j}"]
            nets, model, given = instance(statement, self.devices.subcircuits)
            usual = {**defaults("amplifier"), "gain": given.get("gain", 0.0)}
            if nets != expected or model != "amplifier" or given != usual:
                statement.refuse(f"expected {' and '.join(expected)}, amplifier, gain=... and no other words")
            gains.append(given["gain"])
            if gains[-1] != gains[0]:
                statement.refuse(f"expected one gain for all amplifiers of a layer; the first has {gains[0]:g}")
        return gains[0]

    def _conductances(self, rows: list[str], sizes: list[int]) -> tuple[Float[Array, "..."], ...]:
        shapes = list(zip([len(rows), *sizes], sizes, strict=False))
        if sum(i * j for i, j in shapes) > SPARSEST * self.lines:
            self.fail(
                f"crossbars of {shapes} cells for {self.lines} lines; less than one cell in {SPARSEST} has a line"
            )
        ohms = [np.full(shape, np.inf) for shape in shapes]
        hidden = list(enumerate(sizes[:-1], start=1))
        amplified = {layer for layer, _ in self.devices.found["amplifier"]}
        drives = [rows, *([f"{'a' if str(l) in amplified else 'h'}{l}_{j}" for j in range(size)] for l, size in hidden)]
        nodes = [*([f"h{l}_{j}" for j in range(size)] for l, size in hidden), [f"o_{k}" for k in range(sizes[-1])]]
        for (crossbar, row, column), statement in self.devices.found["resistor"].items():
            l, i, j = int(crossbar) - 1, int(row), int(column)
            if i >= shapes[l][0] or j >= shapes[l][1]:
                statement.refuse(
                    f"crossbar {l + 1} has rows 0 to {shapes[l][0] - 1} and columns 0 to {shapes[l][1] - 1}"
                )
            if set(statement.terms[1:3]) != {drives[l][i], nodes[l][j]}:
                statement.refuse(f"expected the nets {drives[l][i]} and {nodes[l][j]}, and ohms")
            ohms[l][i, j] = positive_resistance(statement)
        return tuple(nearest(1 / each, lambda g: 1 / g, each) for each in ohms)

    def _biases(self, sizes: Sequence[int]) -> Iterator[Float[Array, " nodes"]]:
        def node(key: tuple[str, ...]) -> tuple[str, str]:
            return "0", f"o_{key[1]}" if int(key[0]) == len(sizes) else f"h{key[0]}_{key[1]}"

        biases = [np.zeros(size) for size in sizes]
        for key, amperes in self.devices.values("bias", node, constant).items():
            layer, j = map(int, key)
            if not 0 < layer <= len(sizes) or j >= sizes[layer - 1]:
                self.devices.found["bias"][key].refuse("this node does not exist")
            biases[layer - 1][j] = amperes
        yield from biases

    def _injection(self, outputs: int) -> Injection | None:
        targets = self.devices.values("target", lambda key: (f"y_{key[0]}", "0"), constant)
        nudges = self.devices.values("nudge", lambda key: (f"y_{key[0]}", f"o_{key[0]}"), resistance)
        pulls = self.devices.values("pull", lambda key: ("0", f"o_{key[0]}"), constant)
        if not targets and not nudges and not pulls:
            return None
        everywhere = {(str(k),) for k in range(outputs)}
        if pulls.keys() == everywhere and not targets and not nudges:
            return 0.0, np.array([[pulls[str(k),] for k in range(outputs)]])
        if pulls or targets.keys() != everywhere or nudges.keys() != everywhere or len(set(nudges.values())) > 1:
            self.fail("expected a nudge Vy_k and Rnudge_k of one resistance, or Inudge_k, at every output, or at none")
        ohms = np.array([nudges["0",]])
        g = float(nearest(1 / ohms, lambda g: 1 / g, ohms)[0])
        y = np.array([[targets[str(k),] for k in range(outputs)]])
        with np.errstate(over="ignore"):
            current = nearest(g * y, lambda c: c / g, y)
        if not np.isfinite(current).all():
            self.fail("the targets of the nudge are too large")
        return g, current


class _Stated:
    """Properties that no device states: from ``.param``, from the header's comments, from the user, or assumed in a note."""

    def __init__(self, source: Source, given: Given) -> None:
        self.source, self.given = source, given
        self.notes: list[str] = []

    def input_gain(self) -> float:
        """Input gain, volts per unit of input."""
        noted = None
        for comment in self.source.comments:
            found = re.match(r"input gain (\S+) v a unit", comment.text, re.IGNORECASE)
            if found:
                noted = number(found[1].lower())
        gain = self._one("the input gain", self.source.parameters.get("input_gain"), noted, self.given.input_gain)
        if gain is None:
            self.notes.append(
                "the volts per unit of input are not stated; 1 V is assumed, so that inputs are source voltages (otherwise give "
                "--input-gain)"
            )
            return 1.0
        if not (np.isfinite(gain) and gain > 0):
            raise UserError(f"{self.source.file}: expected a positive input gain, got {gain:g}")
        return float(gain)

    def pairs(self, outputs: int) -> bool:
        """Whether a class is read as the difference of two outputs; ``outputs``: their number."""
        noted = any(comment.text.lower().startswith("outputs are pairs") for comment in self.source.comments)
        given = {name: nodes for nodes, name in OUTPUTS.items()}.get(self.given.outputs or "")
        count = self._one("the outputs", self.source.parameters.get("nodes_per_class"), 2 if noted else None, given)
        if count is None and outputs % 2 == 0:
            self.notes.append(
                "the read-out is not stated; one node per class is assumed (otherwise give --outputs pairs)"
            )
        if count not in (None, *OUTPUTS):
            raise UserError(f"{self.source.file}: nodes_per_class: expected 1 or 2, got {count:g}")
        return count == 2

    def window(self, largest: float) -> tuple[float, float]:
        """The limits of the conductances in training, siemens."""
        low, high = (
            self._one(f"the conductance window ({name})", self.source.parameters.get(name), None, own)
            for name, own in zip(("g_min", "g_max"), self.given.conductance_window or (None, None), strict=True)
        )
        if low is None or high is None:
            low, high = WINDOW[0], max(WINDOW[1], largest)
            self.notes.append(
                f"the conductance window is not stated; {low:g} to {high:g} S are assumed (otherwise give --conductance-window)"
            )
        return float(low), float(high)

    def _one(self, what: str, *values: float | None) -> float | None:
        """The value that is given, or None. Raises UserError if two values differ."""
        given = {float(value) for value in values if value is not None}
        if len(given) > 1:
            several = " and ".join(f"{value:g}" for value in sorted(given))
            raise UserError(f"{self.source.file}: {what} is given as {several}; keep only one")
        return given.pop() if given else None


def _count(reader: _Reader, indices: Sequence[str], what: str, start: int = 0) -> int:
    """Number of consecutive indices from ``start``. Raises UserError if one is missing."""
    found = {int(index) for index in indices}
    if not found or min(found) != start or max(found) != start + len(found) - 1:
        some = ", ".join(map(str, sorted(found)[:8])) or "none"
        reader.fail(f"{what}: expected consecutive numbers from {start}, and at least one; got {some}")
    return len(found)


def nearest(
    guess: Float[Array, "..."], image: Callable[[Array], Array], wanted: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Number next to ``guess`` whose ``image`` equals ``wanted`` to the last bit, or the guess if there is none."""
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
