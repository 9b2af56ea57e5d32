"""Voltages of every cell with its wires by back substitution through the nested dissection, compiled.

The inner nodes of a block follow from its ends; both together are the ends of its parts, and so on down to pairs of cells. The
product of two drops at every cell is summed over samples, so that no array of samples, rows and columns is needed.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

from eqprop_analog.kernels.numba.dissection import (
    CORNER,
    LEAF,
    LETTERS,
    PLACES,
    SIZES,
    Room,
    Work,
    join,
    leaves_joined,
    one_at_a_time,
    routine,
)
from eqprop_analog.kernels.numba.jit import compiled
from eqprop_analog.kernels.numba.lanes import LANES, inverse, load, more, plus, spread, store, times
from eqprop_analog.networks.crossbars.dissection import BASE

Array = np.ndarray
Tables = tuple[Array, Array, Array, Array]

PAIRS = 4
"""Number of samples that are processed together in a leaf, each with two voltages at every node."""
VOLTS = 2 * PAIRS
SIDE = BASE // CORNER

_gemm, _trsm = routine("blas", "dgemm", 13), routine("blas", "dtrsm", 11)


def _marks() -> tuple[Array, int, int]:
    """Positions at which leaves_joined stores the results of each level, in lanes, and the total number of lanes."""
    blocks = SIDE**2 >> np.arange(1, len(SIZES) + 1)
    inner, outer = blocks * SIZES[:, 4] ** 2, blocks * SIZES[:, 4] * SIZES[:, 3]
    begins = [np.cumsum([0, *each]) for each in (inner, outer)]
    return np.stack([each[:-1] for each in begins], axis=1), int(begins[0][-1]), int(begins[1][-1])


MARKS, INNER, OUTER = _marks()


@compiled
def _down(steps: Array, runs: Array, held: Array, rows: Array, marks: Array, volts: Array) -> None:
    """Voltages of the ends of all leaves from those of the last block; ``volts``: (ends of leaves and blocks, voltages)."""
    one, nothing, sizes = np.ones(1), np.zeros(1), np.zeros(4, np.int32)
    wide = volts.shape[1]
    for number in range(len(steps) - 1, -1, -1):
        step = steps[number]
        ends, size, at = step[5], step[6], step[13]
        apart = -(-ends // LANES) * LANES
        sizes[0], sizes[1], sizes[2], sizes[3] = wide, size, ends, apart
        many, n_inner, n_ends, from_row = sizes[0:].ctypes, sizes[1:].ctypes, sizes[2:].ctypes, sizes[3:].ctypes
        factor, left = held[marks[number, 0] :].ctypes, rows[marks[number, 1] :].ctypes
        inner, own = volts[step[11]].ctypes, volts[at].ctypes
        plain, right, lower = LETTERS[1:].ctypes, LETTERS[3:].ctypes, LETTERS[0:].ctypes
        _gemm(plain, plain, many, n_inner, n_ends, one.ctypes, own, many, left, from_row, nothing.ctypes, inner, many)
        _trsm(right, lower, plain, plain, many, n_inner, one.ctypes, factor, n_inner, inner, many)
        if step[3] > 0:
            for k in range(size):
                volts[step[12] + k] = volts[step[11] + k]
        for n in range(2):
            for start, count, to in runs[step[7 + n] : step[8 + n]]:
                for a in range(count):
                    volts[step[11 + n] + start + a] = volts[at + to + a]


@compiled
def _pair_down(sizes: Array, own: Array, held: Array, scaled: Array, whole: Array, parts: Array, at: Array) -> None:
    """Compute voltages of the ends of two parts from those of the block; ``at``: positions of the block and of both parts."""
    ends, size = sizes[3], sizes[4]
    for k in range(size - 1, -1, -1):
        inner = at[1] + (sizes[5] + k) * VOLTS
        for r in range(0, VOLTS, 4):
            one, two, three, four = spread(0.0), spread(0.0), spread(0.0), spread(0.0)
            for a in range(ends):
                share, end = load(scaled, k * ends + a), at[0] + a * VOLTS + r
                one, two = more(one, share, load(whole, end)), more(two, share, load(whole, end + 1))
                three, four = more(three, share, load(whole, end + 2)), more(four, share, load(whole, end + 3))
            for n in range(k + 1, size):
                share, end = load(held, n * size + k), at[1] + (sizes[5] + n) * VOLTS + r
                one, two = more(one, share, load(parts, end)), more(two, share, load(parts, end + 1))
                three, four = more(three, share, load(parts, end + 2)), more(four, share, load(parts, end + 3))
            store(parts, inner + r, one)
            store(parts, inner + r + 1, two)
            store(parts, inner + r + 2, three)
            store(parts, inner + r + 3, four)
        other = at[2] + (sizes[6] + k) * VOLTS
        for r in range(VOLTS):
            store(parts, other + r, load(parts, inner + r))
    for a in range(ends):
        to = at[1 + own[a, 0]] + own[a, 1] * VOLTS
        for r in range(VOLTS):
            store(parts, to + r, load(whole, at[0] + a * VOLTS + r))


@compiled
def _corner_products(cells: Array, place: int, wire: float, volts: Array, at: int, out: Array) -> None:
    """Sums of products of drops at 2 x 2 cells, see dissection's corners for nodes and ends."""
    along, twice, minus = spread(wire), spread(2 * wire), spread(-1.0)
    first, third, fourth = load(cells, place), load(cells, place + BASE), load(cells, place + BASE + 1)
    share, last = inverse(plus(twice, first)), inverse(plus(twice, fourth))
    beside = inverse(plus(twice, third))
    through = times(beside, times(along, third))
    below = inverse(plus(twice, plus(through, through)))
    sums = (load(out, place), load(out, place + 1), load(out, place + BASE), load(out, place + BASE + 1))
    one, two, three, four = sums
    for r in range(PAIRS):
        drops = (spread(0.0), spread(0.0), spread(0.0), spread(0.0))
        for n in range(2):
            before = drops
            end = at + r + n * PAIRS
            left, lower = load(volts, end), load(volts, end + VOLTS)
            bottom, corner = load(volts, end + 2 * VOLTS), load(volts, end + 3 * VOLTS)
            right, under = load(volts, end + 4 * VOLTS), load(volts, end + 5 * VOLTS)
            top, beyond = load(volts, end + 6 * VOLTS), load(volts, end + 7 * VOLTS)
            row = times(share, more(times(along, plus(left, right)), first, top))
            column = times(last, more(times(along, plus(corner, beyond)), fourth, under))
            sides = plus(lower, under)
            node = times(below, more(times(along, plus(bottom, top)), through, sides))
            middle = times(beside, more(times(along, sides), third, node))
            drops = (
                more(row, minus, top),
                more(right, minus, beyond),
                more(middle, minus, node),
                more(under, minus, column),
            )
            if n == 1:
                one, two = more(one, before[0], drops[0]), more(two, before[1], drops[1])
                three, four = more(three, before[2], drops[2]), more(four, before[3], drops[3])
    store(out, place, one)
    store(out, place + 1, two)
    store(out, place + BASE, three)
    store(out, place + BASE + 1, four)


@compiled
def _products(
    cells: Array, wire: float, tables: Tables, work: Work, space: Array, volts: Array, near: Array, out: Array
) -> None:
    """Sums over samples of the products of both drops at every cell of every leaf; ``tables`` include the ends of leaves."""
    sizes, places, marks, kept = tables
    at = np.zeros(3, np.int64)
    for group in range(len(cells)):
        leaves_joined(cells[group], wire, sizes, places, work, space, marks)
        for first in range(0, volts.shape[1], VOLTS):
            ends = near[len(sizes) % 2]
            for lane in range(min(LANES, len(kept) - group * LANES)):
                number, n = group * LANES + lane, 0
                while n < LEAF and kept[number, n] >= 0:
                    for r in range(VOLTS):
                        ends[(kept[number, n] * VOLTS + r) * LANES + lane] = volts[number * LEAF + n, first + r]
                    n += 1
            for level in range(len(sizes) - 1, -1, -1):
                across, beside, part, whole, size = sizes[level, :5]
                for n in range(SIDE * SIDE >> (level + 1)):
                    one = 2 * n if beside else 2 * across * (n // across) + n % across
                    other = one + (1 if beside else across)
                    at[0], at[1], at[2] = n * whole * VOLTS, one * part * VOLTS, other * part * VOLTS
                    held = work[0][(marks[level, 0] + n * size * size) * LANES :]
                    scaled = work[2][(marks[level, 1] + n * size * whole) * LANES :]
                    _pair_down(sizes[level], places[level], held, scaled, near[(level + 1) % 2], near[level % 2], at)
            for n in range(SIDE * SIDE):
                place = n // SIDE * CORNER * BASE + n % SIDE * CORNER
                _corner_products(cells[group], place, wire, near[0], n * 4 * CORNER * VOLTS, out[group])


class _Room(Room):
    """The elimination with all results that back substitution needs."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__(rows, columns)
        ends, inner = self.plan.steps[:, 5], self.plan.steps[:, 6]
        counts = inner**2, inner * (-(-ends // LANES) * LANES)
        begins = [np.cumsum([0, *each]) for each in counts]
        self.marks = np.stack([each[:-1] for each in begins], axis=1)
        self.all_held, self.all_between = np.zeros(begins[0][-1]), np.zeros(begins[1][-1])
        self.own = np.zeros(INNER * LANES), self.work[1], np.zeros(OUTER * LANES)
        self.near = np.zeros((2, SIDE**2 * 4 * CORNER * VOLTS * LANES))

    def products(
        self, matrix: Float[Array, "rows columns"], wire_resistance: float, volts: Float[Array, "ports some"]
    ) -> Float[Array, "rows columns"]:
        """See ``products``; columns before rows, VOLTS columns for PAIRS samples, starting with their first voltages."""
        found, lanes = self.plan, self.lanes(matrix)
        self.leaves(lanes, wire_resistance)
        join(found.steps, found.runs, self.space, self.all_held, self.all_between, self.marks, False)
        everywhere = np.zeros((found.ends_space, volts.shape[1]))
        at = found.steps[-1, 13]
        everywhere[at : at + len(volts)] = volts
        _down(found.steps, found.runs, self.all_held, self.all_between, self.marks, everywhere)
        out = np.zeros_like(lanes)
        tables = SIZES, PLACES, MARKS, found.leaves
        _products(lanes, 1 / wire_resistance, tables, self.own, self.small, everywhere, self.near, out)
        leaves = out.reshape(len(out), BASE * BASE, LANES).swapaxes(1, 2).reshape(-1, BASE, BASE)
        whole = leaves[: found.down * found.across].reshape(found.down, found.across, BASE, BASE).swapaxes(1, 2)
        return whole.reshape(self.cells.shape)[-self.rows :, : self.columns]


_room = lru_cache(maxsize=4)(_Room)


def products(
    matrix: Float[Array, "rows columns"],
    wire_resistance: float,
    mean: Float[Array, "batch ports"],
    slope: Float[Array, "batch ports"],
) -> Float[Array, "rows columns"]:
    """Sum over samples of the product of two drops at every cell of one tile for port voltages (rows, then columns)."""
    batch, ports = mean.shape
    groups = -(-batch // PAIRS)
    volts = np.zeros((groups, 2, PAIRS, ports))
    for n, each in enumerate((mean, slope)):
        padded = np.zeros((groups * PAIRS, ports))
        padded[:batch] = np.roll(each, -matrix.shape[0], axis=1)
        volts[:, n] = padded.reshape(groups, PAIRS, ports)
    with one_at_a_time:
        return _room(*matrix.shape).products(matrix, wire_resistance, volts.reshape(-1, ports).T)
