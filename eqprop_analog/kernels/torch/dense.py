"""Phases of dense Hopfield networks with synchronous layers: a step is one Triton kernel, see triton_dense."""

from __future__ import annotations  # the module can then be imported without PyTorch

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
    """Return whether the kernel supports this network and these steps."""
    dense = all(isinstance(each, DenseCoupling) for each in network.couplings) and not network.has_head
    return dense and isinstance(network.buffer, HardSigmoid | Sigmoid) and motion.dynamics != "descent"


@dataclass(frozen=True)
class Layout:
    """Memory layout of a network: columns of the layers in the matrix of all states, and weights in one array."""

    sizes: tuple[int, ...]
    """Numbers of nodes of layers 1..L."""
    untied: bool
    """Whether the feedback weights are separate or scaled; they then follow the forward weights."""

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Number of columns of each layer."""
        return tuple(-(-size // kernels.ALIGNED) * kernels.ALIGNED for size in self.sizes)

    @cached_property
    def columns(self) -> tuple[int, ...]:
        """The first column of each layer, and the total number of columns."""
        return tuple(accumulate(self.widths, initial=0))

    @cached_property
    def places(self) -> tuple[int, ...]:
        """Offsets of the weights of connections 2..L, and the total number of weights."""
        return tuple(accumulate((a * b for a, b in zip(self.widths, self.widths[1:], strict=False)), initial=0))

    def spans(self, matrix: Tensor, rows: int) -> list[Tensor]:
        """Return the states of each layer in the ``matrix`` of all states."""
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
    """Return the tiles on the device, made once, because a CUDA graph must not copy from the CPU."""
    return torch.tensor(layout.tiles(), dtype=torch.int32, device=device)


class DensePhase(Phase):
    """A phase in progress, which does all steps of a run at once."""

    def run(self, steps: int, order: Order) -> None:
        """Do a number of steps of all layers."""
        assert len(order) == 1
        values = self.primitives
        assert isinstance(values, DenseValues)
        self.states, self.voltages = values.advanced(self.states, self.voltages, steps)
        self.forget()


class DenseValues(Values):
    """Values with one kernel per step."""

    phase_class = DensePhase

    @cached_property
    def layout(self) -> Layout:
        """Memory layout of this network."""
        sizes = tuple(shape[0] for shape in self.network.shapes)
        return Layout(sizes, self.products.behind is not self.products.ahead)

    @cached_property
    def weights(self) -> Tensor:
        """Weights of connections 2..L, padded with zeros and concatenated, followed by separate feedback weights."""
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
        """The constant part of each force, one row per sample."""
        matrix = self._room()
        for layer, span in enumerate(self.layout.spans(matrix, len(self.inputs)), start=1):
            span[...] = self.drive if layer == 1 else self.network.bias(layer)
        return matrix

    @cached_property
    def nudge(self) -> tuple[Tensor, Tensor]:
        """β of each sample, and its target in the columns of the last layer."""
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
        """Return a matrix of all states, padded to the rows of the kernel's tiles; 0 unless ``given``."""
        rows = -(-len(self.inputs) // kernels.ROWS) * kernels.ROWS
        matrix = self.inputs.new_zeros(rows, self.layout.columns[-1])
        if given is not None:
            for span, values in zip(self.layout.spans(matrix, len(self.inputs)), given, strict=True):
                span[...] = values
        return matrix

    def advanced(
        self, states: list[Tensor], voltages: list[Tensor | None], steps: int
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        """Return the states and, if they evolve, the voltages after a number of steps."""
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
