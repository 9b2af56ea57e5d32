"""The proof of a chip's equilibria (core.proof): K is one matrix; saturating amplifiers change the couplings of nodes."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.core.proof import DOUBLE
from eqprop_analog.networks.crossbars.square import full
from eqprop_analog.networks.node_proof import MORE, UNIT
from eqprop_analog.networks.nonideal.equations import NonidealEquations
from eqprop_analog.networks.resistive.proof import LayeredLinearisation, LayeredProof

Array = np.ndarray
Nodes = Float[Array, "batch nodes"]

ELEMENTS = 2**22
"""Largest number of matrix elements held at once."""
STEEPEST = 0.77
"""Largest slope of tanh²."""


class NonidealProof(LayeredProof):
    """See core.proof.Provable. Only in float64, because the entries of K are not more precise."""

    equations: NonidealEquations
    precisions: ClassVar[Sequence[np.dtype[Any]]] = (DOUBLE,)

    def quick(self) -> Float[Array, " batch"]:
        """See LayeredProof; without saturation."""
        rounding = (self.hidden_by_rounding(self.given) / self.equations.totals).max(axis=1)
        return np.asarray(self._amplification() * (self.distance_known + rounding))

    def distance(self, layers: Layers) -> Nodes:
        """See LayeredProof."""
        v = self.joined(layers)
        return np.abs(v - self.joined(self.roots(layers))) + self.hidden_by_rounding(v) / self.equations.totals

    def unseen(self, layer: int, layers: Layers) -> Nodes:
        """See LayeredProof."""
        return self.hidden_by_rounding(self.joined(layers))[:, self.equations.network.at[layer - 1]]

    def hidden_by_rounding(self, voltages: Nodes) -> Nodes:
        """Currents into the nodes that rounding, including that of K and s, may hide, amperes."""
        equations, network = self.equations, self.equations.network
        sums = self.joined(
            tuple(np.broadcast_to(self.sums(l), v.shape) for l, v in enumerate(self.layers(voltages), 1))
        )
        flowing = np.abs(voltages) * sums + self.joined(self.coupled_at_most(self.layers(np.abs(voltages))))
        flowing += np.abs(np.concatenate(network.biases))
        flowing[:, network.at[0]] += equations.largest_input[:, None] * network.crossbars[0].between.sum(axis=0)
        flowing[:, network.at[-1]] += np.abs(equations.nudge_current)
        if network.offset.size:
            flowing += self.driven_at_most(np.abs(network.offset)[None])
            flowing += abs(network.diode.rail) * sums
        return np.asarray((network.crossbars[0].rows + voltages.shape[1] + MORE) * UNIT * flowing)

    def linearised(self, voltages: Nodes, radius: Float[Array, " batch"]) -> "_Linearised":
        """See Provable."""
        return _Linearised(self, voltages, radius)

    def coupled_at_most(self, layers: Layers) -> Layers:
        """See LayeredProof; for any saturation of the amplifiers."""
        network, voltages = self.equations.network, self.joined(layers)
        currents = np.zeros_like(voltages)
        for to, of, block in network.couplings:
            currents[:, to] += voltages[:, of] @ np.abs(block).T
        if network.saturating.size:
            bent = np.zeros((len(voltages), len(network.gains)))
            bent[:, network.saturating] = voltages[:, network.saturating]
            currents += self.driven_at_most(bent)
        return self.layers(currents)

    def driven_at_most(self, voltages: Float[Array, "batch hidden"]) -> Nodes:
        """|B| v, amperes, for the ``voltages`` v of the hidden nodes."""
        network = self.equations.network
        currents = np.zeros((len(voltages), sum(network.layers[1:])))
        for to, of, block in network.drive_blocks:
            currents[:, to] += voltages[:, of] @ np.abs(full(block)).T
        return currents

    @property
    def passive(self) -> bool:
        """Whether no node voltage draws current from another node."""
        return not any((block > 0).any() for _, _, block in self.equations.network.couplings)

    def _amplification(self) -> float:
        """Largest element of z = K⁻¹ D 1; infinite with saturation, or unless K z > 0 is verified and K is passive."""
        equations, network = self.equations, self.equations.network
        if network.saturating.size or not self.passive:
            return np.inf
        total = equations.totals[int(equations.nudge_conductance[:, 0].argmin())]
        sums = np.concatenate([np.atleast_2d(self.sums(l)).max(axis=0) for l in range(1, equations.depth + 1)])
        matrix = network.nodal_matrix.copy()
        np.fill_diagonal(matrix, total)
        try:
            z = np.linalg.solve(matrix, total)
        except np.linalg.LinAlgError:
            return np.inf
        own = sums * np.abs(z)
        margin = (matrix @ z - (len(z) + MORE) * UNIT * (np.abs(matrix) @ np.abs(z) + own)) / total
        least = float(np.where(z > 0, margin, -1.0).min())
        return float(z.max()) / least if least > 0 else np.inf


class _Linearised(LayeredLinearisation):
    """J of a chip, with N for the amplifiers' slopes at ``voltages``."""

    circuit: NonidealProof

    def __init__(self, circuit: NonidealProof, voltages: Nodes, radius: Float[Array, " batch"]) -> None:
        network = circuit.equations.network
        self.droop = network.droop(voltages)[1] if network.saturating.size else None
        super().__init__(circuit, voltages, radius)

    def reach(self, currents: Nodes) -> Nodes:
        """See NodeLinearisation; proves nothing unless all elements of N are positive."""
        found = super().reach(currents)
        return found if self.circuit.passive else np.full_like(found, np.inf)

    def bent(self, radius: Float[Array, " batch"]) -> Nodes:
        """See NodeLinearisation."""
        network = self.circuit.equations.network
        if not network.saturating.size:
            return np.zeros_like(self.slopes)
        change = np.zeros((len(radius), len(network.gains)))
        change[:, network.saturating] = STEEPEST * radius[:, None] ** 2 / network.input_range
        return self.circuit.driven_at_most(change)

    def coupled(self, voltages: Nodes) -> Nodes:
        equations = self.circuit.equations
        currents = -equations.coupled(voltages)
        if self.droop is not None:
            currents += equations.drooped(self.droop * voltages[:, equations.network.saturating])
        return currents

    def solved(self, currents: Nodes) -> Nodes:
        from eqprop_analog.networks.resistive.elimination import solved

        weight = 1 / np.sqrt(self.slopes)
        found = np.empty_like(currents)
        samples = max(1, ELEMENTS // currents.shape[1] ** 2)
        for k in range(0, len(currents), samples):
            some = slice(k, k + samples)
            bent = None if self.droop is None else self.droop[some]
            matrix = (
                self.circuit.equations.coupling(bent, len(weight[some])) * weight[some, :, None] * weight[some, None, :]
            )
            np.einsum("bii->bi", matrix)[:] += 1
            found[some] = solved(matrix, weight[some] * currents[some])
        return weight * found
