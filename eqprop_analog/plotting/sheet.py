"""A sheet to draw circuits on: symbols by schemdraw, in coordinates that grow to the right and down."""

from typing import Any

import schemdraw
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Polygon
from matplotlib.ticker import EngFormatter
from schemdraw import elements as symbols

from eqprop_analog.spice.elements import GROUND
from eqprop_analog.spice.parts import Part

Point = tuple[float, float]

UNITS = {"R": "Ω", "C": "F", "V": "V", "I": "A"}
SYMBOLS: dict[str, tuple[type[Any], bool]] = {
    "R": (symbols.Resistor, False),
    "C": (symbols.Capacitor, False),
    "V": (symbols.SourceV, True),
    "I": (symbols.SourceI, False),
    "B": (symbols.SourceControlledV, True),
    "G": (symbols.SourceControlledI, False),
    "X": (symbols.Diode, False),
}
"""Symbol of a two-terminal device by its letter, and whether it is drawn from its second net to its first."""
TEXT, SMALL = 7.0, 6.0
"""Points."""
WIRE = 0.8
"""Points."""


def engineering(value: float, unit: str) -> str:
    """Format a quantity with three digits and a prefix: 3.71 MΩ."""
    return EngFormatter(unit)(float(f"{value:.3g}"))


def value_of(part: Part) -> str:
    """Return the label of a device."""
    if part.kind == "G":
        return f"{engineering(float(part.value.split()[-1]), 'S')} · V({part.nets[2]})"
    if part.kind in UNITS and part.number is not None:
        return engineering(part.number, UNITS[part.kind])
    return "" if part.kind in "XR" else part.value


class Sheet:
    """A drawing in progress."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self.drawing = schemdraw.Drawing(canvas=axes, show=False)
        self.drawing.config(lw=WIRE, fontsize=TEXT)
        self.drawn: list[str] = []
        """Begin an empty sheet; it counts how often each device is drawn."""
        self.corners: list[Point] = []

    def wire(self, *points: Point) -> None:
        """Draw a wire of straight lines through points."""
        self.axes.plot(*zip(*map(_up, points), strict=True), color="black", linewidth=WIRE, zorder=1)
        self.corners += points

    def dot(self, at: Point, face: str = "black") -> None:
        """Draw a dot where wires are connected."""
        self.axes.plot(
            *_up(at), "o", color="black", markersize=2.6, markeredgewidth=WIRE, markerfacecolor=face, zorder=3
        )

    def text(self, at: Point, text: str, align: str = "left", size: float = TEXT, va: str = "center") -> None:
        """Write text; ``align``: left, right or center of ``at``."""
        self.axes.text(*_up(at), text, ha=align, va=va, fontsize=size, linespacing=1.1, zorder=4)
        lines = text.split("\n")
        width, height = 0.019 * size * max(map(len, lines)), 0.042 * size * len(lines)
        left = at[0] - width * {"left": 0, "center": 0.5, "right": 1}[align]
        top = at[1] - height * {"top": 0, "center": 0.5, "bottom": 1}[va]
        self.corners += [(left, top), (left + width, top + height)]

    def symbol(self, part: Part, begin: Point, end: Point) -> None:
        """Draw a two-terminal device with its first net at ``begin``, and its name and value."""
        kind, backwards = SYMBOLS[part.kind]
        if part.kind == "B" and part.value.startswith("I="):
            kind, backwards = symbols.SourceControlledI, False
        ends = (end, begin) if backwards else (begin, end)
        self.drawing.add(kind().endpoints(*map(_up, ends)))
        self.corners += [begin, end]
        self.drawn.append(part.name)
        label = f"{part.name}\n{value_of(part)}".rstrip()
        middle = ((begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2)
        if begin[1] == end[1]:
            thick = {"R": 0.32, "C": 0.4, "X": 0.35}.get(part.kind, 0.55)
            self.text((middle[0], middle[1] - thick), label, "center", SMALL, va="bottom")
        else:
            self.text((middle[0] + (0.6 if begin[0] == end[0] else 0.68), middle[1]), label, size=SMALL)

    def controlled(self, name: str, begin: Point, end: Point, label: str, *, current: bool) -> None:
        """Draw half of an amplifier: a controlled source from ``begin`` to ``end``; a voltage source is positive at ``begin``."""
        kind, ends = (symbols.SourceControlledI, (begin, end)) if current else (symbols.SourceControlledV, (end, begin))
        self.drawing.add(kind().endpoints(*map(_up, ends)))
        self.corners += [begin, end]
        middle = ((begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2)
        if begin[1] == end[1]:
            self.text((middle[0], middle[1] - 0.55), label, "center", SMALL, va="bottom")
        else:
            self.text((middle[0] + 0.6, middle[1]), label, size=SMALL)
        self.drawn.append(name)

    def terminal(self, net: str, at: Point, side: str = "right") -> None:
        """End a wire with the ground symbol or the name of its net, "right" or "left" of its end or "below" it."""
        if net == GROUND:
            self.drawing.add(symbols.Ground().at(_up(at)))
            self.corners.append((at[0], at[1] + 0.6))
            return
        self.dot(at, "white")
        offset, align = {"right": ((0.2, 0), "left"), "left": ((-0.2, 0), "right"), "below": ((0, 0.3), "center")}[side]
        self.text((at[0] + offset[0], at[1] + offset[1]), net, align)

    def outline(self, *points: Point) -> None:
        """Draw the outline of a symbol."""
        self.axes.add_patch(Polygon([*map(_up, points)], closed=True, fill=False, linewidth=WIRE))
        self.corners += points

    def box(self, one: Point, other: Point) -> None:
        """Draw a dashed frame around the parts of one device."""
        (left, right), (top, bottom) = sorted((one[0], other[0])), sorted((one[1], other[1]))
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        self.axes.plot(*zip(*map(_up, corners), strict=True), "--", color="0.45", linewidth=0.6, zorder=0)
        self.corners += corners

    def arrow(self, begin: Point, end: Point, label: str) -> None:
        """Draw the arrow of a current along a wire."""
        style = {"arrowstyle": "-|>", "linewidth": WIRE, "mutation_scale": 6, "shrinkA": 0, "shrinkB": 0}
        self.axes.annotate("", _up(end), _up(begin), arrowprops=style)
        sideways = begin[1] == end[1]
        middle = ((begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2)
        self.text(
            (middle[0] - 0.1, middle[1] - 0.25) if sideways else (middle[0] - 0.2, middle[1]), label, "right", SMALL
        )

    def bubble(self, at: Point) -> None:
        """Draw the bubble of an inverting output."""
        self.axes.add_patch(Circle(_up(at), 0.12, facecolor="white", edgecolor="black", linewidth=WIRE, zorder=3))

    def finish(self) -> tuple[float, float]:
        """Fit the axes to the drawing; return its width and height in units."""
        self.drawing.draw(show=False)
        xs, ys = zip(*self.corners, strict=True)
        left, right, top, bottom = min(xs) - 0.4, max(xs) + 0.4, min(ys) - 0.4, max(ys) + 0.4
        self.axes.set(xlim=(left, right), ylim=(-bottom, -top), aspect="equal")
        self.axes.axis("off")
        return right - left, bottom - top


def _up(at: Point) -> Point:
    return at[0], -at[1]
