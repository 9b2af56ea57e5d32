"""Triton kernels of max pooling: the largest value of each window, where it stands, and states put there.

Maps have their channels last and windows are 2 x 2. Values are compared as they are stored, and the first of those wins that are
the largest up to ``tie``, a number for each channel: the bound of networks.hopfield.connections. In half precision there is none:
it rounds exact ties to equal numbers, and the bound is below its rounding.
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
def loaded(values, at, ok, C: tl.constexpr, W: tl.constexpr):
    """The four values of the window that begins ``at``, row by row, in float32."""
    a = tl.load(values + at, ok, 0.0).to(tl.float32)
    b = tl.load(values + at + C, ok, 0.0).to(tl.float32)
    c = tl.load(values + at + W * C, ok, 0.0).to(tl.float32)
    d = tl.load(values + at + W * C + C, ok, 0.0).to(tl.float32)
    return a, b, c, d


@triton.jit
def chosen(a, b, c, d, place):
    """The value of a window at ``place``."""
    return tl.where(place == 0, a, tl.where(place == 1, b, tl.where(place == 2, c, d)))


@triton.jit
def tied(tie, i, ok, C: tl.constexpr):
    """By how much the first winner of the window of element i may fall short of its largest value: 0 where nothing is given."""
    short = 0.0
    if tie is not None:
        short = tl.load(tie + i % C, ok, 0.0)
    return short


@triton.jit
def winner(a, b, c, d, tie):
    """(its value, its place) of the first that is the largest of a window up to ``tie``."""
    least = tl.maximum(tl.maximum(a, b), tl.maximum(c, d)) - tie
    place = tl.where(a >= least, 0, tl.where(b >= least, 1, tl.where(c >= least, 2, 3)))
    return chosen(a, b, c, d, place), place


@triton.jit
def spread_out(spread, at, ok, s, place, C: tl.constexpr, W: tl.constexpr):
    """Put s at ``place`` of the window that begins ``at``, and 0 at the others."""
    zero = tl.zeros_like(s)
    for other in tl.static_range(4):
        tl.store(spread + at + (other // 2) * W * C + (other % 2) * C, tl.where(place == other, s, zero), ok)


@triton.jit
def window(i, C: tl.constexpr, P: tl.constexpr, Q: tl.constexpr, H: tl.constexpr, W: tl.constexpr):
    """(sample, offset of its window's first value within a sample) of element i of a pooled map."""
    channel, pixel = i % C, i // C
    column, pixel = pixel % Q, pixel // Q
    row, sample = pixel % P, pixel // P
    return sample, ((2 * row) * W + 2 * column) * C + channel


def last(values: Tensor) -> Tensor:
    """As the kernels take them: channels last."""
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values.contiguous()


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
    """The winner's value of each 2 x 2 window, and the bias."""
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
    """Which of the four places of each window wins, in the layout of ``s``."""
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
    """``s`` at the winners of 2 x 2 windows of ``raw``, 0 elsewhere; ``s`` may hold several phases, one below the other."""
    out, s = map_like(raw, s.dtype, batch=len(s)), last(s)
    _spread[(triton.cdiv(s.numel(), BLOCK),)](raw, tie, s, out, s.numel(), len(raw), **sizes(s, raw, 2), SIZE=BLOCK)
    return out
