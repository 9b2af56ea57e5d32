"""Crossbar 1 in compiled training: its rows are sources, so that it only drives the first layer and is not part of the sweeps."""

from collections.abc import Mapping
from math import prod
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from eqprop_analog.kernels.numba.convolution import descend_kernels, drive_places, gather_patches
from eqprop_analog.kernels.numba.descent import descend_inputs
from eqprop_analog.kernels.numba.settling import drive, gather_nonzero
from eqprop_analog.networks.crossbars import Convolution, Crossbar, Dense

Array = np.ndarray


class Inputs(Protocol):
    """Operations of one kind of crossbar 1; ``descend`` uses the inputs of the last ``drive``."""

    def drive(
        self, inputs: Float[Array, "batch inputs"], bias: Float[Array, " nodes"], source: Float[Array, "batch nodes"]
    ) -> None:
        """See Kernels."""
        ...

    def descend(
        self,
        v: Float[Array, "batch nodes"],
        dv: Float[Array, "batch nodes"],
        step: float,
        window: tuple[float, float],
        sums: Float[Array, " nodes"],
    ) -> None:
        """Do one step of its conductances against the contrast, and compute its new column sums."""
        ...


class DenseInputs:
    """A dense crossbar 1, which processes only inputs other than 0 V."""

    def __init__(self, crossbar: Dense, gain: float, bias_row: float) -> None:
        self._matrix = crossbar.conductance
        self._kind = self._matrix.dtype.type
        self._gain, self._bias_row = self._kind(gain), self._kind(bias_row)
        self._size = crossbar.rows // 2
        self._make_room(0)

    def _make_room(self, batch: int) -> None:
        """Allocate space for the nonzero inputs of batches up to this size."""
        self._room = batch
        shapes = ((batch, self._size + 3), batch), ((self._size, batch + 3), self._size)
        self._by_sample, self._by_row = (
            (np.empty(full, np.int32), np.empty(full, self._kind), np.empty(count, np.int32)) for full, count in shapes
        )

    def drive(
        self, inputs: Float[Array, "batch inputs"], bias: Float[Array, " nodes"], source: Float[Array, "batch nodes"]
    ) -> None:
        """See Inputs."""
        if len(inputs) > self._room:
            self._make_room(len(inputs))
        gather_nonzero(inputs, self._gain, *self._by_sample, *self._by_row)
        drive(*self._by_sample, self._bias_row, self._matrix, bias, source)

    def descend(
        self,
        v: Float[Array, "batch nodes"],
        dv: Float[Array, "batch nodes"],
        step: float,
        window: tuple[float, float],
        sums: Float[Array, " nodes"],
    ) -> None:
        """See Inputs."""
        descend_inputs(*self._by_row, self._bias_row, self._matrix, v, dv, step, *window, sums)


class ConvolutionInputs:
    """A convolution at the inputs, which copies the patches of all places for matrix products."""

    def __init__(self, crossbar: Convolution, gain: float, bias_row: float) -> None:
        self._kernels = crossbar.conductance
        kind = self._kernels.dtype.type
        self._gain, self._bias_row = kind(gain), kind(bias_row)
        self._images = crossbar.shape[0] // 2, *crossbar.shape[1:]
        self._columns = crossbar.features, prod(crossbar.places)
        self._patch = crossbar.patch // 2
        self._geometry = crossbar.kernel, crossbar.stride, crossbar.padding, *crossbar.places
        self._patches = np.empty((0, self._patch, self._columns[1]), kind)
        self._present = np.zeros((0, 0), kind)
        if crossbar.padding:
            whole = np.empty((1, self._patch, self._columns[1]), kind)
            gather_patches(np.ones((1, *self._images), kind), kind(1), *self._geometry, whole)
            self._present = whole[0]

    def drive(
        self, inputs: Float[Array, "batch inputs"], bias: Float[Array, " nodes"], source: Float[Array, "batch nodes"]
    ) -> None:
        """See Inputs."""
        if len(inputs) != len(self._patches):
            self._patches = np.empty((len(inputs), self._patch, self._columns[1]), self._kernels.dtype)
        images = np.ascontiguousarray(inputs).reshape(-1, *self._images)
        gather_patches(images, self._gain, *self._geometry, self._patches)
        maps = bias.reshape(self._columns), self._patches, source.reshape(-1, *self._columns)
        drive_places(self._kernels, self._bias_row, *maps)

    def descend(
        self,
        v: Float[Array, "batch nodes"],
        dv: Float[Array, "batch nodes"],
        step: float,
        window: tuple[float, float],
        sums: Float[Array, " nodes"],
    ) -> None:
        """See Inputs."""
        maps = v.reshape(-1, *self._columns), dv.reshape(-1, *self._columns)
        given = self._kernels, self._bias_row, self._patches, self._present
        descend_kernels(*given, *maps, step, *window, sums.reshape(self._columns))


INPUTS: Mapping[type[Crossbar], Any] = {Dense: DenseInputs, Convolution: ConvolutionInputs}
"""Implementations by the kind of crossbar; others use NumPy."""
