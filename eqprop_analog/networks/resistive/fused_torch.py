"""Truncated training of one hidden layer on a GPU, which holds all images; a batch accesses the first crossbar only once."""

from __future__ import annotations  # annotations can be read without PyTorch

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eqprop_analog.core.equilibrium import Status
from eqprop_analog.experiments.batches import Batches, Split
from eqprop_analog.kernels.torch import triton_crossbars as kernels
from eqprop_analog.kernels.torch.training import captured
from eqprop_analog.learning.trainer import Pass, Progress, Rule
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.truncated import Method
from eqprop_analog.networks.resistive.truncated_torch import TorchLearner

Array = np.ndarray

SECONDS = 0.5
"""Seconds between two progress reports from the GPU."""
WIDE = 16
"""Largest number of output nodes; a power of two."""


@dataclass
class _Batch:
    """Work space for batches of one size."""

    source: Tensor
    free: Tensor
    nudged: Tensor
    free_parts: tuple[Tensor, ...]
    """Contribution of each block of hidden nodes to the output currents, before and after a sweep."""
    parts: tuple[Tensor, ...]
    current: Tensor
    nudge: Tensor
    steps: Tensor


@dataclass
class _Epoch:
    """Images on the device, and the progress of an epoch."""

    split: Split
    images: Tensor
    labels: Tensor
    order: Tensor
    at: Tensor
    wrong: Tensor
    squares: Tensor
    """Sum over samples of the mean squared error of the read-outs, V²."""
    steps: dict[tuple[int, int], Callable[[], None]] = field(default_factory=dict)


class FusedLearner(TorchLearner):
    """TorchLearner, equal to within rounding, for complete passes over unshifted images in batches of up to four.

    After a batch with an error to report, no further batch changes anything until the error has been handled.
    """

    def __init__(
        self,
        network: ResistiveNetwork,
        rule: Rule,
        sweeps: int,
        method: Method = "equilibrium-propagation",
        device: str = "cuda",
    ) -> None:
        super().__init__(network, rule, sweeps, method, device)
        nodes, outputs = network.layers[1:]
        self._blocks = -(-nodes // kernels.NODES)
        self._programs = -(-nodes // kernels.COLUMNS)
        room: dict[str, Any] = {"dtype": torch.float32, "device": self.device}
        self._signs = self._polarity[0].to(**room).expand(nodes).contiguous()
        self._own = torch.zeros(nodes, **room)
        self._column_parts, self._bound_parts = (torch.zeros(self._blocks, WIDE, **room) for _ in range(2))
        self._least = torch.zeros(self._programs, **room)
        self._zeros, self._nothing = torch.zeros(kernels.SAMPLES, outputs, **room), torch.zeros(kernels.SAMPLES, **room)
        self._go = torch.ones((), dtype=torch.int32, device=self.device)
        self._flags = torch.ones(3, dtype=torch.int32, device=self.device)
        self._epoch: _Epoch | None = None
        self._batch: dict[int, _Batch] = {}

    @staticmethod
    def possible(network: ResistiveNetwork, rule: Rule, method: Method) -> bool:
        """Whether the kernels support this network, rule and method."""
        clamped = (
            getattr(network.diode, "lowest", None) is not None and not network.bias_row and network.outputs == "single"
        )
        small = network.depth == 2 and network.layers[-1] <= WIDE and network.conductances[0].dtype == np.float32
        nudged = (method, rule.kind, rule.cost) == ("equilibrium-propagation", "conductance", "squared-error")
        return clamped and small and nudged and all(crossbar.is_matrix for crossbar in network.crossbars)

    def run_pass(self, batches: Iterable[tuple[Array, ...]], progress: Progress, so_far: Pass) -> Pass:
        """See Learner; passes with other batches use TorchLearner's method."""
        if not isinstance(batches, Batches) or not self._knows(batches):
            return super().run_pass(batches, progress, so_far)
        epoch, count, size = self._begun(batches), len(batches.order), batches.config.batch_size
        many, before, squares = 1, so_far.wrong, so_far.squares
        while so_far.samples < count:
            begin = time.monotonic()
            for start in range(so_far.samples, min(so_far.samples + many * size, count), size):
                now, following = min(size, count - start), min(size, max(count - start - size, 0))
                self._step(epoch, now, following or now)()
            done = int(epoch.at) - so_far.samples
            so_far.statuses[Status.TRUNCATED.name] += (1 + len(self._betas)) * done
            so_far.samples += done
            so_far.wrong, so_far.squares = before + int(epoch.wrong), squares + float(epoch.squares)
            if not int(self._go):
                finite, driven, definite = self._flags.tolist()
                self.report(finite=finite, driven=driven, definite=definite)
                self._resume(epoch, size)
            progress(so_far.samples, so_far.error)
            many = max(1, min(2 * many, round(many * SECONDS / (time.monotonic() - begin + 1e-9))))
        self._difference.copy_(
            self._matrices[0][: self.network.layers[0]] - self._matrices[0][self.network.layers[0] :]
        )
        return so_far

    @staticmethod
    def _knows(batches: Batches) -> bool:
        """Whether they are small batches of unshifted images with classes."""
        config = batches.config
        return config.batch_size <= kernels.SAMPLES and not config.shift and batches.split.labels.ndim == 1

    def _begun(self, batches: Batches) -> _Epoch:
        """Position of a pass on the device, and the input currents of its next batch."""
        split, count, device = batches.split, len(batches.order), self.device
        if self._epoch is None or self._epoch.split is not split or len(self._epoch.order) != count:
            images = torch.from_numpy(split.images).to(device) * self.network.input_gain
            kinds = torch.int64, torch.int64, torch.float64
            places = (torch.zeros((), dtype=kind, device=device) for kind in kinds)
            order = torch.zeros(count, dtype=torch.int64, device=device)
            self._epoch = _Epoch(split, images, torch.from_numpy(split.labels).to(device), order, *places)
            self._batch.clear()
        epoch = self._epoch
        epoch.order.copy_(torch.from_numpy(batches.order))
        epoch.at.fill_(batches.done)
        epoch.wrong.zero_()
        epoch.squares.zero_()
        self._resume(epoch, min(batches.config.batch_size, count - batches.done))
        return epoch

    def _resume(self, epoch: _Epoch, size: int) -> None:
        """Enable updates again, and compute the input currents of the next batch from the present crossbar."""
        self._go.fill_(1)
        if size > 0:
            x = self._inputs(epoch, epoch.at, size)
            self._first(x, x, self._room(size), self._room(size), update=False)

    def _room(self, size: int) -> _Batch:
        if size not in self._batch:
            room: dict[str, Any] = {"dtype": torch.float32, "device": self.device}
            nodes, outputs = self.network.layers[1:]
            rows = size * len(self._betas)
            beta = torch.tensor(self._betas, **room).repeat_interleave(size)
            source, free, nudged = (torch.zeros(r, nodes, **room) for r in (size, size, rows))
            twice = [tuple(torch.zeros(self._blocks, r, WIDE, **room) for _ in range(2)) for r in (size, rows)]
            current, steps = torch.zeros(rows, outputs, **room), torch.zeros(size, nodes, **room)
            self._batch[size] = _Batch(source, free, nudged, twice[0], twice[1], current, beta, steps)
        return self._batch[size]

    def _inputs(self, epoch: _Epoch, at: Tensor, size: int) -> Tensor:
        places = at + torch.arange(size, device=self.device)
        return epoch.images[epoch.order[places.clamp(max=len(epoch.order) - 1)]]

    def _step(self, epoch: _Epoch, size: int, following: int) -> Callable[[], None]:
        """The step of a batch of ``size`` that precedes a batch of ``following`` samples."""
        key = size, following
        if key not in epoch.steps:
            self._room(following)
            changed = [
                *self._matrices,
                *self._biases,
                *self._columns,
                *self._rows,
                epoch.at,
                epoch.wrong,
                epoch.squares,
                self._go,
            ]
            changed += [self._room(size).source, self._room(following).source]
            epoch.steps[key] = captured(partial(self._once, epoch, *key), changed, self.device)
        return epoch.steps[key]

    def _once(self, epoch: _Epoch, size: int, following: int) -> None:
        batch, phases = self._room(size), len(self._betas)
        which = epoch.order[epoch.at + torch.arange(size, device=self.device)]
        labels = epoch.labels[which]
        target = (labels[:, None] == torch.arange(self.network.layers[-1], device=self.device)).to(torch.float32)
        torch.mul(batch.nudge[:, None], target.repeat(phases, 1), out=batch.current)
        x, later = epoch.images[which], self._inputs(epoch, epoch.at + size, following)
        free = self._settled(batch, size, 1, batch.free, batch.free_parts, None)
        ends = self._settled(batch, size, phases, batch.nudged, batch.parts, free)
        sizes = self._sizes(size) | {"R": size * phases, "TWO": phases == 2}
        over, gain = 1 / (self._betas[0] * phases), self._gains[1]
        rest = batch.current, batch.nudge
        low, high = self.network.conductance_window
        kernels.second_crossbar[(self._blocks,)](
            batch.nudged, ends, self._matrices[1], self._biases[0], self._columns[0], self._rows[0], self._biases[1],
            self._columns[1], *rest, self._rates, self._go, batch.steps, self._own, self._column_parts, self._bound_parts,
            gain, over, low, high, nodes=self.network.layers[1], BLOCK=kernels.NODES, **sizes, free=batch.free,
            free_partial=free, zeros=self._zeros, nothing=self._nothing,
        )  # fmt: skip
        self._first(x, later, batch, self._room(following), update=True)
        kernels.close[(1,)](
            ends, free, self._biases[1], self._columns[1], *rest, self._zeros, self._nothing, labels, self._rates,
            self._column_parts, self._bound_parts, self._least, self._go, epoch.at, epoch.wrong, epoch.squares,
            self._flags, gain, over,
            max(0.0, *(-beta for beta in self._betas)), LEAST=self._programs, MOST=_power(self._programs), **sizes,
        )  # fmt: skip

    def _sizes(self, size: int) -> dict[str, int]:
        return {
            "B": size,
            "O": self.network.layers[-1],
            "WIDE": WIDE,
            "USED": self._blocks,
            "BLOCKS": _power(self._blocks),
        }

    def _settled(
        self, batch: _Batch, size: int, phases: int, hidden: Tensor, parts: tuple[Tensor, ...], start: Tensor | None
    ) -> Tensor:
        """Currents into the outputs after the sweeps from 0 V, or from the outputs of ``start``."""
        before = parts[1] if start is None else start
        for number in range(self.sweeps):
            from_start = number == 0
            given = (self._zeros, self._nothing) if start is None or from_start else (batch.current, batch.nudge)
            after = parts[number % 2]
            kernels.sweep[(self._blocks,)](
                batch.source, self._matrices[1], self._columns[0], self._rows[0], self._signs, before, self._biases[1],
                self._columns[1], *given, hidden, after, self._gains[1], self._lowest,
                nodes=self.network.layers[1], RIN=size if from_start else size * phases, R=size * phases,
                FIRST=from_start and start is None, BLOCK=kernels.NODES, **self._sizes(size),
            )  # fmt: skip
            before = after
        return before

    def _first(self, x: Tensor, later: Tensor, batch: _Batch, following: _Batch, *, update: bool) -> None:
        """Update the first crossbar, and compute the source of the next batch."""
        low, high = self.network.conductance_window
        size = max(len(x), len(later))  # a smaller batch that follows is padded; a smaller batch before it is not
        kernels.first_crossbar[(self._programs,)](
            self._matrices[0], x, batch.steps, self._own, _filled(later, size), self._biases[0],
            following.source if len(later) == size else batch.source, self._columns[0], self._least, self._go, low, high,
            count=self.network.layers[0], nodes=self.network.layers[1], B=size, HIGH=kernels.ROWS, WIDE=kernels.COLUMNS,
            UPDATE=update,
        )  # fmt: skip
        if len(later) < size:
            following.source.copy_(batch.source[: len(later)])


def _power(count: int) -> int:
    """The next power of two."""
    return 1 << max(count - 1, 0).bit_length()


def _filled(x: Tensor, size: int) -> Tensor:
    return x if len(x) == size else torch.cat([x, x.new_zeros(size - len(x), x.shape[1])])
