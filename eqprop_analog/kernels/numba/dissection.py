"""Wires of an array eliminated by nested dissection, compiled: small blocks of many tiles side by side, larger ones by LAPACK.

Conductances between ends are kept above the diagonal alone; a node's total is the sum of what joins it (KCL), so that only
positive numbers are added (Grassmann, Taksar & Heyman 1985, Oper. Res. 33, 1107).
"""
# ruff: noqa: C901, PLR0912 - a compiled function takes arrays, not objects, and calls cost it nothing less

import ctypes
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
from jaxtyping import Float
from numba.extending import get_cython_function_address

from eqprop_analog.kernels.numba.jit import compiled
from eqprop_analog.networks.crossbars.dissection import BASE, Plan, plan

Array = np.ndarray

LANES = 16
"""Blocks that are computed side by side, in one vector register."""
LEAF = 4 * BASE
"""Ends of a block of BASE x BASE cells."""
SPACE = 32 * 36
"""Couplings of all blocks of one size in one of BASE x BASE cells: those of 32 pairs, the most."""


def _routine(module: str, name: str, arguments: int) -> Any:
    address = get_cython_function_address(f"scipy.linalg.cython_{module}", name)
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)(address)


_potrf, _trsm, _syrk = _routine("lapack", "dpotrf", 5), _routine("blas", "dtrsm", 11), _routine("blas", "dsyrk", 10)
LETTERS = np.frombuffer(b"LRTN", np.uint8).copy()
"""Of LAPACK's options: lower (left), right, transposed, not."""


def _pairings() -> list[tuple[bool, Array, Array]]:
    """How six joins make BASE x BASE cells: beside or above each other, where inner nodes begin, and what ends are.

    Inner nodes: their number, and the place of the first in each part. Ends: in the first part (0) or the second, and where.
    """
    found, height, width = [], 1, 1
    for level in range(6):
        beside = level % 2 == 0
        h, w = (height, 2 * width) if beside else (2 * height, width)
        own = np.zeros((2 * (h + w), 2), np.int64)
        bottom, right, top = h, h + w, 2 * h + w
        n, m = height, width
        if beside:
            own[:h] = [(0, i) for i in range(n)]
            own[right:top] = [(1, n + m + i) for i in range(n)]
            for base, start in ((bottom, n), (top, 2 * n + m)):
                own[base : base + w] = [(j // m, start + j % m) for j in range(w)]
        else:
            own[bottom:right] = [(1, n + j) for j in range(m)]
            own[top:] = [(0, 2 * n + m + j) for j in range(m)]
            for base, start in ((0, 0), (right, n + m)):
                own[base : base + h] = [(i // n, start + i % n) for i in range(h)]
        inner = (n, n + m, 0) if beside else (m, n, 2 * n + m)
        found.append((beside, np.array(inner, np.int64), own))
        height, width = h, w
    return found


PAIRINGS = _pairings()


@compiled
def _pair(
    first: Array, second: Array, inner: Array, own: Array, held: Array, rows: Array, scaled: Array, out: Array
) -> None:
    """Two blocks joined, LANES of them side by side: ``out`` between the new block's ends, ``rows`` of the inner nodes."""
    size, one, other = inner
    lanes = out.shape[2]
    ends = len(own)
    for k in range(size):
        for l in range(k + 1, size):
            for x in range(lanes):
                held[k, l, x] = first[one + k, one + l, x] + second[other + k, other + l, x]
        for a in range(ends):
            part, at = own[a]
            place = other + k if part else one + k
            low, high = min(place, at), max(place, at)
            for x in range(lanes):
                rows[k, a, x] = second[low, high, x] if part else first[low, high, x]
    for k in range(size):
        for x in range(lanes):
            scaled[size, 0, x] = 0
        for l in range(k + 1, size):
            for x in range(lanes):
                scaled[size, 0, x] += held[k, l, x]
        for a in range(ends):
            for x in range(lanes):
                scaled[size, 0, x] += rows[k, a, x]
        for x in range(lanes):
            scaled[size, 0, x] = 1 / scaled[size, 0, x]
        for a in range(ends):
            for x in range(lanes):
                scaled[k, a, x] = rows[k, a, x] * scaled[size, 0, x]
        for l in range(k + 1, size):
            for x in range(lanes):
                scaled[size, 1, x] = held[k, l, x] * scaled[size, 0, x]
            for n in range(l + 1, size):
                for x in range(lanes):
                    held[l, n, x] += scaled[size, 1, x] * held[k, n, x]
            for a in range(ends):
                for x in range(lanes):
                    rows[l, a, x] += scaled[size, 1, x] * rows[k, a, x]
    for a in range(ends):
        part, at = own[a]
        for b in range(a + 1, ends):
            with_part, to = own[b]
            if part != with_part:
                for x in range(lanes):
                    out[a, b, x] = 0
            elif part:
                for x in range(lanes):
                    out[a, b, x] = second[at, to, x]
            else:
                for x in range(lanes):
                    out[a, b, x] = first[at, to, x]
            if size % 2:
                for x in range(lanes):
                    out[a, b, x] += scaled[0, a, x] * rows[0, b, x]
            elif size == 2:
                for x in range(lanes):
                    out[a, b, x] += scaled[0, a, x] * rows[0, b, x] + scaled[1, a, x] * rows[1, b, x]
            else:
                for k in range(0, size, 4):
                    for x in range(lanes):
                        out[a, b, x] += (
                            scaled[k, a, x] * rows[k, b, x]
                            + scaled[k + 1, a, x] * rows[k + 1, b, x]
                            + scaled[k + 2, a, x] * rows[k + 2, b, x]
                            + scaled[k + 3, a, x] * rows[k + 3, b, x]
                        )


def _tables() -> tuple[Array, Array, Array]:
    """PAIRINGS side by side: of each level (blocks across, beside or not, inner nodes, ends), places of inner nodes, of ends."""
    sizes = np.array(
        [(across, beside, inner[0], len(own)) for across, (beside, inner, own) in zip(ACROSS, PAIRINGS, strict=True)]
    )
    places = np.zeros((len(PAIRINGS), LEAF, 2), np.int64)
    for level, (_, _, own) in enumerate(PAIRINGS):
        places[level, : len(own)] = own
    return sizes.astype(np.int64), np.array([inner for _, inner, _ in PAIRINGS]), places


ACROSS = (8, 4, 4, 2, 2, 1)
"""Blocks in a row before each pairing."""


@compiled
def _leaves(
    cells: Array, wire: float, sizes: Array, inner: Array, own: Array, space: Array, work: Array, leaves: Array
) -> None:
    """Couplings of every block of BASE x BASE cells, siemens."""
    for first in range(0, len(cells), LANES):
        small = space[0, : 64 * 4 * 4 * LANES].reshape((64, 4, 4, LANES))
        small[:] = 0
        for n in range(64):
            for x in range(LANES):
                small[n, 0, 2, x], small[n, 1, 3, x] = wire, wire
                small[n, 2, 3, x] = cells[min(first + x, len(cells) - 1), n]
        for level in range(6):
            across, beside, _, ends = sizes[level]
            count = 32 >> level
            big = space[(level + 1) % 2, : count * ends * ends * LANES].reshape((count, ends, ends, LANES))
            for n in range(count):
                one = 2 * n if beside else 2 * across * (n // across) + n % across
                other = one + (1 if beside else across)
                _pair(small[one], small[other], inner[level], own[level, :ends], work[0], work[1], work[2], big[n])
            small = big
        for a in range(LEAF):
            for b in range(a + 1, LEAF):
                for x in range(min(LANES, len(cells) - first)):
                    leaves[first + x, a, b] = small[0, a, b, x]


@compiled
def _take(part: Array, first: int, size: int, segments: Array, held: Array, rows: Array, out: Array) -> None:
    """What one part has between inner nodes (``held``), between these and ends that go on (``rows``), and between the latter."""
    for k in range(size):
        for l in range(k + 1, size):
            held[k, l] += part[first + k, first + l]
    for q in range(3):
        start, count, to = segments[3 * q : 3 * q + 3]
        if start < first:
            for a in range(count):
                for k in range(size):
                    rows[k, to + a] = part[start + a, first + k]
        else:
            for k in range(size):
                for a in range(count):
                    rows[k, to + a] = part[first + k, start + a]
        for a in range(count):
            for b in range(a + 1, count):
                out[to + a, to + b] = part[start + a, start + b]
        for n in range(q + 1, 3):
            begin, number, on = segments[3 * n : 3 * n + 3]
            for a in range(count):
                for b in range(number):
                    out[to + a, on + b] = part[start + a, begin + b]


@compiled
def _join(
    steps: Array, leaves: Array, space: Array, held_space: Array, rows_space: Array, ints: Array, one: Array
) -> None:
    """Every step of a plan; the last block is the array."""
    for step in steps:
        ends, size = step[6], step[7]
        out = space[step[5] : step[5] + ends * ends].reshape((ends, ends))
        held = held_space[: size * size].reshape((size, size))
        rows = rows_space[: size * ends].reshape((size, ends))
        for a in range(ends):
            for b in range(a + 1, ends):
                out[a, b] = 0
        held[:] = 0
        if step[0] == 0:
            _take(leaves[step[1]], step[8], size, step[10:19], held, rows, out)
        else:
            for n in range(2):
                at, number = step[1 + 2 * n], step[2 + 2 * n]
                part = space[at : at + number * number].reshape((number, number))
                _take(part, step[8 + n], size, step[10 + 9 * n : 19 + 9 * n], held, rows, out)
        if size > 0:
            _grounded(held, rows)
            ints[0], ints[1] = size, ends
            nodes, all_ends, info = ints[0:].ctypes, ints[1:].ctypes, ints[2:].ctypes
            lower, right, turned, plain = LETTERS[0:].ctypes, LETTERS[1:].ctypes, LETTERS[2:].ctypes, LETTERS[3:].ctypes
            _potrf(lower, nodes, held.ctypes, nodes, info)
            _trsm(right, lower, turned, plain, all_ends, nodes, one.ctypes, held.ctypes, nodes, rows.ctypes, all_ends)
            _syrk(lower, plain, all_ends, nodes, one.ctypes, rows.ctypes, all_ends, one.ctypes, out.ctypes, all_ends)
            if ints[2] != 0:  # conductances beyond the range of numbers
                out[:] = np.nan


@compiled
def _grounded(held: Array, rows: Array) -> None:
    """The nodal matrix of the inner nodes in ``held``: less the couplings, and what all of a node's sum to."""
    for k in range(len(held)):
        total = 0.0
        for l in range(k):
            total -= held[l, k]
        for l in range(k + 1, len(held)):
            total += held[k, l]
            held[k, l] = -held[k, l]
        for a in range(rows.shape[1]):
            total += rows[k, a]
        held[k, k] = total


@compiled
def _mirrored(upper: Array, places: Array, out: Array) -> None:
    """Both triangles of what is between some of the ends."""
    for a in range(len(places)):
        for b in range(a + 1, len(places)):
            out[a, b] = out[b, a] = upper[places[a], places[b]]


class _Room:
    """Arrays for tiles of one shape."""

    def __init__(self, rows: int, columns: int) -> None:
        self.plan: Plan = plan(rows, columns)
        self.rows, self.columns = rows, columns
        height, width = self.plan.down * BASE, self.plan.across * BASE
        self.cells = np.zeros((height, width))
        self.blocks = np.zeros((self.plan.down * self.plan.across, BASE * BASE))
        self.leaves = np.zeros((len(self.blocks), LEAF, LEAF))
        self.space, self.held = np.zeros(self.plan.space), np.zeros(self.plan.inner**2)
        self.between = np.zeros(self.plan.between)
        self.tables, self.small = _tables(), np.zeros((2, SPACE * LANES))
        self.work = np.zeros((3, BASE + 1, LEAF, LANES))
        self.ports = np.r_[height - rows : height, height : height + columns]

    def couplings(self, matrix: Float[Array, "rows columns"], wire_resistance: float) -> Float[Array, "ports ports"]:
        """See ``couplings``."""
        down, across = self.plan.down, self.plan.across
        self.cells[-self.rows :, : self.columns] = (
            matrix  # what is filled up is beyond the ends that nothing is joined to
        )
        self.blocks[...] = self.cells.reshape(down, BASE, across, BASE).swapaxes(1, 2).reshape(self.blocks.shape)
        _leaves(self.blocks, 1 / wire_resistance, *self.tables, self.small, self.work, self.leaves)
        ints, one = np.zeros(4, np.int32), np.ones(1)
        _join(self.plan.steps, self.leaves, self.space, self.held, self.between, ints, one)
        at, size = self.plan.steps[-1, 5:7]
        found = np.zeros((self.rows + self.columns,) * 2)
        _mirrored(self.space[at : at + size * size].reshape(size, size), self.ports, found)
        return found


_room = lru_cache(maxsize=8)(_Room)
_one_at_a_time = Lock()


def couplings(matrix: Float[Array, "rows columns"], wire_resistance: float) -> Float[Array, "ports ports"]:
    """Conductances between the ports of one tile, siemens: what networks.crossbars.wires.couplings gives, to rounding."""
    with _one_at_a_time:
        return _room(*matrix.shape).couplings(matrix, wire_resistance)
