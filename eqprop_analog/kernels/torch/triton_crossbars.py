"""Triton kernels of truncated training with one hidden layer, which read and write the first crossbar once per batch.

The first crossbar takes nearly all of the memory. Each batch sweeps the phases, updates the second crossbar,
and then the first. While the cells of the first are in registers, the same pass computes its currents for the next batch.
Sums over hidden nodes are computed block by block, in a fixed order. The kernels support ideal clamps, up to four samples,
and single outputs; the equations are those of networks.resistive.truncated_torch.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton kernels have no Python types)

import triton
import triton.language as tl

SAMPLES = 4
"""Largest number of samples of a batch."""
NODES = 256
"""Number of hidden nodes of a block in the sweeps and in the second crossbar."""
ROWS, COLUMNS = 16, 64
"""Rows and columns of the cells of the first crossbar that are processed at once."""


@triton.jit
def output(partial, bias, columns, current, nudge, gain, r, USED: tl.constexpr, BLOCKS: tl.constexpr, R: tl.constexpr,
           O: tl.constexpr, WIDE: tl.constexpr):  # fmt: skip
    """Return the voltages of the output nodes of row r, from the currents of all blocks."""
    block, k = tl.arange(0, BLOCKS), tl.arange(0, WIDE)
    parts = tl.load(partial + (block[:, None] * R + r) * WIDE + k[None, :], (block < USED)[:, None], 0.0)
    inward = gain * tl.sum(parts, 0) + tl.load(bias + k, k < O, 0.0) + tl.load(current + r * O + k, k < O, 0.0)
    return inward / (tl.load(columns + k, k < O, 1.0) + tl.load(nudge + r))


@triton.jit
def sweep(source, weights, columns, row_sums, polarity, before, bias_out, columns_out, current, nudge, hidden, after, gain,
          rail, nodes: tl.constexpr, B: tl.constexpr, RIN: tl.constexpr, R: tl.constexpr, O: tl.constexpr, WIDE: tl.constexpr,
          USED: tl.constexpr, BLOCKS: tl.constexpr, BLOCK: tl.constexpr, FIRST: tl.constexpr):  # fmt: skip
    """Hidden nodes from the outputs that ``before`` gives (0 V in the FIRST sweep), and their parts of the next outputs."""
    p = tl.program_id(0)
    j, k = p * BLOCK + tl.arange(0, BLOCK), tl.arange(0, WIDE)
    inside = j < nodes
    w = tl.load(weights + j[:, None] * O + k[None, :], inside[:, None] & (k < O)[None, :], 0.0)
    total = tl.load(columns + j, inside, 1.0) + tl.load(row_sums + j, inside, 0.0)
    sign = tl.load(polarity + j, inside, 0.0)
    for r in tl.static_range(R):
        v = tl.load(source + (r % B) * nodes + j, inside, 0.0)
        if not FIRST:
            out = output(before, bias_out, columns_out, current, nudge, gain, r % RIN, USED, BLOCKS, RIN, O, WIDE)
            v += tl.sum(w * out[None, :], 1) / gain
        h = tl.where(inside, sign * tl.maximum(sign * v / total, rail), 0.0)
        tl.store(hidden + r * nodes + j, h, inside)
        tl.store(after + (p * R + r) * WIDE + k, tl.sum(w * h[:, None], 0))


@triton.jit
def second_crossbar(hidden, partial, weights, bias, columns, row_sums, bias_out, columns_out, current, nudge, rates, go, steps,
                    own, column_parts, bound_parts, gain, over, low, high, nodes: tl.constexpr, B: tl.constexpr,
                    TWO: tl.constexpr, O: tl.constexpr, WIDE: tl.constexpr, USED: tl.constexpr, BLOCKS: tl.constexpr,
                    BLOCK: tl.constexpr, R: tl.constexpr, free, free_partial, zeros, nothing):  # fmt: skip
    """The second crossbar's update and the hidden biases', and what the first crossbar's needs: rate times slope, and ``own``.

    ``over`` is 1/(β₊ - β₋); with one nudged phase (not TWO) the other end is the free one.
    """
    if tl.load(go) == 0:
        return
    p = tl.program_id(0)
    j, k = p * BLOCK + tl.arange(0, BLOCK), tl.arange(0, WIDE)
    inside, real = j < nodes, k < O
    cell = inside[:, None] & real[None, :]
    w = tl.load(weights + j[:, None] * O + k[None, :], cell, 0.0)
    driven, rows = tl.load(columns + j, inside, 1.0), tl.load(row_sums + j, inside, 0.0)
    tl.store(bound_parts + p * WIDE + k, tl.sum(w * (driven / (driven + rows))[:, None], 0))
    first, second = tl.load(rates) / B, tl.load(rates + 1) / B
    product, slopes, owns = (
        tl.zeros((BLOCK, WIDE), tl.float32),
        tl.zeros((BLOCK,), tl.float32),
        tl.zeros((BLOCK,), tl.float32),
    )
    rank_one, own_out = tl.zeros((BLOCK,), tl.float32), tl.zeros((WIDE,), tl.float32)
    for b in tl.static_range(B):
        out = output(partial, bias_out, columns_out, current, nudge, gain, b, USED, BLOCKS, R, O, WIDE)
        upper = tl.load(hidden + b * nodes + j, inside, 0.0)
        if TWO:
            other = output(partial, bias_out, columns_out, current, nudge, gain, B + b, USED, BLOCKS, R, O, WIDE)
            lower = tl.load(hidden + (B + b) * nodes + j, inside, 0.0)
        else:
            other = output(free_partial, bias_out, columns_out, zeros, nothing, gain, b, USED, BLOCKS, B, O, WIDE)
            lower = tl.load(free + b * nodes + j, inside, 0.0)
        mean_out, slope_out = (out + other) * 0.5, (out - other) * over
        mean, slope = (upper + lower) * 0.5, (upper - lower) * over
        tl.store(steps + b * nodes + j, first * slope, inside)
        slopes += slope
        owns += mean * slope
        drive, drive_slope = gain * mean, gain * slope
        product += second * (drive[:, None] * slope_out[None, :] + drive_slope[:, None] * mean_out[None, :])
        rank_one += drive * drive_slope
        own_out += mean_out * slope_out
    tl.store(own + j, first * owns, inside)
    tl.store(bias + j, tl.load(bias + j, inside, 0.0) + tl.load(rates + 2) / B * slopes, inside)
    w = tl.minimum(tl.maximum(w + product - (second * rank_one)[:, None] - (second * own_out)[None, :], low), high)
    w = tl.where(cell, w, 0.0)
    tl.store(weights + j[:, None] * O + k[None, :], w, cell)
    tl.store(row_sums + j, tl.sum(w, 1), inside)
    tl.store(column_parts + p * WIDE + k, tl.sum(w, 0))


@triton.jit
def first_crossbar(cells, x, steps, own, following, bias, source, columns, least, go, low, high, count: tl.constexpr,
                   nodes: tl.constexpr, B: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr,
                   UPDATE: tl.constexpr):  # fmt: skip
    """Update of both halves, which x and -x drive; sums of the columns; currents that the ``following`` inputs drive into them.

    Without UPDATE the currents alone; cells are then written as they are.
    """
    if tl.load(go) == 0:
        return
    j = tl.program_id(0) * WIDE + tl.arange(0, WIDE)
    inside = j < nodes
    total = tl.zeros((HIGH, WIDE), tl.float32)
    a0, a1, a2, a3 = total, total, total, total
    o, s0 = tl.zeros((WIDE,), tl.float32), tl.zeros((WIDE,), tl.float32)
    s1, s2, s3 = s0, s0, s0
    if UPDATE:
        o = tl.load(own + j, inside, 0.0)
        s0 = tl.load(steps + j, inside, 0.0)
        if B > 1:
            s1 = tl.load(steps + nodes + j, inside, 0.0)
        if B > 2:
            s2 = tl.load(steps + 2 * nodes + j, inside, 0.0)
        if B > 3:
            s3 = tl.load(steps + 3 * nodes + j, inside, 0.0)
    for begin in range(0, count, HIGH):
        i = begin + tl.arange(0, HIGH)
        real = i < count
        ok = real[:, None] & inside[None, :]
        at = i[:, None] * nodes + j[None, :]
        up = tl.load(cells + at, ok, 0.0)
        down = tl.load(cells + count * nodes + at, ok, 0.0)
        if UPDATE:
            d = tl.load(x + i, real, 0.0)[:, None] * s0[None, :]
            if B > 1:
                d += tl.load(x + count + i, real, 0.0)[:, None] * s1[None, :]
            if B > 2:
                d += tl.load(x + 2 * count + i, real, 0.0)[:, None] * s2[None, :]
            if B > 3:
                d += tl.load(x + 3 * count + i, real, 0.0)[:, None] * s3[None, :]
            up = tl.minimum(tl.maximum(up + d - o[None, :], low), high)
            down = tl.minimum(tl.maximum(down - d - o[None, :], low), high)
            tl.store(cells + at, up, ok)
            tl.store(cells + count * nodes + at, down, ok)
        total += tl.where(ok, up + down, 0.0)
        d = tl.where(ok, up - down, 0.0)
        a0 += tl.load(following + i, real, 0.0)[:, None] * d
        if B > 1:
            a1 += tl.load(following + count + i, real, 0.0)[:, None] * d
        if B > 2:
            a2 += tl.load(following + 2 * count + i, real, 0.0)[:, None] * d
        if B > 3:
            a3 += tl.load(following + 3 * count + i, real, 0.0)[:, None] * d
    sums = tl.sum(total, 0)
    tl.store(columns + j, sums, inside)
    tl.store(least + tl.program_id(0), tl.min(tl.where(inside, sums, float("inf")), 0))
    b = tl.load(bias + j, inside, 0.0)
    tl.store(source + j, tl.sum(a0, 0) + b, inside)
    if B > 1:
        tl.store(source + nodes + j, tl.sum(a1, 0) + b, inside)
    if B > 2:
        tl.store(source + 2 * nodes + j, tl.sum(a2, 0) + b, inside)
    if B > 3:
        tl.store(source + 3 * nodes + j, tl.sum(a3, 0) + b, inside)


@triton.jit
def close(partial, free_partial, bias_out, columns_out, current, nudge, zeros, nothing, labels, rates, column_parts, bound_parts,
          least, go, at, wrong, squares, flags, gain, over, nudged, LEAST: tl.constexpr, MOST: tl.constexpr, B: tl.constexpr,
          TWO: tl.constexpr, O: tl.constexpr, WIDE: tl.constexpr, USED: tl.constexpr, BLOCKS: tl.constexpr,
          R: tl.constexpr):  # fmt: skip
    """The output biases' update and column sums, the count of wrong predictions, and whether the next batch may go on.

    ``flags``: outputs finite, columns driven, nudge (at most ``nudged`` below 0) definite.
    """
    if tl.load(go) == 0:
        return
    k, block = tl.arange(0, WIDE), tl.arange(0, BLOCKS)
    real, finite, count, errors, slopes = k < O, tl.load(go) != 0, 0, 0.0, tl.zeros((WIDE,), tl.float32)
    for b in tl.static_range(B):
        read = output(free_partial, bias_out, columns_out, zeros, nothing, gain, b, USED, BLOCKS, B, O, WIDE)
        best = tl.argmax(tl.where(real, read, float("-inf")), 0)
        label = tl.load(labels + b)
        count += (best != label).to(tl.int32)
        off = tl.where(real, read - (k == label).to(tl.float32), 0.0)
        errors += tl.sum(off * off, 0) / O
        upper = output(partial, bias_out, columns_out, current, nudge, gain, b, USED, BLOCKS, R, O, WIDE)
        lower = read
        if TWO:
            lower = output(partial, bias_out, columns_out, current, nudge, gain, B + b, USED, BLOCKS, R, O, WIDE)
        slopes += (upper - lower) * over
        finite = finite & (tl.max(tl.abs(upper - upper) + tl.abs(lower - lower), 0) == 0)
    parts = block[:, None] * WIDE + k[None, :]
    used = (block < USED)[:, None]
    bound = tl.min(tl.where(real, tl.sum(tl.load(bound_parts + parts, used, 0.0), 0), float("inf")), 0)
    sums = tl.sum(tl.load(column_parts + parts, used, 0.0), 0)
    tl.store(columns_out + k, sums, real)
    tl.store(bias_out + k, tl.load(bias_out + k, real, 0.0) + tl.load(rates + 3) / B * slopes, real)
    program = tl.arange(0, MOST)
    lowest = tl.min(tl.load(least + program, program < LEAST, float("inf")), 0)
    driven = (lowest > 0) & (tl.min(tl.where(real, sums, float("inf")), 0) > 0)
    definite = 0.999 * bound > nudged
    tl.store(flags, finite.to(tl.int32))
    tl.store(flags + 1, driven.to(tl.int32))
    tl.store(flags + 2, definite.to(tl.int32))
    tl.store(go, (finite & driven & definite).to(tl.int32))
    tl.store(at, tl.load(at) + B)
    tl.store(wrong, tl.load(wrong) + count)
    tl.store(squares, tl.load(squares) + errors)
