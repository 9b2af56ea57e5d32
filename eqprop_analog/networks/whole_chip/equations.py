"""Kirchhoff's current law at every node of a whole chip, including those of its wires, for given inputs and nudge."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from eqprop_analog.core.equations import Equations, Nodes
from eqprop_analog.core.equilibrium import Equilibrium, Layers, by_layer
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.networks.nonideal.equations import NonidealEquations
from eqprop_analog.networks.whole_chip.assembly import Assembly
from eqprop_analog.networks.whole_chip.network import WholeChip

if TYPE_CHECKING:
    from eqprop_analog.networks.whole_chip.proof import WholeChipProof

Array = np.ndarray
All = Float[Array, "batch nodes"]
HELD = 1e30
"""Conductance on the diagonal of a node that is held, siemens."""


@dataclass(frozen=True, eq=False)
class WholeChipEquations(Equations):
    """F(v) = s - Cᵀ Dᵀ y f(D e(v)) - g v - i(v) = 0 (networks.whole_chip.assembly); g: loads, and the nudge with its factors."""

    network: WholeChip
    reduced: NonidealEquations
    """Equations of the chip with linear cells and eliminated wires, for inputs, biases, nudge and checks of the equilibrium."""

    @classmethod
    def of(cls, network: WholeChip, inputs: Float[Array, "batch inputs"]) -> Self:
        """Equations of the free phase. Raises UserError as NonidealEquations does."""
        return cls(network, NonidealEquations.of(network, inputs))

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.reduced)

    @property
    def assembly(self) -> Assembly:
        """The branches of the network."""
        return self.network.assembly

    @property
    def injection(self) -> tuple[Float[Array, "#batch 1"], Float[Array, "#batch outputs"]]:
        """See NodalEquations."""
        return self.reduced.injection

    def nudged(self, nudges: Sequence[Nudge], free: Equilibrium | None) -> Self:
        """See core.Equations."""
        return replace(self, reduced=self.reduced.nudged(nudges, free))

    def select(self, samples: Bool[Array, " batch"] | Int[Array, " some"]) -> Self:
        """See core.Equations."""
        return replace(self, reduced=self.reduced.select(samples))

    def begun(self, start: Equilibrium | None) -> Equilibrium | None:
        """See core.Equations."""
        return self.reduced.begun(start)

    def initial(self) -> tuple[All]:
        """All nodes at 0 V."""
        return (np.zeros((len(self), self.assembly.size)),)

    def measured(self, probes: All) -> tuple[All]:
        """See core.Equations."""
        return (probes,)

    def states(self, nodes: Nodes) -> Layers:
        """See core.Equations: the layers' nodes."""
        (volts,) = nodes
        return by_layer(volts[:, : self.layered], self.network.layers)

    def unknowns(self, voltages: Layers) -> tuple[All]:
        """See core.Equations: row ports and wires at equilibrium with the given nodes of the layers."""
        from eqprop_analog.networks.whole_chip.newton import with_wires

        return (with_wires(self, np.concatenate(voltages, axis=1)),)

    @property
    def layered(self) -> int:
        """Number of nodes of layers 1..L."""
        return sum(self.network.layers[1:])

    @cached_property
    def rows(self) -> Float[Array, "batch rows"]:
        """Voltages of the input rows, volts."""
        reduced = self.reduced
        return self.network.rows(reduced.inputs[reduced.given])

    @cached_property
    def polarity(self) -> Float[Array, " hidden"]:
        """Polarity ±1 of all hidden nodes."""
        return np.concatenate([*self.reduced.polarity, np.zeros(0)])

    @cached_property
    def loads(self) -> Float[Array, "#batch nodes"]:
        """g: conductances of the amplifiers' inputs and of the nudge, siemens."""
        network, nudge = self.network, self.reduced.nudge_conductance
        found = np.zeros((len(nudge), self.assembly.size))
        hidden = [network.loading(layer) for layer in range(1, network.depth)]
        found[:, : self.assembly.hidden] = np.concatenate([*hidden, np.zeros(0)])
        found[:, self.assembly.hidden : self.layered] = nudge * network.nudge_factor
        return found

    @cached_property
    def sources(self) -> Float[Array, "#batch nodes"]:
        """s: bias currents and currents of the nudge, amperes."""
        nudge = self.reduced.nudge_current
        found = np.zeros((len(nudge), self.assembly.size))
        found[:, : self.layered] = np.concatenate(self.network.biases)
        found[:, self.assembly.hidden : self.layered] += nudge
        return found

    @property
    def least(self) -> Float[Array, "#batch nodes"]:
        """D: lower bound of the conductance at every node without diodes, siemens."""
        return self.assembly.own_slope + self.loads

    def ends(self, volts: All) -> Float[Array, "batch ends"]:
        """e: voltages of nodes, drives and rows, volts."""
        drives = self.network.drives(by_layer(volts[:, : self.layered], self.network.layers))
        return np.concatenate([volts, *drives, self.rows], axis=1)

    def drops(self, volts: tuple[All] | All) -> Float[Array, "batch branches"]:
        """D e: voltage drops of the branches, volts."""
        nodes = volts[0] if isinstance(volts, tuple) else volts
        return np.asarray((self.assembly.incidence @ self.ends(nodes).T).T)

    def drops_between(self, apart: All) -> Float[Array, "batch branches"]:
        """D applied to the difference ``apart`` of two equilibria with equal inputs and unsaturated amplifiers, volts."""
        drives = self.network.gains * apart[:, : self.assembly.hidden]
        ends = np.concatenate([apart, drives, np.zeros((len(apart), self.assembly.rows))], axis=1)
        return np.asarray((self.assembly.incidence @ ends.T).T)

    def follow(self, volts: All) -> Float[Array, "batch hidden"]:
        """dA/dv of every drive."""
        network = self.network
        slope = np.tile(network.gains, (len(volts), 1))
        if network.saturating.size:
            slope[:, network.saturating] *= 1 - network.droop(volts)[1]
        return slope

    def flows(self, drops: Float[Array, "batch branches"]) -> Float[Array, "batch branches"]:
        """Current of every branch, amperes."""
        found, cells = self.assembly.siemens * drops, self.assembly.nonlinear
        if self.network.cell is not None:
            found[:, cells] = self.assembly.siemens[cells] * self.network.cell.volts(drops[:, cells])
        return found

    def slopes(self, drops: Float[Array, "batch branches"]) -> Float[Array, "batch branches"]:
        """d(flow)/d(drop), siemens."""
        found, cells = np.tile(self.assembly.siemens, (len(drops), 1)), self.assembly.nonlinear
        if self.network.cell is not None:
            found[:, cells] *= self.network.cell.slope(drops[:, cells])
        return found

    def without_diodes(self, volts: All) -> All:
        """Net currents into the nodes with their diodes removed, s - Cᵀ Dᵀ y f - g v, amperes."""
        leaving = np.asarray((self.assembly.leaving @ self.flows(self.drops(volts)).T).T)
        return self.sources - self.assembly.collected(leaving) - self.loads * volts

    def missing(self, volts: All, without: All) -> All:
        """F from ``without`` (the result of without_diodes), amperes."""
        hidden, found = self.assembly.hidden, without.copy()
        if hidden:
            sign = self.polarity
            own = sign * volts[:, :hidden]
            found[:, :hidden] = sign * self.network.law().mismatch(own, sign * without[:, :hidden])
        return found

    def diagonal(self, volts: All) -> All:
        """Diagonal of -∂F/∂v without the diodes, siemens."""
        slopes = np.asarray((self.assembly.touching @ self.slopes(self.drops(volts)).T).T)
        slopes[:, self.assembly.size : self.assembly.size + self.assembly.hidden] *= self.follow(volts)
        return self.assembly.collected(slopes) + self.loads

    def roots(self, volts: All, without: All) -> All:
        """Root of every node's own equation, volts, with all other nodes at ``volts`` and linearised branches."""
        own, hidden = self.diagonal(volts), self.assembly.hidden
        found = volts + without / own
        if hidden:
            sign, own = self.polarity, own[:, :hidden]
            inflow = without[:, :hidden] + own * volts[:, :hidden]
            found[:, :hidden] = sign * self.network.law().solve(own, sign * inflow)
        return found

    def diode_slopes(self, volts: All) -> All:
        """Diode slope at every node, siemens; infinite if an ideal clamp holds the node."""
        found, hidden = np.zeros_like(volts), self.assembly.hidden
        if hidden:
            found[:, :hidden] = self.network.law().slope(self.polarity * volts[:, :hidden])
        return found

    def imbalance(self, nodes: Nodes) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
        """See core.Equations."""
        (volts,) = nodes
        without = self.without_diodes(volts)
        distance = np.abs(volts - self.roots(volts, without)).max(axis=1)
        return np.abs(self.missing(volts, without)).max(axis=1), distance / self.scale(volts)

    def largest_residual(self, nodes: Nodes) -> Float[Array, " batch"]:
        """See core.Equations."""
        (volts,) = nodes
        return np.asarray(np.abs(self.missing(volts, self.without_diodes(volts))).max(axis=1))

    def scale(self, volts: All) -> Float[Array, " batch"]:
        """The largest voltage anywhere in each sample's circuit, volts; 1 if all are 0 V."""
        largest = np.maximum(np.abs(self.ends(volts)).max(axis=1), abs(self.network.diode.rail))
        return np.where(largest > 0, largest, 1.0)

    def out_of_bounds(self, nodes: Nodes, close: Bool[Array, " batch"]) -> Bool[Array, " batch"]:
        """See core.Equations."""
        return self.reduced.out_of_bounds(nodes, close)

    def proof(self, nodes: Nodes, excess: Float[Array, " batch"]) -> "WholeChipProof":  # noqa: ARG002
        """See core.Equations."""
        from eqprop_analog.networks.whole_chip.proof import WholeChipProof

        return WholeChipProof(self, nodes[0])

    def factors(self, volts: Float[Array, "1 nodes"], held: Bool[Array, " nodes"] | None = None) -> Any:
        """SuperLU factors of -∂F/∂v for a batch of one sample; ``held``: nodes that do not move."""
        more = (self.loads + np.minimum(self.diode_slopes(volts), HELD))[0]
        if held is not None:
            more = np.where(held, HELD, more)
        slopes, follow = self.slopes(self.drops(volts))[0], self.follow(volts)[0]
        return self.assembly.factors(self.assembly.matrix(slopes, follow, more))

    def adjoint(self, voltages: tuple[Array, ...], pull: Float[Array, "batch outputs"]) -> Layers:
        """See core.Equations."""
        (volts,) = self.unknowns(voltages)
        right = np.zeros_like(volts)
        right[:, self.assembly.hidden : self.layered] = pull
        for sample, factors in enumerate(self._each(volts)):
            right[sample] = self.assembly.solved(factors, right[sample], transposed=True)
        return self.states((right,))

    def _each(self, volts: All, held: Bool[Array, " nodes"] | None = None) -> Iterator[Any]:
        """``factors`` of every sample."""
        for sample in range(len(volts)):
            yield self.select(np.array([sample])).factors(volts[sample : sample + 1], held)

    def moved_wires(self, volts: All, response: tuple[Array, ...]) -> Float[Array, "batch branches"]:
        """Drops of the adjoint across all branches, given its values ``response`` at the nodes of the layers, volts."""
        assembly, given = self.assembly, np.concatenate(response, axis=1)
        held = np.arange(assembly.size) < self.layered
        slopes, follow = self.slopes(self.drops(volts)), self.follow(volts)

        def across(values: All) -> Float[Array, "batch branches"]:
            """D C: a drive has b/A times the value of its node, an input row has 0."""
            moved = np.zeros((len(values), assembly.all_ends))
            moved[:, : assembly.size] = values
            moved[:, assembly.size : assembly.size + assembly.hidden] = assembly.returns * values[:, : assembly.hidden]
            return np.asarray((assembly.incidence @ moved.T).T)

        known = np.zeros_like(volts)
        known[:, : self.layered] = given
        pulled = np.asarray((assembly.leaving @ (slopes * across(known)).T).T)
        right = -pulled[:, : assembly.size]
        right[:, : assembly.hidden] -= follow * pulled[:, assembly.size : assembly.size + assembly.hidden]
        right[:, held] = 0
        for sample, factors in enumerate(self._each(volts, held)):
            known[sample] += assembly.solved(factors, right[sample], transposed=True)
        return across(known)
