"""Connections between two layers of a Hopfield network: their contribution to Φ, and its derivatives.

Layers are flat, (batch, nodes); a convolution reads its nodes as (channels, height, width).
"""

from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float, Int
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import DTypeLike
from scipy.linalg.blas import dgemm, sgemm

from eqprop_analog.errors import UserError
from eqprop_analog.incoming import numbers, whole_number

Array = np.ndarray
TIE = 4
"""Rounding errors of a convolution's sum by which two values of a pooling window may differ and still count as equal."""
Choice = Int[Array, "..."] | None
"""The winner of every pooling window; None without pooling."""


class Connection(Protocol):
    """Φ_l(s_{l-1}, s_l; W) = s_l · forward(W, s_{l-1}), in volts squared; W is dimensionless."""

    @property
    def sizes(self) -> tuple[int, int]:
        """Nodes before and after."""
        ...

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of W."""
        ...

    @property
    def fans(self) -> tuple[int, int]:
        """Weights into a node after, and out of a node before."""
        ...

    @property
    def bias_size(self) -> int:
        """Number of biases of the nodes after: one per node, or one per channel."""
        ...

    def forward(
        self, weights: Float[Array, "..."], before: Float[Array, "batch nodes"], choice: Choice = None
    ) -> tuple[Float[Array, "batch after"], Choice]:
        """Return ∂Φ_l/∂s_l and the winners of the pooling, or those of ``choice``, at which it is linear."""
        ...

    def backward(
        self, weights: Float[Array, "..."], after: Float[Array, "batch nodes"], choice: Choice
    ) -> Float[Array, "batch before"]:
        """Return ∂Φ_l/∂s_{l-1}, with the winners of ``forward`` for the same weights and the same s_{l-1}."""
        ...

    def add_forward(
        self,
        weights: Float[Array, "..."],
        before: Float[Array, "batch nodes"],
        total: Float[Array, "batch after"],
        choice: Choice = None,
    ) -> Choice:
        """Add the result of ``forward`` to ``total``, in place; return the winners of the pooling."""
        values, winners = self.forward(weights, before, choice)
        np.add(total, values, out=total)
        return winners

    def add_backward(
        self,
        weights: Float[Array, "..."],
        after: Float[Array, "batch nodes"],
        choice: Choice,
        total: Float[Array, "batch before"],
    ) -> None:
        """Add the result of ``backward`` to ``total``, in place."""
        np.add(total, self.backward(weights, after, choice), out=total)

    def winners(self, weights: Float[Array, "..."], before: Float[Array, "batch nodes"]) -> Choice:
        """Return the winners of the pooling at ``before``."""
        ...

    def gradient(
        self, before: Float[Array, "batch nodes"], after: Float[Array, "batch nodes"], choice: Choice
    ) -> Float[Array, "..."]:
        """∂Φ_l/∂W, summed over the batch."""
        ...

    def spread_bias(self, bias: Float[Array, " biases"]) -> Float[Array, " nodes"]:
        """The bias of every node after."""
        ...

    def gather_bias(self, nodes: Float[Array, " nodes"]) -> Float[Array, " biases"]:
        """Sums over the nodes that share a bias."""
        ...

    def matrix(
        self, weights: Float[Array, "..."], sites: Int[Array, " some"] | None = None
    ) -> Float[Array, "before sites"]:
        """Return the linear part: weights from each node before to all or some sites (the nodes after or their pooled inputs)."""
        ...

    @property
    def windows(self) -> Int[Array, "nodes window"]:
        """Return the sites of the window of each node after, in order; one site each without pooling."""
        ...

    def ties(self, weights: Float[Array, "..."], before: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
        """Return the tolerance, volts, within which a site counts as equal to the largest of its window."""
        ...


def _gemm(dtype: np.dtype[Any]) -> Any:
    """Compute α A B + β C by BLAS, because NumPy cannot accumulate; on transposes, because BLAS stores by columns."""
    return dgemm if dtype == np.float64 else sgemm


@dataclass(frozen=True)
class Dense(Connection):
    """Φ = Σ_ij s_i W_ij s'_j."""

    inputs: int
    outputs: int

    def __post_init__(self) -> None:
        """Raise UserError unless sizes are integers of at least 1."""
        for name in ("inputs", "outputs"):
            object.__setattr__(self, name, whole_number(getattr(self, name), f"dense connection: {name}", 1))

    @property
    def sizes(self) -> tuple[int, int]:
        """Nodes before and after."""
        return self.inputs, self.outputs

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(before, after)."""
        return self.sizes

    @property
    def fans(self) -> tuple[int, int]:
        """Every node before, every node after."""
        return self.sizes

    @property
    def bias_size(self) -> int:
        """One a node."""
        return self.outputs

    def forward(
        self,
        weights: Float[Array, "..."],
        before: Float[Array, "batch nodes"],
        choice: Choice = None,  # noqa: ARG002 - nothing is pooled
    ) -> tuple[Float[Array, "batch after"], Choice]:
        """The product s W."""
        return before @ weights, None

    def backward(
        self,
        weights: Float[Array, "..."],
        after: Float[Array, "batch nodes"],
        choice: Choice,  # noqa: ARG002
    ) -> Float[Array, "batch before"]:
        """The product s' Wᵀ."""
        return after @ weights.T

    def add_forward(
        self,
        weights: Float[Array, "..."],
        before: Float[Array, "batch nodes"],
        total: Float[Array, "batch after"],
        choice: Choice = None,  # noqa: ARG002
    ) -> Choice:
        """Accumulated inside the matrix product."""
        _gemm(total.dtype)(1, weights.T, before.T, 1, total.T, overwrite_c=1)
        return None

    def add_backward(
        self,
        weights: Float[Array, "..."],
        after: Float[Array, "batch nodes"],
        choice: Choice,  # noqa: ARG002
        total: Float[Array, "batch before"],
    ) -> None:
        """Accumulated inside the matrix product."""
        _gemm(total.dtype)(1, weights.T, after.T, 1, total.T, trans_a=1, overwrite_c=1)

    def winners(self, weights: Float[Array, "..."], before: Float[Array, "batch nodes"]) -> Choice:  # noqa: ARG002
        """None: nothing is pooled."""
        return None

    def gradient(
        self,
        before: Float[Array, "batch nodes"],
        after: Float[Array, "batch nodes"],
        choice: Choice,  # noqa: ARG002
    ) -> Float[Array, "..."]:
        """The product sᵀ s'."""
        return before.T @ after

    def spread_bias(self, bias: Float[Array, " biases"]) -> Float[Array, " nodes"]:
        """Itself."""
        return bias

    def gather_bias(self, nodes: Float[Array, " nodes"]) -> Float[Array, " biases"]:
        """Itself."""
        return nodes

    def matrix(
        self, weights: Float[Array, "..."], sites: Int[Array, " some"] | None = None
    ) -> Float[Array, "before sites"]:
        """The weights."""
        return weights if sites is None else weights[:, sites]

    @property
    def windows(self) -> Int[Array, "nodes window"]:
        """One a node: nothing is pooled."""
        return np.arange(self.outputs)[:, None]

    def ties(
        self,
        weights: Float[Array, "..."],  # noqa: ARG002
        before: Float[Array, "batch nodes"],
    ) -> Float[Array, "batch nodes"]:
        """None: nothing is pooled."""
        return np.zeros((len(before), self.outputs))


@dataclass(frozen=True)
class Convolution(Connection):
    """Φ = Σ s' · MaxPool(W ∗ s): stride 1, zero padding, then the largest of each pool × pool window.

    W is (out channels, in channels, kernel, kernel); ∗ is the cross-correlation usually called convolution. Source:
    Ernoult et al. 2019; Laborieux et al. 2021.

    Equal values of a window are equal only up to the rounding of the sums, so that the largest would depend on the
    order of summation. The winner is therefore the first value v of the window, row by row, with v ≥ max v -
    4ε·Σ|W_c|·max(1, max|s|): ε the machine epsilon of the arithmetic, Σ|W_c| of the output channel, max|s| of the
    sample. After buffers, s is at most 1 V, so that only inputs can make the last factor exceed 1. The pool passes on
    the winner's value.
    """

    shape: tuple[int, int, int]
    """(channels, height, width) before."""
    channels: int
    """After."""
    kernel: int
    padding: int = 0
    pool: int = 1

    def __post_init__(self) -> None:
        """Raise UserError unless the kernel fits and the pooling leaves at least one node."""
        if len(numbers(self.shape, "convolution: shape")) != 3:
            raise UserError(f"convolution: shape: expected (channels, height, width), got {self.shape!r:.80}")
        sizes = tuple(whole_number(size, "convolution: a size in shape", 1) for size in self.shape)
        object.__setattr__(self, "shape", sizes)
        for name, least in (("channels", 1), ("kernel", 1), ("padding", 0), ("pool", 1)):
            object.__setattr__(self, name, whole_number(getattr(self, name), f"convolution: {name}", least))
        if min(self.convolved) < self.pool:
            raise UserError(f"convolution: a kernel of {self.kernel} and a pool of {self.pool} do not fit {self.shape}")

    @property
    def convolved(self) -> tuple[int, int]:
        """(height, width) after the convolution."""
        _, height, width = self.shape
        reach = 2 * self.padding - self.kernel + 1
        return height + reach, width + reach

    @property
    def pooled(self) -> tuple[int, int, int]:
        """(channels, height, width) after the pooling; incomplete windows are left out."""
        height, width = self.convolved
        return self.channels, height // self.pool, width // self.pool

    @property
    def sizes(self) -> tuple[int, int]:
        """Nodes before and after."""
        return prod(self.shape), prod(self.pooled)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(out channels, in channels, kernel, kernel)."""
        return self.channels, self.shape[0], self.kernel, self.kernel

    @property
    def fans(self) -> tuple[int, int]:
        """Kernel area times channels."""
        return self.shape[0] * self.kernel**2, self.channels * self.kernel**2

    @property
    def bias_size(self) -> int:
        """One a channel."""
        return self.channels

    def _windows(self, before: Float[Array, "batch nodes"]) -> Float[Array, "places patch"]:
        """Every patch that the kernel sees, one a row: batch, height, width fold into places, and kernel, kernel, channels.

        Channels are last, so that copies are contiguous.
        """
        images = before.reshape(-1, *self.shape).transpose(0, 2, 3, 1)
        edge = (self.padding, self.padding)
        images = np.pad(images, ((0, 0), edge, edge, (0, 0))) if self.padding else np.ascontiguousarray(images)
        windows = sliding_window_view(images, (self.kernel, self.kernel), axis=(1, 2))
        return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, self.fans[0])

    def _patches(self, weights: Float[Array, "..."]) -> Float[Array, "channels patch"]:
        """W in the order of ``_windows``."""
        return weights.transpose(0, 2, 3, 1).reshape(self.channels, -1)

    def forward(
        self, weights: Float[Array, "..."], before: Float[Array, "batch nodes"], choice: Choice = None
    ) -> tuple[Float[Array, "batch after"], Choice]:
        """MaxPool(W ∗ s), and the winner of every window."""
        height, width = self.convolved
        values = self._windows(before) @ self._patches(weights).T
        maps = values.reshape(-1, height, width, self.channels).transpose(0, 3, 1, 2)
        if self.pool == 1:
            return np.ascontiguousarray(maps).reshape(len(before), -1), None
        windows = self._pooling(maps)
        choice = self._winners(windows, weights, before) if choice is None else choice
        best = np.take_along_axis(windows, choice[..., None], axis=-1)
        return best.reshape(len(before), -1), choice

    def _winners(
        self, windows: Float[Array, "batch c ph pw window"], weights: Float[Array, "..."], before: Float[Array, "..."]
    ) -> Int[Array, "batch c ph pw"]:
        """Return the first value of each window that is the largest up to rounding; see the class."""
        tie = rounding(before, windows.dtype) * np.abs(weights).sum(axis=(1, 2, 3))
        return first_largest(windows, tie.astype(windows.dtype)[:, :, None, None])

    def _pooling(self, maps: Float[Array, "batch c h w"]) -> Float[Array, "batch c ph pw window"]:
        _, rows, columns = self.pooled
        pool = self.pool
        cut = maps[:, :, : rows * pool, : columns * pool].reshape(-1, self.channels, rows, pool, columns, pool)
        return cut.transpose(0, 1, 2, 4, 3, 5).reshape(-1, self.channels, rows, columns, pool * pool)

    def _unpooled(self, after: Float[Array, "batch nodes"], choice: Choice) -> Float[Array, "places channels"]:
        """Values s' at the winners, 0 elsewhere, one place a row."""
        height, width = self.convolved
        _, rows, columns = self.pooled
        pool = self.pool
        maps = after.reshape(-1, self.channels, rows, columns)
        if choice is not None:
            windows = np.zeros((*maps.shape, pool * pool), after.dtype)
            np.put_along_axis(windows, choice[..., None], maps[..., None], axis=-1)
            blocks = windows.reshape(*maps.shape, pool, pool).transpose(0, 1, 2, 4, 3, 5)
            maps = np.zeros((len(after), self.channels, height, width), after.dtype)
            maps[:, :, : rows * pool, : columns * pool] = blocks.reshape(-1, self.channels, rows * pool, columns * pool)
        return maps.transpose(0, 2, 3, 1).reshape(-1, self.channels)

    def backward(
        self, weights: Float[Array, "..."], after: Float[Array, "batch nodes"], choice: Choice
    ) -> Float[Array, "batch before"]:
        """The transposed convolution of s' at the winners."""
        channels, height, width = self.shape
        high, wide = self.convolved
        patches = self._unpooled(after, choice) @ self._patches(weights)
        patches = patches.reshape(-1, high, wide, self.kernel, self.kernel, channels)
        total = np.zeros((len(after), height + 2 * self.padding, width + 2 * self.padding, channels), after.dtype)
        for row in range(self.kernel):
            for column in range(self.kernel):
                total[:, row : row + high, column : column + wide] += patches[:, :, :, row, column]
        inner = total[:, self.padding : self.padding + height, self.padding : self.padding + width]
        return np.ascontiguousarray(inner.transpose(0, 3, 1, 2)).reshape(len(after), -1)

    def winners(self, weights: Float[Array, "..."], before: Float[Array, "batch nodes"]) -> Choice:
        """The winner of every window of W ∗ s."""
        return None if self.pool == 1 else self.forward(weights, before)[1]

    def gradient(
        self, before: Float[Array, "batch nodes"], after: Float[Array, "batch nodes"], choice: Choice
    ) -> Float[Array, "..."]:
        """Products of every patch with s' at the winners."""
        product = self._unpooled(after, choice).T @ self._windows(before)
        shape = self.channels, self.kernel, self.kernel, self.shape[0]
        return np.ascontiguousarray(product.reshape(shape).transpose(0, 3, 1, 2))

    def spread_bias(self, bias: Float[Array, " biases"]) -> Float[Array, " nodes"]:
        """Each channel's bias at all its places."""
        return np.repeat(bias, self.sizes[1] // self.channels)

    def gather_bias(self, nodes: Float[Array, " nodes"]) -> Float[Array, " biases"]:
        """Sums over the places of each channel."""
        return nodes.reshape(self.channels, -1).sum(axis=1)

    def matrix(
        self, weights: Float[Array, "..."], sites: Int[Array, " some"] | None = None
    ) -> Float[Array, "before sites"]:
        """The convolution, whose sites are all places of all channels; those that fill no window are among them."""
        seen = self._windows(np.arange(1, self.sizes[0] + 1)[None])  # node numbers, and 0 for the padding
        chosen = np.arange(self.channels * len(seen)) if sites is None else sites
        channels, places = np.divmod(chosen, len(seen))
        matrix = np.zeros((self.sizes[0] + 1, len(chosen)), weights.dtype)
        matrix[seen[places], np.arange(len(chosen))[:, None]] = self._patches(weights)[channels]
        return matrix[1:]

    @property
    def windows(self) -> Int[Array, "nodes window"]:
        """Places of each window, row by row."""
        places = np.arange(self.channels * prod(self.convolved)).reshape(1, self.channels, *self.convolved)
        return self._pooling(places).reshape(-1, self.pool**2)

    def ties(self, weights: Float[Array, "..."], before: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
        """See the class."""
        return self.spread_bias(np.abs(weights).sum(axis=(1, 2, 3))) * rounding(before, weights.dtype)


def rounding(before: Float[Array, "batch nodes"], dtype: DTypeLike) -> Float[Array, "batch 1"]:
    """Return the largest difference of equal sums over ``before``, relative to the sum of their weights' magnitudes."""
    reach = np.maximum(np.abs(before).max(axis=1, initial=0, keepdims=True), 1)
    return np.asarray(TIE * np.finfo(dtype).eps * reach)


def first_largest(windows: Float[Array, "*nodes window"], tie: Float[Array, "*#nodes"]) -> Int[Array, "*nodes"]:
    """Return the first value of each window within ``tie`` of its largest."""
    least = windows.max(axis=-1) - tie
    return np.asarray((windows >= least[..., None]).argmax(axis=-1))


def connection_from(table: dict[str, Any], shape: tuple[int, ...]) -> Connection:
    """Return the connection that a table describes after a layer of ``shape``: {outputs} or {channels, kernel, padding, pool}."""
    if "outputs" in table:
        return Dense(prod(shape), **table)
    if len(shape) != 3:
        raise UserError(f"convolution: expected (channels, height, width) before it, got a layer of {shape[0]} nodes")
    return Convolution((shape[0], shape[1], shape[2]), **table)
