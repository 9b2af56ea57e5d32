"""Training a Hopfield network on a device: data, augmentation, phases, contrast and update of a batch are one CUDA graph."""

from __future__ import annotations  # the module can then be imported without PyTorch

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from eqprop_analog.core.nudge import Cost
from eqprop_analog.errors import UserError
from eqprop_analog.kernels.torch.contrast import Gradients, contrast, head_gradient, of_differences, of_phases
from eqprop_analog.kernels.torch.couplings import LAST
from eqprop_analog.kernels.torch.differences import Differences
from eqprop_analog.kernels.torch.motions import Motion
from eqprop_analog.kernels.torch.network import Products, TorchNetwork
from eqprop_analog.kernels.torch.phases import Phase, Pull, Values, begun, stacked

Array = np.ndarray
Precision = Literal["half", "float32", "float64"]
"""Precision of phases; "half" is float16 for free states and bfloat16 for differences.

Parameters have a separate one.
"""
Stages = tuple[tuple[Motion, int], ...]


@dataclass(frozen=True)
class Settings:
    """Settings of a training step; the rates are given for each epoch."""

    batch: int
    free: Stages
    """Motions of the free phase and their numbers of steps, in order."""
    nudged: Stages
    """The same for nudged phases."""
    beta: float
    nudging: Literal["centred", "one-sided", "random-sign"] = "centred"
    cost: Cost = "squared-error"
    behind: bool = False
    """Whether nudges act after the buffers."""
    differences: bool = True
    """Whether nudged phases are computed as differences from the free one."""
    frozen: bool = False
    """Whether differences keep the winners of the free phase; see kernels.torch.differences."""
    precision: Precision = "float32"
    fused: bool | None = None
    """Whether steps are Triton kernels; None: on a GPU, if the kernels support the network and the precision."""
    momentum: float = 0.0
    weight_decay: float = 0.0
    flip: bool = False
    shift: int = 0
    edge: bool = False
    erase: int = 0
    """Side of a square, at a random place of each training image, that is set to the mean."""
    mean: tuple[float, ...] = (0.0,)
    """Mean of the pixels of each channel, as a fraction of white."""
    deviation: tuple[float, ...] = (1.0,)
    persistent: bool = False
    """Whether the free phase of an image starts at its last free state."""
    seed: int = 0

    @property
    def betas(self) -> tuple[float, ...]:
        """β of the nudged phases; a random sign is drawn later."""
        return (self.beta, -self.beta) if self.nudging == "centred" else (self.beta,)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of free states."""
        return {"half": torch.float16, "float32": torch.float32, "float64": torch.float64}[self.precision]


def classes_of(settings: Settings, network: TorchNetwork) -> tuple[type[Values], type[Differences]]:
    """Return the primitives of phases. Raises UserError if Triton kernels are requested that do not support the network."""
    on_gpu, interpreted = network.device.type == "cuda", os.environ.get("TRITON_INTERPRET") == "1"
    wanted = on_gpu or settings.precision == "half" if settings.fused is None else settings.fused
    if wanted and find_spec("triton") is not None and (interpreted or on_gpu):
        from eqprop_analog.kernels.torch import dense
        from eqprop_analog.kernels.torch import fused as pooled

        motions = [motion for motion, _ in (*settings.free, *settings.nudged)]
        plain = settings.precision == "float32" and not settings.differences and settings.cost == "squared-error"
        if plain and all(dense.possible(network, motion) for motion in motions):
            return dense.DenseValues, Differences
        half = settings.precision == "half"
        if (half or settings.precision == "float32") and all(pooled.possible(network, motion) for motion in motions):
            return pooled.FusedValues, pooled.FusedDifferences if half else Differences
    if settings.fused:
        raise UserError(
            "fused: Triton's kernels support dense networks in float32 (without a head, differences or descent), and networks "
            "of hard sigmoids without energy-based and leaky-integrator dynamics, with pools of at most 2, in float32 or half "
            "precision; leave fused out, and check that Triton is installed"
        )
    return Values, Differences


def run(phase: Phase, stages: Stages) -> None:
    """Do all steps of ``stages``."""
    for motion, steps in stages:
        phase.primitives.motion = motion
        phase.run(steps, motion.order(phase.network.depth))


@dataclass
class Epoch:
    """State of an epoch: its random numbers and its progress, all on the device."""

    order: Tensor
    turned: Tensor
    moves: Tensor
    erased: Tensor
    signs: Tensor
    at: Tensor
    wrong: Tensor
    squares: Tensor
    """Sum over samples of the squared error, averaged over read-outs, V²."""


@dataclass
class HopfieldTrainer:
    """One network, its momentum and the training images, (samples, channels, height, width) or (samples, pixels).

    Images are uint8, which are divided by 255 and normalized, or floating-point numbers, which are used unchanged.
    """

    network: TorchNetwork
    settings: Settings
    images: Tensor
    labels: Tensor
    number: int = -1
    """Number of the current epoch."""
    momentum: dict[str, Tensor] = field(init=False)
    rates: dict[str, Tensor] = field(init=False)
    epoch: Epoch = field(init=False)
    states: list[Tensor] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """Begin at rest, before the first epoch."""
        values, device = self.network.values, self.network.device
        self.momentum = {n: torch.zeros_like(v) for n, v in values.items()} if self.settings.momentum else {}
        self.rates = {name: torch.zeros((), dtype=v.dtype, device=device) for name, v in values.items()}
        count = len(self.images)
        self.batches = -(-count // self.settings.batch)
        self.epoch = Epoch(
            torch.zeros(count, dtype=torch.int64, device=device),
            torch.zeros(count, dtype=torch.bool, device=device),
            torch.zeros((2, count), dtype=torch.int64, device=device),
            torch.zeros((2, count), dtype=torch.int64, device=device),
            torch.ones(self.batches, dtype=self.network.bias(1).dtype, device=device),
            torch.zeros((), dtype=torch.int64, device=device),
            torch.zeros((), dtype=torch.int64, device=device),
            torch.zeros((), dtype=torch.float64, device=device),
        )
        if self.settings.persistent:
            kind = {"dtype": self.settings.dtype, "device": device}
            self.states = [torch.zeros((count, *shape), **kind) for shape in self.network.shapes]
        self.values_class, self.differences_class = classes_of(self.settings, self.network)
        self.fused = self.values_class is not Values
        self._steps: dict[int, Callable[[], None]] = {}

    def begin_epoch(self, number: int, rates: Mapping[str, float]) -> None:
        """Draw the order, flips, shifts and signs of epoch ``number``, which depend only on it and the seed."""
        random = np.random.default_rng((self.settings.seed, number))
        count, shift, epoch = len(self.images), self.settings.shift, self.epoch
        epoch.order.copy_(torch.from_numpy(random.permutation(count)))
        epoch.turned.copy_(torch.from_numpy(random.random(count) < 0.5))
        epoch.moves.copy_(torch.from_numpy(random.integers(-shift, shift, (2, count), endpoint=True)))
        if self.settings.erase:
            sides = np.array(self.images.shape[2:])[:, None]
            epoch.erased.copy_(torch.from_numpy(random.integers(0, sides, (2, count))))
        if self.settings.nudging == "random-sign":
            epoch.signs.copy_(torch.from_numpy(np.where(random.random(self.batches) < 0.5, 1.0, -1.0)))
        epoch.at.zero_()
        epoch.wrong.zero_()
        epoch.squares.zero_()
        self.number = number
        for name, rate in self.rates.items():
            rate.fill_(rates[name])

    def place(self) -> int:
        """Number of images done in this epoch."""
        return int(self.epoch.at)

    def advance(self, batches: int | None = None, limit: int | None = None) -> None:
        """Train on the next ``batches`` of the epoch, or on all remaining images, or on those up to ``limit`` in its order."""
        done, size, count = self.place(), self.settings.batch, len(self.images)
        count = count if limit is None else min(count, limit)
        while done < count and batches != 0:
            now = min(size, count - done)
            if now not in self._steps:
                self._steps[now] = captured(partial(self.step, now), self._changed(), self.network.device)
            self._steps[now]()
            done += now
            batches = None if batches is None else batches - 1

    def _changed(self) -> list[Tensor]:
        """Return the tensors that a step changes."""
        counts = [self.epoch.at, self.epoch.wrong, self.epoch.squares]
        return [*self.network.values.values(), *self.momentum.values(), *counts, *self.states]

    def step(self, size: int) -> None:
        """Update from the next ``size`` images."""
        epoch = self.epoch
        positions = epoch.at + torch.arange(size, device=self.network.device)
        which = epoch.order[positions]
        x = self.augmented(which, positions)
        labels = self.labels[which]
        values = self.values_class(self.network, self.settings.free[0][0], x)
        free = begun(values, [kept[which] for kept in self.states] if self.states else None)
        run(free, self.settings.free)
        for kept, s in zip(self.states, free.states, strict=False):
            kept.index_copy_(0, which, s)
        self.count(self.network.readout(free.states[-1]), labels)
        sign = epoch.signs.index_select(0, (epoch.at // self.settings.batch).view(1))
        self.update(self.gradient(free, labels, sign))
        epoch.at += size

    def count(self, read: Tensor, labels: Tensor) -> None:
        """Count wrong predictions and squared errors of a batch's read-outs."""
        self.epoch.wrong += (read.argmax(1) != labels).sum()
        self.epoch.squares += squared_errors(read, labels)

    def augmented(self, which: Tensor, positions: Tensor) -> Tensor:
        """Return the images ``which`` with the random augmentation at ``positions`` of this epoch."""
        epoch, erased = self.epoch, None
        if self.settings.erase:
            erased = epoch.erased[:, positions]
        turned = epoch.turned[positions] if self.settings.flip else None
        return prepared(self.images, which, self.settings, turned, epoch.moves[:, positions], erased)

    def gradient(self, free: Phase, labels: Tensor, sign: Tensor | float = 1.0) -> Gradients:
        """Return dC/dθ from the nudged phases that start at ``free``."""
        network, settings, values = self.network, self.settings, free.primitives
        assert isinstance(values, Values)
        motion = settings.nudged[0][0]
        size, times = len(labels), len(settings.betas)
        kind = next(iter(network.values.values())).dtype
        target = (labels[:, None] == torch.arange(network.classes, device=network.device)).to(kind)
        beta = constant(settings.betas, kind, network.device).repeat_interleave(size)[:, None]
        pull = Pull(network, beta * sign, target.repeat(times, 1), settings.cost, settings.behind)
        gap = settings.beta * (times if times == 2 else sign)
        if settings.differences:
            half = settings.precision == "half"
            products = Products(network, torch.bfloat16) if half else values.products
            differences = self.differences_class(free, pull, times, products, motion, frozen=settings.frozen)
            nudged = Phase(differences, differences.zeros())
            run(nudged, settings.nudged)
            gradients = contrast(network, of_differences(nudged), gap, torch.bfloat16 if half else None)
            outputs = differences.outputs(nudged.states[-1])
        else:
            nudged = begun(values.under(pull, times), [stacked(s, times) for s in free.states])
            run(nudged, settings.nudged)
            outputs = nudged.states[-1]
            halves = [[s[k * size : (k + 1) * size] for s in nudged.states] for k in range(times)]
            ends = [Phase(values, half_states) for half_states in halves]
            plus, minus = ends if times == 2 else (ends[0], free)
            gradients = contrast(network, of_phases(plus, minus), gap)
        return gradients | head_gradient(network, outputs, pull, gap, size)

    def update(self, gradients: Gradients) -> None:
        """Apply momentum, weight decay and the gradient step; see learning.update."""
        for name, values in self.network.values.items():
            slope = gradients[name]
            if self.fused:
                self._update_fused(name, values, slope)
                continue
            if self.settings.weight_decay:
                slope = slope + self.settings.weight_decay * values
            if self.momentum:
                slope = self.momentum[name].mul_(self.settings.momentum).add_(slope)
            values.sub_(self.rates[name] * slope)

    def _update_fused(self, name: str, values: Tensor, slope: Tensor) -> None:
        from eqprop_analog.kernels.torch import triton_updates

        last = LAST if values.ndim == 4 else torch.contiguous_format
        slope, settings = slope.to(values.dtype).contiguous(memory_format=last), self.settings
        triton_updates.update(
            values, self.momentum.get(name), slope, self.rates[name], settings.momentum, settings.weight_decay
        )

    def arrays(self) -> dict[str, Array]:
        """Return the state of training, without its settings; ``restore`` resumes bit-identically from it."""
        named = {**self.network.values, **{f"momentum_{name}": m for name, m in self.momentum.items()}}
        named |= {f"state_{layer}": s for layer, s in enumerate(self.states, start=1)}
        named |= {"at": self.epoch.at, "wrong": self.epoch.wrong, "squares": self.epoch.squares}
        copies = {name: tensor.cpu().numpy().copy() for name, tensor in named.items()}
        return copies | {"epoch": np.array(self.number)}

    def restore(self, arrays: Mapping[str, Array], rates: Mapping[str, float]) -> None:
        """Resume where ``arrays`` were taken; ``rates`` are those of that epoch."""
        number = int(arrays["epoch"])
        if number >= 0:
            self.begin_epoch(number, rates)
        named = {**self.network.values, **{f"momentum_{name}": m for name, m in self.momentum.items()}}
        named |= {f"state_{layer}": s for layer, s in enumerate(self.states, start=1)}
        named |= {"at": self.epoch.at, "wrong": self.epoch.wrong, "squares": self.epoch.squares}
        for name, tensor in named.items():
            tensor.copy_(torch.from_numpy(np.asarray(arrays[name])))


def squared_errors(read: Tensor, labels: Tensor) -> Tensor:
    """Return the sum over a batch of learning.trainer.squared_errors."""
    target = labels[:, None] == torch.arange(read.shape[1], device=read.device)
    return (read - target.to(read.dtype)).square().mean(1, dtype=torch.float64).sum()


def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Create ``values`` on the device, because a graph must not copy from the CPU."""
    return torch.cat([torch.full((1,), value, dtype=dtype, device=device) for value in values])


def prepared(
    images: Tensor,
    which: Tensor,
    settings: Settings,
    turned: Tensor | None = None,
    moves: Tensor | None = None,
    erased: Tensor | None = None,
) -> Tensor:
    """Return the images ``which``, flipped, shifted and partly erased (training), normalized, in the precision of phases."""
    if images.ndim == 2:
        x = images[which].to(settings.dtype)
        return x if images.is_floating_point() else (x / 255 - settings.mean[0]) / settings.deviation[0]
    _, _, height, width = images.shape
    rows = torch.arange(height, device=images.device).expand(len(which), -1)
    columns = torch.arange(width, device=images.device).expand(len(which), -1)
    outside = None
    if moves is not None and settings.shift:
        rows, columns = rows + moves[0][:, None], columns + moves[1][:, None]
        if not settings.edge:
            inside_rows, inside_columns = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
            outside = ~(inside_rows[:, :, None] & inside_columns[:, None, :])
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    if turned is not None:
        columns = torch.where(turned[:, None], width - 1 - columns, columns)
    x = images[which[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # (batch, height, width, channels)
    kind = torch.float64 if settings.precision == "float64" else torch.float32
    x = x.to(kind) if images.is_floating_point() else x.to(kind) / 255
    if outside is not None:
        x = x.masked_fill(outside[..., None], 0)
    if not images.is_floating_point():
        mean, deviation = (constant(each, kind, images.device) for each in (settings.mean, settings.deviation))
        x = (x - mean) / deviation
    if erased is not None:
        places = (torch.arange(side, device=images.device) for side in (height, width))
        near = [
            (place - center[:, None]).abs() * 2 < settings.erase for place, center in zip(places, erased, strict=True)
        ]
        x = x.masked_fill((near[0][:, :, None] & near[1][:, None, :])[..., None], 0)
    return x.to(settings.dtype).permute(0, 3, 1, 2).contiguous(memory_format=LAST)


@dataclass
class Evaluator:
    """Evaluates the error of free phases over a data set, in chunks of one size."""

    network: TorchNetwork
    settings: Settings
    images: Tensor
    labels: Tensor
    chunk: int = 500
    mirrored: bool = False
    """Whether the read-outs of an image and of its mirror image are added."""

    def __post_init__(self) -> None:
        """Allocate the position and the count."""
        device = self.network.device
        self.at = torch.zeros((), dtype=torch.int64, device=device)
        self.wrong = torch.zeros((), dtype=torch.int64, device=device)
        self.squares = torch.zeros((), dtype=torch.float64, device=device)
        self.states: list[Tensor] = []
        if self.settings.persistent:
            kind = {"dtype": self.settings.dtype, "device": device}
            self.states = [torch.zeros((len(self.images), *shape), **kind) for shape in self.network.shapes]
        self.values_class, _ = classes_of(self.settings, self.network)
        self._steps: dict[int, Callable[[], None]] = {}

    def _step(self, size: int) -> None:
        which = self.at + torch.arange(size, device=self.network.device)
        x = prepared(self.images, which, self.settings)
        read = self.readout(x, which)
        if self.mirrored:
            read = read + self.readout(x.flip(3).contiguous(memory_format=LAST), which)
        self.wrong += (read.argmax(1) != self.labels[which]).sum()
        self.squares += squared_errors(read, self.labels[which])
        self.at += size

    def readout(self, x: Tensor, which: Tensor) -> Tensor:
        """Return the read-outs of the prepared images ``which``."""
        values = self.values_class(self.network, self.settings.free[0][0], x)
        free = begun(values, [kept[which] for kept in self.states] if self.states else None)
        run(free, self.settings.free)
        for kept, s in zip(self.states, free.states, strict=False):
            kept.index_copy_(0, which, s)
        return self.network.readout(free.states[-1])

    def error(self) -> float:
        """Return the fraction of wrong predictions with the present parameters."""
        self.wrong.zero_()
        for begin in range(0, len(self.images), self.chunk):
            self.run(begin, min(self.chunk, len(self.images) - begin))
        return int(self.wrong) / len(self.images)

    def run(self, begin: int, size: int) -> None:
        """Evaluate a number of images from index ``begin``, and add their wrong predictions to ``wrong``."""
        self.at.fill_(begin)
        if size not in self._steps:
            changed = [self.at, self.wrong, self.squares, *self.states]
            self._steps[size] = captured(partial(self._step, size), changed, self.network.device)
        self._steps[size]()


def captured(step: Callable[[], Any], changed: list[Tensor], device: torch.device) -> Callable[[], None]:
    """Return ``step`` as a CUDA graph, captured without changing ``changed``; on a CPU return ``step`` itself."""
    if device.type == "cpu":
        return step
    saved = [values.clone() for values in changed]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):  # compiles kernels and chooses algorithms
            step()
            for values, before in zip(changed, saved, strict=True):
                values.copy_(before)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    for values, before in zip(changed, saved, strict=True):
        values.copy_(before)
    return graph.replay
