"""The primitives of phases of networks with pooling; each elementwise part of a step is one Triton kernel."""

from __future__ import annotations  # the module can then be imported without PyTorch

from functools import cached_property

import torch
from torch import Tensor

from eqprop_analog.devices.buffer import HardSigmoid
from eqprop_analog.kernels.torch import triton_moves, triton_updates, triton_windows
from eqprop_analog.kernels.torch.differences import Differences, Pair
from eqprop_analog.kernels.torch.motions import Motion
from eqprop_analog.kernels.torch.network import TorchNetwork
from eqprop_analog.kernels.torch.phases import Phase, States, Values


def possible(network: TorchNetwork, motion: Motion) -> bool:
    """Return whether the kernels support this network and these steps."""
    simple = isinstance(network.buffer, HardSigmoid) and not motion.moves_voltages(network.buffer)
    return simple and all(each.pool <= 2 for each in network.couplings)


class FusedValues(Values):
    """Values by fused kernels; in half precision, winners are compared in stored precision."""

    def tie(self, layer: int, *, back: bool = False) -> Tensor | None:
        """Tolerance for ties of each channel: the first value within it of a window's largest one wins; None is no tolerance."""
        coupling, back = self.network.couplings[layer - 1], back and self.network.untied
        if coupling.pool == 1 or self.inputs.dtype == torch.float16:
            return None
        if (layer, back) not in self._ties:
            weights = self.network.back(layer) if back else self.network.weight(layer)
            bound = coupling.tie(weights, weights.new_ones(1, 1, 1, 1))
            assert bound is not None
            self._ties[layer, back] = bound.flatten().float()
        return self._ties[layer, back]

    @cached_property
    def _ties(self) -> dict[tuple[int, bool], Tensor]:
        return {}

    def _known(self, layer: int) -> bool:
        """Return whether the tolerance for ties is independent of the sample; after the inputs it depends on their precision."""
        return layer > 1 or self.inputs.dtype == torch.float16

    def pooled(self, layer: int, raw: Tensor) -> Tensor:
        """Return the largest value of each window."""
        if self.network.couplings[layer - 1].pool == 1 or not self._known(layer):
            return super().pooled(layer, raw)
        return triton_windows.pooled(raw, self.tie(layer), torch.zeros_like(self.network.values[f"bias_{layer}"]))

    def spread(self, layer: int, raw: Tensor, s: Tensor) -> Tensor:
        """See Primitives."""
        if self.network.couplings[layer - 1].pool == 1:
            return s
        return triton_windows.spread(raw, self.tie(layer, back=True), s)

    def spread_forward(self, layer: int, raw: Tensor, s: Tensor) -> Tensor:
        """See Values."""
        if self.network.couplings[layer - 1].pool == 1 or not self._known(layer):
            return super().spread_forward(layer, raw, s)
        return triton_windows.spread(raw, self.tie(layer), s)

    @cached_property
    def _drive(self) -> Tensor:
        return triton_windows.last(self.drive.to(self.inputs.dtype))

    def moved(
        self, layer: int, raw: Tensor | None, returned: Tensor | None, s: Tensor, voltage: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """See Primitives; the nudge is not part of a kernel."""
        assert voltage is None
        if layer == self.network.depth and self.pull is not None:
            return super().moved(layer, raw, returned, s, voltage)
        new, spread = self._step(layer, raw, returned, s, self.motion.step)
        return new, None, spread

    def excess(self, layer: int, raw: Tensor | None, returned: Tensor | None, s: Tensor) -> Tensor:
        """See torch_differences.excess."""
        return self._step(layer, raw, returned, s, 1.0, excess=True)[0]

    def _step(
        self, layer: int, raw: Tensor | None, returned: Tensor | None, s: Tensor, part: float, *, excess: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        return triton_moves.move_values(
            triton_windows.last(s),
            raw,
            None if raw is None else self.tie(layer),
            returned,
            self.network.values[f"bias_{layer}"],
            self._drive if raw is None else None,
            self.network.buffer.gain,
            part,
            pool=self.network.couplings[layer - 1].pool,
            inside=self.motion.dynamics == "discrete-time",
            spreads=not self.network.untied,
            excess=excess,
        )


class MeanFirst(Pair):
    """A pair stored in one tensor in the order of states in the contrast."""

    both: Tensor

    def __init__(self, both: Tensor) -> None:
        super().__init__(*both.chunk(2))
        object.__setattr__(self, "both", both)

    def mean_first(self, dtype: torch.dtype) -> Tensor:
        """See Pair."""
        return self.both.to(dtype)


class DifferenceFirst(Pair):
    """A pair stored in one tensor in the order of states at the winners in the contrast."""

    both: Tensor

    def __init__(self, both: Tensor) -> None:
        super().__init__(*both.chunk(2)[::-1])
        object.__setattr__(self, "both", both)

    def difference_first(self, dtype: torch.dtype) -> Tensor:
        """See Pair."""
        return self.both.to(dtype)


class FusedDifferences(Differences):
    """Differences by fused kernels, from a free phase of FusedValues."""

    values: FusedValues

    def pair(self, layer: int, s: Tensor) -> Pair:
        """See Differences."""
        return MeanFirst(triton_updates.pair(self.bases[layer - 1], s))

    def spread(self, layer: int, raw: Tensor, s: Tensor, *, back: bool = True) -> Tensor:
        """See Differences."""
        if not self.frozen or self.network.couplings[layer - 1].pool == 1:
            return super().spread(layer, raw, s, back=back)
        free = (self.raws_back if back else self.raws)[layer]
        return triton_windows.spread(free, self.values.tie(layer, back=back), s)

    def spread_pair(self, layer: int, change: Tensor) -> Pair:
        """See Differences."""
        raw, base = self.raws[layer], self.bases[layer - 1]
        return DifferenceFirst(triton_updates.pair_spread(raw, self.values.tie(layer), base, change))

    def excesses_of(self, free: Phase) -> States:
        """See Differences."""
        values = free.primitives
        assert isinstance(values, FusedValues)
        layers = range(1, self.network.depth + 1)
        return [values.excess(layer, *free.parts(layer), free.states[layer - 1]) for layer in layers]

    @cached_property
    def _head(self) -> Tensor:
        """Return the read-out's weights in the order of stored states, channels last."""
        weights, shape = self.network.values["head_weight"], self.network.shapes[-1]
        if len(shape) == 1:
            return weights
        return weights.view(*shape, -1).permute(1, 2, 0, 3).reshape(weights.shape)

    def _pull(self, s: Tensor) -> Tensor:
        if not self.network.has_head:
            return self.pull.at(self.outputs(s))
        biases, cross = self.network.values["head_bias"], self.pull.cost == "cross-entropy"
        target, beta = self.pull.target, self.pull.beta
        return triton_moves.pull(self.bases[-1], s, self._head, biases, target, beta, cross_entropy=cross)

    @cached_property
    def _codes(self) -> dict[int, Tensor]:
        """Return the winners of the free phase."""
        pooled = [layer for layer in self.raws if self.network.couplings[layer - 1].pool > 1]
        return {
            layer: triton_windows.winners(self.raws[layer], self.values.tie(layer), self.bases[layer - 1])
            for layer in pooled
        }

    @property
    def _parts(self) -> Tensor | None:
        return None if self.damping is None else (self.motion.step / (1 + self.damping)).flatten()

    def moved(
        self, layer: int, raw: Tensor | None, returned: Tensor | None, s: Tensor, voltage: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """See Primitives."""
        assert voltage is None and not self.pull.behind and self.pull.constant is None
        last, pooled = layer == self.network.depth, raw is not None and self.network.couplings[layer - 1].pool > 1
        new, spread = triton_moves.move_differences(
            s,
            self.bases[layer - 1],
            self.excesses[layer - 1],
            self.raws[layer] if pooled else None,
            self.values.tie(layer) if pooled else None,
            self._codes[layer] if pooled and self.frozen else None,
            raw,
            self._pull(s) if last else returned,
            self._parts if last else None,
            self.gain,
            self.motion.step,
            pool=self.network.couplings[layer - 1].pool,
            inside=self.motion.dynamics == "discrete-time",
            spreads=not self.network.untied,
        )
        return new, None, spread
