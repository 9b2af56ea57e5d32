"""Elimination of the wires of an array by nested dissection, compiled: small blocks in vector lanes, large ones by LAPACK.

Conductances between ends are stored only above the diagonal. A node's total is the sum of its conductances (KCL), so
that only positive numbers are added (Grassmann, Taksar & Heyman 1985, Oper. Res. 33, 1107).
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
Work = tuple[Array, Array, Array]
"""Couplings between the inner nodes of a block, from these to its ends, and the latter divided by node totals; in lanes."""

CORNER = 2
"""Numbers of rows and columns of the blocks of cells that are eliminated first."""
LEAF = 4 * BASE
"""Number of ends of a block of BASE x BASE cells."""
LEVELS = 6
"""Number of times that pairs of blocks are joined to reach BASE x BASE cells."""


def routine(module: str, name: str, arguments: int) -> Any:
    """A routine of SciPy's BLAS or LAPACK, for compiled functions."""
    address = get_cython_function_address(f"scipy.linalg.cython_{module}", name)
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)(address)


_potrf, _syrk, _gemm = routine("lapack", "dpotrf", 5), routine("blas", "dsyrk", 10), routine("blas", "dgemm", 13)
LETTERS = np.frombuffer(b"LNTR", np.uint8).copy()
"""Options of LAPACK: lower; not transposed, or no unit diagonal; transposed; right."""


def _pairings() -> tuple[Array, Array]:
    """The joins that build BASE x BASE cells from corners, alternately side by side and on top of each other.

    For each join: blocks in a row before it, whether it is side by side, numbers of ends of a part and of the result, number of
    inner nodes and position of the first one in each part. For each end: its part (0 for the first) and its position there.
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
"""Largest number of couplings of all blocks of one size within BASE x BASE cells."""


@compiled
def _eliminate(held: Array, rows: Array, scaled: Array, size: int, ends: int) -> None:
    """Eliminate the inner nodes of a block with couplings ``held`` (size, size) to each other and ``rows`` (size, ends) to ends.

    Both are updated with the contributions of the nodes eliminated before; ``scaled``: rows divided by their totals.
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
def _corner(cells: Array, at: int, wire: float, out: Array, first: int) -> None:
    """Couplings of the 2 x 2 cells that start at ``cells`` (BASE in a row) in closed form, by elimination of three stars.

    Ends: left 0, 1, bottom 2, 3, right 4, 5, top 6, 7; the right ends are row nodes, and the top ends are column nodes.
    """
    along, twice, square = spread(wire), spread(2 * wire), spread(wire * wire)
    for n in range(64):
        store(out, first + n, spread(0.0))
    cell = load(cells, at)  # between a row node with the ends 0 and 4, and the end 6
    share = inverse(plus(twice, cell))
    store(out, first + 4, times(square, share))
    share = times(share, times(along, cell))
    store(out, first + 6, share)
    store(out, first + 4 * 8 + 6, share)
    cell = load(cells, at + BASE + 1)  # between a column node with the ends 3 and 7, and the end 5
    share = inverse(plus(twice, cell))
    store(out, first + 3 * 8 + 7, times(square, share))
    share = times(share, times(along, cell))
    store(out, first + 3 * 8 + 5, share)
    store(out, first + 5 * 8 + 7, share)
    cell = load(cells, at + BASE)  # between a row node with the ends 1 and 5, and a column node with the ends 2 and 6
    share = inverse(plus(twice, cell))
    through = times(share, times(along, cell))
    other = inverse(plus(twice, plus(through, through)))
    store(out, first + 1 * 8 + 5, plus(times(square, share), times(through, times(through, other))))
    store(out, first + 2 * 8 + 6, times(square, other))
    share = times(through, times(along, other))
    store(out, first + 1 * 8 + 2, share)
    store(out, first + 1 * 8 + 6, share)
    store(out, first + 2 * 8 + 5, share)
    store(out, first + 5 * 8 + 6, share)
    store(out, first + 4 * 8 + 7, load(cells, at + 1))


@compiled
def _pair(parts: Array, one: int, other: int, sizes: Array, own: Array, work: Work, out: Array, out_first: int) -> None:
    """Join the blocks at ``one`` and ``other`` of ``parts``: couplings between the ends of the new block."""
    part, ends, size = sizes[2], sizes[3], sizes[4]
    held, rows, scaled = work
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
def leaves_joined(
    cells: Array, wire: float, sizes: Array, places: Array, work: Work, space: Array, marks: Array
) -> Array:
    """Couplings between all ends of LANES blocks of BASE x BASE ``cells``, siemens.

    ``marks``: positions in ``work`` at which the inner couplings and the scaled ones of each level are stored, block by block; if
    it is empty, they are not stored.
    """
    side = BASE // CORNER
    for n in range(side * side):
        _corner(cells, n // side * CORNER * BASE + n % side * CORNER, wire, space[0], n * (4 * CORNER) ** 2)
    for level in range(len(sizes)):
        across, beside, part, ends, size = sizes[level, :5]
        for n in range(side * side >> (level + 1)):
            one = 2 * n if beside else 2 * across * (n // across) + n % across
            other = one + (1 if beside else across)
            own = work
            if len(marks) > 0:
                inner, outer = marks[level, 0] + n * size * size, marks[level, 1] + n * size * ends
                own = (work[0][inner * LANES :], work[1], work[2][outer * LANES :])
            parts, out = space[level % 2], space[(level + 1) % 2]
            _pair(parts, one * part * part, other * part * part, sizes[level], places[level], own, out, n * ends * ends)
    return space[len(sizes) % 2]


@compiled
def _leaves(
    cells: Array, wire: float, sizes: Array, places: Array, kept: Array, work: Work, space: Array, leaves: Array
) -> None:
    """Couplings between the kept ends of every block of BASE x BASE ``cells`` (blocks of LANES, cells in lanes), siemens."""
    for group in range(len(cells)):
        found = leaves_joined(cells[group], wire, sizes, places, work, space, sizes[:0])
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
def _take(part: Array, ends: int, runs: Array, held: Array, rows: Array, out: Array, sizes: Array) -> None:
    """Add the couplings of one part between inner nodes (``held``), from these to remaining ends (``rows``), and between those.

    ``sizes``: number of inner nodes, of ends of the block, of ends with requested mutual couplings, and the stride of ``rows``.
    """
    size, whole, asked, apart = sizes[0], sizes[1], sizes[2], sizes[3]
    for k in range(size):
        for l in range(k + 1, size):
            held[k * size + l] += part[k * ends + l]
        for start, count, to in runs:
            _copy(part, k * ends + start, rows, k * apart + to, count)
    for q in range(len(runs)):
        start, count, to = runs[q]
        for a in range(min(count, asked - to)):
            _copy(part, (start + a) * ends + start + a + 1, out, (to + a) * whole + to + a + 1, count - a - 1)
            for begin, number, on in runs[q + 1 :]:
                _copy(part, (start + a) * ends + begin, out, (to + a) * whole + on, number)


@compiled
def join(
    steps: Array, runs: Array, space: Array, held_space: Array, rows_space: Array, marks: Array, between_rows: bool
) -> None:
    """Carry out all steps of a plan, whose last block is the array. Couplings between row ports are computed only if requested.

    ``marks``: positions at which the Cholesky factor and the reduced couplings to ends of each step are stored; if it is empty,
    they are not stored.
    """
    one, sizes = np.ones(1), np.zeros(6, np.int32)
    for number_of_step in range(len(steps)):
        step = steps[number_of_step]
        at, ends, size, ports = step[4], step[5], step[6], 0 if between_rows else step[10]
        asked, apart = ends - ports, -(-ends // LANES) * LANES
        sizes[0], sizes[1], sizes[2], sizes[3], sizes[4] = size, ends, asked, apart, ports
        out, inner, outer = space[at : at + ends * ends], 0, 0
        if len(marks) > 0:
            inner, outer = marks[number_of_step, 0], marks[number_of_step, 1]
        held, rows = held_space[inner : inner + size * size], rows_space[outer : outer + size * apart]
        for a in range(asked):
            out[a * ends + a + 1 : (a + 1) * ends] = 0
        held[:] = 0
        for n in range(2):
            first, number = step[2 * n], step[2 * n + 1]
            if number > 0:
                part = space[first : first + number * number]
                _take(part, number, runs[step[7 + n] : step[8 + n]], held, rows, out, sizes)
        _grounded(held, rows, size, ends, apart)
        lower, plain, turned = LETTERS[0:].ctypes, LETTERS[1:].ctypes, LETTERS[2:].ctypes
        n_inner, n_ends, n_asked, from_row = sizes[0:].ctypes, sizes[1:].ctypes, sizes[2:].ctypes, sizes[3:].ctypes
        n_ports, unit = sizes[4:].ctypes, one.ctypes
        _potrf(lower, n_inner, held.ctypes, n_inner, sizes[5:].ctypes)
        _forward(held, rows, size, apart // LANES)
        _syrk(lower, plain, n_asked, n_inner, unit, rows.ctypes, from_row, unit, out.ctypes, n_ends)
        if ports > 0:
            left, to = rows[asked:].ctypes, out[asked:].ctypes
            _gemm(
                plain, turned, n_ports, n_asked, n_inner, unit, left, from_row, rows.ctypes, from_row, unit, to, n_ends
            )
        if sizes[5] != 0:  # conductances outside the range of floating-point numbers
            out[:] = np.nan


@compiled
def _grounded(held: Array, rows: Array, size: int, ends: int, wide: int) -> None:
    """Form the nodal matrix of the inner nodes in ``held``: negative couplings, with the sums of all couplings as diagonal."""
    for k in range(size):
        held[k * size + k] = 0
    for k in range(size):
        own, coupled = held[k * size : (k + 1) * size], rows[k * wide : k * wide + ends]
        total = own[k]  # contributions of the nodes before
        for l in range(k + 1, size):
            total += own[l]
            held[l * size + l] += own[l]
            own[l] = -own[l]
        for a in range(ends):
            total += coupled[a]
        own[k] = total


@compiled
def _forward(factor: Array, rows: Array, size: int, wide: int) -> None:
    """Solve ``rows`` with the Cholesky ``factor`` of the inner nodes; faster than LAPACK for few nodes."""
    for a in range(0, wide - wide % 4, 4):
        for k in range(size):
            at = k * wide + a
            one, two, three, four = load(rows, at), load(rows, at + 1), load(rows, at + 2), load(rows, at + 3)
            for l in range(k):
                share, other = spread(-factor[l * size + k]), l * wide + a
                one, two = more(one, share, load(rows, other)), more(two, share, load(rows, other + 1))
                three, four = more(three, share, load(rows, other + 2)), more(four, share, load(rows, other + 3))
            own = spread(1 / factor[k * size + k])
            store(rows, at, times(one, own))
            store(rows, at + 1, times(two, own))
            store(rows, at + 2, times(three, own))
            store(rows, at + 3, times(four, own))
    for a in range(wide - wide % 4, wide):
        for k in range(size):
            value = load(rows, k * wide + a)
            for l in range(k):
                value = more(value, spread(-factor[l * size + k]), load(rows, l * wide + a))
            store(rows, k * wide + a, times(value, spread(1 / factor[k * size + k])))


@compiled
def _mirrored(upper: Array, columns: int, out: Array) -> None:
    """The full matrix from its upper triangle, with rows before columns."""
    ends = len(out)
    for a in range(ends):
        for b in range(a + 1, ends):
            i, j = (a - columns) % ends, (b - columns) % ends
            out[i, j] = out[j, i] = upper[a * ends + b]


@compiled
def _given(upper: Array, between: Array, among: Array) -> None:
    """Copy the couplings between rows and columns, and add those between columns."""
    rows, columns = between.shape
    ends = rows + columns
    for a in range(columns):
        for i in range(rows):
            between[i, a] = upper[a * ends + columns + i]
        for b in range(a + 1, columns):
            among[a, b] += upper[a * ends + b]
            among[b, a] += upper[a * ends + b]


class Room:
    """Work space for tiles of one shape."""

    def __init__(self, rows: int, columns: int) -> None:
        self.plan: Plan = plan(rows, columns)
        self.rows, self.columns = rows, columns
        down, across = self.plan.down, self.plan.across
        self.cells = np.zeros((down * BASE, across * BASE))
        self.blocks = np.zeros((-(-down * across // LANES), LANES, BASE * BASE))
        self.space, self.held = np.zeros(self.plan.space), np.zeros(self.plan.inner**2)
        self.between = np.zeros(self.plan.inner * (self.plan.ends + LANES))
        held, coupled, scaled = (np.zeros(BASE * LEAF * LANES) for _ in range(3))
        self.work = held, coupled, scaled
        self.small = np.zeros((2, SPACE * LANES))

    def lanes(self, matrix: Float[Array, "rows columns"]) -> Float[Array, "groups cells"]:
        """Cells of the leaves in lanes, in groups of LANES leaves."""
        down, across = self.plan.down, self.plan.across
        # the padding lies beyond the unconnected ends
        self.cells[-self.rows :, : self.columns] = matrix
        leaves = self.cells.reshape(down, BASE, across, BASE).swapaxes(1, 2)
        self.blocks.reshape(-1, BASE * BASE)[: down * across] = leaves.reshape(down * across, BASE * BASE)
        return self.blocks.swapaxes(1, 2).reshape(len(self.blocks), -1)

    def eliminated(self, matrix: Float[Array, "rows columns"], wire_resistance: float, *, between_rows: bool) -> Array:
        """Couplings of the ports above the diagonal, columns before rows."""
        found, none = self.plan, np.zeros((0, 2), np.int64)
        self.leaves(self.lanes(matrix), wire_resistance)
        join(found.steps, found.runs, self.space, self.held, self.between, none, between_rows)
        return self.space[found.steps[-1, 4] :]

    def leaves(self, lanes: Float[Array, "groups cells"], wire_resistance: float) -> None:
        """Write the couplings of the leaves to the work space."""
        _leaves(lanes, 1 / wire_resistance, SIZES, PLACES, self.plan.leaves, self.work, self.small, self.space)


_room = lru_cache(maxsize=8)(Room)
one_at_a_time = Lock()


def couplings(matrix: Float[Array, "rows columns"], wire_resistance: float) -> Float[Array, "ports ports"]:
    """Conductances between the ports of one tile, siemens; equal to networks.crossbars.wires.couplings to within rounding."""
    found = np.zeros((sum(matrix.shape),) * 2)
    with one_at_a_time:
        upper = _room(*matrix.shape).eliminated(matrix, wire_resistance, between_rows=True)
        _mirrored(upper, matrix.shape[1], found)
    return found


def to_columns(
    matrix: Float[Array, "rows columns"],
    wire_resistance: float,
    between: Float[Array, "rows columns"],
    among: Float[Array, "columns columns"],
) -> None:
    """Conductances of the column ports only: to row ports in ``between``, and to other column ports, added to ``among``."""
    with one_at_a_time:
        upper = _room(*matrix.shape).eliminated(matrix, wire_resistance, between_rows=False)
        _given(upper, between, among)
