"""Triton kernels of an update: means and differences of two phases for the contrast, and the step of the parameters."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton kernels have no Python types)

import torch
import triton
import triton.language as tl
from torch import Tensor

from eqprop_analog.kernels.torch.triton_windows import BLOCK, loaded, map_like, sizes, tied, window, winner


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


def pair(base: Tensor, change: Tensor) -> Tensor:
    """Return means and differences of both phases, stacked; see kernels.torch.differences.Pair.around."""
    shape, room = (2 * len(base), *base.shape[1:]), {"dtype": change.dtype, "device": base.device}
    last = torch.channels_last if base.ndim == 4 else torch.contiguous_format
    out, count = torch.empty(shape, **room, memory_format=last), base.numel()
    _pair[(triton.cdiv(count, BLOCK),)](base, change, out, count, TWO=len(change) > len(base), SIZE=BLOCK)
    return out


@triton.jit
def _pair_spread(raw, tie, base, change, out, count, C: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr,
                 W: tl.constexpr, full, TWO: tl.constexpr, SIZE: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    ok = i < count
    sample, offset = window(i, C, P, Q, H, W)
    at = sample * (H * W * C) + offset
    a, b, c, d = loaded(raw, at, ok, C, W)
    _, first = winner(a, b, c, d, tied(tie, i, ok, C))
    s = tl.load(base + i, ok, 0.0).to(tl.float32)
    for place in tl.static_range(4):
        here = at + (place // 2) * W * C + (place % 2) * C
        plus = tl.load(change + here, ok, 0.0).to(tl.float32)
        minus = tl.zeros_like(plus)
        if TWO:
            minus = tl.load(change + full + here, ok, 0.0).to(tl.float32)
        mean = tl.where(first == place, s, 0.0) + 0.5 * (plus + minus)
        tl.store(out + here, (plus - minus).to(out.dtype.element_ty), ok)
        tl.store(out + full + here, mean.to(out.dtype.element_ty), ok)


def pair_spread(raw: Tensor, tie: "Tensor | None", base: Tensor, change: Tensor) -> Tensor:
    """Return differences and means of both phases at the winners, stacked; ``change`` are their spreads."""
    out, count = map_like(raw, change.dtype, batch=2 * len(base)), base.numel()
    two = len(change) > len(base)
    _pair_spread[(triton.cdiv(count, BLOCK),)](
        raw, tie, base, change, out, count, **sizes(base, raw, 2), full=raw.numel(), TWO=two, SIZE=BLOCK
    )
    return out


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


def update(values: Tensor, mean: "Tensor | None", slope: Tensor, rate: Tensor, momentum: float, decay: float) -> None:
    """See learning.update, in place; all tensors have the same layout."""
    count = values.numel()
    grid = (triton.cdiv(count, BLOCK),)
    kept = values if mean is None else mean
    _update[grid](values, kept, slope, rate, momentum, decay, count, MOMENTUM=mean is not None, SIZE=BLOCK)
