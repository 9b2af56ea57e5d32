"""The conductances between two sets of layers as one matrix, known by its products with crossbars alone."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import DTypeLike

from eqprop_analog.networks.crossbars import Crossbar

Array = np.ndarray


class Coupling:
    """C, siemens: from the nodes of layers ``one`` (rows) to those of layers ``other``; crossbar l joins layers l - 1 and l.

    ``values @ C`` and ``values @ C.T`` take (batch, nodes) arrays, all nodes of a set side by side. np.asarray(C) is the matrix.
    """

    __array_ufunc__ = None  # so that NumPy leaves products to this class

    def __init__(self, crossbars: Sequence[Crossbar], one: range, other: range) -> None:
        self.crossbars, self.one, self.other = crossbars, one, other

    def __len__(self) -> int:
        return sum(self._size(layer) for layer in self.one)

    def _size(self, layer: int) -> int:
        return self.crossbars[layer - 1].columns

    @property
    def T(self) -> "Coupling":  # noqa: N802 - as NumPy calls it
        """The transposed matrix."""
        return Coupling(self.crossbars, self.other, self.one)

    def astype(self, dtype: DTypeLike) -> "Coupling":
        """In another precision."""
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
