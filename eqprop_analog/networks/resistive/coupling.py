"""The conductances between two sets of layers as one matrix, implemented by products with the crossbars."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import DTypeLike

from eqprop_analog.networks.crossbars import Crossbar

Array = np.ndarray


class Coupling:
    """C, siemens: couplings of the nodes of layers ``one`` (rows) with those of layers ``other``.

    Crossbar l connects layers l - 1 and l. ``values @ C`` and ``values @ C.T`` accept (batch, nodes) arrays with the nodes of all
    layers of a set concatenated. np.asarray(C) is the matrix.
    """

    __array_ufunc__ = None  # makes NumPy use the products of this class

    def __init__(self, crossbars: Sequence[Crossbar], one: range, other: range) -> None:
        self.crossbars, self.one, self.other = crossbars, one, other

    def __len__(self) -> int:
        return sum(self._size(layer) for layer in self.one)

    def _size(self, layer: int) -> int:
        return self.crossbars[layer - 1].columns

    @property
    def T(self) -> "Coupling":  # noqa: N802 - NumPy's name
        """The transposed matrix."""
        return Coupling(self.crossbars, self.other, self.one)

    def astype(self, dtype: DTypeLike) -> "Coupling":
        """The matrix in another precision."""
        return Coupling([crossbar.astype(dtype) for crossbar in self.crossbars], self.one, self.other)

    def __rmatmul__(self, values: Float[Array, "batch rows"]) -> Float[Array, "batch columns"]:
        ends = np.cumsum([self._size(layer) for layer in self.one])
        parts = dict(zip(self.one, np.split(values, ends[:-1], axis=1), strict=True))
        moved = []
        for layer in self.other:
            into = np.zeros((len(values), self._size(layer)), values.dtype)
            if layer - 1 in parts:
                into += self.crossbars[layer - 1].forward(parts[layer - 1])
            if layer + 1 in parts:
                into += self.crossbars[layer].backward(parts[layer + 1])
            moved.append(into)
        return np.concatenate(moved, axis=1)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        kind = self.crossbars[0].conductance.dtype if dtype is None else dtype
        return np.eye(len(self), dtype=kind) @ self
