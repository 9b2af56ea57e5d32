"""Nested dissection of an array with wires: in what order blocks of cells are joined and the wires between them eliminated.

A block of h x w cells is known by the conductances between the ends of its wires: left ends L and right ends R of its rows,
bottom ends B and top ends T of its columns, in the order L, B, R, T. Of two neighbours the ends where they touch become inner
nodes and are eliminated (George 1973, SIAM J. Numer. Anal. 10, 345; as couplings between ends Martinsson 2013, J. Comput. Phys.
242, 460): of the order of n³ operations for n x n cells, where column after column takes n⁴. Ends that nothing is joined to, at
the right and at the top of the array, are eliminated at once.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Int

__all__ = ["BASE", "Block", "Plan", "plan"]

Array = np.ndarray

BASE = 8
"""Rows and columns of the smallest blocks."""
Segment = tuple[int, int, int]
"""Ends of a part that go on: the first one's place there, their number, and the first one's place in the whole."""


@dataclass(frozen=True)
class Block:
    """Cells whose inner nodes are eliminated, and the two that it is made of, if any."""

    height: int
    width: int
    right: bool
    """Whether its rows go on at their right ends; else these are eliminated."""
    top: bool
    """The same of its columns' top ends."""
    leaf: int = -1
    """Number among blocks of BASE x BASE cells, if it is one."""
    parts: "tuple[Block, Block] | None" = None
    """Left and right, or upper and lower."""
    beside: bool = False
    """Whether left and right."""

    @property
    def ends(self) -> int:
        """Number of its wires' ends."""
        return self.height * (1 + self.right) + self.width * (1 + self.top)

    def segments(self) -> tuple[int, tuple[int, int], tuple[list[Segment], list[Segment]]]:
        """Number of inner nodes, the place of the first in each part, and what goes on of each."""
        h, w, right, top = self.height, self.width, int(self.right), int(self.top)
        if self.parts is None:
            first = BASE * (4 if right and top else 3 if right else 2)
            kept = [(0, first, 0)] + ([(3 * BASE, BASE, 2 * BASE)] if top and not right else [])
            return BASE * (2 - right - top), (first, 0), (kept, [])
        one, other = self.parts
        if self.beside:
            a, b, end = one.width, other.width, h + w + h * right
            kept = [(0, h + a, 0), (2 * h + a, a * top, end)]
            more = [(h, b + h * right, h + a), (h + b + h * right, b * top, end + a)]
            return h, (h + a, 0), (kept, more)
        a, b, end = one.height, other.height, h + w
        kept = [(0, a, 0), (a + w, a * right, end), (a + w + a * right, w * top, end + h * right)]
        more = [(0, b + w, a), (b + w, b * right, end + a * right)]
        return w, (a, b + w + b * right), (kept, more)


@dataclass(frozen=True)
class Plan:
    """What to eliminate, one row of ``steps`` after the other, in an array filled up to whole blocks with cells of 0 S.

    A step: whether its parts are one leaf or two blocks (0 or 1); leaf, or place in the work space, and number of ends of the
    first part, then of the second; the same of the block; inner nodes and the place of the first in each part; three segments
    of each part.
    """

    steps: Int[Array, "blocks 28"]
    down: int
    across: int
    space: int
    """Numbers that blocks need at a time."""

    @property
    def inner(self) -> int:
        """Most inner nodes of a block."""
        return int(self.steps[:, 7].max())

    @property
    def between(self) -> int:
        """Most couplings between inner nodes and ends."""
        return int((self.steps[:, 7] * self.steps[:, 6]).max())


def _tree(down: int, across: int) -> Block:
    def block(row: int, column: int, high: int, wide: int) -> Block:
        size = high * BASE, wide * BASE, column + wide < across, row > 0
        if high == wide == 1:
            return Block(*size, leaf=row * across + column)
        if wide >= high:
            part = (wide + 1) // 2
            pair = block(row, column, high, part), block(row, column + part, high, wide - part)
            return Block(*size, parts=pair, beside=True)
        part = (high + 1) // 2
        return Block(*size, parts=(block(row, column, part, wide), block(row + part, column, high - part, wide)))

    return block(0, 0, down, across)


@lru_cache(maxsize=64)
def plan(rows: int, columns: int) -> Plan:
    """How an array of that many cells is put together."""
    down, across = -(-rows // BASE), -(-columns // BASE)
    tree = _tree(down, across)
    largest: list[int] = []

    def measure(block: Block, depth: int) -> None:
        largest.extend([0] * (depth + 1 - len(largest)))
        largest[depth] = max(largest[depth], block.ends**2)
        for part in block.parts or ():
            measure(part, depth + 1)

    measure(tree, 0)
    begins = 2 * np.cumsum([0, *largest])  # a block's place is free again when its neighbour has been joined to it
    steps: list[list[int]] = []

    def add(block: Block, depth: int, second: int) -> None:
        for number, part in enumerate(block.parts or ()):
            add(part, depth + 1, number)
        inner, places, kept = block.segments()
        joined = [
            number
            for number, part in enumerate(block.parts or ())
            for number in (begins[depth + 1] + number * largest[depth + 1], part.ends)
        ]
        padded = [each for part in kept for each in (*part, *[(0, 0, 0)] * (3 - len(part)))]
        steps.append(
            [
                int(block.parts is not None),
                *(joined or (block.leaf, 4 * BASE, 0, 0)),
                begins[depth] + second * largest[depth],
                block.ends,
                inner,
                *places,
                *(number for segment in padded for number in segment),
            ]
        )

    add(tree, 0, 0)
    return Plan(np.array(steps, np.int64), down, across, int(begins[-1]))
