"""The training kernels compiled by numba; plain.py says the same in NumPy.

Sums may be reassociated; NaN and infinity keep their meaning, so that a diverged network is seen.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.kernels.numba.descent import descend, total
from eqprop_analog.kernels.numba.jit import NARROW
from eqprop_analog.kernels.numba.nodes import node_of
from eqprop_analog.kernels.numba.settling import drive, gather_nonzero, settle
from eqprop_analog.kernels.numpy import named_sums
from eqprop_analog.networks.resistive.network import ResistiveNetwork

Array = np.ndarray


class CompiledKernels:
    """See Kernels."""

    def __init__(self, network: ResistiveNetwork) -> None:
        self.network = network
        dtype = network.conductances[0].dtype
        inner = network.conductances[1:]
        self._kind = dtype.type
        self._node = node_of(network.diode, dtype)
        self._polarities = tuple(network.polarity(layer) for layer in range(1, network.depth))
        self._gains = np.array(network.drive_gains, dtype)
        self._inverse_gains = 1 / self._gains
        self._window = tuple(map(self._kind, network.conductance_window))
        self.column_sums = tuple(matrix.sum(axis=0) for matrix in network.conductances)
        self._row_sums = tuple(matrix.sum(axis=1) for matrix in inner)
        self.totals = tuple(np.empty_like(sums) for sums in self.column_sums)
        self.driven = total(self.column_sums, self._row_sums, self.totals)
        self._transposed = np.array([matrix.shape[1] < NARROW for matrix in inner])
        self._crossbars = tuple(
            np.ascontiguousarray(matrix.T) if transposed else matrix
            for matrix, transposed in zip(inner, self._transposed, strict=True)
        )
        self._make_room(0)

    def _make_room(self, batch: int) -> None:
        """Space for the nonzero inputs of batches up to this size."""
        size, kind = self.network.layers[0], self._kind
        self._room = batch
        shapes = ((batch, size + 3), batch), ((size, batch + 3), size)
        self._by_sample, self._by_row = (
            (np.empty(full, np.int32), np.empty(full, kind), np.empty(count, np.int32)) for full, count in shapes
        )

    def arrays(self) -> dict[str, Array]:
        """See Kernels."""
        return named_sums(self.column_sums, self._row_sums, self.totals)

    def drive(self, inputs: Float[Array, "batch inputs"], source: Float[Array, "batch nodes"]) -> None:
        """See Kernels."""
        if len(inputs) > self._room:
            self._make_room(len(inputs))
        network, kind = self.network, self._kind
        gather_nonzero(inputs, kind(network.input_gain), *self._by_sample, *self._by_row)
        drive(*self._by_sample, kind(network.bias_row), network.conductances[0], network.biases[0], source)

    def settle(
        self,
        sweeps: int,
        source: Float[Array, "samples nodes"],
        nudge: Float[Array, "samples 1"],
        current: Float[Array, "samples outputs"],
        voltages: Layers,
    ) -> bool:
        """See Kernels."""
        return settle(
            sweeps,
            self._node,
            self._polarities,
            self._crossbars,
            self._transposed,
            self._gains,
            self._inverse_gains,
            self.network.biases,
            self.totals,
            source,
            nudge,
            current,
            voltages,
        )

    def descend(self, mean: Layers, slope: Layers, rates: Sequence[float], bias_rates: Sequence[float]) -> None:
        """See Kernels."""
        kind, network = self._kind, self.network
        self.driven = descend(
            self._by_row,
            kind(network.bias_row),
            network.conductances,
            self._crossbars,
            self._transposed,
            self._gains,
            network.biases,
            mean,
            slope,
            np.array(rates, kind),
            np.array(bias_rates, kind),
            self._window,
            self.column_sums,
            self._row_sums,
            self.totals,
        )

    def follow(self) -> None:
        """See Kernels."""
        first, *inner = self.network.conductances
        np.sum(first, axis=0, out=self.column_sums[0])
        for matrix, mine, transposed, columns, rows in zip(
            inner, self._crossbars, self._transposed, self.column_sums[1:], self._row_sums, strict=True
        ):
            if transposed:
                mine[...] = matrix.T
            np.sum(matrix, axis=0, out=columns)
            np.sum(matrix, axis=1, out=rows)
        self.driven = total(self.column_sums, self._row_sums, self.totals)
