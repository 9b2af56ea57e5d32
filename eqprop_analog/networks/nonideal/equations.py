"""Kirchhoff's current law of a network with the imperfections of a chip, for given inputs and nudge."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.checks import fitted_nudges
from eqprop_analog.core.equations import Nodes
from eqprop_analog.core.equilibrium import Equilibrium, Layers
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.errors import UserError
from eqprop_analog.networks.crossbars.square import diagonal, full, times
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.resistive.equations import NodalEquations

if TYPE_CHECKING:
    from eqprop_analog.networks.nonideal.proof import NonidealProof

Array = np.ndarray
Joined = Float[Array, "batch nodes"]
"""Values at all nodes of layers 1..L, concatenated."""


@dataclass(frozen=True, eq=False)
class NonidealEquations(NodalEquations):
    """F(v) = s - (K + f g) v + B w(v) - i(v) = 0: NodalEquations with wires between a layer's nodes, and with real amplifiers.

    g and a part of s belong to the nudge, with a factor f at each output; w is the droop of saturating amplifiers.
    """

    network: NonidealNetwork

    @classmethod
    def of(cls, network: NonidealNetwork, inputs: Float[Array, "batch inputs"]) -> Self:  # type: ignore[override]
        """Equations of the free phase; UserError for a node without a driving conductance, or for unstable amplifiers."""
        free = super().of(network, inputs)
        if not network.reciprocal:
            _ = network.output_stiffness
        own = [diagonal(block) for to, of, block in network.blocks if to == of]
        return replace(free, drive=free.drive + (network.sources[0] - network.biases[0]), conductance=tuple(own))

    def nudged(self, nudges: Sequence[Nudge], free: Equilibrium | None) -> Self:
        """See NodalEquations; targets include their offsets, and outputs their factors."""
        network = self.network
        offset = network.periphery.targets(network.ideal)
        nudges = fitted_nudges(nudges, len(self), network.classes, free, float)
        if offset.any() and any(nudge.cost == "cross-entropy" for nudge in nudges):
            raise UserError("nudge: the targets of a cross-entropy are not voltages; leave target_offset at 0")
        shifted = [replace(nudge, target=nudge.target + offset) for nudge in nudges]
        together = super().nudged(shifted, free)
        return replace(together, nudge_current=together.nudge_current * network.nudge_factor)

    def source(self, layer: int) -> Float[Array, "#batch nodes"]:
        """See NodalEquations."""
        own = self.drive if layer == 1 else self.network.sources[layer - 1]
        return own + self.nudge_current if layer == self.depth else own

    def inflow(self, layer: int, voltages: Layers) -> Joined:
        """See NodalEquations; the droop of the layer's own amplifiers is held constant."""
        network = self.network
        here = network.at[layer - 1]
        current = np.array(np.broadcast_to(self.source(layer), voltages[layer - 1].shape))
        for to, of, block in network.couplings:
            if to == here:
                current -= voltages[network.at.index(of)] @ block.T
        if network.saturating.size:
            droop = self._at_hidden(network.droop(self.joined(voltages))[0])
            for to, of, block in network.drive_blocks:
                if to == here:
                    current += times(block, droop[:, of])
        return current

    @cached_property
    def totals(self) -> Float[Array, "#batch nodes"]:
        """D, the diagonal of K + f g, siemens."""
        batch = len(self.nudge_conductance)
        parts = [
            np.broadcast_to(self.total(layer), (batch, n)) for layer, n in enumerate(self.network.layers[1:], start=1)
        ]
        return self.joined(tuple(parts))

    def coupled(self, voltages: Joined) -> Joined:
        """C v, amperes, with C the off-diagonal part of K."""
        currents = np.zeros_like(voltages)
        for to, of, block in self.network.couplings:
            currents[:, to] += voltages[:, of] @ block.T
        return currents

    def drooped(self, droop: Float[Array, "batch some"]) -> Joined:
        """B w, amperes, with the ``droop`` w of the saturating nodes."""
        hidden, currents = self._at_hidden(droop), np.zeros((len(droop), sum(self.network.layers[1:])))
        for to, of, block in self.network.drive_blocks:
            currents[:, to] += times(block, hidden[:, of])
        return currents

    def coupling(self, bent: Float[Array, "batch some"] | None, batch: int) -> Float[Array, "batch nodes nodes"]:
        """C - B w', siemens, one matrix for each sample; ``bent``: w' of the saturating nodes."""
        network = self.network
        matrix = np.zeros((batch, *(sum(network.layers[1:]),) * 2))
        for to, of, block in network.couplings:
            matrix[:, to, of] += block
        if bent is not None:
            slopes = self._at_hidden(bent)
            for to, of, block in network.drive_blocks:
                matrix[:, to, of] -= full(block) * slopes[:, None, of]
        return matrix

    def _at_hidden(self, droop: Float[Array, "batch some"]) -> Float[Array, "batch hidden"]:
        """``droop`` at all hidden nodes, 0 V without saturation."""
        hidden = np.zeros((len(droop), len(self.network.gains)))
        hidden[:, self.network.saturating] = droop
        return hidden

    def roots(self, voltages: Joined) -> tuple[Joined, Float[Array, " batch"]]:
        """Root of every node's own equation, volts, and the largest distance from it relative to the largest voltage."""
        layers = self.split(voltages)
        found = self.joined(tuple(self.solve_layer(layer, layers) for layer in range(1, self.depth + 1)))
        return found, np.abs(found - voltages).max(axis=1) / self.scale(layers)

    def scale(self, voltages: Layers) -> Float[Array, " batch"]:
        """The largest voltage anywhere in each sample's circuit, volts; 1 if all are 0 V."""
        largest = self.voltage_scale(voltages)
        return np.where(largest > 0, largest, 1)

    def split(self, voltages: Joined) -> Layers:
        """The voltages by layer."""
        return tuple(voltages[:, at] for at in self.network.at)

    @staticmethod
    def joined(layers: Layers) -> Joined:
        """The voltages of all layers, concatenated."""
        return np.concatenate(layers, axis=1)

    def proof(self, nodes: Nodes, excess: Float[Array, " batch"]) -> "NonidealProof":
        """See core.Equations."""
        from eqprop_analog.networks.nonideal.proof import NonidealProof

        return NonidealProof(self, self.joined(nodes), excess * self.scale(nodes))

    def adjoint(self, voltages: tuple[Array, ...], pull: Float[Array, "batch outputs"]) -> Layers:
        """See core.Equations; by direct elimination, because non-reciprocal amplifiers make J unsymmetric."""
        from eqprop_analog.networks.nonideal.newton import adjoint

        return self.split(adjoint(self, self.joined(voltages), pull))

    def driving_voltage(self) -> Float[Array, " batch"]:
        """Largest amplified drive of each sample, volts: rows, rails, and every source current divided by its node's D."""
        network = self.network
        gain = float(np.prod([gains.max(initial=1.0) for gains in network.by_layer(network.gains)]))
        own = [np.abs(self.source(layer) / self.total(layer)).max(axis=-1) for layer in range(1, self.depth + 1)]
        return np.asarray(
            gain * (self.largest_input + abs(network.diode.rail) + np.max(np.broadcast_arrays(*own), axis=0))
        )
