"""The training kernels in NumPy, for crossbars of any kind, by their operators and a few passes over the arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.networks.resistive.network import ResistiveNetwork

Array = np.ndarray


class PlainKernels:
    """See Kernels."""

    def __init__(self, network: ResistiveNetwork) -> None:
        self.network = network
        first, *inner = network.crossbars
        self.column_sums = tuple(crossbar.column_sums() for crossbar in network.crossbars)
        self._row_sums = tuple(crossbar.row_sums() for crossbar in inner)
        self.totals = tuple(sums.copy() for sums in self.column_sums)
        self._total()
        self._polarity = [network.polarity(layer) for layer in range(1, network.depth)]
        self._volts = np.empty((0, 0), first.conductance.dtype)

    def arrays(self) -> dict[str, Array]:
        """See Kernels."""
        return named_sums(self.column_sums, self._row_sums, self.totals)

    def drive(self, inputs: Float[Array, "batch inputs"], source: Float[Array, "batch nodes"]) -> None:
        """See Kernels."""
        network, kind = self.network, inputs.dtype.type
        self._volts = inputs * kind(network.input_gain)
        np.add(network.crossbars[0].mirrored(self._volts), network.biases[0], out=source)
        if network.bias_row:
            source += kind(network.bias_row) * network.crossbars[0].row(-1)

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
        with np.errstate(all="ignore"):  # an overflow leaves outputs that are not finite
            for _ in range(sweeps):
                for layer in (*range(0, depth, 2), *range(1, depth, 2)):
                    v = voltages[layer]
                    if layer == 0:
                        np.copyto(v, source)
                    else:
                        np.multiply(network.crossbars[layer].forward(voltages[layer - 1]), gains[layer], out=v)
                        np.add(v, network.biases[layer], out=v)
                    if layer == depth - 1:
                        np.add(v, current, out=v)
                        np.divide(v, self.totals[layer] + nudge, out=v)
                    else:
                        back = network.crossbars[layer + 1].backward(voltages[layer + 1])
                        inflow = self._polarity[layer] * (v + back / gains[layer + 1])
                        np.multiply(self._polarity[layer], network.diode.solve(self.totals[layer], inflow), out=v)
        return bool(np.isfinite(voltages[-1]).all())

    def descend(self, mean: Layers, slope: Layers, rates: Sequence[float], bias_rates: Sequence[float]) -> None:
        """See Kernels."""
        network = self.network
        below = below_slope = self._volts
        for layer, (crossbar, v, dv) in enumerate(zip(network.crossbars, mean, slope, strict=True)):
            kind: Any = v.dtype.type
            matrix = crossbar.conductance
            if layer == 0:
                gradient = crossbar.mirrored_gradient(self._volts, network.bias_row, v, dv)
            else:
                gradient = crossbar.gradient((below, v), (below_slope, dv))
            np.subtract(matrix, kind(rates[layer]) * gradient, out=matrix)
            np.clip(matrix, *network.conductance_window, out=matrix)
            network.biases[layer][...] += kind(bias_rates[layer]) * dv.sum(axis=0)
            if layer < network.depth - 1:
                gain = kind(network.amplifier_gain[layer])
                below, below_slope = gain * v, gain * dv
        self.follow()

    def follow(self) -> None:
        """See Kernels."""
        for layer, crossbar in enumerate(self.network.crossbars):
            self.column_sums[layer][...] = crossbar.column_sums()
            if layer > 0:
                self._row_sums[layer - 1][...] = crossbar.row_sums()
        self._total()

    def _total(self) -> None:
        behind: tuple[Any, ...] = (*self._row_sums, 0)
        for total, columns, rows in zip(self.totals, self.column_sums, behind, strict=True):
            np.add(columns, rows, out=total)
        self.driven = all(sums.min() > 0 for sums in self.column_sums)


def named_sums(column_sums: Sequence[Array], row_sums: Sequence[Array], totals: Sequence[Array]) -> dict[str, Array]:
    """Return the sums by their names in checkpoints."""
    named = {f"column_sums_{l}": sums for l, sums in enumerate(column_sums, start=1)}
    named |= {f"row_sums_{l}": sums for l, sums in enumerate(row_sums, start=2)}
    return named | {f"total_{l}": total for l, total in enumerate(totals, start=1)}
