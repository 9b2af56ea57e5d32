"""Nested dissection of an array with wires: the order in which blocks of cells are joined and wires between them eliminated.

A block is represented by the conductances between the ends of its wires. When two neighbours are joined, their common ends become
inner nodes and are eliminated (George 1973, SIAM J. Numer. Anal. 10, 345; with couplings between ends, Martinsson 2013, J.
Comput. Phys. 242, 460). This needs O(n³) operations for n x n cells, compared with O(n⁴) for elimination column by column.
Unconnected ends, at the right and the top of the array, are eliminated from the smallest blocks.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise

import numpy as np
from jaxtyping import Int

__all__ = ["BASE", "Plan", "plan"]

Array = np.ndarray

BASE = 16
"""Numbers of rows and columns of the smallest blocks, the leaves; leaves at the top and the right may have fewer."""
COPIED = 3
"""Cost of copying a coupling, in multiplications."""
Block = tuple[int, int, int, int]
"""Rectangle of leaves: start and end of its leaf rows, start and end of its leaf columns."""
Ends = list[int]
"""Indices of the wire ends of an array; see _Builder."""


@dataclass(frozen=True)
class Plan:
    """The elimination steps of an array that is padded to complete leaves with cells of 0 S.

    The couplings of a block are an upper triangle in which future inner ends come first and row ports last. The last block has
    the ports of the array, columns before rows.
    """

    steps: Int[Array, "blocks 14"]
    """Position in the work space and number of ends of the first part, of the second (0 if there is none) and of the block;
    number of inner nodes; start of the runs of the first part, and ends of its runs and of those of the second part; number of
    ends that are row ports; positions of both parts and of the block among voltages of ends."""
    runs: Int[Array, "runs 3"]
    """Ends of a part that remain: position of the first one in the part, their number, position of the first one in the block."""
    leaves: Int[Array, "leaves ends"]
    """Indices of the ends that a leaf keeps of its 4 BASE ends (left, bottom, right, top), in order; -1 after the last."""
    down: int
    across: int
    space: int
    """Size of the work space for leaves and blocks: the position of a leaf is its index times (4 BASE)²."""
    ends_space: int
    """The same for voltages, one for each end: the position of a leaf is its index times 4 BASE."""

    @property
    def inner(self) -> int:
        """Largest number of inner nodes of a block."""
        return int(self.steps[:, 6].max(initial=0))

    @property
    def ends(self) -> int:
        """Largest number of ends of a block."""
        return int(self.steps[:, 5].max())


class _Builder:
    """Builder of a plan. Row wire i has the ends ``boundary * rows + i`` at boundaries of leaves; column wires follow."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.down, self.across = -(-rows // BASE), -(-columns // BASE)
        self.row_cuts = [max(0, n * BASE - self.down * BASE + rows) for n in range(self.down + 1)]
        self.column_cuts = [min(n * BASE, columns) for n in range(self.across + 1)]
        self.steps: list[list[int]] = []
        self.runs: list[tuple[int, int, int]] = []
        self.leaves = np.full((self.down * self.across, 4 * BASE), -1)
        self.largest = [0] * (self.down + self.across)
        """Largest number of couplings of a block at every depth of the tree."""
        self.cut = cache(self._cut)

    def beside(self, boundary: int, top: int, bottom: int) -> Ends:
        """Ends of row wires between two columns of leaves."""
        return [boundary * self.rows + i for i in range(self.row_cuts[top], self.row_cuts[bottom])]

    def above(self, boundary: int, left: int, right: int) -> Ends:
        """Ends of column wires between two rows of leaves."""
        first = (self.across + 1) * self.rows + boundary * self.columns
        return [first + j for j in range(self.column_cuts[left], self.column_cuts[right])]

    def ends(self, block: Block) -> int:
        """Number of ends of the block."""
        top, bottom, left, right = block
        height, width = self.row_cuts[bottom] - self.row_cuts[top], self.column_cuts[right] - self.column_cuts[left]
        return height * (1 + (right < self.across)) + width * (1 + (top > 0))

    def _cut(self, block: Block) -> tuple[float, tuple[Block, Block] | None]:
        """Smallest number of multiplications for a block, and the corresponding division into parts."""
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
        """Add the steps for a block with the given order of ends; returns its position (depth, index) and number of ends."""
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
        """Indices of the ends of the block."""
        top, bottom, left, right = block
        found = self.beside(left, top, bottom) + self.above(bottom, left, right)
        found += self.beside(right, top, bottom) if right < self.across else []
        return found + (self.above(top, left, right) if top > 0 else [])

    def leaf(self, block: Block, order: Ends) -> int:
        """Record the ends that a leaf keeps; returns its index."""
        top, bottom, left, right = block
        sides = (
            self.beside(left, top, bottom),
            self.above(bottom, left, right),
            self.beside(right, top, bottom),
            self.above(top, left, right),
        )
        skipped = BASE - len(sides[0])  # padding rows are at the top of the leaf
        places = {
            end: BASE * n + i + skipped * (n % 2 == 0) for n, side in enumerate(sides) for i, end in enumerate(side)
        }
        number = top * self.across + left
        self.leaves[number, : len(order)] = [places[end] for end in order]
        return number

    def _run(self, kept: list[int], inner: int) -> None:
        """Record the runs of a part with the given remaining ends, after its inner ones."""
        breaks = [0, *[n for n in range(1, len(kept)) if kept[n] != kept[n - 1] + 1], len(kept)]
        self.runs += [(inner + begin, end - begin, kept[begin]) for begin, end in pairwise(breaks) if end > begin]


@lru_cache(maxsize=64)
def plan(rows: int, columns: int) -> Plan:
    """The plan of an array of the given size."""
    builder = _Builder(rows, columns)
    down, across = builder.down, builder.across
    ports = builder.above(down, 0, across) + builder.beside(0, 0, down)
    builder.build((0, down, 0, across), ports, 0, 0)
    most = np.sqrt(builder.largest).astype(
        int
    )  # the position of a block is free again after it has been joined with its neighbour
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
