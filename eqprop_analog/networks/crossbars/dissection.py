"""Nested dissection of an array with wires: in what order blocks of cells are joined and the wires between them eliminated.

A block is known by the conductances between the ends of its wires. Of two neighbours the ends where they touch become inner
nodes and are eliminated (George 1973, SIAM J. Numer. Anal. 10, 345; as couplings between ends Martinsson 2013, J. Comput. Phys.
242, 460): of the order of n³ operations for n x n cells, where column after column takes n⁴. Ends that nothing is joined to, at
the right and at the top of the array, are eliminated from the smallest blocks.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

import numpy as np
from jaxtyping import Int

__all__ = ["BASE", "Plan", "plan"]

Array = np.ndarray

BASE = 16
"""Rows and columns of the smallest blocks, the leaves; those at the top and at the right may have fewer."""
COPIED = 3
"""What it costs to copy a coupling, in multiplications."""
Block = tuple[int, int, int, int]
"""From leaf row to leaf row, and from leaf column to leaf column."""
Ends = list[int]
"""Numbers that an array's ends of wires have, see _Builder."""


@dataclass(frozen=True)
class Plan:
    """What to eliminate, step after step, in an array that is filled up to whole leaves with cells of 0 S.

    A block's couplings are an upper triangle, its inner ends to be first, and row ports last; the last block has the ports,
    columns, then rows.
    """

    steps: Int[Array, "blocks 14"]
    """Place in the work space and number of ends of the first part, then of the second (0 if there is none) and of the block;
    how many inner nodes; where the runs of the first part begin, and where these and those of the second end; how many of its
    ends are row ports; the places of both parts and of the block among voltages of ends."""
    runs: Int[Array, "runs 3"]
    """Ends of a part that go on: the first one's place there, their number, and the first one's place in the block."""
    leaves: Int[Array, "leaves ends"]
    """Which of a leaf's 4 BASE ends (left, bottom, right, top) it keeps, in their order; -1 after the last."""
    down: int
    across: int
    space: int
    """Numbers that leaves and blocks need at a time: a leaf's place is its number times (4 BASE)²."""
    ends_space: int
    """The same of voltages, one an end: a leaf's place is its number times 4 BASE."""

    @property
    def inner(self) -> int:
        """Most inner nodes of a block."""
        return int(self.steps[:, 6].max(initial=0))

    @property
    def ends(self) -> int:
        """Most ends of a block."""
        return int(self.steps[:, 5].max())


class _Builder:
    """Row wire i has the ends ``boundary * rows + i`` at the boundaries of leaves, a column wire those that follow."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.down, self.across = -(-rows // BASE), -(-columns // BASE)
        self.row_cuts = [max(0, n * BASE - self.down * BASE + rows) for n in range(self.down + 1)]
        self.column_cuts = [min(n * BASE, columns) for n in range(self.across + 1)]
        self.steps: list[list[int]] = []
        self.runs: list[tuple[int, int, int]] = []
        self.leaves = np.full((self.down * self.across, 4 * BASE), -1)
        self.largest = [0] * (self.down + self.across)
        """Couplings of a block at every depth of the tree."""
        self.cut = cache(self._cut)

    def beside(self, boundary: int, top: int, bottom: int) -> Ends:
        """Row wires' ends between two columns of leaves."""
        return [boundary * self.rows + i for i in range(self.row_cuts[top], self.row_cuts[bottom])]

    def above(self, boundary: int, left: int, right: int) -> Ends:
        """Column wires' ends between two rows of leaves."""
        first = (self.across + 1) * self.rows + boundary * self.columns
        return [first + j for j in range(self.column_cuts[left], self.column_cuts[right])]

    def ends(self, block: Block) -> int:
        """How many ends it has."""
        top, bottom, left, right = block
        height, width = self.row_cuts[bottom] - self.row_cuts[top], self.column_cuts[right] - self.column_cuts[left]
        return height * (1 + (right < self.across)) + width * (1 + (top > 0))

    def _cut(self, block: Block) -> tuple[float, tuple[Block, Block] | None]:
        """Multiplications that a block takes at least, and the parts that it is made of then."""
        top, bottom, left, right = block
        pairs = [((top, bottom, left, n), (top, bottom, n, right)) for n in range(left + 1, right)]
        pairs += [((top, n, left, right), (n, bottom, left, right)) for n in range(top + 1, bottom)]
        if not pairs:
            return 0.0, None
        ends = self.ends(block)
        found = []
        for pair in pairs:
            inner = (self.ends(pair[0]) + self.ends(pair[1]) - ends) / 2
            own = inner * (inner**2 / 3 + inner * ends + ends**2) + COPIED * ends**2
            found.append((own + self.cut(pair[0])[0] + self.cut(pair[1])[0], pair))
        return min(found)

    def build(self, block: Block, order: Ends, depth: int, second: int) -> tuple[tuple[int, int], int]:
        """Steps for a block whose ends are to have that order; its place (depth and number there) and how many ends it has."""
        top, bottom, left, right = block
        parts = self.cut(block)[1]
        if parts is None:
            loose = self.beside(right, top, bottom) if right == self.across else []
            loose += self.above(0, left, right) if top == 0 else []
            place = (-1, self.leaf(block, loose + order))
            found = [(place, len(loose) + len(order), list(range(len(order))))]
            inner = len(loose)
            if not loose:
                return place, len(order)
        else:
            one = parts[0]
            joint = self.beside(one[3], top, bottom) if one[3] < right else self.above(one[1], left, right)
            found, inner = [], len(joint)
            for number, part in enumerate(parts):
                own = set(self.of(part))
                kept = [place for place, end in enumerate(order) if end in own]
                made = self.build(part, joint + [order[place] for place in kept], depth + 1, number)
                found.append((*made, kept))
        if parts is None:
            found.append(((depth, 0), 0, []))
        marks = [len(self.runs)]
        for *_, kept in found:
            self._run(kept, inner)
            marks.append(len(self.runs))
        places = [number for (where, which), ends, _ in found for number in (where, which, ends)]
        self.steps.append([*places, depth, second, len(order), inner, *marks, sum(end < self.rows for end in order)])
        self.largest[depth] = max(self.largest[depth], len(order) ** 2)
        return (depth, second), len(order)

    def of(self, block: Block) -> Ends:
        """Its ends."""
        top, bottom, left, right = block
        found = self.beside(left, top, bottom) + self.above(bottom, left, right)
        found += self.beside(right, top, bottom) if right < self.across else []
        return found + (self.above(top, left, right) if top > 0 else [])

    def leaf(self, block: Block, order: Ends) -> int:
        """Note what a leaf keeps; its number."""
        top, bottom, left, right = block
        sides = (
            self.beside(left, top, bottom),
            self.above(bottom, left, right),
            self.beside(right, top, bottom),
            self.above(top, left, right),
        )
        skipped = BASE - len(sides[0])  # rows that fill up the leaf are at its top
        places = {
            end: BASE * n + i + skipped * (n % 2 == 0) for n, side in enumerate(sides) for i, end in enumerate(side)
        }
        number = top * self.across + left
        self.leaves[number, : len(order)] = [places[end] for end in order]
        return number

    def _run(self, kept: list[int], inner: int) -> None:
        """Note the runs of a part of which those ends go on, after its inner ones."""
        breaks = [0, *[n for n in range(1, len(kept)) if kept[n] != kept[n - 1] + 1], len(kept)]
        self.runs += [(inner + begin, end - begin, kept[begin]) for begin, end in pairwise(breaks) if end > begin]


@lru_cache(maxsize=64)
def plan(rows: int, columns: int) -> Plan:
    """How an array of that many cells is put together."""
    builder = _Builder(rows, columns)
    down, across = builder.down, builder.across
    ports = builder.above(down, 0, across) + builder.beside(0, 0, down)
    builder.build((0, down, 0, across), ports, 0, 0)
    most = np.sqrt(builder.largest).astype(
        int
    )  # a block's place is free again when its neighbour has been joined to it
    begins, volts = (
        2 * np.cumsum([0, *sizes]) + len(builder.leaves) * (4 * BASE) ** n for n, sizes in ((2, most**2), (1, most))
    )

    def place(depth: int, number: int) -> tuple[int, int]:
        if depth < 0:
            return number * (4 * BASE) ** 2, number * 4 * BASE
        return int(begins[depth]) + number * int(most[depth]) ** 2, int(volts[depth]) + number * int(most[depth])

    steps = []
    for s in builder.steps:
        at, on = zip(place(*s[:2]), place(*s[3:5]), place(*s[6:8]), strict=True)
        steps.append([at[0], s[2], at[1], s[5], at[2], *s[8:], *on])
    tables = np.array(steps, np.int64), np.array(builder.runs, np.int64), builder.leaves
    return Plan(*tables, down, across, int(begins[-1]), int(volts[-1]))
