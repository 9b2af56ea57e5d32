"""A phase of a Hopfield network on tensors: the states, the forces at them, and steps. See networks.hopfield.equations."""

from __future__ import annotations  # the module can then be imported without PyTorch

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import isfinite
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from eqprop_analog.core.nudge import Cost
from eqprop_analog.devices.buffer import Buffer
from eqprop_analog.kernels.torch.couplings import at_winner, first_winner, put, windows, zeros
from eqprop_analog.kernels.torch.motions import Motion, Order
from eqprop_analog.kernels.torch.network import Products, TorchNetwork, cost_slope, inverse, output, rise

States = list[Tensor]


@dataclass(frozen=True)
class Pull:
    """The force of a nudge on the last layer, -β ∂C/∂s_L, for phases stacked along the batch."""

    network: TorchNetwork
    beta: Float[Tensor, "batch 1"]
    target: Float[Tensor, "batch classes"]
    cost: Cost = "squared-error"
    behind: bool = False
    """Whether it acts after the buffers (kind "output")."""
    constant: Float[Tensor, "batch outputs"] | None = None
    """Force of current nudges, which do not depend on the state."""

    def at(self, outputs: Tensor) -> Tensor:
        """Return the force for the states ``outputs`` of the last layer."""
        if self.constant is not None:
            return self.constant
        slope = cost_slope(self.cost, self.network.readout(outputs), self.target)
        return self.network.along_readout(-self.beta * slope).to(outputs.dtype).view(outputs.shape)

    def damping(self, buffer: Buffer) -> Tensor | None:
        """λ of descent: gain times a bound on ∂²(βC)/∂s_L² if it is positive."""
        if self.constant is not None:
            return None
        bound = self.beta.clamp(min=0)
        if self.cost == "cross-entropy":
            bound = bound * (0.5 * self.target.sum(1, keepdim=True))
        if self.network.has_head:
            bound = bound * self.largest_gain()
        return buffer.gain * bound

    def largest_gain(self) -> Tensor:
        """The largest eigenvalue of WᵀW of the read-out; on a GPU a bound, tr((WᵀW)⁴)^¼, without a transfer to the CPU."""
        weights = self.network.values["head_weight"]
        square = weights.T @ weights
        if not square.is_cuda:
            return torch.linalg.eigvalsh(square)[-1]
        return (square @ square).square().sum().pow(0.25)


@cache
def _side(layer: int, device: torch.device) -> torch.cuda.Stream:  # noqa: ARG001 - one stream a layer
    """Return a stream in which a layer moves in parallel with others."""
    return torch.cuda.Stream(device)


def stacked(values: Tensor, times: int) -> Tensor:
    """Repeat ``values`` along the batch a number of times."""
    return values if times == 1 else values.repeat(times, *([1] * (values.ndim - 1)))


class Primitives(Protocol):
    """The operations of a phase; ``layer`` counts from 1, and connection ``layer`` ends there."""

    network: TorchNetwork
    motion: Motion

    def raw(self, layer: int, before: Tensor, *, back: bool) -> Tensor:
        """Return W ∗ s before the pooling, with the forward or the feedback weights."""
        ...

    def spread(self, layer: int, raw: Tensor, s: Tensor) -> Tensor:
        """Return the states after connection ``layer`` at the winners of ``raw``."""
        ...

    def returned(self, layer: int, spread: Tensor) -> Tensor:
        """Return the force of connection ``layer`` on the previous layer."""
        ...

    def moved(
        self, layer: int, raw: Tensor | None, returned: Tensor | None, s: Tensor, voltage: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return states, voltages if they evolve, and the new states' ``spread`` if it is known, after one step."""
        ...

    def force(self, layer: int, raw: Tensor | None, returned: Tensor | None, s: Tensor) -> Tensor:
        """Return u of a layer, including the nudge."""
        ...


class Phase:
    """A phase in progress. Parts of the forces are kept until the states change on which they depend."""

    def __init__(self, primitives: Primitives, states: Sequence[Tensor]) -> None:
        self.primitives, self.network = primitives, primitives.network
        self.states: States = list(states)
        depth = len(self.states)
        self.voltages: list[Tensor | None] = [None] * depth
        self._raw: list[Tensor | None] = [None] * (depth + 1)
        self._raw_back: list[Tensor | None] = [None] * (depth + 1)
        self._spread: list[Tensor | None] = [None] * (depth + 1)

    def raw(self, layer: int, *, back: bool = False) -> Tensor:
        """Return W ∗ s of connection ``layer`` (2..L) at the present states."""
        kept = self._raw_back if back and self.network.untied else self._raw
        found = kept[layer]
        if found is None:
            found = kept[layer] = self.primitives.raw(layer, self.states[layer - 2], back=kept is self._raw_back)
        return found

    def spread(self, layer: int) -> Tensor:
        """Return the states of ``layer`` (2..L) where they act on the previous layer."""
        found = self._spread[layer]
        if found is None:
            pooled = self.network.couplings[layer - 1].pool > 1
            s = self.states[layer - 1]
            found = self.primitives.spread(layer, self.raw(layer, back=True), s) if pooled else s
            self._spread[layer] = found
        return found

    def parts(self, layer: int) -> tuple[Tensor | None, Tensor | None]:
        """Return the input from the previous layer (before the pooling) and the feedback from the next one."""
        raw = None if layer == 1 else self.raw(layer)
        behind = None if layer == self.network.depth else self.primitives.returned(layer + 1, self.spread(layer + 1))
        return raw, behind

    def move(self, layers: Sequence[int]) -> None:
        """Do one step of ``layers``, all from the present states; on a GPU in parallel if they share nothing."""
        apart = len(layers) > 1 and self.states[0].is_cuda and all(b - a > 1 for a, b in pairwise(layers))
        moved = self._moved_apart(layers) if apart else [self._moved(layer) for layer in layers]
        for layer, (s, v, spread) in zip(layers, moved, strict=True):
            self.states[layer - 1], self.voltages[layer - 1] = s, v
            self._spread[layer] = spread
        for layer in layers:
            if layer < self.network.depth:
                self._raw[layer + 1] = self._raw_back[layer + 1] = self._spread[layer + 1] = None

    def forget(self) -> None:
        """Discard all parts of the forces, because all states have changed."""
        for kept in (self._raw, self._raw_back, self._spread):
            kept[:] = [None] * len(kept)

    def _moved(self, layer: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        s, v = self.states[layer - 1], self.voltages[layer - 1]
        return self.primitives.moved(layer, *self.parts(layer), s, v)

    def _moved_apart(self, layers: Sequence[int]) -> list[tuple[Tensor, Tensor | None, Tensor | None]]:
        """Do the same with one stream per layer; shared tensors are released after all streams have joined."""
        here = torch.cuda.current_stream()
        begin = here.record_event()
        moved = []
        for layer in layers[1:]:
            side = _side(layer, self.states[0].device)
            side.wait_event(begin)
            with torch.cuda.stream(side):
                moved.append(self._moved(layer))
        moved.insert(0, self._moved(layers[0]))
        for layer in layers[1:]:
            here.wait_stream(_side(layer, self.states[0].device))
        return moved

    def run(self, steps: int, order: Order) -> None:
        """Do a number of steps of all groups of ``order`` in turn."""
        for _ in range(steps):
            for group in order:
                self.move(group)

    def forces(self) -> States:
        """Return u of every layer."""
        return [
            self.primitives.force(layer, *self.parts(layer), self.states[layer - 1])
            for layer in range(1, self.network.depth + 1)
        ]


def begun(values: Values, start: Sequence[Tensor] | None = None) -> Phase:
    """A phase at ``start``, or at 0 V; see networks.hopfield.relaxation.RelaxingBatch for voltages before the buffers."""
    buffer = values.network.buffer
    phase = values.phase_class(values, values.zeros() if start is None else start)
    if not values.motion.moves_voltages(buffer):
        return phase
    voltages = [torch.zeros_like(s) for s in phase.states]
    if start is not None and values.motion.dynamics == "energy-based":
        voltages = [inverse(buffer, s).clamp(0, 1) for s in phase.states]
    elif start is not None:
        free = Phase(values.free(), start)
        floor, ceiling = (end if isfinite(end) else -end for end in buffer.span)
        for layer, (s, u) in enumerate(zip(phase.states, free.forces(), strict=True)):
            inside = torch.where(s <= 0, u.clamp(max=floor), inverse(buffer, s))
            voltages[layer] = torch.where(s >= 1, u.clamp(min=ceiling), inside)
    if values.motion.dynamics == "gradient-flow":
        voltages = [v.clamp(*buffer.span) for v in voltages]
    phase = values.phase_class(values, [output(buffer, v) for v in voltages])
    phase.voltages = list(voltages)
    return phase


class Values:
    """The primitives of states, in the precision of the tensors."""

    phase_class: type[Phase] = Phase
    """Class of phases with these primitives."""

    def __init__(
        self,
        network: TorchNetwork,
        motion: Motion,
        inputs: Tensor,
        pull: Pull | None = None,
        products: Products | None = None,
        first: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """``first``: W ∗ x of the inputs and its part that reaches layer 1, if known."""
        self.network, self.motion, self.inputs, self.pull = network, motion, inputs, pull
        self.products = Products(network, inputs.dtype) if products is None else products
        if first is None:
            raw = self.products.raw(1, inputs)
            first = raw, self.pooled(1, raw) + network.bias(1)
        self.first_raw, self.drive = first
        self.damping = None if pull is None or motion.dynamics != "descent" else pull.damping(network.buffer)

    def under(self, pull: Pull, times: int) -> Values:
        """Return the batch, repeated ``times``, under a nudge."""
        first = stacked(self.first_raw, times), stacked(self.drive, times)
        return type(self)(self.network, self.motion, stacked(self.inputs, times), pull, self.products, first)

    def free(self) -> Values:
        """Return the same without the nudge."""
        if self.pull is None:
            return self
        return type(self)(self.network, self.motion, self.inputs, None, self.products, (self.first_raw, self.drive))

    def zeros(self) -> States:
        """Return states of zero."""
        return [zeros(len(self.inputs), shape, self.inputs) for shape in self.network.shapes]

    def raw(self, layer: int, before: Tensor, *, back: bool) -> Tensor:
        """See Primitives."""
        return self.products.raw(layer, before, back=back)

    def returned(self, layer: int, spread: Tensor) -> Tensor:
        """See Primitives."""
        return self.products.returned(layer, spread)

    def winner(self, layer: int, values: Tensor, *, back: bool = False) -> Tensor:
        """Return the winners of windows of connection ``layer``; see networks.hopfield.connections.Convolution."""
        weights = self.network.back(layer) if back and layer > 1 else self.network.weight(layer)
        reach = self.inputs if layer == 1 else values.new_ones(1, 1, 1, 1)  # after buffers, states are at most 1
        tie = self.network.couplings[layer - 1].tie(weights, reach)
        assert tie is not None
        return first_winner(values, tie)

    def pooled(self, layer: int, raw: Tensor) -> Tensor:
        """Return the winners' values."""
        pool = self.network.couplings[layer - 1].pool
        if pool == 1:
            return raw
        values = windows(raw, pool)
        return at_winner(values, self.winner(layer, values))

    def spread(self, layer: int, raw: Tensor, s: Tensor) -> Tensor:
        """See Primitives."""
        pool = self.network.couplings[layer - 1].pool
        return s if pool == 1 else put(s, self.winner(layer, windows(raw, pool), back=True), raw, pool)

    def spread_forward(self, layer: int, raw: Tensor, s: Tensor) -> Tensor:
        """Return the same at the winners of the forward weights, with their ``raw``."""
        pool = self.network.couplings[layer - 1].pool
        return s if pool == 1 else put(s, self.winner(layer, windows(raw, pool)), raw, pool)

    def force(self, layer: int, raw: Tensor | None, returned: Tensor | None, s: Tensor) -> Tensor:
        """See Primitives."""
        u = self.drive if raw is None else self.pooled(layer, raw) + self.network.bias(layer)
        if returned is not None:
            u = u + returned
        elif self.pull is not None and not self.pull.behind:
            u = u + self.pull.at(s)
        return u

    def moved(
        self, layer: int, raw: Tensor | None, returned: Tensor | None, s: Tensor, voltage: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """See Primitives."""
        last = layer == self.network.depth
        followed = s  # by the pull; in the energy-based setting it is v, whose force has a factor ρ′ in hidden layers
        if self.motion.dynamics == "energy-based" and voltage is not None:
            followed = voltage
        u = self.force(layer, raw, returned, followed)
        if followed is not s and not last:
            u = u * rise(self.network.buffer, s)
        damping = None if self.damping is None or not last else self.damping.view(-1, *([1] * (s.ndim - 1)))
        new, v = self.motion.moved(self.network.buffer, u, s, voltage, damping)
        if last and self.pull is not None and self.pull.behind:
            new = new + self.motion.step * self.pull.at(s)
        return new.to(s.dtype), v, None


def residual(phase: Phase) -> Float[Tensor, " batch"]:
    """Return the largest |s - ρ(u)| of each sample of a phase of Values."""
    values = phase.primitives
    assert isinstance(values, Values)
    largest = torch.zeros(len(values.inputs), dtype=values.inputs.dtype, device=values.inputs.device)
    for s, u in zip(phase.states, phase.forces(), strict=True):
        target = output(phase.network.buffer, u)
        if s is phase.states[-1] and values.pull is not None and values.pull.behind:
            target = target + values.pull.at(s)
        largest = torch.maximum(largest, (s - target).abs().flatten(1).amax(1))
    return largest
