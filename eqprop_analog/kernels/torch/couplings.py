"""Connections of Hopfield networks on PyTorch tensors: dense layers are (batch, nodes), maps (batch, channels, height, width).

Maps are stored with their channels last. A connection acts in two steps, so that common parts of the dynamics are
computed once: ``raw`` is W ∗ s before the pooling, ``spread`` places the states after the connection at the pooling's
winners.
"""

from __future__ import annotations  # the module can then be imported without PyTorch

from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from eqprop_analog.networks.hopfield.connections import TIE, Connection, Convolution, Dense

LAST = torch.channels_last


@dataclass(frozen=True)
class DenseCoupling:
    """s W without pooling, so that winners are None and states act at their own positions."""

    shape: tuple[int, ...]
    """Shape of a sample of the previous layer, which is flattened like NumPy's maps."""
    outputs: int
    pool: int = 1

    @property
    def shape_after(self) -> tuple[int, ...]:
        """Shape of a sample of the next layer."""
        return (self.outputs,)

    def raw(self, weights: Tensor, before: Tensor) -> Tensor:
        """The product s W."""
        return before.flatten(1) @ weights

    def returned(self, weights: Tensor, spread: Tensor) -> Tensor:
        """The product s' Wᵀ, in the shape of the previous layer."""
        product = spread @ weights.T
        if len(self.shape) == 1:
            return product
        return product.unflatten(1, self.shape).contiguous(memory_format=LAST)

    def slope(self, before: Tensor, spread: Tensor) -> Tensor:
        """∂Φ/∂W = sᵀ s', summed over the batch."""
        return before.flatten(1).T @ spread

    def prepared(self, weights: Tensor) -> Tensor:
        """Return the weights in the form of the products."""
        return weights

    def bias_shape(self) -> tuple[int, ...]:
        """Shape in which biases are added to a layer."""
        return (-1,)

    def tie(self, weights: Tensor, before: Tensor) -> None:
        """None, because nothing is pooled."""


@dataclass(frozen=True)
class ConvolvedCoupling:
    """MaxPool(W ∗ s), see networks.hopfield.connections.Convolution."""

    convolution: Convolution

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a sample of the previous layer."""
        return self.convolution.shape

    @property
    def shape_after(self) -> tuple[int, ...]:
        """Shape of a sample of the next layer."""
        return self.convolution.pooled

    @property
    def pool(self) -> int:
        """The side of a pooling window."""
        return self.convolution.pool

    @property
    def patch(self) -> int:
        """Number of weights into a node."""
        return self.convolution.fans[0]

    def _narrow(self, before: Tensor) -> bool:
        """Whether cuDNN, made for many channels, is slower than a matrix product with all patches."""
        return self.patch <= 64 and before.is_cuda and before.dtype in (torch.float16, torch.bfloat16)

    def patches(self, before: Tensor) -> Tensor:
        """Return the patch of each place of the convolution, (batch · height · width, patch)."""
        edge, kernel = self.convolution.padding, self.convolution.kernel
        padded = functional.pad(before, (edge, edge, edge, edge)).permute(0, 2, 3, 1)
        return padded.unfold(1, kernel, 1).unfold(2, kernel, 1).reshape(-1, self.patch)

    def by_patches(self, weights: Tensor, before: Tensor) -> Tensor:
        """W ∗ s as a matrix product."""
        high, wide = self.convolution.convolved
        values = self.patches(before) @ weights.reshape(len(weights), -1).T
        return values.view(len(before), high, wide, -1).permute(0, 3, 1, 2)

    def slope_by_patches(self, before: Tensor, spread: Tensor) -> Tensor:
        """∂Φ/∂W as a matrix product."""
        after = spread.permute(0, 2, 3, 1).reshape(-1, spread.shape[1])
        return (after.T @ self.patches(before)).view(self.convolution.weight_shape)

    def raw(self, weights: Tensor, before: Tensor) -> Tensor:
        """W ∗ s."""
        if self._narrow(before):
            return self.by_patches(weights, before)
        return functional.conv2d(before, weights, padding=self.convolution.padding).contiguous(memory_format=LAST)

    def returned(self, weights: Tensor, spread: Tensor) -> Tensor:
        """The transposed convolution."""
        force = functional.conv_transpose2d(spread, weights, padding=self.convolution.padding)
        return force.contiguous(memory_format=LAST)

    def slope(self, before: Tensor, spread: Tensor) -> Tensor:
        """∂Φ/∂W, summed over the batch."""
        if self._narrow(before):
            return self.slope_by_patches(before, spread)
        weights = torch.empty(
            self.convolution.weight_shape, dtype=before.dtype, device=before.device, memory_format=LAST
        )
        return torch.ops.aten.convolution_backward(
            spread,
            before,
            weights,
            None,
            [1, 1],
            [self.convolution.padding] * 2,
            [1, 1],
            False,
            [0, 0],
            1,
            [False, True, False],
        )[1]

    def prepared(self, weights: Tensor) -> Tensor:
        """Return the weights in the form of the products."""
        return weights.contiguous(memory_format=LAST)

    def bias_shape(self) -> tuple[int, ...]:
        """Shape in which biases are added to a map."""
        return (-1, 1, 1)

    def tie(self, weights: Tensor, before: Tensor) -> Tensor | None:
        """Return the tolerance for ties: the first value this close to the largest one wins, (batch, channels, 1, 1, 1)."""
        if self.pool == 1:
            return None
        reach = before.abs().amax((1, 2, 3), keepdim=True).clamp(min=1)
        bound = TIE * torch.finfo(before.dtype).eps * weights.abs().sum((1, 2, 3))
        return (bound[:, None, None] * reach)[..., None]


Coupling = DenseCoupling | ConvolvedCoupling


def coupling_of(connection: Connection, shape: tuple[int, ...]) -> Coupling:
    """Return the connection on tensors, after a layer whose samples have ``shape``."""
    if isinstance(connection, Dense):
        return DenseCoupling(shape, connection.outputs)
    assert isinstance(connection, Convolution)
    return ConvolvedCoupling(connection)


def mapped(flat: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Convert (batch, nodes) in NumPy's order to a layer whose samples have ``shape``."""
    assert flat.shape[1] == prod(shape)
    return flat if len(shape) == 1 else flat.unflatten(1, shape).contiguous(memory_format=LAST)


def zeros(batch: int, shape: tuple[int, ...], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return a layer of zeros, on the device of ``like`` and with its dtype by default."""
    full = (batch, *shape)
    room = {"dtype": like.dtype if dtype is None else dtype, "device": like.device}
    return torch.zeros(full, **room) if len(shape) == 1 else torch.empty(full, **room, memory_format=LAST).zero_()


def windows(raw: Float[Tensor, "batch c h w"], pool: int) -> Float[Tensor, "batch c ph pw window"]:
    """Return the values of every window, row by row; incomplete windows are left out."""
    rows, columns = raw.shape[2] // pool, raw.shape[3] // pool
    cut = raw[:, :, : rows * pool, : columns * pool]
    parts = cut.unflatten(3, (columns, pool)).unflatten(2, (rows, pool))
    return parts.permute(0, 1, 2, 4, 3, 5).flatten(4)


def first_winner(values: Tensor, tie: Tensor | float) -> Tensor:
    """Return the index of the first value of each window within ``tie`` of the largest, with a last axis of one."""
    count = values.shape[-1]
    places = torch.arange(count, 0, -1, device=values.device)  # argmax does not guarantee the order of equal values
    return torch.where(values >= values.amax(-1, keepdim=True) - tie, places, 0).argmax(-1, keepdim=True)


def at_winner(values: Tensor, winner: Tensor) -> Tensor:
    """Return the value of each window at its winner."""
    return values.gather(-1, winner).squeeze(-1)


def put(after: Tensor, winner: Tensor, raw: Tensor, pool: int) -> Tensor:
    """Place ``after`` at the winners of a map shaped like ``raw``, with 0 elsewhere."""
    rows, columns = after.shape[2:]
    filled = torch.zeros((*after.shape, pool * pool), dtype=after.dtype, device=after.device)
    filled.scatter_(-1, winner, after[..., None])
    blocks = filled.unflatten(4, (pool, pool)).permute(0, 1, 2, 4, 3, 5).flatten(4, 5).flatten(2, 3)
    total = torch.zeros((*after.shape[:2], *raw.shape[2:]), dtype=after.dtype, device=after.device)
    total[:, :, : rows * pool, : columns * pool] = blocks
    return total.contiguous(memory_format=LAST)
