"""The training kernels compiled by numba; kernels/numpy.py has the same in NumPy.

Sums may be reassociated; NaN and infinity keep their meaning, so that divergence is detected.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.kernels.numba.descent import descend, total
from eqprop_analog.kernels.numba.inputs import INPUTS, Inputs
from eqprop_analog.kernels.numba.jit import NARROW
from eqprop_analog.kernels.numba.nodes import node_of
from eqprop_analog.kernels.numba.settling import settle
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
        self.column_sums = tuple(crossbar.column_sums() for crossbar in network.crossbars)
        self._row_sums = tuple(matrix.sum(axis=1) for matrix in inner)
        self.totals = tuple(np.empty_like(sums) for sums in self.column_sums)
        self.driven = total(self.column_sums, self._row_sums, self.totals)
        self._transposed = np.array([matrix.shape[1] < NARROW for matrix in inner])
        self._crossbars = tuple(
            np.ascontiguousarray(matrix.T) if transposed else matrix
            for matrix, transposed in zip(inner, self._transposed, strict=True)
        )
        first = network.crossbars[0]
        self._inputs: Inputs = INPUTS[type(first)](first, network.input_gain, network.bias_row)

    def arrays(self) -> dict[str, Array]:
        """See Kernels."""
        return named_sums(self.column_sums, self._row_sums, self.totals)

    def drive(self, inputs: Float[Array, "batch inputs"], source: Float[Array, "batch nodes"]) -> None:
        """See Kernels."""
        self._inputs.drive(inputs, self.network.biases[0], source)

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
        self._inputs.descend(mean[0], slope[0], kind(rates[0]), self._window, self.column_sums[0])
        self.driven = descend(
            network.conductances[1:],
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
        inner = self.network.conductances[1:]
        self.column_sums[0][...] = self.network.crossbars[0].column_sums()
        for matrix, mine, transposed, columns, rows in zip(
            inner, self._crossbars, self._transposed, self.column_sums[1:], self._row_sums, strict=True
        ):
            if transposed:
                mine[...] = matrix.T
            np.sum(matrix, axis=0, out=columns)
            np.sum(matrix, axis=1, out=rows)
        self.driven = total(self.column_sums, self._row_sums, self.totals)
