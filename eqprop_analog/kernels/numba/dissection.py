"""Wires of an array eliminated by nested dissection, compiled: the smallest blocks side by side, larger ones by LAPACK.

Conductances between ends are kept above the diagonal alone; a node's total is the sum of what joins it (KCL), so that only
positive numbers are added (Grassmann, Taksar & Heyman 1985, Oper. Res. 33, 1107).
"""

import ctypes
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
from jaxtyping import Float
from numba.extending import get_cython_function_address

from eqprop_analog.kernels.numba.jit import compiled
from eqprop_analog.kernels.numba.lanes import LANES, TILE, add_products, inverse, load, more, plus, spread, store, times
from eqprop_analog.networks.crossbars.dissection import BASE, Plan, plan

Array = np.ndarray

CORNER = 2
"""Rows and columns of cells that are eliminated at once, to begin with."""
LEAF = 4 * BASE
"""Ends of a block of BASE x BASE cells."""
LEVELS = 6
"""Times that two blocks are joined until they have BASE x BASE cells."""


def _routine(module: str, name: str, arguments: int) -> Any:
    address = get_cython_function_address(f"scipy.linalg.cython_{module}", name)
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)(address)


_potrf, _trsm, _syrk = _routine("lapack", "dpotrf", 5), _routine("blas", "dtrsm", 11), _routine("blas", "dsyrk", 10)
LETTERS = np.frombuffer(b"LRTN", np.uint8).copy()
"""Of LAPACK's options: lower (left), right, transposed, not."""


def _pairings() -> tuple[Array, Array]:
    """How joins make BASE x BASE cells of corners, beside and above each other in turn.

    Of each: blocks in a row before, whether beside, ends of a part, of the whole, inner nodes and the place of the first in each
    part. Of each end: in the first part (0) or the second, and where.
    """
    sizes, places = np.zeros((LEVELS, 7), np.int64), np.zeros((LEVELS, LEAF, 2), np.int64)
    n = m = CORNER
    for level in range(LEVELS):
        beside = level % 2 == 0
        h, w = (n, 2 * m) if beside else (2 * n, m)
        bottom, right, top = h, h + w, 2 * h + w
        own = places[level]
        if beside:
            own[:h] = [(0, i) for i in range(n)]
            own[right:top] = [(1, n + m + i) for i in range(n)]
            for base, start in ((bottom, n), (top, 2 * n + m)):
                own[base : base + w] = [(j // m, start + j % m) for j in range(w)]
        else:
            own[bottom:right] = [(1, n + j) for j in range(m)]
            own[top : top + w] = [(0, 2 * n + m + j) for j in range(m)]
            for base, start in ((0, 0), (right, n + m)):
                own[base : base + h] = [(i // n, start + i % n) for i in range(h)]
        inner = (n, n + m, 0) if beside else (m, n, 2 * n + m)
        sizes[level] = (BASE // m, beside, 2 * (n + m), 2 * (h + w), *inner)
        n, m = h, w
    return sizes, places


SIZES, PLACES = _pairings()
SPACE = max(
    [(BASE // CORNER) ** 2 * (4 * CORNER) ** 2]
    + [(BASE // CORNER) ** 2 // 2 ** (level + 1) * int(SIZES[level, 3]) ** 2 for level in range(LEVELS)]
)
"""Couplings of all blocks of one size in one of BASE x BASE cells, the most."""


@compiled
def _eliminate(held: Array, rows: Array, scaled: Array, size: int, ends: int) -> None:
    """The inner nodes of a block, whose couplings are ``held`` (size, size) among each other and ``rows`` (size, ends) to ends.

    Both get what the nodes before leave; ``scaled``: rows over their totals.
    """
    for k in range(size):
        first, second = spread(0.0), spread(0.0)
        for n in range(k + 1, size):
            value = load(held, k * size + n)
            for l in range(k):
                value = more(value, load(held, k * size + l), load(held, l * size + n))
            store(held, k * size + n, value)
            first = plus(first, value)
        for a in range(0, ends, TILE):
            one, two = load(rows, k * ends + a), load(rows, k * ends + a + 1)
            three, four = load(rows, k * ends + a + 2), load(rows, k * ends + a + 3)
            for l in range(k):
                factor = load(held, k * size + l)
                one = more(one, factor, load(rows, l * ends + a))
                two = more(two, factor, load(rows, l * ends + a + 1))
                three = more(three, factor, load(rows, l * ends + a + 2))
                four = more(four, factor, load(rows, l * ends + a + 3))
            store(rows, k * ends + a, one)
            store(rows, k * ends + a + 1, two)
            store(rows, k * ends + a + 2, three)
            store(rows, k * ends + a + 3, four)
            first, second = plus(first, plus(one, two)), plus(second, plus(three, four))
        share = inverse(plus(first, second))
        for n in range(k + 1, size):
            store(held, n * size + k, times(load(held, k * size + n), share))
        for a in range(ends):
            store(scaled, k * ends + a, times(load(rows, k * ends + a), share))


@compiled
def _corner(cells: Array, at: int, wire: float, work: Array, out: Array, out_first: int) -> None:
    """2 x 2 cells from ``cells`` on (BASE a row). Inner: row nodes at the left, then column nodes at the bottom."""
    held, rows, scaled = work[0], work[1], work[2]
    along, nothing = spread(wire), spread(0.0)
    for n in range(16):
        store(held, n, nothing)
    for n in range(32):
        store(rows, n, nothing)
    for n in range(64):
        store(out, out_first + n, nothing)
    store(held, 4 + 2, load(cells, at + BASE))  # the lower left cell is between the second and the third
    for node, end in ((0, 0), (0, 4), (1, 1), (1, 5), (2, 2), (2, 6), (3, 3), (3, 7)):
        store(rows, node * 8 + end, along)
    store(rows, 6, load(cells, at))
    store(rows, 3 * 8 + 5, load(cells, at + BASE + 1))
    store(out, out_first + 4 * 8 + 7, load(cells, at + 1))
    _eliminate(held, rows, scaled, 4, 8)
    for a in range(0, 8, TILE):
        for b in range(a, 8, TILE):
            add_products(out, out_first, scaled, rows, 4, 8, a, b)


@compiled
def _pair(
    parts: Array, one: int, other: int, sizes: Array, own: Array, work: Array, out: Array, out_first: int
) -> None:
    """Two blocks joined, at ``one`` and ``other`` among ``parts``: couplings between the new block's ends."""
    part, ends, size = sizes[2], sizes[3], sizes[4]
    held, rows, scaled = work[0], work[1], work[2]
    for k in range(size):
        first, second = sizes[5] + k, sizes[6] + k
        for l in range(k + 1, size):
            both = plus(
                load(parts, one + first * part + sizes[5] + l), load(parts, other + second * part + sizes[6] + l)
            )
            store(held, k * size + l, both)
        for a in range(ends):
            node, base = (second, other) if own[a, 0] else (first, one)
            low, high = min(node, own[a, 1]), max(node, own[a, 1])
            store(rows, k * ends + a, load(parts, base + low * part + high))
    _eliminate(held, rows, scaled, size, ends)
    for a in range(ends):
        base = (other if own[a, 0] else one) + own[a, 1] * part
        for b in range(a + 1, ends):
            inside = own[a, 0] == own[b, 0]
            store(out, out_first + a * ends + b, load(parts, base + own[b, 1]) if inside else spread(0.0))
    for a in range(0, ends, TILE):
        for b in range(a, ends, TILE):
            add_products(out, out_first, scaled, rows, size, ends, a, b)


@compiled
def _leaves(
    cells: Array, wire: float, sizes: Array, places: Array, kept: Array, work: Array, space: Array, leaves: Array
) -> None:
    """Couplings of every block of BASE x BASE ``cells`` (blocks of LANES, cells in lanes) between the ends it keeps, siemens."""
    side = BASE // CORNER
    for group in range(len(cells)):
        for n in range(side * side):
            at = n // side * CORNER * BASE + n % side * CORNER
            _corner(cells[group], at, wire, work, space[0], n * (4 * CORNER) ** 2)
        for level in range(len(sizes)):
            across, beside, part, ends = sizes[level, :4]
            for n in range(side * side >> (level + 1)):
                one = 2 * n if beside else 2 * across * (n // across) + n % across
                other = one + (1 if beside else across)
                _pair(
                    space[level % 2],
                    one * part * part,
                    other * part * part,
                    sizes[level],
                    places[level],
                    work,
                    space[(level + 1) % 2],
                    n * ends * ends,
                )
        found = space[len(sizes) % 2]
        for lane in range(min(LANES, len(kept) - group * LANES)):
            number = group * LANES + lane
            ends = 0
            while ends < LEAF and kept[number, ends] >= 0:
                ends += 1
            for a in range(ends):
                for b in range(a + 1, ends):
                    low, high = min(kept[number, a], kept[number, b]), max(kept[number, a], kept[number, b])
                    leaves[number * LEAF * LEAF + a * ends + b] = found[(low * LEAF + high) * LANES + lane]


@compiled
def _copy(source: Array, start: int, target: Array, to: int, count: int) -> None:
    taken, given = source[start : start + count], target[to : to + count]
    for n in range(count):
        given[n] = taken[n]


@compiled
def _take(part: Array, ends: int, size: int, runs: Array, held: Array, rows: Array, out: Array, whole: int) -> None:
    """What one part has between inner nodes (``held``), between these and ends that go on (``rows``), and between the latter."""
    for k in range(size):
        for l in range(k + 1, size):
            held[k * size + l] += part[k * ends + l]
        for start, count, to in runs:
            _copy(part, k * ends + start, rows, k * whole + to, count)
    for q in range(len(runs)):
        start, count, to = runs[q]
        for a in range(count):
            _copy(part, (start + a) * ends + start + a + 1, out, (to + a) * whole + to + a + 1, count - a - 1)
            for begin, number, on in runs[q + 1 :]:
                _copy(part, (start + a) * ends + begin, out, (to + a) * whole + on, number)


@compiled
def _join(
    steps: Array, runs: Array, space: Array, held_space: Array, rows_space: Array, ints: Array, one: Array
) -> None:
    """Every step of a plan; the last block is the array."""
    for step in steps:
        at, ends, size = step[4], step[5], step[6]
        out, held, rows = space[at : at + ends * ends], held_space[: size * size], rows_space[: size * ends]
        for a in range(ends):
            out[a * ends + a + 1 : (a + 1) * ends] = 0
        held[:] = 0
        for n in range(2):
            first, number = step[2 * n], step[2 * n + 1]
            if number > 0:
                part = space[first : first + number * number]
                _take(part, number, size, runs[step[7 + n] : step[8 + n]], held, rows, out, ends)
        _grounded(held, rows, size, ends)
        ints[0], ints[1] = size, ends
        nodes, all_ends, info = ints[0:].ctypes, ints[1:].ctypes, ints[2:].ctypes
        lower, right, turned, plain = LETTERS[0:].ctypes, LETTERS[1:].ctypes, LETTERS[2:].ctypes, LETTERS[3:].ctypes
        _potrf(lower, nodes, held.ctypes, nodes, info)
        _trsm(right, lower, turned, plain, all_ends, nodes, one.ctypes, held.ctypes, nodes, rows.ctypes, all_ends)
        _syrk(lower, plain, all_ends, nodes, one.ctypes, rows.ctypes, all_ends, one.ctypes, out.ctypes, all_ends)
        if ints[2] != 0:  # conductances beyond the range of numbers
            out[:] = np.nan


@compiled
def _grounded(held: Array, rows: Array, size: int, ends: int) -> None:
    """The nodal matrix of the inner nodes in ``held``: less the couplings, and what all of a node's sum to."""
    for k in range(size):
        held[k * size + k] = 0
    for k in range(size):
        own, coupled = held[k * size : (k + 1) * size], rows[k * ends : (k + 1) * ends]
        total = own[k]  # of the nodes before
        for l in range(k + 1, size):
            total += own[l]
            held[l * size + l] += own[l]
            own[l] = -own[l]
        for a in range(ends):
            total += coupled[a]
        own[k] = total


@compiled
def _mirrored(upper: Array, out: Array) -> None:
    """Both triangles."""
    for a in range(len(out)):
        for b in range(a + 1, len(out)):
            out[a, b] = out[b, a] = upper[a * len(out) + b]


class _Room:
    """Arrays for tiles of one shape."""

    def __init__(self, rows: int, columns: int) -> None:
        self.plan: Plan = plan(rows, columns)
        self.rows, self.columns = rows, columns
        down, across = self.plan.down, self.plan.across
        self.cells = np.zeros((down * BASE, across * BASE))
        self.blocks = np.zeros((-(-down * across // LANES), LANES, BASE * BASE))
        self.space, self.held = np.zeros(self.plan.space), np.zeros(self.plan.inner**2)
        self.between = np.zeros(self.plan.between)
        self.work, self.small = np.zeros((3, BASE * LEAF * LANES)), np.zeros((2, SPACE * LANES))

    def couplings(self, matrix: Float[Array, "rows columns"], wire_resistance: float) -> Float[Array, "ports ports"]:
        """See ``couplings``."""
        down, across = self.plan.down, self.plan.across
        # what is filled up is beyond the ends that nothing is joined to
        self.cells[-self.rows :, : self.columns] = matrix
        leaves = self.cells.reshape(down, BASE, across, BASE).swapaxes(1, 2)
        self.blocks.reshape(-1, BASE * BASE)[: down * across] = leaves.reshape(down * across, BASE * BASE)
        lanes = self.blocks.swapaxes(1, 2).reshape(len(self.blocks), -1)
        _leaves(lanes, 1 / wire_resistance, SIZES, PLACES, self.plan.leaves, self.work, self.small, self.space)
        ints, one = np.zeros(4, np.int32), np.ones(1)
        _join(self.plan.steps, self.plan.runs, self.space, self.held, self.between, ints, one)
        found = np.zeros((self.rows + self.columns,) * 2)
        _mirrored(self.space[self.plan.steps[-1, 4] :], found)
        return found


_room = lru_cache(maxsize=8)(_Room)
_one_at_a_time = Lock()


def couplings(matrix: Float[Array, "rows columns"], wire_resistance: float) -> Float[Array, "ports ports"]:
    """Conductances between the ports of one tile, siemens: what networks.crossbars.wires.couplings gives, to rounding."""
    with _one_at_a_time:
        return _room(*matrix.shape).couplings(matrix, wire_resistance)
