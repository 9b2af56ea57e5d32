"""Triton kernel of a synchronous step of a dense Hopfield network: all layers, forces, nudge and activation, in one launch.

The states of all layers are concatenated in one matrix with one row per sample; each layer is padded with zeros to a
multiple of ALIGNED columns. A step reads one such matrix and writes another. A program computes a tile of one layer for
a few samples. Its products are computed in SPLITS parts, one per warp, and added in a fixed order.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton kernels have no Python types)

import triton
import triton.language as tl

ALIGNED = 16
"""A layer is padded to a multiple of this number of columns."""
ROWS, COLUMNS = 16, 16
"""Samples and nodes of a tile; COLUMNS divides ALIGNED."""
SPLITS, DEPTH = 4, 32
"""Number of parts of a product that are computed at once, and of terms of each."""
FIELDS = 10
"""Number of integers that describe a tile; see ``step``."""
EXACT = "tf32x3"
"""Products of float32: by tensor cores from three parts, to at least 21 bits; "ieee" uses the other cores."""


@triton.jit
def output(u, gain, SMOOTH: tl.constexpr):
    """ρ(u), see devices.buffer."""
    if SMOOTH:
        return 1.0 / (1.0 + tl.exp(-4.0 * gain * (u - 0.5)))
    return tl.minimum(tl.maximum(gain * u, 0.0), 1.0)


@triton.jit
def rise(s, gain, SMOOTH: tl.constexpr):
    """ρ′ where the output is s, see devices.buffer."""
    if SMOOTH:
        return 4.0 * gain * s * (1.0 - s)
    return tl.zeros_like(s) + gain


@triton.jit
def _product(states, weights, row, width, first, count, j, stride, AHEAD: tl.constexpr, PRECISION: tl.constexpr,
             SPLITS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr):  # fmt: skip
    """Σ_k s[row, first + k] W[k, j] over ``count`` nodes; not AHEAD: of W[j, k]."""
    total = tl.zeros((SPLITS, ROWS, COLUMNS), tl.float32)
    part, term = tl.arange(0, SPLITS), tl.arange(0, DEPTH)
    for begin in range(0, count, SPLITS * DEPTH):
        k = begin + part[:, None] * DEPTH + term[None, :]
        there = k < count
        s = tl.load(states + row[None, :, None] * width + first + k[:, None, :], there[:, None, :], 0.0)
        at = k[:, :, None] * stride + j[None, None, :] if AHEAD else j[None, None, :] * stride + k[:, :, None]
        w = tl.load(weights + at, there[:, :, None], 0.0)
        total = tl.dot(s, w, total, input_precision=PRECISION)
    return tl.sum(total, 0)


@triton.jit
def step(states, after, voltages, constant, weights, tiles, beta, target, width, part, gain, low, high,
         DYNAMICS: tl.constexpr, VOLTAGES: tl.constexpr, SMOOTH: tl.constexpr, NUDGED: tl.constexpr, BEHIND: tl.constexpr,
         PRECISION: tl.constexpr, SPLITS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
         FIELDS: tl.constexpr):  # fmt: skip
    """``after`` from ``states``, and the next ``voltages`` in place where these move; see the solvers of these names.

    A row of ``tiles``: first column of the tile; first column of its layer; of the layer before: first column, columns (0: none),
    where its weights begin, columns of these; of the layer behind: first column, columns (0: none), where its weights back begin.
    The last number is 1 in the last layer, whose states ``beta`` and ``target`` nudge, β(y - s). ``low`` and ``high`` bound what
    moves.
    """
    tile = tiles + tl.program_id(0) * FIELDS
    own = tl.multiple_of(tl.load(tile), COLUMNS)
    layer = tl.multiple_of(tl.load(tile + 1), COLUMNS)
    before, count_before = tl.multiple_of(tl.load(tile + 2), COLUMNS), tl.multiple_of(tl.load(tile + 3), COLUMNS)
    ahead, stride = tl.multiple_of(tl.load(tile + 4), COLUMNS), tl.multiple_of(tl.load(tile + 5), COLUMNS)
    behind, count_behind = tl.multiple_of(tl.load(tile + 6), COLUMNS), tl.multiple_of(tl.load(tile + 7), COLUMNS)
    back, last = tl.multiple_of(tl.load(tile + 8), COLUMNS), tl.load(tile + 9)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    j = own - layer + tl.arange(0, COLUMNS)
    here = row[:, None] * width + own + tl.arange(0, COLUMNS)[None, :]
    s = tl.load(states + here)
    v = s
    if VOLTAGES:
        v = tl.load(voltages + here)
    u = tl.load(constant + here)
    u += _product(states, weights + ahead, row, width, before, count_before, j, stride, True, PRECISION,
                  SPLITS, ROWS, COLUMNS, DEPTH)  # fmt: skip
    u += _product(states, weights + back, row, width, behind, count_behind, j, count_behind, False, PRECISION,
                  SPLITS, ROWS, COLUMNS, DEPTH)  # fmt: skip
    speed = tl.zeros_like(u) + part
    followed = s
    if DYNAMICS == "gradient-flow":
        speed *= rise(s, gain, SMOOTH)
    if DYNAMICS == "energy-based":
        u = tl.where(last > 0, u, u * rise(s, gain, SMOOTH))
        followed = v
    pull = tl.zeros_like(u)
    if NUDGED:
        strength = tl.where(last > 0, tl.load(beta + row), 0.0)
        pull = strength[:, None] * (tl.load(target + here) - followed)
    if not BEHIND:
        u += pull
    if DYNAMICS == "discrete-time":
        s = (1.0 - speed) * s + speed * output(u, gain, SMOOTH)
        if BEHIND:
            s += speed * pull
    else:
        s = tl.minimum(tl.maximum(v + speed * (u - v), low), high)
        if VOLTAGES:
            tl.store(voltages + here, s)
            s = output(s, gain, SMOOTH)
    tl.store(after + here, s)
