"""The training kernels in NumPy: a few passes over the arrays, and BLAS products."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.networks.resistive.network import ResistiveNetwork

Array = np.ndarray


class PlainKernels:
    """See Kernels."""

    def __init__(self, network: ResistiveNetwork) -> None:
        self.network = network
        first, *inner = network.conductances
        self.column_sums = tuple(matrix.sum(axis=0) for matrix in network.conductances)
        self._row_sums = tuple(matrix.sum(axis=1) for matrix in inner)
        self.totals = tuple(sums.copy() for sums in self.column_sums)
        self._total()
        self._polarity = [network.polarity(layer) for layer in range(1, network.depth)]
        self._products = [np.empty_like(matrix) for matrix in (first[: network.layers[0]], *inner)]
        self._volts = np.empty((0, 0), first.dtype)

    def arrays(self) -> dict[str, Array]:
        """See Kernels."""
        return named_sums(self.column_sums, self._row_sums, self.totals)

    def drive(self, inputs: Float[Array, "batch inputs"], source: Float[Array, "batch nodes"]) -> None:
        """See Kernels."""
        network, difference = self.network, self._products[0]
        first, half = network.conductances[0], network.layers[0]
        self._volts = inputs * inputs.dtype.type(network.input_gain)
        np.subtract(first[:half], first[half : 2 * half], out=difference)
        np.dot(self._volts, difference, out=source)
        source += network.biases[0]
        if network.bias_row:
            source += inputs.dtype.type(network.bias_row) * first[2 * half]

    def settle(
        self,
        sweeps: int,
        source: Float[Array, "samples nodes"],
        nudge: Float[Array, "samples 1"],
        current: Float[Array, "samples outputs"],
        voltages: Layers,
    ) -> bool:
        """See Kernels."""
        network, depth, kind = self.network, len(voltages), source.dtype.type
        gains = [kind(gain) for gain in network.drive_gains]
        with np.errstate(all="ignore"):  # what overflows is not finite at the outputs
            for _ in range(sweeps):
                for layer in (*range(0, depth, 2), *range(1, depth, 2)):
                    v = voltages[layer]
                    if layer == 0:
                        np.copyto(v, source)
                    else:
                        np.dot(voltages[layer - 1], network.conductances[layer], out=v)
                        np.multiply(v, gains[layer], out=v)
                        np.add(v, network.biases[layer], out=v)
                    if layer == depth - 1:
                        np.add(v, current, out=v)
                        np.divide(v, self.totals[layer] + nudge, out=v)
                    else:
                        back = voltages[layer + 1] @ network.conductances[layer + 1].T
                        inflow = self._polarity[layer] * (v + back / gains[layer + 1])
                        np.multiply(self._polarity[layer], network.diode.solve(self.totals[layer], inflow), out=v)
        return bool(np.isfinite(voltages[-1]).all())

    def descend(self, mean: Layers, slope: Layers, rates: Sequence[float], bias_rates: Sequence[float]) -> None:
        """See Kernels."""
        network = self.network
        below = below_slope = None
        for layer, (matrix, v, dv) in enumerate(zip(network.conductances, mean, slope, strict=True)):
            kind = v.dtype.type
            rate, product = kind(rates[layer]), self._products[layer]
            if below is None or below_slope is None:
                half = len(product)
                np.dot(self._volts.T, rate * dv, out=product)
                np.add(matrix[:half], product, out=matrix[:half])
                np.subtract(matrix[half : 2 * half], product, out=matrix[half : 2 * half])
                if network.bias_row:
                    matrix[2 * half] += kind(network.bias_row) * rate * dv.sum(axis=0)
            else:
                pair = np.concatenate([below, below_slope]).T
                np.dot(rate * pair, np.concatenate([dv, v]), out=product)
                np.add(matrix, product, out=matrix)
                np.subtract(matrix, rate * (below * below_slope).sum(axis=0)[:, None], out=matrix)
            np.subtract(matrix, rate * (v * dv).sum(axis=0), out=matrix)
            np.clip(matrix, *network.conductance_window, out=matrix)
            np.sum(matrix, axis=0, out=self.column_sums[layer])
            if layer > 0:
                np.sum(matrix, axis=1, out=self._row_sums[layer - 1])
            network.biases[layer][...] += kind(bias_rates[layer]) * dv.sum(axis=0)
            if layer < network.depth - 1:
                gain = kind(network.amplifier_gain[layer])
                below, below_slope = gain * v, gain * dv
        self._total()

    def follow(self) -> None:
        """See Kernels."""
        for layer, matrix in enumerate(self.network.conductances):
            np.sum(matrix, axis=0, out=self.column_sums[layer])
            if layer > 0:
                np.sum(matrix, axis=1, out=self._row_sums[layer - 1])
        self._total()

    def _total(self) -> None:
        for total, columns, rows in zip(self.totals, self.column_sums, (*self._row_sums, 0), strict=True):
            np.add(columns, rows, out=total)
        self.driven = all(sums.min() > 0 for sums in self.column_sums)


def named_sums(column_sums: Sequence[Array], row_sums: Sequence[Array], totals: Sequence[Array]) -> dict[str, Array]:
    """By the names they have in checkpoints."""
    named = {f"column_sums_{l}": sums for l, sums in enumerate(column_sums, start=1)}
    named |= {f"row_sums_{l}": sums for l, sums in enumerate(row_sums, start=2)}
    return named | {f"total_{l}": total for l, total in enumerate(totals, start=1)}
