"""Backpropagation through time of a Hopfield network's relaxation, written explicitly: the reference for equilibrium propagation.

Source: Ernoult et al. 2019; at a fixed point the recursion is that of Almeida 1987 and Pineda 1987.
"""

from collections import Counter
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from eqprop_analog.core.checks import checked_target
from eqprop_analog.core.equilibrium import Equilibrium, Layers, Status
from eqprop_analog.core.nudge import Cost, cost_slope
from eqprop_analog.errors import UserError
from eqprop_analog.learning.persistent import PersistentStates
from eqprop_analog.learning.trainer import Learner, PhaseError, required
from eqprop_analog.learning.update import LearningRates, Momentum, descend
from eqprop_analog.networks.hopfield.connections import Choice, Connection, Dense
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.hopfield.relaxation import Relaxation

Array = np.ndarray
Steps = tuple[Float[Array, "steps batch nodes"], ...]
"""One array per layer 1..L."""
Side = Literal["conductance", "output"]
"""Whether the cost acts before or after the output buffers."""


class Unrolling:
    """``length`` steps of a solver's free phase, s' of s and u(s), and backpropagation through them.

    With A = ∂s'/∂u and c = ∂s'/∂s of one node, dC/du = A·dC/ds' and dC/ds = c·dC/ds' + (∂u/∂s)ᵀ·dC/du:

    discrete time    s' = s + ε(ρ(u) - s)               A = ερ′(u)    c = 1 - ε     (descent: ε = 1)
    gradient flow    s' = clip(s + εg(gu - s), 0, 1)    A = εg²       c = 1 - εg    (hard sigmoid of gain g)

    where ρ′(u) = 0 if ρ(u) is 0 or 1 V, and A = c = 0 if the flow is clipped there. Memory is linear in the steps: two
    arrays of (length, batch, nodes) per layer. Raises UserError for another solver, or gradient flow of another buffer.
    """

    def __init__(self, network: HopfieldNetwork, solver: Relaxation, batch: int, length: int) -> None:
        dtype, sizes = network.weights[0].dtype, network.layers[1:]
        self.network, self.batch, self.length = network, batch, length
        self.states: Steps = tuple(np.empty((length + 1, batch, nodes), dtype) for nodes in sizes)
        """s before each step and after the last, volts."""
        self.forces: Steps = tuple(np.empty((length, batch, nodes), dtype) for nodes in sizes)
        """After ``backward``, dC/du of each step, for the cost C of each sample."""
        self._winners: list[list[tuple[Choice, Choice]]] = []
        steps = solver.explicit_steps(network)
        self._groups, self._rate, self._flows = steps.groups, steps.rate, steps.flows

    @property
    def outputs(self) -> Float[Array, "batch nodes"]:
        """The last layer's states after the last step, volts."""
        return self.states[-1][-1]

    def forward(self, inputs: Float[Array, "batch inputs"], start: Layers | None = None) -> None:
        """Do all steps, from ``start`` or from 0 V."""
        network, first = self.network, self.network.connections[0]
        self._inputs = inputs
        drive, self._first_choice = first.forward(network.weights[0], inputs)
        drive += first.spread_bias(network.biases[0])
        for layer, states in enumerate(self.states):
            states[0] = 0 if start is None else start[layer]
        self._winners = [self._step(drive, t) for t in range(self.length)]

    def _step(self, drive: Float[Array, "batch nodes"], t: int) -> list[tuple[Choice, Choice]]:
        """Do step t; return the forward and backward winners of each connection except the first."""
        network = self.network
        ahead: list[Choice] = [None] * network.depth
        back: list[Choice] = [None] * network.depth
        for later, group in enumerate(self._groups):
            seen = [states[t + later] for states in self.states]
            for layer in group:
                u = self.forces[layer][t]
                if layer == 0:
                    u[...] = drive
                else:
                    each = network.connections[layer]
                    u[...] = each.spread_bias(network.biases[layer])
                    ahead[layer] = each.add_forward(network.weights[layer], seen[layer - 1], u)
            for layer in group:
                if layer + 1 < network.depth:
                    each, s = network.connections[layer + 1], self.states[layer][t]
                    shared = layer + 1 in group and not network.returning
                    back[layer + 1] = ahead[layer + 1] if shared else each.winners(network.back[layer], s)
                    each.add_backward(network.back[layer], seen[layer + 1], back[layer + 1], self.forces[layer][t])
            for layer in group:
                self._take(layer, t)
        return list(zip(ahead, back, strict=True))

    def _take(self, layer: int, t: int) -> None:
        """Return the new state of a layer from its u; for a partial step, ρ(u) is used instead of u."""
        before, u, after = self.states[layer][t], self.forces[layer][t], self.states[layer][t + 1]
        buffer, rate = self.network.buffer, u.dtype.type(self._rate)
        if self._flows:
            np.multiply(u, rate * u.dtype.type(buffer.gain), out=after)
            np.multiply(before, 1 - rate, out=u)
            np.add(after, u, out=after)
            np.clip(after, 0, 1, out=after)
        elif rate == 1:
            buffer.output(u, out=after)
        else:
            np.subtract(buffer.output(u, out=u), before, out=after)
            np.multiply(after, rate, out=after)
            np.add(before, after, out=after)

    def backward(
        self, targets: Float[Array, "batch classes"], cost: Cost = "squared-error", kind: Side = "conductance"
    ) -> None:
        """Backpropagate C of the read-outs after the last step to ``forces`` = dC/du of every step; ``kind``: see BpttLearner."""
        self._pull = cost_slope(cost, self.network.readout(self.outputs), targets)
        adjoint = self._last()
        behind = np.zeros_like(adjoint[-1])
        if kind == "output":
            behind, adjoint[-1] = adjoint[-1], behind
        for t in reversed(range(self.length)):
            for group in reversed(self._groups):
                for layer in group:
                    np.multiply(self._slope(layer, t), adjoint[layer], out=self.forces[layer][t])
                if kind == "output" and group[-1] == self.network.depth - 1:
                    self.forces[-1][t] += behind * behind.dtype.type(self._rate)
                    behind *= behind.dtype.type(1 - self._rate)
                self._return(group, t, adjoint)

    def _last(self) -> list[Float[Array, "batch nodes"]]:
        """Return dC/ds of every layer after the last step."""
        adjoint = [np.zeros_like(states[0]) for states in self.states]
        adjoint[-1][...] = self.network.along_readout(self._pull)
        return adjoint

    def _slope(self, layer: int, t: int) -> Float[Array, "batch nodes"]:
        """Return A of step t, before ``forces`` become dC/du."""
        parted = self._rate != 1 and not self._flows
        output = self.forces[layer][t] if parted else self.states[layer][t + 1]
        rise = self.network.buffer.rise(output) * output.dtype.type(self._rate)
        return rise * _inside(output)

    def _return(self, group: range, t: int, adjoint: list[Float[Array, "batch nodes"]]) -> None:
        """Propagate dC/ds' to dC/ds of layers that step simultaneously, by dC/du."""
        for layer in group:
            adjoint[layer] *= adjoint[layer].dtype.type(1 - self._rate)
            if self._flows:
                adjoint[layer] *= _inside(self.states[layer][t + 1])
        for layer in group:
            self._spread(layer, t, adjoint)

    def _spread(self, layer: int, t: int, adjoint: list[Float[Array, "batch nodes"]]) -> None:
        """Add (∂u/∂s)ᵀ·dC/du of one layer's u to its neighbours."""
        network, du = self.network, self.forces[layer][t]
        if layer > 0:
            each, choice = network.connections[layer], self._winners[t][layer][0]
            each.add_backward(network.weights[layer], du, choice, adjoint[layer - 1])
        if layer + 1 < network.depth:
            each, choice = network.connections[layer + 1], self._winners[t][layer + 1][1]
            each.add_forward(network.back[layer], du, adjoint[layer + 1], choice)

    def state_gradients(self, t: int) -> Layers:
        """Return dC/ds of every layer before step t, or after the last (t = ``length``), for the cost of each sample.

        It requires ``backward`` of kind "conductance".
        """
        adjoint = self._last()
        for later in reversed(range(t, self.length)):
            for group in reversed(self._groups):
                self._return(group, later, adjoint)
        return tuple(adjoint)

    def gradient(self) -> dict[str, Array]:
        """Return dC/dθ, batch mean, named as ``network.arrays()``, after ``backward``."""
        named = self._gradient(slice(None))
        if self.network.head is not None:
            named["head_weight"] = self.outputs.T @ self._pull / self._pull.dtype.type(self.batch)
            named["head_bias"] = self._pull.mean(axis=0)
        return named

    def contribution(self, t: int) -> dict[str, Array]:
        """Return the contribution of step t to dC/dθ, batch mean: dC/dθ_t for separate parameters θ_t of every step."""
        return self._gradient(slice(t, t + 1))

    def _gradient(self, steps: slice) -> dict[str, Array]:
        network = self.network
        du = [forces[steps] for forces in self.forces]
        seen = [[states[later:][: self.length][steps] for states in self.states] for later in range(len(self._groups))]
        group = {layer: later for later, layers in enumerate(self._groups) for layer in layers}
        total = [forces.sum(axis=0) for forces in du]
        weights = [network.connections[0].gradient(self._inputs, total[0], self._first_choice)]  # equal at every step
        returning: list[Array] = []
        for layer in range(1, network.depth):
            each, winners = network.connections[layer], [step[layer] for step in self._winners[steps]]
            forward = _product(each, seen[group[layer]][layer - 1], du[layer], [ahead for ahead, _ in winners])
            back = _product(each, du[layer - 1], seen[group[layer - 1]][layer], [back for _, back in winners])
            if network.returning:
                returning.append(back)
            else:
                forward += back if network.feedback == 1 else forward.dtype.type(network.feedback) * back
            weights.append(forward)
        biases = [c.gather_bias(d.sum(axis=0)) for c, d in zip(network.connections, total, strict=True)]
        named = {f"weight_{l}": values for l, values in enumerate(weights, start=1)}
        named |= {f"bias_{l}": values for l, values in enumerate(biases, start=1)}
        named |= {f"returning_{l}": values for l, values in enumerate(returning, start=2)}
        return {name: values / values.dtype.type(self.batch) for name, values in named.items()}


def _inside(output: Float[Array, "batch nodes"]) -> Bool[Array, "batch nodes"]:
    """Return where a node is strictly between its corners."""
    return np.asarray((output > 0) & (output < 1))


def _product(
    connection: Connection,
    before: Float[Array, "steps batch nodes"],
    after: Float[Array, "steps batch nodes"],
    choices: list[Choice],
) -> Float[Array, "..."]:
    """Return ∂Φ/∂W summed over steps and batch, as one matrix product if possible."""
    if isinstance(connection, Dense):
        return connection.gradient(before.reshape(-1, before.shape[2]), after.reshape(-1, after.shape[2]), None)
    total = connection.gradient(before[0], after[0], choices[0])
    for each in zip(before[1:], after[1:], choices[1:], strict=True):
        total += connection.gradient(*each)
    return total


def bptt_gradient(
    network: HopfieldNetwork,
    solver: Relaxation,
    inputs: ArrayLike,
    targets: Float[Array, "batch classes"],
    cost: Cost = "squared-error",
    backward_steps: int | None = None,
    kind: Side = "conductance",
) -> dict[str, Array]:
    """Return dC/dθ, batch mean, named as ``network.arrays()``, for C after the free phase of ``solver`` from 0 V.

    ``kind`` "output" gives that of another cost, see BpttLearner. Backpropagation covers all ``solver.free_steps``, or only the
    last ``backward_steps`` (Ernoult et al. 2019). A solver that runs to convergence does ``backward_steps`` more steps;
    enough of them give the gradient of the equilibrium. Raises UserError for a solver that Unrolling does not support,
    and for a phase that fails.
    """
    batch = network.check_inputs(inputs)
    unrolling = Unrolling(network, solver, len(batch), _kept(solver, backward_steps))
    start = _lead(network, solver, unrolling.length, batch, None)
    unrolling.forward(batch, None if start is None else start.voltages)
    unrolling.backward(checked_target(targets, (len(batch), network.classes), batch.dtype), cost, kind)
    return unrolling.gradient()


def _kept(solver: Relaxation, backward_steps: int | None) -> int:
    """Return the number of steps for backpropagation. Raises UserError if it is missing or too large."""
    if backward_steps is not None and (int(backward_steps) != backward_steps or backward_steps < 1):
        raise UserError(f"bptt: backward_steps must be an integer of at least 1, got {backward_steps!r}")
    if solver.free_steps is None and backward_steps is None:
        raise UserError("bptt: backward_steps is required if the free phase runs until it has converged")
    if solver.free_steps is None or backward_steps is None:
        return backward_steps or solver.free_steps or 0
    if backward_steps > solver.free_steps:
        raise UserError(f"bptt: backward_steps = {backward_steps} exceeds free_steps = {solver.free_steps}")
    return backward_steps


def _lead(
    network: HopfieldNetwork,
    solver: Relaxation,
    kept: int,
    inputs: Float[Array, "batch inputs"],
    start: Equilibrium | None,
) -> Equilibrium | None:
    """Return the free phase before its last ``kept`` steps, from ``start`` or 0 V; ``start`` if no step is left out."""
    if solver.free_steps == kept:
        return start
    steps = None if solver.free_steps is None else solver.free_steps - kept
    return required(replace(solver, free_steps=steps, check_residual=False).solve_phases(network, inputs, (), start)[0])


class BpttLearner(Learner):
    """A learner like PhaseLearner for the same solver's free phase, with ``bptt_gradient`` instead of nudged phases.

    ``kind`` says where C acts, as for a nudge. "conductance", before the output buffers: the gradient itself, dC/du = ρ′·∂C/∂s.
    Saturated outputs, at 0 or 1 V, get no gradient, even if they are wrong; a finite nudge can move such a node. With
    hard sigmoids, training can lose one class after another. "output", after the buffers: dC/du = ∂C/∂s at the outputs,
    the gradient of their matching cost ∫(ρ(u) - y)du, at rest or after whole steps (Auer, Herbster & Warmuth 1996; for
    sigmoids a cross-entropy).

    States kept from epoch to epoch are the start of a phase; the gradient treats them as constants.
    """

    tolerance: float | None = None
    """See trainer.Rule."""

    def __init__(
        self,
        network: HopfieldNetwork,
        solver: Relaxation,
        rates: LearningRates,
        cost: Cost = "squared-error",
        *,
        kind: Side = "conductance",
        backward_steps: int | None = None,
        momentum: Momentum | None = None,
        persistent: PersistentStates | None = None,
    ) -> None:
        self.network, self.solver, self.rates, self.cost = network, solver, rates, cost
        self.kind: Side = kind
        self.momentum, self.persistent = momentum, persistent
        self._unrolling = Unrolling(network, solver, 1, _kept(solver, backward_steps))

    def learn(
        self,
        inputs: Float[Array, "batch inputs"],
        targets: Float[Array, "batch classes"],
        examples: Int[Array, " batch"] | None = None,
    ) -> tuple[int, Counter[str]]:
        """Update from one batch; see Learner. ``inputs`` and ``targets`` must be valid and of the network's dtype."""
        if self._unrolling.batch != len(inputs):
            self._unrolling = Unrolling(self.network, self.solver, len(inputs), self._unrolling.length)
        unrolling, start = self._unrolling, None
        if self.persistent is not None and examples is not None:
            start = self.persistent.start(examples)
        start = _lead(self.network, self.solver, unrolling.length, inputs, start)
        unrolling.forward(inputs, None if start is None else start.voltages)
        if not np.isfinite(unrolling.outputs).all():
            raise PhaseError("a state is no longer finite")
        read = self.network.readout(unrolling.outputs)
        wrong = self.judged(read, targets, self.tolerance)  # of the read-out before its update
        unrolling.backward(targets, self.cost, self.kind)
        descend(self.network, unrolling.gradient(), self.rates, self.momentum)
        status = np.full(len(inputs), Status.TRUNCATED, dtype=object)
        free = Equilibrium(tuple(s[-1] for s in unrolling.states), np.full(len(inputs), np.nan), status)
        if self.persistent is not None and examples is not None:
            self.persistent.keep(examples, free)
        return wrong, Counter({Status.TRUNCATED.name: len(inputs)})
