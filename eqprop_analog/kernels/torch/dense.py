"""Phases of dense Hopfield networks whose layers all move at once: a step is one Triton kernel, see triton_dense."""

from __future__ import annotations  # they can then be read where PyTorch is not installed

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate

import torch
from torch import Tensor

from eqprop_analog.devices.buffer import HardSigmoid, Sigmoid
from eqprop_analog.kernels.torch import triton_dense as kernels
from eqprop_analog.kernels.torch.couplings import DenseCoupling
from eqprop_analog.kernels.torch.motions import Motion, Order
from eqprop_analog.kernels.torch.network import TorchNetwork
from eqprop_analog.kernels.torch.phases import Phase, Pull, Values


def possible(network: TorchNetwork, motion: Motion) -> bool:
    """Whether the kernel knows this network and these steps."""
    dense = all(isinstance(each, DenseCoupling) for each in network.couplings) and not network.has_head
    return dense and isinstance(network.buffer, HardSigmoid | Sigmoid) and motion.dynamics != "descent"


@dataclass(frozen=True)
class Layout:
    """Where the layers of a network lie: columns in the matrix of all states, and weights in one array."""

    sizes: tuple[int, ...]
    """Nodes of layers 1..L."""
    untied: bool
    """Whether the weights on the way back are others, or scaled: they then follow those ahead."""

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Columns of each layer."""
        return tuple(-(-size // kernels.ALIGNED) * kernels.ALIGNED for size in self.sizes)

    @cached_property
    def columns(self) -> tuple[int, ...]:
        """The first of each layer, and how many there are in all."""
        return tuple(accumulate(self.widths, initial=0))

    @cached_property
    def places(self) -> tuple[int, ...]:
        """Where the weights of connections 2..L begin, and how many numbers there are in all."""
        return tuple(accumulate((a * b for a, b in zip(self.widths, self.widths[1:], strict=False)), initial=0))

    def spans(self, matrix: Tensor, rows: int) -> list[Tensor]:
        """The states of each layer within the ``matrix`` of all."""
        return [matrix[:rows, c : c + size] for c, size in zip(self.columns, self.sizes, strict=False)]

    def tiles(self) -> list[list[int]]:
        """See triton_dense.step."""
        depth, back = len(self.sizes), self.places[-1] if self.untied else 0
        described = []
        for layer, size in enumerate(self.sizes):
            own, last = self.columns[layer], layer == depth - 1
            ahead = [self.columns[layer - 1], self.widths[layer - 1], self.places[layer - 1], self.widths[layer]]
            behind = [0, 0, 0] if last else [self.columns[layer + 1], self.widths[layer + 1], back + self.places[layer]]
            ends = [*(ahead if layer else [0, 0, 0, 0]), *behind, int(last)]
            described += [[own + first, own, *ends] for first in range(0, size, kernels.COLUMNS)]
        return described


@cache
def _tiles(layout: Layout, device: torch.device) -> Tensor:
    """On the device, made once: what a CUDA graph captures copies nothing from the CPU."""
    return torch.tensor(layout.tiles(), dtype=torch.int32, device=device)


class DensePhase(Phase):
    """States on their way, all steps of a run at once."""

    def run(self, steps: int, order: Order) -> None:
        """So many steps of all layers."""
        assert len(order) == 1
        values = self.primitives
        assert isinstance(values, DenseValues)
        self.states, self.voltages = values.advanced(self.states, self.voltages, steps)
        self.forget()


class DenseValues(Values):
    """Values whose steps are one kernel each."""

    phase_class = DensePhase

    @cached_property
    def layout(self) -> Layout:
        """Of this network."""
        sizes = tuple(shape[0] for shape in self.network.shapes)
        return Layout(sizes, self.products.behind is not self.products.ahead)

    @cached_property
    def weights(self) -> Tensor:
        """Of connections 2..L, filled up with zeros, one behind the other; then those on the way back if they are others."""
        layout, size = self.layout, self.layout.places[-1]
        packed = self.inputs.new_zeros(size * (2 if layout.untied else 1))
        sources = [self.products.ahead, self.products.behind] if layout.untied else [self.products.ahead]
        for way, source in enumerate(sources):
            for number, (high, wide) in enumerate(zip(layout.widths, layout.widths[1:], strict=False)):
                begin, given = way * size + layout.places[number], source[number + 2]
                packed[begin : begin + high * wide].view(high, wide)[: given.shape[0], : given.shape[1]] = given
        return packed

    @cached_property
    def constant(self) -> Tensor:
        """The part of each force that stays, a row for each sample."""
        matrix = self._room()
        for layer, span in enumerate(self.layout.spans(matrix, len(self.inputs)), start=1):
            span[...] = self.drive if layer == 1 else self.network.bias(layer)
        return matrix

    @cached_property
    def nudge(self) -> tuple[Tensor, Tensor]:
        """β of each sample, and its target in the last layer's columns."""
        assert self.pull is not None
        rows, target = len(self.inputs), self._room()
        beta = self.inputs.new_zeros(len(target))
        beta[:rows] = self.pull.beta.flatten()
        self.layout.spans(target, rows)[-1][...] = self.pull.target
        return beta, target

    def under(self, pull: Pull, times: int) -> DenseValues:
        """See Values; with the same packed weights."""
        nudged = super().under(pull, times)
        assert isinstance(nudged, DenseValues)
        nudged.weights = self.weights
        if times == 1:
            nudged.constant = self.constant
        return nudged

    def _room(self, given: list[Tensor] | None = None) -> Tensor:
        """A matrix of all states, of as many rows as the kernel's tiles have; 0 where nothing is ``given``."""
        rows = -(-len(self.inputs) // kernels.ROWS) * kernels.ROWS
        matrix = self.inputs.new_zeros(rows, self.layout.columns[-1])
        if given is not None:
            for span, values in zip(self.layout.spans(matrix, len(self.inputs)), given, strict=True):
                span[...] = values
        return matrix

    def advanced(
        self, states: list[Tensor], voltages: list[Tensor | None], steps: int
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        """States and, where these move, voltages after so many steps."""
        rows, layout, motion, buffer = len(self.inputs), self.layout, self.motion, self.network.buffer
        moving = [v for v in voltages if v is not None]
        before = self._room(states)
        after = torch.empty_like(before)
        v = self._room(moving) if moving else before
        low, high = {"leaky-integrator": (-torch.inf, torch.inf), "energy-based": (0.0, 1.0)}.get(
            motion.dynamics, buffer.span
        )
        beta, target = (before, before) if self.pull is None else self.nudge
        tiles = _tiles(layout, before.device)
        rounded = before.is_cuda and torch.backends.cuda.matmul.allow_tf32
        for _ in range(steps):
            kernels.step[(len(tiles), len(before) // kernels.ROWS)](
                before, after, v, self.constant, self.weights, tiles, beta, target, layout.columns[-1], motion.step,
                buffer.gain, low, high, DYNAMICS=motion.dynamics, VOLTAGES=bool(moving),
                SMOOTH=isinstance(buffer, Sigmoid), NUDGED=self.pull is not None,
                BEHIND=self.pull is not None and self.pull.behind, PRECISION="tf32" if rounded else kernels.EXACT,
                SPLITS=kernels.SPLITS, ROWS=kernels.ROWS, COLUMNS=kernels.COLUMNS, DEPTH=kernels.DEPTH,
                FIELDS=kernels.FIELDS, num_warps=kernels.SPLITS,
            )  # fmt: skip
            before, after = after, before
        ends: list[Tensor | None] = list(layout.spans(v, rows)) if moving else list(voltages)
        return layout.spans(before, rows), ends
