"""Kirchhoff's current law of a network with a chip's imperfections, for given inputs and nudge, all nodes together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from eqprop_analog.core.certificate import RUNAWAY, largest
from eqprop_analog.core.checks import checked_start, fitted_nudges
from eqprop_analog.core.equations import Equations, Nodes
from eqprop_analog.core.equilibrium import Equilibrium, Layers
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.errors import UserError
from eqprop_analog.networks.crossbars.wired import diagonal, times
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.resistive.equations import NodalEquations, injections

if TYPE_CHECKING:
    from eqprop_analog.networks.nonideal.proof import NonidealProof

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class NonidealEquations(Equations):
    """F(v) = s - (K + f g) v + B w(v) - i(v) = 0 at all nodes of layers 1..L together, (batch, nodes).

    g and part of s are the nudge's, f its factor at each output; w the amplifiers' droop.
    """

    network: NonidealNetwork
    largest_input: Float[Array, " batch"]
    """Largest row voltage of each sample, volts."""
    source: Float[Array, "batch nodes"]
    """s, amperes."""
    nudge_conductance: Float[Array, "#batch 1"]
    """g, siemens, before the factor of each output."""
    nudge_current: Float[Array, "#batch outputs"]
    """The nudge's share of s, amperes."""

    @classmethod
    def of(cls, network: NonidealNetwork, inputs: Float[Array, "batch inputs"]) -> Self:
        """The free phase's equations; UserError for a node that no conductance drives, or amplifiers that are not stable."""
        free = NodalEquations.of(network.ideal, inputs)
        if not network.reciprocal:
            _ = network.output_stiffness
        source = np.tile(np.concatenate(network.ideal.biases), (len(inputs), 1))
        first = network.driven[0]
        columns = len(network.ideal.biases[0])
        if first.direct:
            source[:, :columns] = free.drive
        else:
            source[:, :columns] += network.ideal.rows(inputs) @ first.between
        for to, of, block in network.drive_blocks:
            source[:, to] -= times(block, network.offset[None, of])
        return cls(network, free.largest_input, source, np.zeros((1, 1)), np.zeros((1, network.layers[-1])))

    def nudged(self, nudges: Sequence[Nudge], free: Equilibrium | None) -> Self:
        """The equations under each of ``nudges``, one batch below the other: (len(nudges)·batch) samples.

        ``free`` is where current nudges are taken. Raises UserError as NodalEquations do.
        """
        network, ideal, batch = self.network, self.network.ideal, len(self.source)
        factor, offset = network.periphery.outputs(ideal), network.periphery.targets(ideal)
        nudges = fitted_nudges(nudges, batch, ideal.classes, free, float)
        if offset.any() and any(nudge.cost == "cross-entropy" for nudge in nudges):
            raise UserError("nudge: targets of a cross-entropy are no voltages; leave target_offset at 0")
        shifted = [replace(nudge, target=nudge.target + offset) for nudge in nudges]
        conductance, current = injections(ideal, shifted, batch, free)
        for g in conductance:
            network.require_definite(g)
        current = current * factor
        source = np.tile(self.source, (len(nudges), 1))
        source[:, network.at[-1]] += current
        return replace(
            self,
            largest_input=np.tile(self.largest_input, len(nudges)),
            source=source,
            nudge_conductance=np.repeat(conductance, batch)[:, None],
            nudge_current=current,
        )

    def __len__(self) -> int:
        """Samples."""
        return len(self.source)

    @property
    def injection(self) -> tuple[Float[Array, "#batch 1"], Float[Array, "#batch outputs"]]:
        """The nudge as (g, c): output k gets c_k - f_k g v_k; siemens and amperes, zeros in the free phase."""
        return self.nudge_conductance, self.nudge_current

    def select(self, samples: Bool[Array, " batch"] | Int[Array, " some"]) -> Self:
        """The equations of some of the samples."""
        nudge = (self.nudge_conductance, self.nudge_current)
        conductance, current = (each if len(each) == 1 else each[samples] for each in nudge)
        return replace(
            self,
            largest_input=self.largest_input[samples],
            source=self.source[samples],
            nudge_conductance=conductance,
            nudge_current=current,
        )

    @cached_property
    def total(self) -> Float[Array, "#batch nodes"]:
        """D, the diagonal of K + f g, siemens."""
        own = np.concatenate([diagonal(block) for to, of, block in self.network.blocks if to == of])
        total = np.tile(own, (len(self.nudge_conductance), 1))
        total[:, self.network.at[-1]] += self.nudge_conductance * self.network.periphery.outputs(self.network.ideal)
        return total

    def coupled(self, voltages: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
        """C v, C being K without its diagonal, amperes."""
        currents = np.zeros_like(voltages)
        for to, of, block in self.network.couplings:
            currents[:, to] += voltages[:, of] @ block.T
        return currents

    def drooped(self, droop: Float[Array, "batch some"]) -> Float[Array, "batch nodes"]:
        """B w, amperes, ``droop`` that of the saturating nodes."""
        hidden, currents = np.zeros((len(droop), len(self.network.gains))), np.zeros((len(droop), self.total.shape[1]))
        hidden[:, self.network.saturating] = droop
        for to, of, block in self.network.drive_blocks:
            currents[:, to] += times(block, hidden[:, of])
        return currents

    def inflow(self, voltages: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
        """Current into every node if it sat at 0 V with its diodes removed, its own amplifier's droop held, amperes."""
        inflow = self.source - self.coupled(voltages)
        if self.network.saturating.size:
            inflow += self.drooped(self.network.droop(voltages)[0])
        return inflow

    def root(self, inflow: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
        """Voltages at which every node carries off ``inflow`` (amperes); volts."""
        voltages = inflow / self.total
        sign = self.network.polarity
        hidden = len(sign)
        if hidden:
            voltages[:, :hidden] = sign * self.network.diode.solve(self.total[:, :hidden], sign * inflow[:, :hidden])
        return voltages

    def slopes(self, voltages: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
        """D + di/dv, siemens; infinite where an ideal clamp holds the node."""
        slopes = np.array(np.broadcast_to(self.total, voltages.shape))
        sign = self.network.polarity
        if sign.size:
            slopes[:, : len(sign)] += self.network.diode.slope(sign * voltages[:, : len(sign)])
        return slopes

    def surplus(
        self, voltages: Float[Array, "batch nodes"], inflow: Float[Array, "batch nodes"]
    ) -> Float[Array, "batch nodes"]:
        """F: ``inflow`` less what the nodes carry off at ``voltages``, amperes."""
        current = inflow - self.total * voltages
        sign = self.network.polarity
        hidden = len(sign)
        if hidden:
            law = self.network.diode
            current[:, :hidden] = sign * law.mismatch(sign * voltages[:, :hidden], sign * current[:, :hidden])
        return current

    def residuals(self, voltages: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
        """F: net current into every node, amperes."""
        return self.surplus(voltages, self.inflow(voltages))

    def voltage_scale(self, voltages: Float[Array, "batch nodes"]) -> Float[Array, " batch"]:
        """Largest voltage anywhere in each sample's circuit, volts: rows, rails and nodes; 1 if all are 0 V."""
        scale = np.maximum(self.largest_input, np.abs(voltages).max(axis=1))
        if self.network.ideal.depth > 1:
            scale = np.maximum(scale, abs(self.network.ideal.diode.rail))
        return np.where(scale > 0, scale, 1)

    def initial(self) -> tuple[Array]:
        """All nodes at 0 V."""
        return (np.zeros_like(self.source),)

    def measured(self, probes: Float[Array, "batch nodes"]) -> tuple[Array]:
        """See core.Equations."""
        return (probes,)

    def states(self, nodes: Nodes) -> Layers:
        """By layer."""
        return self.layers(nodes[0])

    def unknowns(self, voltages: tuple[Array, ...]) -> tuple[Array]:
        """All layers side by side."""
        return (np.concatenate(voltages, axis=1),)

    def imbalance(self, nodes: Nodes) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
        """See core.Equations."""
        inflow = self.inflow(nodes[0])
        residual = np.abs(self.surplus(nodes[0], inflow)).max(axis=1)
        return residual, self.excess(nodes[0], inflow)[1]

    def proof(self, nodes: Nodes, excess: Float[Array, " batch"]) -> "NonidealProof":
        """See core.Equations."""
        from eqprop_analog.networks.nonideal.proof import NonidealProof

        return NonidealProof(self, nodes[0], excess * self.voltage_scale(nodes[0]))

    def excess(
        self, voltages: Float[Array, "batch nodes"], inflow: Float[Array, "batch nodes"] | None = None
    ) -> tuple[Float[Array, "batch nodes"], Float[Array, " batch"]]:
        """Every node's own root, volts, and how far any node is from it, over the circuit's largest voltage."""
        roots = self.root(self.inflow(voltages) if inflow is None else inflow)
        return roots, np.abs(roots - voltages).max(axis=1) / self.voltage_scale(voltages)

    def out_of_bounds(self, nodes: Nodes, close: Bool[Array, " batch"]) -> Bool[Array, " batch"]:
        """See core.Equations: off the equations, and beyond RUNAWAY times what drives the circuit, amplified."""
        return np.asarray(~close & (largest(nodes) > RUNAWAY * self.driving_voltage()))

    def adjoint(self, voltages: tuple[Array, ...], pull: Float[Array, "batch outputs"]) -> tuple[Array, ...]:  # noqa: ARG002
        """UserError: what its imperfections do to a gradient is what is studied, by finite nudges."""
        raise UserError("gradient: an imperfect circuit has none that is exact here; take the ideal network's")

    def driving_voltage(self) -> Float[Array, " batch"]:
        """What drives each sample's circuit, amplified, volts: rows, rails, and every source current over its node's D."""
        gain = float(np.prod([gains.max(initial=1.0) for gains in self.network.by_layer(self.network.gains)]))
        own = np.abs(self.source / self.total).max(axis=1)
        return np.asarray(gain * (self.largest_input + abs(self.network.ideal.diode.rail) + own))

    def layers(self, voltages: Float[Array, "batch nodes"]) -> Layers:
        """(batch, nodes) by layer."""
        return tuple(voltages[:, where] for where in self.network.at)

    def begun(self, start: Equilibrium | None) -> Equilibrium | None:
        """``start`` in float64; UserError unless it has a voltage for every node and sample."""
        return checked_start(start, len(self.source), self.network.layers[1:], float)
