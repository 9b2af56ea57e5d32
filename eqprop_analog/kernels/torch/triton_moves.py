"""Triton kernels of a step: pooling, bias, force, clip, winners and unpooling of a layer in one pass; nudge of a read-out.

Maps have their channels last and windows are 2 x 2 or absent; see triton_windows.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton kernels have no Python types)

import torch
import triton
import triton.language as tl
from torch import Tensor

from eqprop_analog.kernels.torch.triton_windows import (
    BLOCK,
    chosen,
    loaded,
    map_like,
    sizes,
    spread_out,
    tied,
    window,
    winner,
)


@triton.jit
def _move_values(raw, tie, back, bias, drive, state, out, spread, gain, part, count,
                 C: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
                 POOL: tl.constexpr, RAW: tl.constexpr, BACK: tl.constexpr, SPREAD: tl.constexpr,
                 INSIDE: tl.constexpr, EXCESS: tl.constexpr, SIZE: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    ok = i < count
    place = i
    at = i
    if RAW:
        if POOL == 2:
            sample, offset = window(i, C, P, Q, H, W)
            at = sample * (H * W * C) + offset
            a, b, c, d = loaded(raw, at, ok, C, W)
            u, place = winner(a, b, c, d, tied(tie, i, ok, C))
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
        spread_out(spread, at, ok, s, place, C, W)


def move_values(
    s: Tensor,
    raw: "Tensor | None",
    tie: "Tensor | None",
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

    With ``excess``, return the result of kernels.torch.differences.excess instead.
    """
    out = torch.empty_like(s)
    pooled = raw is not None and pool == 2 and spreads and not excess
    spread = map_like(raw, s.dtype) if pooled and raw is not None else None
    count = s.numel()
    _move_values[(triton.cdiv(count, BLOCK),)](
        s if raw is None else raw,
        tie,
        s if back is None else back,
        bias,
        s if drive is None else drive,
        s,
        out,
        s if spread is None else spread,
        gain,
        part,
        count,
        **sizes(s, raw, pool),
        POOL=pool,
        RAW=raw is not None,
        BACK=back is not None,
        SPREAD=pooled,
        INSIDE=inside,
        EXCESS=excess,
        SIZE=BLOCK,
    )
    return out, spread


@triton.jit
def _move_differences(base_raw, tie, codes, raw, back, base, excess, change, out, spread, parts, gain, part, count, reference,
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
            sample, offset = window(i, C, P, Q, H, W)
            at = sample * (H * W * C) + offset
            if FROZEN:
                now = tl.load(codes + j, ok, 0).to(tl.int32)
                before = now
                u = tl.load(raw + at + (now // 2) * (W * C) + (now % 2) * C, ok, 0.0).to(tl.float32)
            else:
                old = (j // (P * Q * C)) * (H * W * C) + offset
                near = tied(tie, i, ok, C)
                a, b, c, d = loaded(base_raw, old, ok, C, W)
                da, db, dc, dd = loaded(raw, at, ok, C, W)
                best, before = winner(a, b, c, d, near)
                _, now = winner(a + da, b + db, c + dc, d + dd, near)
                u = (chosen(a, b, c, d, now) - best) + chosen(da, db, dc, dd, now)
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


def move_differences(
    d: Tensor,
    base: Tensor,
    excess: Tensor,
    base_raw: "Tensor | None",
    tie: "Tensor | None",
    codes: "Tensor | None",
    raw: "Tensor | None",
    back: "Tensor | None",
    parts: "Tensor | None",
    gain: float,
    part: float,
    *,
    pool: int,
    inside: bool,
    spreads: bool = True,
) -> "tuple[Tensor, Tensor | None]":
    """Return δ after a step and, if it ``spreads``, its change of the spread; see kernels.torch.differences.

    ``codes`` are frozen winners; ``parts`` holds a separate part for each sample.
    """
    out = torch.empty_like(d)
    pooled = raw is not None and pool == 2 and spreads
    spread = map_like(raw, d.dtype) if pooled and raw is not None else None
    count = d.numel()
    _move_differences[(triton.cdiv(count, BLOCK),)](
        d if base_raw is None else base_raw,
        tie,
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
        **sizes(d, raw, pool),
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


def pull(
    base: Tensor, change: Tensor, weights: Tensor, biases: Tensor, target: Tensor, beta: Tensor, *, cross_entropy: bool
) -> Tensor:
    """Return -β ∂C/∂s_L of an external read-out at base + change; ``weights`` are in the order of stored states."""
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
