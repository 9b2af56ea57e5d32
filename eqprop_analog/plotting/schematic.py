"""The schematic of a layered circuit, drawn from the lines of its netlist, so that it shows exactly what the netlist holds.

Every crossbar is a grid of wires with a resistor at each crossing. Its columns are the nodes of a layer. After the last
row follow the other devices of each node (the cell), then the wires that form the rows of the next crossbar, which is
rotated by a right angle. A net that appears in two places has its name at both. Devices that do not fit this scheme are
counted in the caption.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eqprop_analog.errors import UserError
from eqprop_analog.plotting.sheet import SMALL, Point, Sheet
from eqprop_analog.plotting.style import STYLE, drawing
from eqprop_analog.spice.circuit import Circuit
from eqprop_analog.spice.elements import GROUND, Amplifiers, Crossbar, Element
from eqprop_analog.spice.parts import Part, parts
from eqprop_analog.spice.saturating import Buffers, Weights

INCHES = 0.4
"""Length of a unit, inches."""
LARGEST = 12
"""Largest number of inputs, and of nodes of a layer, for which a schematic is drawn."""
ROW, NODE, STEP, BRANCH = 2.0, 3.6, 2.1, 1.9
"""Units between rows from sources, between nodes, and between the branches of a node; length of a device in a branch."""
ASIDE = 2.4
"""Units between the two outputs of a buffer."""
CROSSING = 1.0
"""Extent of a resistor at a crossing along its row and its column."""


@dataclass(frozen=True)
class Picture:
    """The content of a schematic."""

    drawn: frozenset[str]
    """Names of the drawn devices, as in the netlist."""
    missing: tuple[str, ...]
    """Names of the devices that are not drawn."""
    caption: str


@dataclass
class _Stage:
    """The nodes of a layer, with the crossbars that end in them."""

    columns: tuple[str, ...]
    banks: list[tuple[tuple[str, ...], list[Part]]] = field(default_factory=list)
    """(rows, resistors) of each crossbar."""


@dataclass(frozen=True)
class _Frame:
    """Coordinates of a stage: ``t`` along its columns, ``s`` across them; down and right or, if rotated, right and down."""

    turned: bool

    def at(self, s: float, t: float) -> Point:
        return (t, s) if self.turned else (s, t)


def drawable(circuit: Circuit) -> bool:
    """Return whether the layers are small enough for a schematic."""
    return circuit.points == 1 and all(
        len(stage.columns) <= LARGEST and all(len(rows) <= 2 * LARGEST + 1 for rows, _ in stage.banks)
        for stage in _stages(circuit, resistors=False)
    )


def schematic(circuit: Circuit, path: Path) -> Picture:
    """Draw a circuit with a single operating point to ``path`` (SVG, PNG or PDF, by its name).

    Raises UserError if it cannot.
    """
    if not drawable(circuit):
        raise UserError(
            f"schematic: expected one sample in one phase, and layers of at most {LARGEST} nodes, got {circuit.title}"
        )
    with drawing(path, (1, 1), {**STYLE, "svg.fonttype": "none", "axes.grid": False}) as figure:
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        sheet = Sheet(axes)
        _Layout(circuit, sheet).draw()
        every = [part.name for element in circuit.elements for part in parts(element)]
        drawn = frozenset(sheet.drawn)
        missing = tuple(name for name in every if name not in drawn)
        caption = _caption(circuit, every, missing)
        width, height = (INCHES * side for side in sheet.finish())
        lines = caption.split("\n")
        foot = 0.16 * len(lines) + 0.2
        width = max(width, 0.066 * max(map(len, lines)))
        figure.set_size_inches(width, height + foot)
        axes.set_position((0, foot / (height + foot), 1, height / (height + foot)))
        figure.text(0.15 / width, 0.1 / (height + foot), caption, fontsize=8, va="bottom", linespacing=1.35)
    return Picture(drawn, missing, caption)


class _Layout:
    """Lays out a circuit on a sheet."""

    def __init__(self, circuit: Circuit, sheet: Sheet) -> None:
        self.sheet = sheet
        self.stages = list(_stages(circuit))
        grid = (Crossbar, Weights)
        self.parts = {
            part.name: (element, part)
            for element in circuit.elements
            if not isinstance(element, grid)
            for part in parts(element)
        }
        self.touching: dict[str, list[str]] = defaultdict(list)
        for name, (_, part) in self.parts.items():
            for net in dict.fromkeys(part.nets[:2] if part.kind != "X" else part.nets):
                self.touching[net].append(name)
        self.placed: set[str] = set()

    def draw(self) -> None:
        """Draw all stages in order, then the remaining sources."""
        wires: dict[str, tuple[float, float]] = {}
        end = 0.0
        right = 0.0
        for number, stage in enumerate(self.stages):
            frame = _Frame(bool(number % 2))
            end, wires = self._stage(stage, frame, wires, end)
            if number == 0:
                right = max((x for x, _ in self.sheet.corners), default=0.0)
        self._supplies(right + 2.5)

    def _stage(
        self, stage: _Stage, frame: _Frame, wires: dict[str, tuple[float, float]], begin: float
    ) -> tuple[float, dict[str, tuple[float, float]]]:
        """Draw crossbars, cells and outgoing wires; ``wires``: rows from earlier stages, (t here, s of their end)."""
        pitch = NODE + (STEP if self._series(stage) and not frame.turned else 0)
        if any(isinstance(self.parts[name][0], Buffers) for net in stage.columns for name in self.touching[net]):
            pitch = max(pitch, 2 * ASIDE)
        column = {net: begin + CROSSING + 0.8 + pitch * k for k, net in enumerate(stage.columns)}
        t = max((at for at, _ in wires.values()), default=-ROW)
        first: dict[str, float] = {}
        for every, resistors in stage.banks:
            if not set(every) & set(wires):
                rows = [net for net in every if self._chain(net) or any(part.nets[0] == net for part in resistors)]
                wires = wires | {net: (t + ROW * k, begin) for k, net in enumerate(rows, 1)}
                t += ROW * len(rows)
                for net in rows:
                    self._row_begin(net, frame, wires[net])
            self._grid(resistors, frame, wires, column, first)
        t += ROW + (1.7 if frame.turned else 0)
        ends: list[float] = []
        drives: dict[str, tuple[float, float]] = {}
        for net, s in column.items():
            self.sheet.wire(frame.at(s, first.get(net, t - 1.0)), frame.at(s, t))
            end, driven = self._cell(net, frame, s, t)
            ends.append(end)
            drives |= driven
        last = max(ends) + 0.4
        for s, here in drives.values():
            self.sheet.wire(frame.at(s, here), frame.at(s, last))
            if stage is self.stages[-1]:
                self.sheet.dot(frame.at(s, last), "white")
        return last, {net: (s, last) for net, (s, _) in drives.items()}

    def _grid(
        self,
        resistors: Sequence[Part],
        frame: _Frame,
        rows: dict[str, tuple[float, float]],
        column: dict[str, float],
        first: dict[str, float],
    ) -> None:
        """Draw resistors from rows, (t, s of their start), to columns (s); ``first`` collects the start of each column's wire."""
        reach: dict[str, float] = {}
        for part in resistors:
            row, net = part.nets
            t, s = rows[row][0], column[net]
            self.sheet.symbol(part, frame.at(s - CROSSING, t), frame.at(s, t + CROSSING))
            self.sheet.dot(frame.at(s - CROSSING, t))
            self.sheet.dot(frame.at(s, t + CROSSING))
            reach[row] = max(reach.get(row, s), s)
            first[net] = min(first.get(net, np.inf), t + CROSSING)
        for row, s in reach.items():
            t, begins = rows[row]
            self.sheet.wire(frame.at(begins, t), frame.at(s - CROSSING, t))

    def _row_begin(self, net: str, frame: _Frame, at: tuple[float, float]) -> None:
        """Draw the sources of a row, or its name if it is driven elsewhere."""
        t, s = at
        chain = self._chain(net)
        if not chain:
            self.sheet.terminal(net, frame.at(s, t), "right" if frame.turned else "left")
            return
        self.sheet.text(frame.at(s + 0.1, t - 0.25), net, "left")
        for part, onward in chain:
            self._device(part, net, frame.at(s, t), frame.at(s - BRANCH, t))
            net, s = onward, s - BRANCH
        self.sheet.terminal(net, frame.at(s, t))

    def _cell(self, net: str, frame: _Frame, s: float, t: float) -> tuple[float, dict[str, tuple[float, float]]]:
        """Draw the branches of a node from ``t``; return their end, and the start (s, t) of each net that the node drives."""
        self._name(net, frame, s, t - (0.45 if frame.turned else 0.6))
        step, begin = STEP + (0.9 if frame.turned else 0), t
        for name in self.touching[net]:
            if name in self.placed or isinstance(self.parts[name][0], (Amplifiers, Buffers)):
                continue
            self.sheet.dot(frame.at(s, t))
            here, reach = net, s
            for link, onward in self._chain(net, name):
                self._device(link, here, frame.at(reach, t), frame.at(reach + BRANCH, t))
                here, reach = onward, reach + BRANCH
            self.sheet.terminal(here, frame.at(reach, t), "below" if frame.turned else "right")
            t += step
        ahead = [self.parts[name] for name in self.touching[net] if self._drives(name, net)]
        if not ahead:
            end = max(t - step + 1.2, begin)
            return end, {net: (s, begin)}
        drives: dict[str, tuple[float, float]] = {}
        for element, part in ahead:
            self.sheet.wire(frame.at(s, begin), frame.at(s, t))
            place = self._amplifier if isinstance(element, Amplifiers) else self._buffer
            t, driven = place(part, frame, s, t)
            drives |= driven
        return t, drives

    def _drives(self, name: str, net: str) -> bool:
        """Return whether a device is the amplifier or buffer that senses ``net``."""
        element, part = self.parts[name]
        return isinstance(element, (Amplifiers, Buffers)) and part.nets[0] == net

    def _name(self, net: str, frame: _Frame, s: float, t: float) -> None:
        """Write the name of a net next to its wire."""
        if frame.turned:
            self.sheet.text(frame.at(s - 0.25, t), net, "center")
        else:
            self.sheet.text(frame.at(s - 0.2, t), net, "right")

    def _device(self, part: Part, net: str, near: Point, far: Point) -> None:
        """Draw a device of a branch, with its terminal at ``net`` first."""
        begin, end = (near, far) if part.nets[0] == net else (far, near)
        self.sheet.symbol(part, begin, end)
        self.placed.add(part.name)

    def _amplifier(self, part: Part, frame: _Frame, s: float, t: float) -> tuple[float, dict[str, tuple[float, float]]]:
        """Draw an amplifier: a current source backward and a voltage source forward, as in circuits/amplifier.lib."""
        gain = dict(word.split("=") for word in part.value.split()[1:])["gain"]
        node, drive = part.nets
        step = STEP + (0.9 if frame.turned else 0)
        ahead = t + step
        self.placed.add(part.name)
        self.sheet.dot(frame.at(s, t))
        back, forward = f"i/{float(gain):.3g}", f"{float(gain):.3g}·V({node})"
        for at, label in ((t, back), (ahead, forward)):
            self.sheet.controlled(part.name, frame.at(s, at), frame.at(s + BRANCH, at), label, current=at == t)
            self.sheet.terminal(GROUND, frame.at(s + BRANCH, at))
        self.sheet.wire(frame.at(s, ahead), frame.at(s, ahead + 0.8))
        self.sheet.arrow(frame.at(s, ahead + 0.2), frame.at(s, ahead + 0.7), "i")
        corner = frame.at(s - 0.5, t - 1.2)
        self.sheet.box(corner, frame.at(s + BRANCH + 0.7, ahead + (1.8 if frame.turned else 0.8)))
        self.sheet.text(
            (corner[0] + 0.1, corner[1] - 0.2) if frame.turned else (corner[0] + 0.6, corner[1] + 0.25),
            part.name,
            size=SMALL,
        )
        self._name(drive, frame, s, ahead + (2.2 if frame.turned else 1.1))
        return ahead + (2.6 if frame.turned else 1.3), {drive: (s, ahead + 0.8)}

    def _buffer(self, part: Part, frame: _Frame, s: float, t: float) -> tuple[float, dict[str, tuple[float, float]]]:
        """Draw a triangle with a true output ahead and an inverted one next to it."""
        _, true, inverted = part.nets
        self.placed.add(part.name)
        self.sheet.drawn.append(part.name)
        self.sheet.outline(frame.at(s - 0.75, t), frame.at(s + 0.75, t), frame.at(s, t + 1.5))
        tip, aside = t + 1.5, s + ASIDE
        self.sheet.bubble(frame.at(s + 0.5, t + 0.75))
        self.sheet.wire(frame.at(s + 0.62, t + 0.75), frame.at(aside, t + 0.75), frame.at(aside, tip))
        self.sheet.text(frame.at(s, t + 0.45), part.name, "center", 5.0)
        for net, across in ((true, s), (inverted, aside)):
            if frame.turned:
                self.sheet.text(frame.at(across - 0.25, tip + 0.4), net, "center")
            else:
                self.sheet.text(frame.at(across + 0.12, tip + 0.3), net)
        return tip + 0.8, {true: (s, tip), inverted: (aside, tip)}

    def _chain(self, net: str, name: str | None = None) -> list[tuple[Part, str]]:
        """Return the two-terminal devices in series from ``net``, as (device, next net), until another device is connected."""
        nodes = {column for stage in self.stages for column in stage.columns}
        found: list[tuple[Part, str]] = []
        while True:
            candidates = [name] if name else [other for other in self.touching[net] if other not in self.placed]
            candidates = [other for other in candidates if len(self.parts[other][1].nets) == 2 or other[0] == "G"]
            if (name is None and len(candidates) != 1) or net == GROUND:
                return found
            part = self.parts[candidates[0]][1]
            onward = part.nets[1] if part.nets[0] == net else part.nets[0]
            found.append((part, onward))
            elsewhere = [other for other in self.touching[onward] if other != part.name]
            if onward in nodes or len(elsewhere) != 1:
                return found
            net, name = onward, elsewhere[0]

    def _series(self, stage: _Stage) -> bool:
        return any(
            len(self._chain(net, name)) > 1 for net in stage.columns for name in self.touching[net] if name[0] in "RCVI"
        )

    def _supplies(self, left: float) -> None:
        """Draw the sources between a net and ground that no branch contains, one below the other."""
        alone = [part for name, (_, part) in self.parts.items() if name not in self.placed and part.kind in "VBRCI"]
        y = 0.0
        for part in alone:
            if part.nets[1] != GROUND:
                continue
            self.sheet.terminal(part.nets[0], (left, y))
            self.sheet.symbol(part, (left, y), (left, y + BRANCH))
            self.sheet.terminal(GROUND, (left, y + BRANCH))
            self.placed.add(part.name)
            y += BRANCH + 1.3


def _stages(circuit: Circuit, *, resistors: bool = True) -> Iterator[_Stage]:
    """Return the layers in order; nodes of the Norton form, which have no crossbar, come first."""
    found: dict[tuple[str, ...], _Stage] = {}
    for element in circuit.elements:
        if isinstance(element, (Crossbar, Weights)):
            rows = element.rows if isinstance(element, Crossbar) else (*element.true, *element.inverted)
            stage = found.setdefault(element.columns, _Stage(element.columns))
            stage.banks.append((rows, list(parts(element)) if resistors else []))
    covered = {net for columns in found for net in columns}
    bare = tuple(net for net in circuit.probes if net not in covered)
    if bare:
        yield _Stage(bare)
    yield from found.values()


def _caption(circuit: Circuit, every: Sequence[str], missing: Sequence[str]) -> str:
    lines = [circuit.title.removeprefix("eqprop-analog: ").capitalize()]
    models = Counter(value for element in circuit.elements for value in _models(element))
    lines += [f"{name}: {model} ({count})" for (name, model), count in models.items()]
    count = f"{len(every)} devices in the netlist"
    lines.append(
        f"{count}, all drawn."
        if not missing
        else f"{count}; {len(missing)} not drawn: {', '.join(missing[:6])}" + (", ..." if len(missing) > 6 else "")
    )
    return "\n".join(lines)


def _models(element: Element) -> Iterator[tuple[str, str]]:
    return ((part.name.rstrip("0123456789") + "k", part.value) for part in parts(element) if part.kind == "X")
