"""Kirchhoff's current law of a resistive network for given inputs and nudge, and the scalar problems inside it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from eqprop_analog.core.certificate import RUNAWAY, largest
from eqprop_analog.core.checks import checked_start, fitted_nudges
from eqprop_analog.core.equations import Equations
from eqprop_analog.core.equilibrium import Equilibrium, Layers, by_layer
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.errors import UserError
from eqprop_analog.networks.resistive.layered import LayeredNetwork

if TYPE_CHECKING:
    from eqprop_analog.networks.resistive.proof import LayeredProof

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class NodalEquations(Equations):
    """F_l(v) = A_{l-1} G_lᵀ v_{l-1} + (1/A_l) G_{l+1} v_{l+1} + s_l - D_l v_l - i(v_l) = 0 for every node of every layer.

    s_1 = x·(G⁺ - G⁻) + b_1, with the bias row's current if there is one, is the Norton current of the whole first crossbar
    (exact: its rows are ideal sources);
    D_l is a node's total conductance, Σ_i G_l[i,j] + Σ_k G_{l+1}[j,k], plus the nudge's at the outputs.
    """

    network: LayeredNetwork
    drive: Float[Array, "batch nodes"]
    """s_1, amperes."""
    conductance: tuple[Float[Array, " nodes"], ...]
    """D_l of layers 1..L without the nudge, siemens."""
    input_conductance: Float[Array, " nodes"]
    """Σ_i G_1[i,j], siemens."""
    polarity: tuple[Float[Array, " nodes"], ...]
    """±1 of the hidden layers."""
    largest_input: Float[Array, " batch"]
    """Largest row voltage of each sample, volts."""
    nudge_conductance: Float[Array, "#batch 1"]
    nudge_current: Float[Array, "#batch outputs"]
    inputs: Float[Array, "given inputs"]
    """The given inputs, from which the drive is computed."""
    given: Int[Array, " batch"]
    """Row of ``inputs`` of each sample."""
    excess_current: Layers = ()
    """Excess of metered diodes' currents into the hidden nodes over their law, amperes (see ``metered``); may be empty."""
    wide: list[Any] = field(default_factory=list, repr=False)
    """The free phase's equations in float64, made on demand; all phases of a batch share them."""

    @classmethod
    def of(cls, network: LayeredNetwork, inputs: Float[Array, "batch inputs"]) -> Self:
        """Return the free phase's equations. Raises UserError for a node that no conductance drives."""
        first = network.crossbars[0]
        volts = inputs * inputs.dtype.type(network.input_gain)
        totals = [crossbar.column_sums() for crossbar in network.crossbars]
        for layer, column_sums in enumerate(totals, start=1):
            if not column_sums.min() > 0:
                index = int(column_sums.argmin())
                raise UserError(
                    f"net {network.node_name(layer, index)}: column {index} of crossbar {layer} is all zero, so that "
                    "nothing drives it; give it a conductance or raise G_min"
                )
        drive = first.mirrored(volts) + network.biases[0]
        largest_input = np.abs(volts).max(axis=1)
        if network.bias_row:
            drive += inputs.dtype.type(network.bias_row) * first.row(-1)
            largest_input = np.maximum(largest_input, abs(network.bias_row))
        input_conductance = totals[0]
        for layer, crossbar in enumerate(network.crossbars[1:]):
            totals[layer] = totals[layer] + crossbar.row_sums()
        none = np.zeros((1, 1), inputs.dtype)
        return cls(
            network,
            drive,
            tuple(totals),
            input_conductance,
            tuple(network.polarity(layer) for layer in range(1, network.depth)),
            largest_input,
            none,
            none,
            inputs,
            np.arange(len(inputs)),
        )

    @property
    def depth(self) -> int:
        """L."""
        return self.network.depth

    def __len__(self) -> int:
        """Samples."""
        return len(self.drive)

    def likeness(self, inputs: Float[Array, "batch inputs"]) -> Float[Array, "batch hidden"]:  # noqa: ARG002
        """Return the direction in which the inputs drive each node of layer 1, which determines the conducting diodes."""
        return np.sign(self.drive)

    def adjoint(self, voltages: tuple[Array, ...], pull: Float[Array, "batch outputs"]) -> tuple[Array, ...]:
        """Return the linearized response, volts, to currents ``pull`` into the outputs (A); by reciprocity, it is the adjoint."""
        from eqprop_analog.networks.resistive.newton import newton_step

        return newton_step(self, voltages, (*(np.zeros_like(v) for v in voltages[:-1]), pull))

    def begun(self, start: Equilibrium | None) -> Equilibrium | None:
        """Return ``start`` in the network's dtype.

        Raises UserError unless it has a voltage for every node and sample.
        """
        return checked_start(start, len(self.drive), self.network.layers[1:], self.drive.dtype)

    def nudged(self, nudges: Sequence[Nudge], free: Equilibrium | None) -> Self:
        """Return the equations under each of ``nudges``, stacked: (len(nudges)·batch) samples.

        Current nudges are computed at ``free``. Raises UserError for a nudge that does not match the outputs or makes
        the circuit indefinite, and for a current nudge computed at anything but a free equilibrium. Pairs of outputs
        are nudged by currents into the plus node and out of the minus node.
        """
        network, batch, dtype = self.network, len(self.drive), self.drive.dtype
        nudges = fitted_nudges(nudges, batch, network.classes, free, dtype)
        conductance, current = injections(network, nudges, batch, free)
        for g in conductance:
            network.require_definite(g, self.input_conductance)
        return replace(
            self,
            drive=np.tile(self.drive, (len(nudges), 1)),
            largest_input=np.tile(self.largest_input, len(nudges)),
            nudge_conductance=np.repeat(np.array(conductance, dtype), batch)[:, None],
            nudge_current=current.astype(dtype),
            given=np.tile(self.given, len(nudges)),
        )

    def with_nudged(self, nudged: Self) -> Self:
        """See core.Equations."""
        conductance, current = nudged.injection
        none = np.zeros((len(self), 1 + current.shape[1]), self.drive.dtype)
        return replace(
            nudged,
            drive=np.concatenate([self.drive, nudged.drive]),
            largest_input=np.concatenate([self.largest_input, nudged.largest_input]),
            nudge_conductance=np.concatenate([none[:, :1], conductance]),
            nudge_current=np.concatenate([none[:, 1:], current]),
            given=np.concatenate([self.given, nudged.given]),
        )

    @property
    def injection(self) -> tuple[Float[Array, "#batch 1"], Float[Array, "#batch outputs"]]:
        """The nudge as (g, c): it injects c - g·v at the outputs; siemens and amperes, zeros in the free phase."""
        return self.nudge_conductance, self.nudge_current

    def select(self, samples: Bool[Array, " batch"] | Int[Array, " some"]) -> Self:
        """Return the equations of some of the samples."""
        per_sample = len(self.nudge_conductance) == len(self.drive)
        return replace(
            self,
            drive=self.drive[samples],
            largest_input=self.largest_input[samples],
            given=self.given[samples],
            nudge_conductance=self.nudge_conductance[samples] if per_sample else self.nudge_conductance,
            nudge_current=self.nudge_current[samples] if per_sample else self.nudge_current,
            excess_current=tuple(current[samples] for current in self.excess_current),
        )

    def metered(self, voltages: Layers, currents: Float[Array, "batch diodes"]) -> Self:
        """The equations with the diodes' currents as they were measured at ``voltages`` (volts), from anode to cathode, amperes.

        ``currents``: layer by layer, node by node, of a pair first all from the positive rail. Each node's law is moved by what
        the measured current differs from it: at these voltages Kirchhoff's current law is the measured currents', and around them
        the law's slopes are taken for the device's.
        """
        network = self.network
        left, excess = currents, []
        for layer, (v, sign) in enumerate(zip(voltages[:-1], self.polarity, strict=True), start=1):
            into = np.zeros_like(v)
            for side in network.diode_sides(layer):
                own, left = left[:, : v.shape[1]], left[:, v.shape[1] :]
                into += side * own
            excess.append(into + sign * network.diode.current(sign * v))
        return replace(self, excess_current=tuple(excess))

    def double(self) -> Self:
        """The equations in float64, the drive's sums included, for as long as the network is the same."""
        if self.drive.dtype == np.float64:
            return self
        if not self.wide:
            self.wide.append(type(self).of(self.network.astype(np.float64), self.inputs.astype(np.float64)))
        (wide,) = self.wide
        return replace(
            wide,
            drive=wide.drive[self.given],
            largest_input=wide.largest_input[self.given],
            nudge_conductance=self.nudge_conductance.astype(np.float64),
            nudge_current=self.nudge_current.astype(np.float64),
            given=self.given,
        )

    def total(self, layer: int) -> Float[Array, "#batch nodes"]:
        """Return D_l of ``layer``, including the nudge, siemens."""
        own = self.conductance[layer - 1]
        return own + self.nudge_conductance * self.network.nudge_factor if layer == self.depth else own

    def inflow(self, layer: int, voltages: Layers) -> Float[Array, "batch nodes"]:
        """Return the current into the nodes of ``layer`` at 0 V without diodes, amperes."""
        network = self.network
        if layer == 1:
            current = self.drive
        else:
            current = network.crossbars[layer - 1].forward(voltages[layer - 2])
            current *= network.drive_gains[layer - 1]
            current += network.biases[layer - 1]
        if layer < self.depth:
            back = network.crossbars[layer].backward(voltages[layer])
            back /= network.drive_gains[layer]
            return current + back + self.excess_current[layer - 1] if self.excess_current else current + back
        return current + self.nudge_current

    def source(self, layer: int) -> Float[Array, "#batch nodes"]:
        """Return the part of ``inflow`` that does not depend on voltages, amperes."""
        own = self.drive if layer == 1 else self.network.biases[layer - 1]
        return own + self.nudge_current if layer == self.depth else own

    def energy(self, voltages: Layers) -> Float[Array, " batch"]:
        """Return the energy whose stationarity these equations express, including the nudge, watts up to a constant."""
        total = np.zeros(len(self.drive))
        for layer, (v, gamma) in enumerate(zip(voltages, self.network.gammas, strict=True), start=1):
            between = 0.5 * (
                self.inflow(layer, voltages) + self.source(layer)
            )  # a current between layers is counted at both ends
            density = v * (0.5 * self.total(layer) * v - between)
            if layer < self.depth:
                density = density + self.network.law(layer).cocontent(self.polarity[layer - 1] * v)
            total += gamma * density.sum(axis=1)
        return total

    def solve_layer(self, layer: int, voltages: Layers) -> Float[Array, "batch nodes"]:
        """Return the voltages of ``layer`` that satisfy its equations for fixed other layers, volts."""
        return self.root(layer, self.inflow(layer, voltages))

    def root(self, layer: int, inflow: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
        """Return the voltages at which the nodes of ``layer`` drain ``inflow`` (amperes), volts."""
        total = self.total(layer)
        if layer == self.depth:
            return inflow / total
        sign = self.polarity[layer - 1]
        return sign * self.network.law(layer).solve(total, sign * inflow)

    def surplus(
        self, layer: int, voltages: Float[Array, "batch nodes"], inflow: Float[Array, "batch nodes"]
    ) -> Float[Array, "batch nodes"]:
        """Return F_l: ``inflow`` minus the current that the nodes of ``layer`` drain at ``voltages``, amperes."""
        current = inflow - self.total(layer) * voltages
        if layer == self.depth:
            return current
        sign = self.polarity[layer - 1]
        return sign * self.network.law(layer).mismatch(sign * voltages, sign * current)

    def residuals(self, voltages: Layers) -> Layers:
        """F_l of every layer: net current into each node, amperes."""
        layers = enumerate(voltages, start=1)
        return tuple(self.surplus(layer, v, self.inflow(layer, voltages)) for layer, v in layers)

    def slopes(self, voltages: Layers) -> Layers:
        """-∂F_l/∂v_l of every layer: D_l + di/dv, siemens; infinite where an ideal clamp holds the node."""
        hidden = tuple(
            self.total(layer) + self.network.law(layer).slope(sign * v)
            for layer, (sign, v) in enumerate(zip(self.polarity, voltages[:-1], strict=True), start=1)
        )
        return (*hidden, np.broadcast_to(self.total(self.depth), voltages[-1].shape))

    def initial(self) -> Layers:
        """Return voltages of 0 V."""
        return tuple(np.zeros((len(self.drive), size), self.drive.dtype) for size in self.network.layers[1:])

    def measured(self, probes: Float[Array, "batch nodes"]) -> Layers:
        """See core.Equations."""
        return by_layer(probes, self.network.layers)

    def imbalance(self, nodes: Layers) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
        """See core.Equations, and ``imbalance_of``."""
        currents, excess = self.imbalance_of(nodes, range(1, self.depth + 1))
        return largest(currents), excess

    def proof(self, nodes: Layers, excess: Float[Array, " batch"]) -> "LayeredProof":
        """See core.Equations; in float64 for any precision of the network."""
        from eqprop_analog.networks.resistive.proof import LayeredProof

        wide, layers = self.double(), tuple(v.astype(np.float64, copy=False) for v in nodes)
        if wide is not self:
            excess = wide.imbalance(layers)[1]
        scale = wide.voltage_scale(layers)
        return LayeredProof(wide, np.concatenate(layers, axis=1), excess * np.where(scale > 0, scale, 1))

    def imbalance_of(self, voltages: Layers, layers: Iterable[int]) -> tuple[Layers, Float[Array, " batch"]]:
        """F of ``layers`` in amperes (elsewhere 0), and their excess: how far a node is from its root, over the largest voltage.

        The excess is the KCL residual in volts for fixed neighbours, for any slope of the node's law, so that a steep
        diode hides nothing.
        """
        currents = [np.zeros_like(v) for v in voltages]
        distance = np.zeros(len(voltages[0]), voltages[0].dtype)
        for layer in layers:
            v, inflow = voltages[layer - 1], self.inflow(layer, voltages)
            currents[layer - 1] = self.surplus(layer, v, inflow)
            distance = np.maximum(distance, np.abs(v - self.root(layer, inflow)).max(axis=1))
        scale = self.voltage_scale(voltages)
        return tuple(currents), np.asarray(distance / np.where(scale > 0, scale, 1))

    def out_of_bounds(self, nodes: Layers, close: Bool[Array, " batch"]) -> Bool[Array, " batch"]:
        """See core.Equations: off the equations, and beyond RUNAWAY times what drives the circuit, amplified."""
        return np.asarray(~close & (largest(nodes) > RUNAWAY * self.driving_voltage()))

    def driving_voltage(self) -> Float[Array, " batch"]:
        """Return the largest source of each circuit times gains, volts: rows, rails and source currents over D."""
        gain = float(np.prod([max(1.0, gain) for gain in self.network.amplifier_gain]))
        currents = [
            np.abs(bias / total).max() for bias, total in zip(self.network.biases, self.conductance, strict=True)
        ]
        nudge = np.abs(self.nudge_current / self.conductance[-1]).max(axis=1)
        return np.asarray(gain * (self.largest_input + abs(self.network.diode.rail) + max(currents) + nudge))

    def voltage_scale(self, voltages: Layers) -> Float[Array, " batch"]:
        """Return the largest voltage in each sample's circuit, volts: rows, rails and nodes."""
        scale = np.maximum(self.largest_input, abs(self.network.diode.rail) if self.depth > 1 else 0)
        for v in voltages:
            scale = np.maximum(scale, np.abs(v).max(axis=1))
        return scale


def injections(
    network: LayeredNetwork, nudges: Sequence[Nudge], batch: int, free: Equilibrium | None
) -> tuple[list[float], Float[Array, "nudged outputs"]]:
    """Return the injection c - g v of each of ``nudges`` at the outputs of ``batch`` samples: every g, and all c stacked.

    Units are siemens and amperes, along the read-outs. Raises UserError for a nudge that does not match these outputs.
    """
    if network.outputs == "pairs" and any(nudge.kind == "conductance" for nudge in nudges):
        raise UserError(
            'nudge: a conductance drives a single node to a voltage; for pairs of outputs use kind="current"'
        )
    read = None if free is None else network.readout(free.outputs)
    found = [nudge.injection(read) for nudge in nudges]
    shape = batch, network.layers[-1]
    currents = [np.broadcast_to(network.along_readout(current), shape) for _, current in found]
    return [conductance for conductance, _ in found], np.concatenate(currents)
