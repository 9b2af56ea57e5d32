"""Triton kernels of max pooling: the largest value of each window, where it stands, and states put there.

Maps have their channels last and windows are 2 x 2. Values are compared as they are stored, and the first of equal ones wins:
half precision rounds exact ties to equal numbers, and the bound of networks.hopfield.connections is below its rounding.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# (kernels are not Python)

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024
"""Elements of a program."""


@triton.jit
def winner(a, b, c, d):
    """(largest, its place), the first of equal ones."""
    best, place = a, tl.zeros_like(a).to(tl.int32)
    place = tl.where(b > best, 1, place)
    best = tl.maximum(best, b)
    place = tl.where(c > best, 2, place)
    best = tl.maximum(best, c)
    place = tl.where(d > best, 3, place)
    return tl.maximum(best, d), place


@triton.jit
def window(i, C: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr, W: tl.constexpr):
    """(sample, offset of its window's first value within a sample) of element i of a pooled map."""
    channel, pixel = i % C, i // C
    column, pixel = pixel % Q, pixel // Q
    row, sample = pixel % P, pixel // P
    return sample, ((2 * row) * W + 2 * column) * C + channel


def sizes(state: Tensor, raw: "Tensor | None", pool: int) -> dict[str, int]:
    """Channels, rows and columns of ``state``, and rows and columns of the map ``raw`` that it is pooled from."""
    channels = state.shape[1]
    rows, columns = state.shape[2:] if state.ndim == 4 else (1, 1)
    high, wide = raw.shape[2:] if raw is not None and pool == 2 else (rows, columns)
    return {"C": channels, "P": rows, "Q": columns, "H": high, "W": wide}


def map_like(raw: Tensor, dtype: torch.dtype, *, batch: int | None = None) -> Tensor:
    """Room for a spread map; where windows leave rows out, these are 0."""
    shape = (raw.shape[0] if batch is None else batch, *raw.shape[1:])
    room = torch.empty(shape, dtype=dtype, device=raw.device, memory_format=torch.channels_last)
    return room.zero_() if raw.shape[2] % 2 or raw.shape[3] % 2 else room


@triton.jit
def _pool(raw, bias, out, count, C: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
          SIZE: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    ok = i < count
    sample, offset = window(i, C, P, Q, H, W)
    at = sample * (H * W * C) + offset
    a = tl.load(raw + at, ok, 0.0).to(tl.float32)
    b = tl.load(raw + at + C, ok, 0.0).to(tl.float32)
    c = tl.load(raw + at + W * C, ok, 0.0).to(tl.float32)
    d = tl.load(raw + at + W * C + C, ok, 0.0).to(tl.float32)
    best, _ = winner(a, b, c, d)
    tl.store(out + i, (best + tl.load(bias + i % C, ok, 0.0)).to(out.dtype.element_ty), ok)


def pooled(raw: Tensor, bias: Tensor) -> Tensor:
    """The largest of each 2 x 2 window, and the bias."""
    shape = (len(raw), raw.shape[1], raw.shape[2] // 2, raw.shape[3] // 2)
    out = torch.empty(shape, dtype=raw.dtype, device=raw.device, memory_format=torch.channels_last)
    _pool[(triton.cdiv(out.numel(), BLOCK),)](raw, bias, out, out.numel(), **sizes(out, raw, 2), SIZE=BLOCK)
    return out


@triton.jit
def _winners(raw, codes, count, C: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
             SIZE: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    ok = i < count
    sample, offset = window(i, C, P, Q, H, W)
    at = sample * (H * W * C) + offset
    a = tl.load(raw + at, ok, 0.0).to(tl.float32)
    b = tl.load(raw + at + C, ok, 0.0).to(tl.float32)
    c = tl.load(raw + at + W * C, ok, 0.0).to(tl.float32)
    d = tl.load(raw + at + W * C + C, ok, 0.0).to(tl.float32)
    _, place = winner(a, b, c, d)
    tl.store(codes + i, place.to(tl.uint8), ok)


def winners(raw: Tensor, s: Tensor) -> Tensor:
    """Which of the four places of each window wins, in the layout of ``s``."""
    codes = torch.empty_like(s, dtype=torch.uint8)
    _winners[(triton.cdiv(s.numel(), BLOCK),)](raw, codes, s.numel(), **sizes(s, raw, 2), SIZE=BLOCK)
    return codes


@triton.jit
def _spread(raw, state, spread, count, reference, C: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr,
            W: tl.constexpr, SIZE: tl.constexpr):  # fmt: skip
    i = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    ok = i < count
    sample, offset = window(i, C, P, Q, H, W)
    at = sample * (H * W * C) + offset
    own = (sample % reference) * (H * W * C) + offset
    a = tl.load(raw + own, ok, 0.0).to(tl.float32)
    b = tl.load(raw + own + C, ok, 0.0).to(tl.float32)
    c = tl.load(raw + own + W * C, ok, 0.0).to(tl.float32)
    d = tl.load(raw + own + W * C + C, ok, 0.0).to(tl.float32)
    _, place = winner(a, b, c, d)
    s = tl.load(state + i, ok, 0.0)
    zero = tl.zeros_like(s)
    tl.store(spread + at, tl.where(place == 0, s, zero), ok)
    tl.store(spread + at + C, tl.where(place == 1, s, zero), ok)
    tl.store(spread + at + W * C, tl.where(place == 2, s, zero), ok)
    tl.store(spread + at + W * C + C, tl.where(place == 3, s, zero), ok)


def spread(raw: Tensor, s: Tensor) -> Tensor:
    """``s`` at the winners of 2 x 2 windows of ``raw``, 0 elsewhere; ``s`` may hold several phases, one below the other."""
    out = map_like(raw, s.dtype, batch=len(s))
    _spread[(triton.cdiv(s.numel(), BLOCK),)](raw, s, out, s.numel(), len(raw), **sizes(s, raw, 2), SIZE=BLOCK)
    return out
