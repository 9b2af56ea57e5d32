"""Triton kernels of max pooling: the largest value of each window, its position, and states placed there.

Maps have their channels last and windows are 2 x 2. Values are compared in stored precision. The first value within
``tie`` of the largest wins; ``tie`` is a number for each channel, the bound of networks.hopfield.connections. It is not
used in half precision, which rounds exact ties to equal numbers, because the bound is below its rounding.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (Triton kernels have no Python types)

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024
"""Number of elements of a program."""


@triton.jit
def loaded(values, at, ok, C: tl.constexpr, W: tl.constexpr):
    """Load the four values of the window at ``at``, row by row, in float32."""
    a = tl.load(values + at, ok, 0.0).to(tl.float32)
    b = tl.load(values + at + C, ok, 0.0).to(tl.float32)
    c = tl.load(values + at + W * C, ok, 0.0).to(tl.float32)
    d = tl.load(values + at + W * C + C, ok, 0.0).to(tl.float32)
    return a, b, c, d


@triton.jit
def chosen(a, b, c, d, place):
    """Return the value of a window at ``place``."""
    return tl.where(place == 0, a, tl.where(place == 1, b, tl.where(place == 2, c, d)))


@triton.jit
def tied(tie, i, ok, C: tl.constexpr):
    """Return the tolerance for ties in the window of element i; 0 if none is given."""
    short = 0.0
    if tie is not None:
        short = tl.load(tie + i % C, ok, 0.0)
    return short


@triton.jit
def winner(a, b, c, d, tie):
    """Return (value, place) of the first value within ``tie`` of the largest of a window."""
    least = tl.maximum(tl.maximum(a, b), tl.maximum(c, d)) - tie
    place = tl.where(a >= least, 0, tl.where(b >= least, 1, tl.where(c >= least, 2, 3)))
    return chosen(a, b, c, d, place), place


@triton.jit
def spread_out(spread, at, ok, s, place, C: tl.constexpr, W: tl.constexpr):
    """Store s at ``place`` of the window at ``at``, and 0 at the other places."""
    zero = tl.zeros_like(s)
    for other in tl.static_range(4):
        tl.store(spread + at + (other // 2) * W * C + (other % 2) * C, tl.where(place == other, s, zero), ok)


@triton.jit
def window(i, C: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr, W: tl.constexpr):
    """Return (sample, offset of the window's first value within a sample) of element i of a pooled map."""
    channel, pixel = i % C, i // C
    column, pixel = pixel % Q, pixel // Q
    row, sample = pixel % P, pixel // P
    return sample, ((2 * row) * W + 2 * column) * C + channel


def last(values: Tensor) -> Tensor:
    """Return a tensor in the kernels' layout: channels last."""
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values.contiguous()


def sizes(state: Tensor, raw: "Tensor | None", pool: int) -> dict[str, int]:
    """Return channels, rows and columns of ``state``, and rows and columns of the map ``raw`` from which it is pooled."""
    channels = state.shape[1]
    rows, columns = state.shape[2:] if state.ndim == 4 else (1, 1)
    high, wide = raw.shape[2:] if raw is not None and pool == 2 else (rows, columns)
    return {"C": channels, "P": rows, "Q": columns, "H": high, "W": wide}


def map_like(raw: Tensor, dtype: torch.dtype, *, batch: int | None = None) -> Tensor:
    """Allocate a spread map; rows that no window covers are 0."""
    shape = (raw.shape[0] if batch is None else batch, *raw.shape[1:])
    room = torch.empty(shape, dtype=dtype, device=raw.device, memory_format=torch.channels_last)
    return room.zero_() if raw.shape[2] % 2 or raw.shape[3] % 2 else room


@triton.jit
def _pool(raw, tie, bias, out, count, C: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
          SIZE: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    ok = i < count
    sample, offset = window(i, C, P, Q, H, W)
    at = sample * (H * W * C) + offset
    a, b, c, d = loaded(raw, at, ok, C, W)
    best, _ = winner(a, b, c, d, tied(tie, i, ok, C))
    tl.store(out + i, (best + tl.load(bias + i % C, ok, 0.0)).to(out.dtype.element_ty), ok)


def pooled(raw: Tensor, tie: "Tensor | None", bias: Tensor) -> Tensor:
    """Return the winner's value of each 2 x 2 window plus the bias."""
    shape = (len(raw), raw.shape[1], raw.shape[2] // 2, raw.shape[3] // 2)
    out = torch.empty(shape, dtype=raw.dtype, device=raw.device, memory_format=torch.channels_last)
    _pool[(triton.cdiv(out.numel(), BLOCK),)](raw, tie, bias, out, out.numel(), **sizes(out, raw, 2), SIZE=BLOCK)
    return out


@triton.jit
def _winners(raw, tie, codes, count, C: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
             SIZE: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    ok = i < count
    sample, offset = window(i, C, P, Q, H, W)
    at = sample * (H * W * C) + offset
    a, b, c, d = loaded(raw, at, ok, C, W)
    _, place = winner(a, b, c, d, tied(tie, i, ok, C))
    tl.store(codes + i, place.to(tl.uint8), ok)


def winners(raw: Tensor, tie: "Tensor | None", s: Tensor) -> Tensor:
    """Return which of the four places of each window wins, in the layout of ``s``."""
    codes = torch.empty_like(s, dtype=torch.uint8)
    _winners[(triton.cdiv(s.numel(), BLOCK),)](raw, tie, codes, s.numel(), **sizes(s, raw, 2), SIZE=BLOCK)
    return codes


@triton.jit
def _spread(raw, tie, state, spread, count, reference, C: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr,
            W: tl.constexpr, SIZE: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    ok = i < count
    sample, offset = window(i, C, P, Q, H, W)
    at = sample * (H * W * C) + offset
    own = (sample % reference) * (H * W * C) + offset
    a, b, c, d = loaded(raw, own, ok, C, W)
    _, place = winner(a, b, c, d, tied(tie, i, ok, C))
    spread_out(spread, at, ok, tl.load(state + i, ok, 0.0), place, C, W)


def spread(raw: Tensor, tie: "Tensor | None", s: Tensor) -> Tensor:
    """Place ``s`` at the winners of 2 x 2 windows of ``raw``, with 0 elsewhere; ``s`` may hold several stacked phases."""
    out, s = map_like(raw, s.dtype, batch=len(s)), last(s)
    _spread[(triton.cdiv(s.numel(), BLOCK),)](raw, tie, s, out, s.numel(), len(raw), **sizes(s, raw, 2), SIZE=BLOCK)
    return out
