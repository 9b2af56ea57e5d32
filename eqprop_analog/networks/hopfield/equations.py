"""The equations of a Hopfield network for given inputs and nudge, which all dynamics solve."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from jaxtyping import Bool, Float, Int

from eqprop_analog.core.checks import checked_start, fitted_nudges
from eqprop_analog.core.equations import Equations
from eqprop_analog.core.equilibrium import Equilibrium, Layers, by_layer
from eqprop_analog.core.nudge import Cost, Nudge, cost, cost_slope
from eqprop_analog.errors import UserError
from eqprop_analog.networks.hopfield.connections import Choice
from eqprop_analog.networks.hopfield.network import HopfieldNetwork

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class HopfieldEquations(Equations):
    """s_l = ρ(u_l),  u_l = W_l s_{l-1} + b_l + (feedback from layer l + 1), plus the nudge at layer L, inside ρ.

    The nudge is c - β ∂C/∂s_L: a constant, and a part that depends on the state. A nudge of kind "output" is added outside ρ.
    """

    network: HopfieldNetwork
    inputs: Float[Array, "batch inputs"]
    drive: Float[Array, "batch nodes"]
    """W_1 x + b_1, volts."""
    constant: Float[Array, "batch outputs"] | None = None
    """c, volts."""
    beta: Float[Array, "batch 1"] | None = None
    """β of nudges that depend on the state; None if none does."""
    target: Float[Array, "batch classes"] | None = None
    """Targets y of these nudges."""
    cost: Cost = "squared-error"
    at_output: bool = False
    """Whether the nudge acts after the buffers, s_L = ρ(u_L) - β ∂C/∂s_L."""

    @classmethod
    def of(cls, network: HopfieldNetwork, inputs: Float[Array, "batch inputs"]) -> Self:
        """Return the equations of the free phase; ``inputs`` as returned by ``check_inputs``."""
        return cls(network, inputs, network.drive(inputs))

    def __len__(self) -> int:
        """Samples."""
        return len(self.drive)

    def begun(self, start: Equilibrium | None) -> Equilibrium | None:
        """Return ``start`` in the network's dtype. Raises UserError unless it has a state for every node and sample."""
        return checked_start(start, len(self), self.network.layers[1:], self.drive.dtype)

    def nudged(self, nudges: Sequence[Nudge], free: Equilibrium | None) -> Self:
        """Return the equations under each of ``nudges``, stacked: (len(nudges)·batch) samples.

        Current nudges are computed at ``free``. Raises UserError for a target that does not match the read-outs, for
        nudges of different kind or cost, and for a current nudge computed at anything but a free equilibrium.
        """
        network, batch, dtype = self.network, len(self), self.drive.dtype
        nudges = fitted_nudges(nudges, batch, network.classes, free, dtype)
        if len({(nudge.kind, nudge.cost) for nudge in nudges}) != 1:
            raise UserError("nudge: phases that are solved together need the same kind and cost")
        target = np.concatenate([np.broadcast_to(nudge.target, (batch, network.classes)) for nudge in nudges])
        beta = np.repeat(np.array([nudge.beta for nudge in nudges], dtype), batch)[:, None]
        pulled = replace(
            self,
            inputs=np.tile(self.inputs, (len(nudges), 1)),
            drive=np.tile(self.drive, (len(nudges), 1)),
            beta=beta,
            target=target,
            cost=nudges[0].cost,
            at_output=nudges[0].kind == "output",
        )
        if nudges[0].kind != "current":
            return pulled
        if free is None:
            raise UserError("nudge: a current nudge is computed at the free equilibrium; pass it as start=free")
        outputs = np.tile(free.outputs.astype(dtype, copy=False), (len(nudges), 1))
        return replace(pulled, constant=pulled.pull(outputs), beta=None, target=None)

    def free(self) -> Self:
        """Return the same without the nudge."""
        return replace(self, constant=None, beta=None, target=None, at_output=False)

    def select(self, samples: Bool[Array, " batch"] | Int[Array, " some"]) -> Self:
        """Return the equations of some of the samples."""
        return replace(
            self,
            inputs=self.inputs[samples],
            drive=self.drive[samples],
            constant=None if self.constant is None else self.constant[samples],
            beta=None if self.beta is None else self.beta[samples],
            target=None if self.target is None else self.target[samples],
        )

    def adjoint(self, voltages: tuple[Array, ...], pull: Float[Array, "batch outputs"]) -> tuple[Array, ...]:
        """See core.Equations; networks.hopfield.adjoint."""
        from eqprop_analog.networks.hopfield.adjoint import adjoint

        return adjoint(self.network, self.inputs, voltages, self.forces(voltages), pull)

    def pull(self, outputs: Float[Array, "batch outputs"]) -> Float[Array, "batch outputs"]:
        """Return -β ∂C/∂s_L at ``outputs``, volts, of a nudge that depends on the state."""
        if self.beta is None or self.target is None:
            return np.zeros_like(outputs)
        slope = cost_slope(self.cost, self.network.readout(outputs), self.target)
        slope *= -self.beta
        return self.network.along_readout(slope)

    @cached_property
    def curvature(self) -> Float[Array, "batch 1"] | None:
        """Return an upper bound of a positive ∂²(βC)/∂s_L²; None if no nudge depends on the state."""
        if self.beta is None or self.target is None:
            return None
        bound = self.beta.clip(0)
        if self.cost == "cross-entropy":
            bound = bound * (0.5 * self.target.sum(axis=1, keepdims=True))
        if self.network.head is not None:
            weights = self.network.head[0]
            bound = bound * np.linalg.eigvalsh(weights.T @ weights)[-1]
        return bound

    def forces(self, states: Layers, out: Layers | None = None) -> Layers:
        """Return the voltages u of every layer, volts, written into ``out`` (C-contiguous, of the network's dtype) if given."""
        network = self.network
        total = self.initial() if out is None else out
        choices: list[Choice] = [None]
        for layer, each in enumerate(network.connections[1:], start=1):
            total[layer][...] = each.spread_bias(network.biases[layer])
            ahead = each.add_forward(network.weights[layer], states[layer - 1], total[layer])
            choices.append(network.winners_back(layer, states[layer - 1], ahead))
        total[0][...] = self.drive
        for layer, weights in enumerate(network.back, start=1):
            network.connections[layer].add_backward(weights, states[layer], choices[layer], total[layer - 1])
        self._add_pull(states, total[-1])
        return total

    def force(
        self, layer: int, states: Layers, out: Float[Array, "batch nodes"] | None = None
    ) -> Float[Array, "batch nodes"]:
        """Return the voltages u of ``layer`` (1..L) for fixed states of all layers, volts, written into ``out`` if given."""
        network = self.network
        total = np.empty_like(states[layer - 1]) if out is None else out
        if layer == 1:
            total[...] = self.drive
        else:
            each = network.connections[layer - 1]
            total[...] = each.spread_bias(network.biases[layer - 1])
            each.add_forward(network.weights[layer - 1], states[layer - 2], total)
        if layer < network.depth:
            each = network.connections[layer]
            choice = each.winners(network.back[layer - 1], states[layer - 1])
            each.add_backward(network.back[layer - 1], states[layer], choice, total)
        else:
            self._add_pull(states, total)
        return total

    def _add_pull(self, states: Layers, total: Float[Array, "batch outputs"]) -> None:
        if self.constant is not None:
            total += self.constant
        if self.beta is not None and not self.at_output:
            total += self.pull(states[-1])

    def residual(self, states: Layers) -> Float[Array, " batch"]:
        """Return the largest |s - ρ(u)| over all nodes of each sample, volts."""
        forces = self.forces(states)
        return self.distance(states, forces)

    def distance(self, states: Layers, forces: Layers) -> Float[Array, " batch"]:
        """Largest |s - ρ(u)| of each sample from u = ``forces``, volts; ``forces`` are overwritten."""
        largest = np.zeros(len(self), self.drive.dtype)
        for s, u in zip(states, forces, strict=True):
            self.network.buffer.output(u, out=u)
            if self.at_output and s is states[-1]:
                np.add(u, self.pull(s), out=u)
            np.subtract(s, u, out=u)
            np.maximum(largest, np.abs(u, out=u).max(axis=1), out=largest)
        return largest

    def energy(self, states: Layers) -> Float[Array, " batch"]:
        """Return E + βC for tied weights, volts squared, up to a constant (a constant nudge adds -c·s_L)."""
        if self.at_output:
            raise UserError('energy: a nudge of kind "output" has no known energy')
        network = self.network
        shares = network.shares
        total = -shares[0] * (self.drive * states[0]).sum(axis=1)
        for layer, each in enumerate(network.connections[1:], start=1):
            force = each.forward(network.weights[layer], states[layer - 1])[0]
            total -= shares[layer] * ((force + each.spread_bias(network.biases[layer])) * states[layer]).sum(axis=1)
        for share, s in zip(shares, states, strict=True):
            total += share * network.buffer.potential(s).sum(axis=1)
        if self.constant is not None:
            total -= (self.constant * states[-1]).sum(axis=1)
        if self.beta is not None and self.target is not None:
            total += self.beta[:, 0] * cost(self.cost, network.readout(states[-1]), self.target)
        return total

    def measured(self, probes: Float[Array, "batch nodes"]) -> Layers:
        """See core.Equations: u of every layer."""
        return by_layer(probes, self.network.layers)

    def states(self, nodes: Layers) -> Layers:
        """S = ρ(u)."""
        return tuple(self.network.buffer.output(u) for u in nodes)

    def unknowns(self, voltages: tuple[Array, ...]) -> Layers:
        """Return u = W s + b + nudge for the states s of an equilibrium: the voltages of its nodes."""
        return self.forces(voltages)

    def imbalance(self, nodes: Layers) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
        """Max |u - (W ρ(u) + b + pull)|, volts, twice: the residual of Kirchhoff's current law at a node over its conductance."""
        forces = self.forces(self.states(nodes))
        residual = np.asarray(np.max([np.abs(u - f).max(axis=1) for u, f in zip(nodes, forces, strict=True)], axis=0))
        return residual, residual

    def stable(self, nodes: Layers) -> Bool[Array, " batch"]:
        """Whether du/dt = -u + W ρ(u) + b + pull returns to ``nodes`` (volts) after every small disturbance."""
        from eqprop_analog.networks.hopfield.stability import growth

        return growth(self, nodes) < 1

    def initial(self) -> Layers:
        """Return states of 0 V."""
        return tuple(np.zeros((len(self), size), self.drive.dtype) for size in self.network.layers[1:])
