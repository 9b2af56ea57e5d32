"""The proof of a layered resistive network's equilibria (core.proof): K with its crossbars, D and C by layers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from eqprop_analog.core.equilibrium import Layers, by_layer
from eqprop_analog.core.proof import DOUBLE, LONG
from eqprop_analog.networks.node_proof import MORE, UNIT, NodeLinearisation, box, law_currents
from eqprop_analog.networks.resistive.equations import NodalEquations

Array = np.ndarray
Nodes = Float[Array, "batch nodes"]

ROUGH = 1e-6
"""Relative residual of the linear solve for the quick bound, which is verified afterwards."""
FINE = 1e-12
ELEMENTS = 2**22
"""Largest number of voltage drops held at once."""


@dataclass(frozen=True, eq=False)
class LayeredProof:
    """See core.proof.Provable."""

    equations: NodalEquations
    """The equations in float64."""
    given: Nodes
    distance_known: Float[Array, " batch"]
    """Largest distance of a node from its own root, computed in float64, volts."""
    precisions: ClassVar[Sequence[np.dtype[Any]]] = (DOUBLE, LONG)

    def select(self, samples: Bool[Array, " batch"] | Int[Array, " some"]) -> Self:
        """See Provable."""
        known = self.distance_known[samples]
        return replace(self, equations=self.equations.select(samples), given=self.given[samples], distance_known=known)

    @property
    def scale(self) -> Float[Array, " batch"]:
        """See Provable."""
        return self.equations.voltage_scale(self.layers(self.given))

    def nodes(self, voltages: Nodes) -> Layers:
        """See Provable."""
        return self.layers(voltages)

    def quick(self) -> Float[Array, " batch"]:
        """max(K⁻¹ D 1) times the largest distance of a node from its own root."""
        layers = self.layers(self.given)
        rounding = np.max([self.roundings(layer, layers) for layer in self._numbers], axis=0)
        return np.asarray(self._amplification() * (self.distance_known + rounding))

    def layers(self, voltages: Nodes) -> Layers:
        """The voltages by layer."""
        return by_layer(voltages, self.equations.network.layers)

    def distance(self, layers: Layers) -> Nodes:
        """Distance of every node from its own root, including rounding, volts."""
        return self.joined(
            tuple(
                np.abs(v - root) + self.roundings(layer, layers)[:, None]
                for layer, (v, root) in enumerate(zip(layers, self.roots(layers), strict=True), start=1)
            )
        )

    def roots(self, layers: Layers, more: Layers | None = None, sign: int = 1) -> Layers:
        """Root of every node's own equation, volts, with an additional current of ±``more`` into it."""
        equations = self.equations
        inflows = [equations.inflow(layer, layers) for layer in range(1, equations.depth + 1)]
        if more is not None:
            inflows = [inflow + sign * extra for inflow, extra in zip(inflows, more, strict=True)]
        return tuple(equations.root(layer, inflow) for layer, inflow in enumerate(inflows, start=1))

    def roundings(self, layer: int, layers: Layers) -> Float[Array, " batch"]:
        """Bound on the distance of any node of ``layer`` from its own root due to rounding in float64, volts."""
        equations, network = self.equations, self.equations.network
        total = equations.total(layer)
        before = equations.input_conductance if layer == 1 else network.crossbars[layer - 1].column_sums()
        drives = equations.largest_input if layer == 1 else network.drive_gains[layer - 1] * _top(layers[layer - 2])
        sums = (self.sums(layer) / total).max(axis=-1)
        reached = (before / total).max(axis=-1) * drives + sums * _top(layers[layer - 1])
        terms, own = network.crossbars[layer - 1].rows, np.abs(network.biases[layer - 1])
        if layer < equations.depth:
            behind = (total - before) / (network.drive_gains[layer] * total)
            reached = reached + behind.max(axis=-1) * _top(layers[layer]) + abs(network.diode.rail)
            if equations.excess_current:
                own = own + np.abs(equations.excess_current[layer - 1])
            terms += network.layers[layer + 1]
        else:
            own = own + np.abs(equations.nudge_current)
        return np.asarray((terms + MORE) * UNIT * (reached + (own / total).max(axis=-1)))

    def sums(self, layer: int) -> Float[Array, "#batch nodes"]:
        """Sum of the magnitudes of all conductances at the nodes of ``layer``, siemens; exceeds D under a negative nudge."""
        equations = self.equations
        own = equations.conductance[layer - 1]
        if layer < equations.depth:
            return own
        return own + np.abs(equations.nudge_conductance) * equations.network.nudge_factor

    def unseen(self, layer: int, layers: Layers) -> Nodes:
        """Currents into the nodes of ``layer`` that rounding in float64 may hide, amperes."""
        return self.roundings(layer, layers)[:, None] * self.equations.total(layer)

    def currents(self, voltages: Nodes, precision: np.dtype[Any]) -> tuple[Nodes, Nodes]:
        """See Provable; in extended precision from the drops across resistors, which are exact at weakly coupled nodes."""
        layers, law, polarity = self.layers(voltages), self.equations.network.law(), self.polarity
        if precision == LONG:
            current, rounding = self._by_drops(voltages)
        else:
            current = self.joined(
                tuple(
                    self.equations.inflow(layer, layers) - self.equations.total(layer) * layers[layer - 1]
                    for layer in self._numbers
                )
            )
            rounding = self.joined(tuple(self.unseen(layer, layers) for layer in self._numbers))
        hidden = len(polarity)
        drawn, lost = law_currents(law, polarity, voltages[:, :hidden].astype(precision))
        current[:, :hidden] -= drawn
        rounding[:, :hidden] += lost.astype(np.float64)
        return current, rounding

    def _by_drops(self, voltages: Nodes) -> tuple[Nodes, Nodes]:
        network = self.equations.network
        current = np.zeros(voltages.shape, LONG)
        rounding = np.zeros(voltages.shape)
        largest = max(crossbar.cells for crossbar in network.crossbars)
        samples = max(1, ELEMENTS // largest)
        for k in range(0, len(voltages), samples):
            some = slice(k, k + samples)
            current[some], rounding[some] = self._drops_of(np.arange(len(voltages))[some], voltages[some])
        return current, rounding

    def _drops_of(self, samples: Array, voltages: Nodes) -> tuple[Nodes, Nodes]:
        equations, network = self.equations, self.equations.network
        unit = np.finfo(LONG).eps / 2
        layers = tuple(v.astype(LONG) for v in self.layers(voltages))
        drives = network.rows(equations.inputs[equations.given[samples]].astype(LONG))
        conductance, own = (each if len(each) == 1 else each[samples] for each in equations.injection)
        into = [
            np.broadcast_to(bias.astype(LONG), v.shape).copy() for bias, v in zip(network.biases, layers, strict=True)
        ]
        for layer, excess in enumerate(equations.excess_current):
            into[layer] += excess[samples]
        into[-1] += own - conductance * layers[-1]
        lost = [unit * (network.crossbars[0].rows + MORE) * np.abs(each) for each in into]
        lost[-1] += MORE * unit * (np.abs(own) + np.abs(conductance * layers[-1]))
        for layer, (crossbar, v, gain) in enumerate(zip(network.crossbars, layers, network.drive_gains, strict=True)):
            (leaving, entering), (most_leaving, most_entering) = crossbar.by_drops(drives, v)
            inexact = 1.0 if layer == 0 and network.input_gain != 1 else float(gain != 1)
            of_drives = unit * inexact * np.abs(drives)
            into[layer] += entering
            terms = (crossbar.rows + crossbar.columns + MORE) * unit
            lost[layer] += terms * most_entering + crossbar.forward(of_drives.astype(np.float64))
            if layer:
                into[layer - 1] -= leaving / LONG.type(gain)
                lost[layer - 1] += (terms * most_leaving + of_drives * crossbar.row_sums()) / gain
            if layer < equations.depth - 1:
                drives = LONG.type(network.amplifier_gain[layer]) * v
        return self.joined(tuple(into)), self.joined(tuple(lost)).astype(np.float64)

    def linearised(self, voltages: Nodes, radius: Float[Array, " batch"]) -> "LayeredLinearisation":
        """See Provable."""
        return LayeredLinearisation(self, voltages, radius)

    @staticmethod
    def joined(layers: Layers) -> Nodes:
        """The values of all layers, concatenated."""
        return np.concatenate(layers, axis=1)

    def coupled(self, layers: Layers) -> Layers:
        """C v, amperes, in the precision of ``layers``."""
        network, dtype = self.equations.network, layers[0].dtype
        into = [np.zeros_like(v) for v in layers]
        for layer in range(1, self.equations.depth):
            crossbar, gain = network.crossbars[layer].astype(dtype), dtype.type(network.drive_gains[layer])
            into[layer] += gain * crossbar.forward(layers[layer - 1])
            into[layer - 1] += crossbar.backward(layers[layer]) / gain
        return tuple(into)

    def coupled_at_most(self, layers: Layers) -> Layers:
        """Upper bound of |C v| for all |v| <= ``layers``, amperes."""
        return self.coupled(layers)

    @cached_property
    def polarity(self) -> Float[Array, " hidden"]:
        """Polarity ±1 of all hidden nodes."""
        return np.concatenate([*self.equations.polarity, np.zeros(0)])

    @property
    def _numbers(self) -> range:
        return range(1, self.equations.depth + 1)

    def _amplification(self) -> float:
        """Largest element of z = K⁻¹ D 1; infinite unless K z > 0 is verified, which proves that K is an M-matrix."""
        equations = self.equations
        softest = float(equations.nudge_conductance.min())
        sums = [own[None] for own in equations.conductance]
        totals = [*sums[:-1], sums[-1] + softest]
        sums[-1] = sums[-1] + abs(softest)
        if not (totals[-1] > 0).all():
            return np.inf
        from eqprop_analog.networks.resistive.newton import response

        found = response(equations, tuple(totals), tuple(totals), ROUGH)
        coupled = self.coupled(found)
        least = np.inf
        for z, total, own, others in zip(found, totals, sums, coupled, strict=True):
            margin = (total * z - others - (sum(equations.network.layers) + MORE) * UNIT * (own * z + others)) / total
            least = min(least, float(np.where(z > 0, margin, -1.0).min()))
        return max(float(z.max()) for z in found) / least if least > 0 else np.inf


def _top(voltages: Nodes) -> Float[Array, " batch"]:
    return np.asarray(np.abs(voltages).max(axis=1))


class LayeredLinearisation(NodeLinearisation):
    """J of a layered network."""

    def __init__(self, circuit: LayeredProof, voltages: Nodes, radius: Float[Array, " batch"]) -> None:
        self.circuit, equations = circuit, circuit.equations
        layers = circuit.layers(voltages)
        moved = circuit.coupled_at_most(tuple(np.ones_like(v) * radius[:, None] for v in layers))
        more = tuple(each + circuit.unseen(layer, layers) for layer, each in enumerate(moved, start=1))
        hidden = len(circuit.polarity)
        total = circuit.joined(
            tuple(np.broadcast_to(equations.total(layer), v.shape) for layer, v in enumerate(layers, start=1))
        )
        sums = circuit.joined(
            tuple(np.broadcast_to(circuit.sums(layer), v.shape) for layer, v in enumerate(layers, start=1))
        )
        low, high = np.zeros_like(total), np.zeros_like(total)
        if hidden:
            below, above = (circuit.joined(circuit.roots(layers, more, sign))[:, :hidden] for sign in (-1, 1))
            low[:, :hidden], high[:, :hidden] = box(
                equations.network.law(), circuit.polarity, voltages[:, :hidden], (below, above)
            )
        super().__init__((total, sums), (low, high), radius, circuit.distance(layers))

    def coupled(self, voltages: Nodes) -> Nodes:
        """See NodeLinearisation."""
        return self.circuit.joined(self.circuit.coupled(self.circuit.layers(voltages)))

    def solved(self, currents: Nodes) -> Nodes:
        """See NodeLinearisation."""
        from eqprop_analog.networks.resistive.newton import response

        split = self.circuit.layers
        return self.circuit.joined(response(self.circuit.equations, split(self.slopes), split(currents), FINE))
