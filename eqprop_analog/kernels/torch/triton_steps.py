"""Triton kernels that do in one pass what a step does element by element: pooling, bias, force, clip, winners, unpooling.

Maps have their channels last and windows are 2 x 2 or absent. They compare values as they are stored, the first of equal ones
wins: half precision rounds exact ties to equal numbers, and the bound of networks.hopfield.connections is below its rounding.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (kernels are not Python)

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


@triton.jit
def _winner(a, b, c, d):
    """(largest, its place), the first of equal ones."""
    best, place = a, tl.zeros_like(a).to(tl.int32)
    place = tl.where(b > best, 1, place)
    best = tl.maximum(best, b)
    place = tl.where(c > best, 2, place)
    best = tl.maximum(best, c)
    place = tl.where(d > best, 3, place)
    return tl.maximum(best, d), place


@triton.jit
def _window(i, C: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr, W: tl.constexpr):
    """(sample, offset of its window's first value within a sample) of element i of a pooled map."""
    channel, pixel = i % C, i // C
    column, pixel = pixel % Q, pixel // Q
    row, sample = pixel % P, pixel // P
    return sample, ((2 * row) * W + 2 * column) * C + channel


@triton.jit
def _move_values(raw, back, bias, drive, state, out, spread, gain, part, count,
                 C: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
                 POOL: tl.constexpr, RAW: tl.constexpr, BACK: tl.constexpr, SPREAD: tl.constexpr,
                 INSIDE: tl.constexpr, EXCESS: tl.constexpr, SIZE: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    ok = i < count
    place = i
    at = i
    if RAW:
        if POOL == 2:
            sample, offset = _window(i, C, P, Q, H, W)
            at = sample * (H * W * C) + offset
            a = tl.load(raw + at, ok, 0.0).to(tl.float32)
            b = tl.load(raw + at + C, ok, 0.0).to(tl.float32)
            c = tl.load(raw + at + W * C, ok, 0.0).to(tl.float32)
            d = tl.load(raw + at + W * C + C, ok, 0.0).to(tl.float32)
            u, place = _winner(a, b, c, d)
        else:
            u = tl.load(raw + i, ok, 0.0).to(tl.float32)
        u += tl.load(bias + i % C, ok, 0.0)
    else:
        u = tl.load(drive + i, ok, 0.0).to(tl.float32)
    if BACK:
        u += tl.load(back + i, ok, 0.0).to(tl.float32)
    s = tl.load(state + i, ok, 0.0).to(tl.float32)
    x = gain * u
    if EXCESS:
        beyond = tl.where(s <= 0.0, tl.minimum(x, 0.0), tl.where(s >= 1.0, tl.maximum(x - 1.0, 0.0), 0.0))
        tl.store(out + i, beyond.to(out.dtype.element_ty), ok)
        return
    if INSIDE:
        x = tl.minimum(tl.maximum(x, 0.0), 1.0)
    s = tl.minimum(tl.maximum(s + part * (x - s), 0.0), 1.0).to(out.dtype.element_ty)
    tl.store(out + i, s, ok)
    if SPREAD:
        zero = tl.zeros_like(s)
        tl.store(spread + at, tl.where(place == 0, s, zero), ok)
        tl.store(spread + at + C, tl.where(place == 1, s, zero), ok)
        tl.store(spread + at + W * C, tl.where(place == 2, s, zero), ok)
        tl.store(spread + at + W * C + C, tl.where(place == 3, s, zero), ok)


@triton.jit
def _move_differences(base_raw, codes, raw, back, base, excess, change, out, spread, parts, gain, part, count, reference,
                      C: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
                      POOL: tl.constexpr, RAW: tl.constexpr, BACK: tl.constexpr, SPREAD: tl.constexpr,
                      PARTS: tl.constexpr, INSIDE: tl.constexpr, FROZEN: tl.constexpr,
                      SIZE: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    ok = i < count
    j = i % reference
    u = tl.zeros((SIZE,), tl.float32)
    now = i
    before = i
    at = i
    if RAW:
        if POOL == 2:
            sample, offset = _window(i, C, P, Q, H, W)
            at = sample * (H * W * C) + offset
            if FROZEN:
                now = tl.load(codes + j, ok, 0).to(tl.int32)
                before = now
                u = tl.load(raw + at + (now // 2) * (W * C) + (now % 2) * C, ok, 0.0).to(tl.float32)
            else:
                old = (j // (P * Q * C)) * (H * W * C) + offset
                a = tl.load(base_raw + old, ok, 0.0).to(tl.float32)
                b = tl.load(base_raw + old + C, ok, 0.0).to(tl.float32)
                c = tl.load(base_raw + old + W * C, ok, 0.0).to(tl.float32)
                d = tl.load(base_raw + old + W * C + C, ok, 0.0).to(tl.float32)
                da = tl.load(raw + at, ok, 0.0).to(tl.float32)
                db = tl.load(raw + at + C, ok, 0.0).to(tl.float32)
                dc = tl.load(raw + at + W * C, ok, 0.0).to(tl.float32)
                dd = tl.load(raw + at + W * C + C, ok, 0.0).to(tl.float32)
                best, before = _winner(a, b, c, d)
                _, now = _winner(a + da, b + db, c + dc, d + dd)
                own = tl.where(now == 0, a, tl.where(now == 1, b, tl.where(now == 2, c, d)))
                step = tl.where(now == 0, da, tl.where(now == 1, db, tl.where(now == 2, dc, dd)))
                u = (own - best) + step
        else:
            u = tl.load(raw + i, ok, 0.0).to(tl.float32)
    if BACK:
        u += tl.load(back + i, ok, 0.0).to(tl.float32)
    s = tl.load(base + j, ok, 0.0).to(tl.float32)
    old_change = tl.load(change + i, ok, 0.0).to(tl.float32)
    x = tl.load(excess + j, ok, 0.0).to(tl.float32) + gain * u
    if INSIDE:
        x = tl.minimum(tl.maximum(x, -s), 1.0 - s)
    step_part = part
    if PARTS:
        step_part = tl.load(parts + i // (P * Q * C), ok, 0.0)
    moved = old_change + step_part * (x - old_change)
    moved = tl.minimum(tl.maximum(moved, -s), 1.0 - s)
    stored = moved.to(out.dtype.element_ty)
    tl.store(out + i, stored, ok)
    if SPREAD:
        changed = stored.to(tl.float32)
        for place in tl.static_range(4):
            if FROZEN:
                value = tl.where(now == place, changed, 0.0)
            else:
                arrives = tl.where(now == before, changed, s + changed)
                value = tl.where(now == place, arrives, 0.0) - tl.where((before == place) & (now != before), s, 0.0)
            offset_in_window = (place // 2) * W * C + (place % 2) * C
            tl.store(spread + at + offset_in_window, value.to(out.dtype.element_ty), ok)


@triton.jit
def _winners(raw, codes, count, C: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
             SIZE: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    ok = i < count
    sample, offset = _window(i, C, P, Q, H, W)
    at = sample * (H * W * C) + offset
    a = tl.load(raw + at, ok, 0.0).to(tl.float32)
    b = tl.load(raw + at + C, ok, 0.0).to(tl.float32)
    c = tl.load(raw + at + W * C, ok, 0.0).to(tl.float32)
    d = tl.load(raw + at + W * C + C, ok, 0.0).to(tl.float32)
    _, place = _winner(a, b, c, d)
    tl.store(codes + i, place.to(tl.uint8), ok)


@triton.jit
def _pool(raw, bias, out, count, C: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
          SIZE: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    ok = i < count
    sample, offset = _window(i, C, P, Q, H, W)
    at = sample * (H * W * C) + offset
    a = tl.load(raw + at, ok, 0.0).to(tl.float32)
    b = tl.load(raw + at + C, ok, 0.0).to(tl.float32)
    c = tl.load(raw + at + W * C, ok, 0.0).to(tl.float32)
    d = tl.load(raw + at + W * C + C, ok, 0.0).to(tl.float32)
    best, _ = _winner(a, b, c, d)
    tl.store(out + i, (best + tl.load(bias + i % C, ok, 0.0)).to(out.dtype.element_ty), ok)


@triton.jit
def _spread(raw, state, spread, count, reference, C: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr,
            W: tl.constexpr, SIZE: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    ok = i < count
    sample, offset = _window(i, C, P, Q, H, W)
    at = sample * (H * W * C) + offset
    own = (sample % reference) * (H * W * C) + offset
    a = tl.load(raw + own, ok, 0.0).to(tl.float32)
    b = tl.load(raw + own + C, ok, 0.0).to(tl.float32)
    c = tl.load(raw + own + W * C, ok, 0.0).to(tl.float32)
    d = tl.load(raw + own + W * C + C, ok, 0.0).to(tl.float32)
    _, place = _winner(a, b, c, d)
    s = tl.load(state + i, ok, 0.0)
    zero = tl.zeros_like(s)
    tl.store(spread + at, tl.where(place == 0, s, zero), ok)
    tl.store(spread + at + C, tl.where(place == 1, s, zero), ok)
    tl.store(spread + at + W * C, tl.where(place == 2, s, zero), ok)
    tl.store(spread + at + W * C + C, tl.where(place == 3, s, zero), ok)


@triton.jit
def _pull(base, change, weights, biases, target, beta, out, samples, nodes: tl.constexpr, classes,
          CROSS: tl.constexpr, SIZE: tl.constexpr, WIDE: tl.constexpr):  # fmt: skip
    b = tl.program_id(0)
    k = tl.arange(0, WIDE)
    real = k < classes
    r = tl.load(biases + k, real, 0.0)
    for begin in range(0, nodes, SIZE):
        n = begin + tl.arange(0, SIZE)
        inside = n < nodes
        s = tl.load(base + (b % samples) * nodes + n, inside, 0.0).to(tl.float32)
        s += tl.load(change + b * nodes + n, inside, 0.0).to(tl.float32)
        w = tl.load(weights + n[:, None] * classes + k[None, :], inside[:, None] & real[None, :], 0.0)
        r += tl.sum(s[:, None] * w, 0)
    y = tl.load(target + b * classes + k, real, 0.0)
    if CROSS:
        r = tl.where(real, r, float("-inf"))
        e = tl.exp(r - tl.max(r, 0))
        slope = e / tl.sum(e, 0) * tl.sum(y, 0) - y
    else:
        slope = r - y
    slope = tl.where(real, slope, 0.0) * -tl.load(beta + b)
    for begin in range(0, nodes, SIZE):
        n = begin + tl.arange(0, SIZE)
        inside = n < nodes
        w = tl.load(weights + n[:, None] * classes + k[None, :], inside[:, None] & real[None, :], 0.0)
        force = tl.sum(w * slope[None, :], 1)
        tl.store(out + b * nodes + n, force.to(out.dtype.element_ty), inside)


@triton.jit
def _pair(base, change, out, count, TWO: tl.constexpr, SIZE: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    ok = i < count
    s = tl.load(base + i, ok, 0.0).to(tl.float32)
    plus = tl.load(change + i, ok, 0.0).to(tl.float32)
    minus = tl.zeros_like(plus)
    if TWO:
        minus = tl.load(change + count + i, ok, 0.0).to(tl.float32)
    tl.store(out + i, (s + 0.5 * (plus + minus)).to(out.dtype.element_ty), ok)
    tl.store(out + count + i, (plus - minus).to(out.dtype.element_ty), ok)


@triton.jit
def _pair_spread(raw, base, change, out, count, C: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr,
                 W: tl.constexpr, full, TWO: tl.constexpr, SIZE: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    ok = i < count
    sample, offset = _window(i, C, P, Q, H, W)
    at = sample * (H * W * C) + offset
    a = tl.load(raw + at, ok, 0.0).to(tl.float32)
    b = tl.load(raw + at + C, ok, 0.0).to(tl.float32)
    c = tl.load(raw + at + W * C, ok, 0.0).to(tl.float32)
    d = tl.load(raw + at + W * C + C, ok, 0.0).to(tl.float32)
    _, winner = _winner(a, b, c, d)
    s = tl.load(base + i, ok, 0.0).to(tl.float32)
    for place in tl.static_range(4):
        here = at + (place // 2) * W * C + (place % 2) * C
        plus = tl.load(change + here, ok, 0.0).to(tl.float32)
        minus = tl.zeros_like(plus)
        if TWO:
            minus = tl.load(change + full + here, ok, 0.0).to(tl.float32)
        mean = tl.where(winner == place, s, 0.0) + 0.5 * (plus + minus)
        tl.store(out + here, (plus - minus).to(out.dtype.element_ty), ok)
        tl.store(out + full + here, mean.to(out.dtype.element_ty), ok)


@triton.jit
def _update(values, mean, slope, rate, momentum, decay, count, MOMENTUM: tl.constexpr, SIZE: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    ok = i < count
    value = tl.load(values + i, ok, 0.0)
    step = tl.load(slope + i, ok, 0.0) + decay * value
    if MOMENTUM:
        step += momentum * tl.load(mean + i, ok, 0.0)
        tl.store(mean + i, step, ok)
    tl.store(values + i, value - tl.load(rate) * step, ok)


def _sizes(state: Tensor, raw: "Tensor | None", pool: int) -> dict[str, int]:
    channels = state.shape[1]
    rows, columns = state.shape[2:] if state.ndim == 4 else (1, 1)
    high, wide = raw.shape[2:] if raw is not None and pool == 2 else (rows, columns)
    return {"C": channels, "P": rows, "Q": columns, "H": high, "W": wide}


def _map_like(raw: Tensor, dtype: torch.dtype, *, batch: int | None = None) -> Tensor:
    """Room for a spread map; where windows leave rows out, these are 0."""
    shape = (raw.shape[0] if batch is None else batch, *raw.shape[1:])
    room = torch.empty(shape, dtype=dtype, device=raw.device, memory_format=torch.channels_last)
    return room.zero_() if raw.shape[2] % 2 or raw.shape[3] % 2 else room


def move_values(
    s: Tensor,
    raw: "Tensor | None",
    back: "Tensor | None",
    bias: Tensor,
    drive: "Tensor | None",
    gain: float,
    part: float,
    *,
    pool: int,
    inside: bool = False,
    spreads: bool = True,
    excess: bool = False,
) -> "tuple[Tensor, Tensor | None]":
    """(s + part·(x - s) clipped to [0, 1], the same spread), x = gain·u; ``inside`` clips x too.

    ``excess`` gives what torch_differences.excess does instead.
    """
    out = torch.empty_like(s)
    pooled = raw is not None and pool == 2 and spreads and not excess
    spread = _map_like(raw, s.dtype) if pooled and raw is not None else None
    count = s.numel()
    _move_values[(triton.cdiv(count, BLOCK),)](
        s if raw is None else raw,
        s if back is None else back,
        bias,
        s if drive is None else drive,
        s,
        out,
        s if spread is None else spread,
        gain,
        part,
        count,
        **_sizes(s, raw, pool),
        POOL=pool,
        RAW=raw is not None,
        BACK=back is not None,
        SPREAD=pooled,
        INSIDE=inside,
        EXCESS=excess,
        SIZE=BLOCK,
    )
    return out, spread


def move_differences(
    d: Tensor,
    base: Tensor,
    excess: Tensor,
    base_raw: "Tensor | None",
    codes: "Tensor | None",
    raw: "Tensor | None",
    back: "Tensor | None",
    parts: "Tensor | None",
    gain: float,
    part: float,
    *,
    pool: int,
    inside: bool,
) -> "tuple[Tensor, Tensor | None]":
    """δ after a step and its change of the spread; see kernels.torch.differences.

    ``codes`` are frozen winners; ``parts`` gives a part for each sample instead.
    """
    out = torch.empty_like(d)
    pooled = raw is not None and pool == 2
    spread = _map_like(raw, d.dtype) if pooled and raw is not None else None
    count = d.numel()
    _move_differences[(triton.cdiv(count, BLOCK),)](
        d if base_raw is None else base_raw,
        d if codes is None else codes,
        d if raw is None else raw,
        d if back is None else back,
        base,
        excess,
        d,
        out,
        d if spread is None else spread,
        d if parts is None else parts,
        gain,
        part,
        count,
        base.numel(),
        **_sizes(d, raw, pool),
        POOL=pool,
        RAW=raw is not None,
        BACK=back is not None,
        SPREAD=pooled,
        PARTS=parts is not None,
        INSIDE=inside,
        FROZEN=codes is not None,
        SIZE=BLOCK,
    )
    return out, spread


def pooled(raw: Tensor, bias: Tensor) -> Tensor:
    """The largest of each 2 x 2 window, and the bias."""
    shape = (len(raw), raw.shape[1], raw.shape[2] // 2, raw.shape[3] // 2)
    out = torch.empty(shape, dtype=raw.dtype, device=raw.device, memory_format=torch.channels_last)
    _pool[(triton.cdiv(out.numel(), BLOCK),)](raw, bias, out, out.numel(), **_sizes(out, raw, 2), SIZE=BLOCK)
    return out


def winners(raw: Tensor, s: Tensor) -> Tensor:
    """Which of the four places of each window wins, in the layout of ``s``."""
    codes = torch.empty_like(s, dtype=torch.uint8)
    _winners[(triton.cdiv(s.numel(), BLOCK),)](raw, codes, s.numel(), **_sizes(s, raw, 2), SIZE=BLOCK)
    return codes


def spread(raw: Tensor, s: Tensor) -> Tensor:
    """``s`` at the winners of 2 x 2 windows of ``raw``, 0 elsewhere; ``s`` may hold several phases, one below the other."""
    out = _map_like(raw, s.dtype, batch=len(s))
    _spread[(triton.cdiv(s.numel(), BLOCK),)](raw, s, out, s.numel(), len(raw), **_sizes(s, raw, 2), SIZE=BLOCK)
    return out


def pull(
    base: Tensor, change: Tensor, weights: Tensor, biases: Tensor, target: Tensor, beta: Tensor, *, cross_entropy: bool
) -> Tensor:
    """-β ∂C/∂s_L of a read-out outside the system at base + change; ``weights`` in the order in which states are stored."""
    out = torch.empty_like(change)
    nodes, classes = weights.shape
    _pull[(len(change),)](
        base,
        change,
        weights,
        biases,
        target,
        beta,
        out,
        len(base),
        nodes,
        classes,
        CROSS=cross_entropy,
        SIZE=256,
        WIDE=triton.next_power_of_2(classes),
    )
    return out


def pair(base: Tensor, change: Tensor) -> Tensor:
    """Means of both phases and, below them, their differences; see torch_differences.Pair.around."""
    shape, room = (2 * len(base), *base.shape[1:]), {"dtype": change.dtype, "device": base.device}
    last = torch.channels_last if base.ndim == 4 else torch.contiguous_format
    out, count = torch.empty(shape, **room, memory_format=last), base.numel()
    _pair[(triton.cdiv(count, BLOCK),)](base, change, out, count, TWO=len(change) > len(base), SIZE=BLOCK)
    return out


def pair_spread(raw: Tensor, base: Tensor, change: Tensor) -> Tensor:
    """Differences of both phases at the winners and, below them, their means; ``change`` are their spreads."""
    out, count = _map_like(raw, change.dtype, batch=2 * len(base)), base.numel()
    two = len(change) > len(base)
    sizes = _sizes(base, raw, 2)
    _pair_spread[(triton.cdiv(count, BLOCK),)](
        raw, base, change, out, count, **sizes, full=raw.numel(), TWO=two, SIZE=BLOCK
    )
    return out


def update(values: Tensor, mean: "Tensor | None", slope: Tensor, rate: Tensor, momentum: float, decay: float) -> None:
    """See learning.update, in place; all of one layout."""
    count = values.numel()
    grid = (triton.cdiv(count, BLOCK),)
    kept = values if mean is None else mean
    _update[grid](values, kept, slope, rate, momentum, decay, count, MOMENTUM=mean is not None, SIZE=BLOCK)
