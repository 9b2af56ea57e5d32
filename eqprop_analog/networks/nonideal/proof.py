"""The proof of a chip's equilibria (core.proof): K as one matrix; amplifiers that saturate change what couples the nodes."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from eqprop_analog.core.proof import DOUBLE
from eqprop_analog.networks.crossbars.wired import full
from eqprop_analog.networks.node_proof import MORE, UNIT, NodeLinearisation, box, law_currents
from eqprop_analog.networks.nonideal.equations import NonidealEquations

Array = np.ndarray
Nodes = Float[Array, "batch nodes"]

ELEMENTS = 2**22
"""Of the samples' matrices held at once."""
STEEPEST = 0.77
"""Largest slope of tanh²."""


@dataclass(frozen=True, eq=False)
class NonidealProof:
    """See core.proof.Provable. In float64 alone: K's own entries are no better."""

    equations: NonidealEquations
    given: Nodes
    distance_known: Float[Array, " batch"]
    """Largest distance of a node from its own root, volts, as float64 has it."""
    precisions = (DOUBLE,)

    def select(self, samples: Bool[Array, " batch"] | Int[Array, " some"]) -> Self:
        """See Provable."""
        known = self.distance_known[samples]
        return replace(self, equations=self.equations.select(samples), given=self.given[samples], distance_known=known)

    @property
    def scale(self) -> Float[Array, " batch"]:
        """See Provable."""
        return self.equations.voltage_scale(self.given)

    def nodes(self, voltages: Nodes) -> tuple[Nodes]:
        """See Provable."""
        return (voltages,)

    def quick(self) -> Float[Array, " batch"]:
        """max(K⁻¹ D 1) times the largest distance of a node from its own root; without saturation."""
        rounding = (self.unseen(self.given) / self.equations.total).max(axis=1)
        return np.asarray(self._amplification() * (self.distance_known + rounding))

    def unseen(self, voltages: Nodes) -> Nodes:
        """Currents into the nodes that rounding, in K and s too, may hide, amperes."""
        equations, network = self.equations, self.equations.network
        first = network.driven[0].between
        flowing = np.abs(voltages) * self.sums + self.coupled_at_most(np.abs(voltages))
        flowing += np.abs(np.concatenate(network.ideal.biases))
        flowing[:, network.at[0]] += equations.largest_input[:, None] * first.sum(axis=0)
        flowing[:, network.at[-1]] += np.abs(equations.nudge_current)
        if network.offset.size:
            flowing += self.driven_at_most(np.abs(network.offset)[None])
            flowing += abs(network.ideal.diode.rail) * self.sums
        return np.asarray((len(first) + voltages.shape[1] + MORE) * UNIT * flowing)

    @property
    def sums(self) -> Float[Array, "#batch nodes"]:
        """D, but with the magnitude of a negative nudge, siemens."""
        equations, network = self.equations, self.equations.network
        sums = equations.total.copy()
        outputs = network.periphery.outputs(network.ideal)
        sums[:, network.at[-1]] += 2 * np.maximum(-equations.nudge_conductance, 0) * np.abs(outputs)
        return sums

    def currents(self, voltages: Nodes, precision: np.dtype[Any]) -> tuple[Nodes, Nodes]:
        """See Provable."""
        equations, polarity = self.equations, self.equations.network.polarity
        current = equations.inflow(voltages) - equations.total * voltages
        rounding, hidden = self.unseen(voltages), len(polarity)
        if hidden:
            drawn, lost = law_currents(equations.network.diode, polarity, voltages[:, :hidden].astype(precision))
            current[:, :hidden] -= drawn
            rounding[:, :hidden] += lost
        return current, rounding

    def linearised(self, voltages: Nodes, radius: Float[Array, " batch"]) -> "_Linearised":
        """See Provable."""
        return _Linearised(self, voltages, radius)

    def coupled_at_most(self, voltages: Nodes) -> Nodes:
        """A bound of |N v| for all |v| <= ``voltages``, whatever the amplifiers' saturation; amperes."""
        network = self.equations.network
        currents = np.zeros_like(voltages)
        for to, of, block in network.couplings:
            currents[:, to] += voltages[:, of] @ np.abs(block).T
        if network.saturating.size:
            bent = np.zeros((len(voltages), len(network.gains)))
            bent[:, network.saturating] = voltages[:, network.saturating]
            currents += self.driven_at_most(bent)
        return currents

    def driven_at_most(self, voltages: Float[Array, "batch hidden"]) -> Nodes:
        """|B| v, amperes, of the hidden nodes' ``voltages``."""
        network = self.equations.network
        currents = np.zeros((len(voltages), self.equations.total.shape[1]))
        for to, of, block in network.drive_blocks:
            currents[:, to] += voltages[:, of] @ np.abs(full(block)).T
        return currents

    @property
    def passive(self) -> bool:
        """Whether no voltage takes current out of another node."""
        return not any((block > 0).any() for _, _, block in self.equations.network.couplings)

    def _amplification(self) -> float:
        """The largest of z = K⁻¹ D 1; infinite with saturation, and unless K z > 0 can be verified and K is passive."""
        equations, network = self.equations, self.equations.network
        if network.saturating.size or not self.passive:
            return np.inf
        total = equations.total[int(equations.nudge_conductance[:, 0].argmin())]
        matrix = network.nodal_matrix.copy()
        np.fill_diagonal(matrix, total)
        try:
            z = np.linalg.solve(matrix, total)
        except np.linalg.LinAlgError:
            return np.inf
        own = self.sums.max(axis=0) * np.abs(z)
        margin = (matrix @ z - (len(z) + MORE) * UNIT * (np.abs(matrix) @ np.abs(z) + own)) / total
        least = float(np.where(z > 0, margin, -1.0).min())
        return float(z.max()) / least if least > 0 else np.inf


class _Linearised(NodeLinearisation):
    """J of a chip; its N follows the amplifiers' slopes at ``voltages``."""

    def __init__(self, circuit: NonidealProof, voltages: Nodes, radius: Float[Array, " batch"]) -> None:
        self.circuit, equations = circuit, circuit.equations
        network, hidden = equations.network, len(equations.network.polarity)
        self.droop = network.droop(voltages)[1] if network.saturating.size else None
        total = np.broadcast_to(equations.total, voltages.shape)
        inflow, unseen = equations.inflow(voltages), circuit.unseen(voltages)
        more = circuit.coupled_at_most(np.ones_like(voltages) * radius[:, None]) + unseen
        low, high = np.zeros_like(total), np.zeros_like(total)
        if hidden:
            around = equations.root(inflow - more)[:, :hidden], equations.root(inflow + more)[:, :hidden]
            low[:, :hidden], high[:, :hidden] = box(network.diode, network.polarity, voltages[:, :hidden], around)
        distance = np.abs(voltages - equations.root(inflow)) + unseen / total
        super().__init__((total, np.broadcast_to(circuit.sums, voltages.shape)), (low, high), radius, distance)

    def reach(self, currents: Nodes) -> Nodes:
        """See NodeLinearisation; nothing is proven unless all of N is positive."""
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
        size = currents.shape[1]
        samples = max(1, ELEMENTS // size**2)
        for k in range(0, len(currents), samples):
            some = slice(k, k + samples)
            matrix = -self._coupling(some) * weight[some, :, None] * weight[some, None, :]
            np.einsum("bii->bi", matrix)[:] += 1
            found[some] = solved(matrix, weight[some] * currents[some])
        return weight * found

    def _coupling(self, some: slice) -> Float[Array, "some nodes nodes"]:
        """N of some of the samples."""
        network = self.circuit.equations.network
        count, size = self.slopes[some].shape
        matrix = np.zeros((count, size, size))
        for to, of, block in network.couplings:
            matrix[:, to, of] -= block
        if self.droop is not None:
            bent = np.zeros((count, size))
            bent[:, network.saturating] = self.droop[some]
            for to, of, block in network.drive_blocks:
                matrix[:, to, of] += full(block) * bent[:, None, of]
        return matrix
