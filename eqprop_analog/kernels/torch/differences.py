"""Nudged phases as differences δ = s_nudged - s_free, iterated exactly, so that their contrast has no cancellation.

Nudged states differ from free ones by 1e-2 in the last layer and 1e-8 in the first. In half precision, and in early
layers even in float32, the difference of two phases is only rounding. Here δ itself is iterated. Convolutions are
linear in δ; max pooling and the clip of the hard sigmoid have exact elementwise differences, including changes of
winners:

    max(z + δz) - max(z) = (z_w' - z_w) + δz_w'            w, w' the winners before and after
    clip(x + d) - clip(x) = clip(s + e + d) - s = max(-s, min(1 - s, e + d))    s = clip(x), e = x - s, 0 where 0 < s < 1

The free state is treated as an equilibrium: the residual of its last step is constant, and does not change with the
nudge.

With ``frozen`` winners, pooling is linear about the free state, w' = w. This is exact for β → 0: a winner changes only
if two values of a window are closer than the change due to the nudge. At finite β, such a change moves a whole state
from one place to another. In half precision, where close values are equal, nearly all changes are due to rounding, and
they then dominate the signal in the first layers.
"""

from __future__ import annotations  # the module can then be imported without PyTorch

from dataclasses import dataclass

import torch
from torch import Tensor

from eqprop_analog.devices.buffer import HardSigmoid
from eqprop_analog.errors import UserError
from eqprop_analog.kernels.torch.couplings import at_winner, put, windows, zeros
from eqprop_analog.kernels.torch.motions import Motion
from eqprop_analog.kernels.torch.network import Products
from eqprop_analog.kernels.torch.phases import Phase, Pull, States, Values, stacked


def excess(x: Tensor, s: Tensor) -> Tensor:
    """Return the distance of x beyond the corner of s = clip(x); 0 between the corners."""
    below, above = x.clamp(max=0), (x - 1).clamp(min=0)
    return below.where(s <= 0, above.where(s >= 1, 0.0))


@dataclass(frozen=True)
class Pair:
    """Mean and difference of two phases, s₊ and s₋."""

    mean: Tensor
    difference: Tensor

    @classmethod
    def of(cls, plus: Tensor, minus: Tensor) -> Pair:
        """Make the pair of two tensors by subtraction."""
        return cls((plus + minus) / 2, plus - minus)

    @classmethod
    def around(cls, base: Tensor, change: Tensor) -> Pair:
        """Make the pair of changes from ``base``: of both phases, stacked, or of one phase compared with ``base``."""
        if len(change) == len(base):
            return cls(base + change / 2, change)
        plus, minus = change.chunk(2)
        return cls(base + (plus + minus) / 2, plus - minus)

    def mean_first(self, dtype: torch.dtype) -> Tensor:
        """Mean and difference, stacked."""
        return torch.cat([self.mean, self.difference]).to(dtype)

    def difference_first(self, dtype: torch.dtype) -> Tensor:
        """Difference and mean, stacked."""
        return torch.cat([self.difference, self.mean]).to(dtype)


class Differences:
    """The primitives of δ, of ``times`` nudged phases stacked along the batch; see Primitives."""

    def __init__(
        self,
        free: Phase,
        pull: Pull,
        times: int,
        products: Products | None = None,
        motion: Motion | None = None,
        *,
        frozen: bool = False,
    ) -> None:
        values = free.primitives
        assert isinstance(values, Values)
        self.products = values.products if products is None else products
        self.frozen = frozen
        self.network, self.values, self.pull, self.times = free.network, values, pull, times
        self.motion = values.motion if motion is None else motion
        buffer = self.network.buffer
        if not isinstance(buffer, HardSigmoid) or self.motion.moves_voltages(buffer):
            raise UserError("differences: this needs hard sigmoids and dynamics of the states")
        self.gain = buffer.gain
        self.excesses = self.excesses_of(free)
        layers = range(2, self.network.depth + 1)
        self.raws = {layer: free.raw(layer) for layer in layers}
        self.raws_back = {layer: free.raw(layer, back=True) for layer in layers}
        self.bases: States = list(free.states)
        self.damping = pull.damping(buffer) if self.motion.dynamics == "descent" else None

    def zeros(self) -> States:
        """Return differences of zero."""
        batch, dtype = self.times * len(self.bases[0]), self.products.dtype
        return [zeros(batch, shape, self.bases[0], dtype) for shape in self.network.shapes]

    def excesses_of(self, free: Phase) -> States:
        """Return the distances of the free phase's forces beyond the corners."""
        return [excess(u * self.gain, s) for u, s in zip(free.forces(), free.states, strict=True)]

    def stacked(self, tensor: Tensor) -> Tensor:
        """Repeat ``tensor`` of the free phase along the batch for each nudged phase."""
        return stacked(tensor, self.times)

    def raw(self, layer: int, before: Tensor, *, back: bool) -> Tensor:
        """W ∗ δ."""
        return self.products.raw(layer, before, back=back)

    def returned(self, layer: int, spread: Tensor) -> Tensor:
        """See Primitives."""
        return self.products.returned(layer, spread)

    def _windows(self, layer: int, raw: Tensor, *, back: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return windows and winners of the free phase, windows of the difference, and the present winners."""
        pool = self.network.couplings[layer - 1].pool
        before = windows((self.raws_back if back else self.raws)[layer], pool)
        winner = self.stacked(self.values.winner(layer, before, back=back))
        before, change = self.stacked(before), windows(raw, pool)
        if self.frozen:
            return before, winner, change, winner
        return before, winner, change, self.values.winner(layer, before + change, back=back)

    def pooled(self, layer: int, raw: Tensor) -> Tensor:
        """Return the change of the winners' values."""
        if self.network.couplings[layer - 1].pool == 1:
            return raw
        before, winner, change, now = self._windows(layer, raw, back=False)
        return (at_winner(before, now) - at_winner(before, winner)) + at_winner(change, now)

    def spread(self, layer: int, raw: Tensor, s: Tensor, *, back: bool = True) -> Tensor:
        """Return the change of ``spread``; ``s`` is δ, ``raw`` its W ∗ δ."""
        pool = self.network.couplings[layer - 1].pool
        if pool == 1:
            return s
        _, winner, _, now = self._windows(layer, raw, back=back)
        leaving = self.stacked(self.bases[layer - 1]).where((winner != now).squeeze(-1), 0.0)
        change = put(leaving, now, raw, pool) - put(leaving, winner, raw, pool)
        return put(s, now, raw, pool) + change.to(s.dtype)

    def pair(self, layer: int, s: Tensor) -> Pair:
        """Return the states of a layer in both phases."""
        return Pair.around(self.bases[layer - 1], s)

    def spread_pair(self, layer: int, change: Tensor) -> Pair:
        """Return the same at the winners of the forward weights, from their ``change``."""
        return Pair.around(self.values.spread_forward(layer, self.raws[layer], self.bases[layer - 1]), change)

    def outputs(self, s: Tensor) -> Tensor:
        """Return the states of the last layer."""
        return self.stacked(self.bases[-1]) + s

    def force(self, layer: int, raw: Tensor | None, returned: Tensor | None, s: Tensor) -> Tensor:
        """Return δu of a layer, including the nudge."""
        parts = [] if raw is None else [self.pooled(layer, raw)]
        if returned is not None:
            parts.append(returned)
        elif not self.pull.behind:
            parts.append(self.pull.at(self.outputs(s)))
        return sum(parts[1:], parts[0]) if parts else s.new_zeros(s.shape)

    def moved(
        self, layer: int, raw: Tensor | None, returned: Tensor | None, s: Tensor, voltage: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """See Primitives."""
        assert voltage is None
        last = layer == self.network.depth
        base = self.stacked(self.bases[layer - 1])
        target = self.stacked(self.excesses[layer - 1]) + self.gain * self.force(layer, raw, returned, s)
        if self.motion.dynamics == "discrete-time":
            new = target.clamp(-base, 1 - base)
            new = new if self.motion.step == 1 else s + self.motion.step * (new - s)
            if last and self.pull.behind:
                new = new + self.motion.step * self.pull.at(base + s)
            return new.to(s.dtype), None, None
        part: Tensor | float = self.motion.step
        if last and self.damping is not None:
            part = (part / (1 + self.damping)).view(-1, *([1] * (s.ndim - 1)))
        return (s + part * (target - s)).clamp(-base, 1 - base).to(s.dtype), None, None
