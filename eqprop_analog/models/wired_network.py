"""A layered resistive network whose crossbars have wires, and Kirchhoff's current law at its nodes."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.errors import UserError
from eqprop_analog.models.kirchhoff import NodalEquations
from eqprop_analog.models.resistive import Gradient, Layers, ResistiveNetwork
from eqprop_analog.models.wired_crossbar import TILE, WiredCrossbar
from eqprop_analog.nudging import Nudge

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class WiredNetwork:
    """E = Σ_l γ_l [ ½ p_lᵀ Y_l p_l + Σ_j Φ_l(v_{l,j}) - Σ_j b_{l,j} v_{l,j} ],  p_l = (a_{l-1}, v_l) the ports of crossbar l.

    One state of the weights: after an update, take ``of`` again.
    """

    ideal: ResistiveNetwork
    """The network without wires, float64: everything but the crossbars is as in it."""
    crossbars: tuple[WiredCrossbar, ...]

    @classmethod
    def of(cls, network: ResistiveNetwork, wire_resistance: float, tile: tuple[int, int] = TILE) -> Self:
        """``network`` with wires of ``wire_resistance`` ohms a cell's pitch in tiles of ``tile`` cells. Raises UserError."""
        network.validate()
        ideal = network.astype(np.float64)
        return cls(ideal, tuple(WiredCrossbar(matrix, wire_resistance, tile) for matrix in ideal.conductances))

    @property
    def layers(self) -> tuple[int, ...]:
        """(inputs, n_1, ..., n_L)."""
        return self.ideal.layers

    @property
    def nudge_kind(self) -> str:
        """The kind of nudge to take where none is asked for."""
        return self.ideal.nudge_kind

    def in_spice(self) -> Self:
        """The network that SPICE solves in place of this one (see Law.in_spice)."""
        return replace(self, ideal=self.ideal.in_spice())

    def check_inputs(self, inputs: ArrayLike) -> Float[Array, "batch inputs"]:
        """``inputs`` as (batch, inputs) float64, or UserError."""
        return self.ideal.check_inputs(inputs)

    def ports(self, inputs: Float[Array, "batch inputs"], voltages: Layers) -> tuple[Float[Array, "batch ports"], ...]:
        """Voltages of every crossbar's ports, rows then columns, from the node voltages of layers 1..L; volts."""
        drives = [self.ideal.rows(inputs)]
        drives += [gain * v for gain, v in zip(self.ideal.amplifier_gain, voltages[:-1], strict=True)]
        return tuple(np.concatenate(pair, axis=1) for pair in zip(drives, voltages, strict=True))

    def energy(self, inputs: Float[Array, "batch inputs"], voltages: Layers) -> Float[Array, " batch"]:
        """E of each sample, watts (up to the constants of the co-contents)."""
        ideal, total = self.ideal, np.zeros(len(inputs))
        for layer, (ports, v) in enumerate(zip(self.ports(inputs, voltages), voltages, strict=True), start=1):
            inside = 0.5 * (ports * (ports @ self.crossbars[layer - 1].port_matrix)).sum(axis=1)
            if layer < ideal.depth:
                inside += ideal.diode.cocontent(ideal.polarity(layer) * v).sum(axis=1)
            total += ideal.gammas[layer - 1] * (inside - v @ ideal.biases[layer - 1])
        return total

    def contrast(self, inputs: Float[Array, "batch inputs"], plus: Equilibrium, minus: Equilibrium) -> Gradient:
        """Difference of ⟨∂E/∂θ⟩ between two phases over that of their β: ½(Δv)² of the drop across each cell itself.

        What is seen at the nodes alone, rows and columns, is ``ideal``'s contrast. Holds (batch, rows, columns) arrays.
        """
        ideal, scale = self.ideal, 1 / ((plus.beta - minus.beta) * len(inputs))
        conductances, biases = [], []
        phases = (plus.voltages, minus.voltages)
        ports = zip(*(self.ports(inputs, voltages) for voltages in phases), strict=True)
        for crossbar, pair, above, below, gamma in zip(self.crossbars, ports, *phases, ideal.gammas, strict=True):
            one, other = (crossbar.drops(volts) for volts in pair)
            weight = scale * gamma / ideal.gammas[-1]
            conductances.append(0.5 * weight * np.einsum("bij,bij->ij", one - other, one + other))
            biases.append(-weight * (above - below).sum(axis=0))
        return Gradient(tuple(conductances), tuple(biases))

    @cached_property
    def nodal_matrix(self) -> Float[Array, "nodes nodes"]:
        """K, siemens: what currents the crossbars take out of the nodes of layers 1..L at their voltages, rows at 0 V.

        √γ_l K_lm/√γ_m is symmetric and, with every column driven, positive definite.
        """
        ends = np.cumsum((0, *self.layers[1:]))
        at = [slice(*pair) for pair in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]
        matrix = np.zeros((ends[-1], ends[-1]))
        for layer, crossbar in enumerate(self.crossbars):
            rows, gain = crossbar.shape[0], self.ideal.drive_gains[layer]
            seen = crossbar.port_matrix
            matrix[at[layer], at[layer]] += seen[rows:, rows:]
            if layer:
                matrix[at[layer - 1], at[layer - 1]] += seen[:rows, :rows]
                matrix[at[layer - 1], at[layer]] = seen[:rows, rows:] / gain
                matrix[at[layer], at[layer - 1]] = seen[rows:, :rows] * gain
        return matrix

    def require_definite(self, beta: float) -> None:
        """Raise UserError, naming the output, if a nudge of ``beta`` siemens makes the circuit indefinite."""
        if beta >= 0:
            return
        outputs = self.layers[-1]
        resistance = np.linalg.inv(self.nodal_matrix)[-outputs:, -outputs:]
        values, vectors = np.linalg.eigh(0.5 * (resistance + resistance.T))
        if -beta * values[-1] >= 1:
            name = self.ideal.node_name(self.ideal.depth, int(np.abs(vectors[:, -1]).argmax()))
            raise UserError(
                f"nudge: beta = {beta:.4g} S makes the circuit indefinite at net {name}: through their wires the outputs are "
                f"held by only {1 / values[-1]:.4g} S; use |beta| below that"
            )


@dataclass(frozen=True, eq=False)
class WiredEquations:
    """F(v) = s - (K + g) v - i(v) = 0 at all nodes of layers 1..L together, (batch, nodes); g and part of s are the nudge's."""

    network: WiredNetwork
    free: NodalEquations
    """The ideal network's free phase: the largest inputs, and the refusal of nodes that nothing drives."""
    source: Float[Array, "batch nodes"]
    """s, amperes."""
    nudge_conductance: float
    """g of the outputs, siemens."""
    nudge_current: Float[Array, "#batch outputs"]
    """The nudge's share of s, amperes."""

    @classmethod
    def of(cls, network: WiredNetwork, inputs: Float[Array, "batch inputs"]) -> Self:
        """The free phase's equations; UserError for a node that no conductance drives."""
        free = NodalEquations.of(network.ideal, inputs)
        rows, columns = network.crossbars[0].shape
        source = np.tile(np.concatenate(network.ideal.biases), (len(inputs), 1))
        source[:, :columns] -= network.ideal.rows(inputs) @ network.crossbars[0].port_matrix[:rows, rows:]
        return cls(network, free, source, 0.0, np.zeros((1, network.layers[-1])))

    def nudged(self, nudge: Nudge, free: Equilibrium | None) -> Self:
        """The equations under ``nudge``; ``free`` is where a current nudge is taken. Raises UserError as NodalEquations do."""
        ideal = self.network.ideal
        if nudge.kind == "current" and free is not None and free.nudge is not None:
            raise UserError(
                "nudge: a current nudge is taken at the free equilibrium; this start is itself a nudged one"
            )
        if nudge.target.shape not in ((len(self.source), ideal.classes), (1, ideal.classes)):
            raise UserError(
                f"nudge: expected a target of shape ({len(self.source)}, {ideal.classes}), got {nudge.target.shape}"
            )
        if nudge.kind == "conductance" and ideal.outputs == "pairs":
            raise UserError('nudge: a conductance pulls one node to one voltage; pairs of outputs take kind="current"')
        conductance, current = nudge.injection(None if free is None else ideal.readout(free.outputs))
        self.network.require_definite(conductance)
        current = ideal.along_readout(current)
        source = self.source.copy()
        source[:, -ideal.layers[-1] :] += current
        return replace(self, source=source, nudge_conductance=conductance, nudge_current=current)

    @property
    def injection(self) -> tuple[float, Float[Array, "#batch outputs"]]:
        """The nudge as (g, c): it injects c - g·v at the outputs; siemens and amperes, zeros in the free phase."""
        return self.nudge_conductance, self.nudge_current

    def select(self, samples: Bool[Array, " batch"] | Int[Array, " some"]) -> Self:
        """The equations of some of the samples."""
        current = self.nudge_current if len(self.nudge_current) == 1 else self.nudge_current[samples]
        return replace(self, free=self.free.select(samples), source=self.source[samples], nudge_current=current)

    @cached_property
    def total(self) -> Float[Array, " nodes"]:
        """D, the diagonal of K + g, siemens."""
        total = np.diag(self.network.nodal_matrix).copy()
        total[-self.network.layers[-1] :] += self.nudge_conductance
        return total

    @cached_property
    def coupling(self) -> Float[Array, "nodes nodes"]:
        """K without its diagonal, siemens: none is positive."""
        return self.network.nodal_matrix - np.diag(np.diag(self.network.nodal_matrix))

    @cached_property
    def polarity(self) -> Float[Array, " hidden"]:
        """±1 of all hidden nodes."""
        return np.concatenate([*self.free.polarity, np.zeros(0)])

    @cached_property
    def gammas(self) -> Float[Array, " nodes"]:
        """γ of every node."""
        return np.repeat(self.network.ideal.gammas, self.network.layers[1:])

    def inflow(self, voltages: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
        """Current into every node if it sat at 0 V with its diodes removed, amperes."""
        return self.source - voltages @ self.coupling.T

    def root(self, inflow: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
        """Voltages at which every node carries off ``inflow`` (amperes), its neighbours held; volts."""
        voltages = inflow / self.total
        hidden, sign = len(self.polarity), self.polarity
        if hidden:
            law = self.network.ideal.diode
            voltages[:, :hidden] = sign * law.solve(self.total[:hidden], sign * inflow[:, :hidden])
        return voltages

    def slopes(self, voltages: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
        """D + di/dv, siemens; infinite where an ideal clamp holds the node."""
        slopes = np.tile(self.total, (len(voltages), 1))
        hidden = len(self.polarity)
        slopes[:, :hidden] += self.network.ideal.diode.slope(self.polarity * voltages[:, :hidden])
        return slopes

    def residuals(self, voltages: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
        """F: net current into every node, amperes."""
        current = self.inflow(voltages) - self.total * voltages
        hidden, sign = len(self.polarity), self.polarity
        if hidden:
            law = self.network.ideal.diode
            current[:, :hidden] = sign * law.mismatch(sign * voltages[:, :hidden], sign * current[:, :hidden])
        return current

    def energy(self, voltages: Float[Array, "batch nodes"]) -> Float[Array, " batch"]:
        """The energy whose stationarity these equations are, the nudge's share included, watts up to a constant."""
        density = voltages * (0.5 * self.total * voltages - 0.5 * (self.inflow(voltages) + self.source))
        hidden = len(self.polarity)
        density[:, :hidden] += self.network.ideal.diode.cocontent(self.polarity * voltages[:, :hidden])
        return np.asarray(density @ self.gammas)

    def voltage_scale(self, voltages: Float[Array, "batch nodes"]) -> Float[Array, " batch"]:
        """Largest voltage anywhere in each sample's circuit, volts: rows, rails and nodes; 1 if all are 0 V."""
        scale = np.maximum(self.free.largest_input, np.abs(voltages).max(axis=1))
        if self.network.ideal.depth > 1:
            scale = np.maximum(scale, abs(self.network.ideal.diode.rail))
        return np.where(scale > 0, scale, 1)

    def driving_voltage(self) -> Float[Array, " batch"]:
        """What drives each sample's circuit, amplified, volts: rows, rails, and every source current over its node's D."""
        ideal = self.network.ideal
        gain = float(np.prod([max(1.0, gain) for gain in ideal.amplifier_gain]))
        own = np.abs(self.source / np.abs(self.total)).max(axis=1)
        return gain * (self.free.largest_input + abs(ideal.diode.rail) + own)

    def layers(self, voltages: Float[Array, "batch nodes"]) -> Layers:
        """(batch, nodes) by layer."""
        return tuple(np.split(voltages, np.cumsum(self.network.layers[1:-1]), axis=1))

    def joined(self, start: Equilibrium) -> Float[Array, "batch nodes"]:
        """The layers' voltages side by side; UserError if ``start`` has not one for every node and sample."""
        expected = [(len(self.source), size) for size in self.network.layers[1:]]
        if [v.shape for v in start.voltages] != expected:
            raise UserError(f"start: expected voltages of shapes {expected}, got {[v.shape for v in start.voltages]}")
        return np.concatenate(start.voltages, axis=1)
