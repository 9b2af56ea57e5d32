"""A network as a block diagram, for circuits too large for a schematic."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.patches import FancyBboxPatch

from eqprop_analog.plotting.crossbars import PLAIN
from eqprop_analog.plotting.style import BLUE, drawing

HIGH, GAP = 1.3, 0.42
"""Size of a block and of the gap between blocks, inches."""
LETTER = 0.084
"""Width of a letter with some margin, inches."""
ACROSS = 7
"""Number of blocks in a row."""
FILLS = {"nodes": "#dfe9f3", "array": "white"}


@dataclass(frozen=True)
class BlockOfDiagram:
    """One box of a block diagram."""

    title: str
    lines: Sequence[str]
    kind: str
    """"nodes" or "array"."""
    both_ways: bool = False
    """Whether it acts back on the previous block."""


def block_diagram(blocks: Sequence[BlockOfDiagram], path: Path) -> None:
    """Draw boxes from left to right, in rows of ACROSS; an arrow with two heads shows signals in both directions."""
    rows = [blocks[k : k + ACROSS] for k in range(0, len(blocks), ACROSS)]
    wide = [max(1.2, LETTER * max(map(len, (block.title, *block.lines)))) for block in blocks]
    widths = [wide[k : k + ACROSS] for k in range(0, len(blocks), ACROSS)]
    total = max(sum(row) + GAP * (len(row) - 1) for row in widths) + 0.2
    high = len(rows) * HIGH + (len(rows) - 1) * GAP + 0.2
    with drawing(path, (total, high), PLAIN) as figure:
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, total), ylim=(0, high))
        axes.axis("off")
        for number, (row, sizes) in enumerate(zip(rows, widths, strict=True)):
            left, bottom = 0.1, high - 0.1 - HIGH - number * (HIGH + GAP)
            for k, (block, width) in enumerate(zip(row, sizes, strict=True)):
                box = FancyBboxPatch(
                    (left + 0.06, bottom + 0.06),
                    width - 0.12,
                    HIGH - 0.12,
                    boxstyle="round,pad=0.06",
                    facecolor=FILLS[block.kind],
                    edgecolor=BLUE,
                    linewidth=1.3,
                    linestyle="-" if block.kind == "nodes" else "--",
                )
                axes.add_patch(box)
                middle = left + width / 2
                axes.text(
                    middle, bottom + HIGH - 0.26, block.title, ha="center", va="center", weight="bold", fontsize=10
                )
                text = "\n".join(block.lines)
                axes.text(middle, bottom + HIGH - 0.46, text, ha="center", va="top", fontsize=9, linespacing=1.35)
                style = {"arrowstyle": "<|-|>" if block.both_ways else "-|>", "color": "black", "mutation_scale": 12}
                if k:
                    ends = (left, bottom + HIGH / 2), (left - GAP, bottom + HIGH / 2)
                    axes.annotate("", *ends, arrowprops={**style, "shrinkA": 0, "shrinkB": 0})
                elif number:
                    turn, end = (
                        bottom + HIGH + GAP / 2,
                        sum(widths[number - 1]) + GAP * (len(rows[number - 1]) - 1) + 0.1,
                    )
                    corner = end - widths[number - 1][-1] / 2
                    axes.plot([corner, corner, middle, middle], [turn + GAP / 2, turn, turn, turn], "k-", linewidth=1)
                    ends = (middle, bottom + HIGH), (middle, turn)
                    axes.annotate("", *ends, arrowprops={**style, "arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0})
                left += width + GAP
