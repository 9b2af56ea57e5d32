"""Kirchhoff's current law of a network on a graph, for given inputs and nudge, and its linearization."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

from eqprop_analog.core.checks import checked_start, fitted_nudges
from eqprop_analog.core.equations import Equations, Nodes
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.errors import UserError
from eqprop_analog.networks.graph.network import GraphNetwork

if TYPE_CHECKING:
    from eqprop_analog.networks.graph.proof import GraphProof

Array = np.ndarray

AMPLE = 10.0
"""Ratio of the ceiling on a diode's current to the current that the sources can drive through resistors."""
HIGHER = 1e3
"""Ratio of successive ceilings on the current."""
SHORT = 1e6
"""Current through a diode, amperes, above which it only shorts the sources."""
NODES_AT_ONCE = 4096
"""Number of nodes in one factorization of many samples: a compromise between cache size and number of calls."""


@dataclass(frozen=True, eq=False)
class GraphEquations(Equations):
    """F(v) = c - Δᵀ i(Δv) = 0 at every free node, with i = G w in resistors, I(w) in diodes, g·o - y between read-out nodes.

    (g, y) is the nudge: it drives the current y - g·o out of output o's plus node's source into it and back from its minus
    node. Above ``ceiling``, a diode's law continues along its tangent, so that the iteration does not overflow; an
    equilibrium above it is one of the ``raised`` equations.
    """

    network: GraphNetwork
    sources: Float[Array, "batch nodes"]
    """Voltages of held nodes, 0 elsewhere."""
    nudge_conductance: Float[Array, "#batch 1"]
    """Nudge conductance g, siemens."""
    nudge_current: Float[Array, "#batch outputs"]
    """Nudge current y, amperes."""
    ceiling: float
    """Voltage across a diode, volts, up to which its law is used."""

    @classmethod
    def of(cls, network: GraphNetwork, inputs: Float[Array, "batch inputs"]) -> Self:
        """Return the equations of the free phase."""
        sources = np.zeros((len(inputs), len(network.names)))
        sources[:, network.inputs] = inputs
        sources[:, network.rails] = network.rail_volts
        none = np.zeros((1, 1)), np.zeros((1, len(network.outputs)))
        return cls(network, sources, *none, _ceiling(network, _driven(network, sources, *none)))

    def __len__(self) -> int:
        """Samples."""
        return len(self.sources)

    def nudged(self, nudges: Sequence[Nudge], free: Equilibrium | None) -> Self:
        """Return the equations under each of ``nudges``, stacked: (len(nudges)·batch) samples.

        Current nudges are computed at ``free``. Raises UserError for a nudge that does not match the outputs or makes
        the circuit indefinite, and for a current nudge computed at anything but a free equilibrium.
        """
        batch, outputs = len(self), len(self.network.outputs)
        fitted = fitted_nudges(nudges, batch, outputs, free, float)
        found = [nudge.injection(None if free is None else free.outputs) for nudge in fitted]
        require_definite(self.network, min(g for g, _ in found))
        conductance = np.repeat([g for g, _ in found], batch)[:, None]
        current = np.concatenate([np.broadcast_to(y, (batch, outputs)) for _, y in found])
        sources = np.tile(self.sources, (len(nudges), 1))
        ceiling = _ceiling(self.network, _driven(self.network, sources, conductance, current))
        return replace(self, sources=sources, nudge_conductance=conductance, nudge_current=current, ceiling=ceiling)

    def raised(self) -> Self | None:
        """Return the same with a higher ceiling; None if a diode would then carry SHORT."""
        carried = -float(self.network.diode.current(np.array([self.network.diode.rail - self.ceiling]))[0])
        return None if carried >= SHORT else replace(self, ceiling=_ceiling(self.network, HIGHER * carried))

    def unlimited(self) -> Self:
        """Return the same with the highest ceiling."""
        return replace(self, ceiling=max(self.ceiling, _ceiling(self.network, SHORT)))

    @property
    def injection(self) -> tuple[Float[Array, "#batch 1"], Float[Array, "#batch outputs"]]:
        """Return the nudge as (g, y), siemens and amperes; zeros in the free phase."""
        return self.nudge_conductance, self.nudge_current

    def begun(self, start: Equilibrium | None) -> Equilibrium | None:
        """Return ``start`` in float64.

        Raises UserError unless it has a voltage for every node, every read-out and sample.
        """
        sizes = len(self.network.names), len(self.network.outputs)
        return checked_start(start, len(self.sources), sizes, float)

    def select(self, samples: Bool[Array, " batch"] | Int[Array, " some"]) -> Self:
        """Return the equations of some of the samples."""
        nudge = (self.nudge_conductance, self.nudge_current)
        conductance, current = (each if len(each) == 1 else each[samples] for each in nudge)
        return replace(self, sources=self.sources[samples], nudge_conductance=conductance, nudge_current=current)

    def initial(self) -> tuple[Array]:
        """Return fixed nodes at the voltages of their sources, all others at 0 V."""
        return (self.sources,)

    def measured(self, probes: Float[Array, "batch nodes"]) -> tuple[Array]:
        """See core.Equations."""
        return (probes,)

    def states(self, nodes: Nodes) -> tuple[Array, Array]:
        """Return the voltages of all nodes, and the read-outs."""
        return nodes[0], self.network.drops(nodes[0])[2]

    def unknowns(self, voltages: tuple[Array, ...]) -> tuple[Array]:
        """Return the voltages of all nodes."""
        return (voltages[0],)

    def imbalance(self, nodes: Nodes) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
        """See core.Equations: the excess is the largest voltage of the next Newton step, over the circuit's largest voltage.

        It includes the deviation of fixed nodes from their sources.
        """
        (voltages,) = nodes
        excess = np.full(len(voltages), np.inf)
        known = np.asarray(np.isfinite(voltages).all(axis=1))
        if known.any():
            some, v = self.unlimited().select(known), voltages[known]
            off = some.held(v) - v
            excess[known] = relative(some.response(v, some.residuals(v)) + off, v)
        return self.largest_residual(nodes), excess

    def largest_residual(self, nodes: Nodes) -> Float[Array, " batch"]:
        """See core.Equations."""
        return np.asarray(np.abs(self.unlimited().residuals(nodes[0])).max(axis=1, initial=0))

    def out_of_bounds(self, nodes: Nodes, close: Bool[Array, " batch"]) -> Bool[Array, " batch"]:
        """Return which samples have a diode that carries more than SHORT amperes."""
        return np.asarray(close & (self.network.drops(nodes[0])[1] > self.unlimited().ceiling).any(axis=1))

    def proof(self, nodes: tuple[Array, ...], excess: Float[Array, " batch"]) -> "GraphProof":  # noqa: ARG002
        """See core.Equations."""
        from eqprop_analog.networks.graph.proof import GraphProof

        return GraphProof(self, nodes[0][:, self.network.free])

    def held(self, voltages: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
        """Return ``voltages`` with the fixed nodes at the voltages of their sources."""
        result = voltages.copy()
        result[:, self.network.held] = self.sources[:, self.network.held]
        return result

    def residuals(self, voltages: Float[Array, "batch nodes"]) -> Float[Array, "batch free"]:
        """Return F, the net current into each free node, amperes."""
        network = self.network
        drops, across, outputs = network.drops(voltages)
        capped, beyond = self._split(across)
        through = [
            network.conductances * drops,
            beyond * network.diode.slope(capped) - network.diode.current(capped),
            self.nudge_conductance * outputs - self.nudge_current,
        ]
        flow = network.incidence.T @ np.concatenate(through, axis=1).T
        return np.asarray(network.currents - flow.T)[:, network.free]

    def slopes(self, voltages: Float[Array, "batch nodes"]) -> Float[Array, "batch branches"]:
        """Return di/dw of resistors, diodes and nudges, siemens."""
        network, batch = self.network, len(voltages)
        capped, _ = self._split(network.drops(voltages)[1])
        through = [
            np.broadcast_to(network.conductances, (batch, len(network.resistors))),
            network.diode.slope(capped),
            np.broadcast_to(self.nudge_conductance, (batch, len(network.outputs))),
        ]
        return np.concatenate(through, axis=1)

    def energy(self, voltages: Float[Array, "batch nodes"]) -> Float[Array, " batch"]:
        """Return the energy whose gradient is -F, including that of the nudge, watts up to a constant."""
        network = self.network
        drops, across, outputs = network.drops(voltages)
        capped, beyond = self._split(across)
        law = network.diode
        diodes = law.cocontent(capped) + beyond * (0.5 * beyond * law.slope(capped) - law.current(capped))
        nudge = outputs * (0.5 * self.nudge_conductance * outputs - self.nudge_current)
        inside = 0.5 * drops**2 @ network.conductances + diodes.sum(axis=1)
        return np.asarray(inside + nudge.sum(axis=1) - voltages @ network.currents)

    def response(
        self, voltages: Float[Array, "batch nodes"], currents: Float[Array, "batch free"]
    ) -> Float[Array, "batch nodes"]:
        """Return J⁻¹ ``currents``, volts: the response to currents into the free nodes (A), linearized at ``voltages``.

        J = -∂F/∂v = Δᵀ diag(slopes) Δ. Without diodes, it is one matrix for all samples, factorized once; otherwise the
        samples' matrices are blocks of a single one. Newton's step is the response to F.
        """
        moved = np.zeros_like(voltages)
        free = self.network.free
        if not len(self.network.diodes):
            conductance = np.broadcast_to(self.nudge_conductance[:, 0], len(voltages))
            for g, solve in self._linear.items():
                some = np.flatnonzero(conductance == g)
                moved[some[:, None], free] = solve(np.ascontiguousarray(currents[some].T)).T
            return moved
        slopes = self.slopes(voltages)
        for some in np.array_split(np.arange(len(voltages)), -(-currents.size // NODES_AT_ONCE)):
            solution = factors(self.network, slopes[some]).solve(currents[some].ravel())
            moved[some[:, None], free] = solution.reshape(-1, len(free))
        return moved

    def adjoint(self, voltages: tuple[Array, ...], pull: Float[Array, "batch outputs"]) -> tuple[Array, ...]:
        """Return the linearized response (V) of all nodes and read-outs to currents ``pull`` (A) between the read-outs' nodes."""
        network = self.network
        into = (network.incidence[-len(network.outputs) :].T @ pull.T).T[:, network.free]
        moved = self.response(voltages[0], into)
        return moved, network.drops(moved)[2]

    @cached_property
    def _linear(self) -> Mapping[float, Any]:
        """Return solvers of the circuit without diodes, by the nudge's conductance."""
        found = {}
        for g in np.unique(self.nudge_conductance).tolist():
            branches = replace(self, nudge_conductance=np.array([[g]])).slopes(self.sources[:1])
            found[g] = factors(self.network, branches).solve
        return found

    def _split(self, across: Float[Array, "batch diodes"]) -> tuple[Array, Array]:
        """Return the law's node voltage of each diode, limited to the ceiling, and the excess voltage across the diode."""
        capped = np.minimum(across, self.ceiling) if across.size else across
        return self.network.diode.rail - capped, across - capped


def relative(step: Float[Array, "batch nodes"], voltages: Float[Array, "batch nodes"]) -> Float[Array, " batch"]:
    """Return the largest voltage of ``step`` over the circuit's largest."""
    scale = np.abs(voltages).max(axis=1)
    return np.asarray(np.abs(step).max(axis=1) / np.where(scale > 0, scale, 1))


def _driven(network: GraphNetwork, sources: Array, nudge_conductance: Array, nudge_current: Array) -> float:
    """Return AMPLE times the current, amperes, of all resistors in parallel at the largest difference between sources."""
    total = float(network.conductances.sum() + np.abs(nudge_conductance).max())
    injected = np.abs(network.currents).sum() + np.abs(nudge_current).sum(axis=1).max()
    return float(AMPLE * (2 * np.abs(sources).max() * total + injected))


def _ceiling(network: GraphNetwork, current: float) -> float:
    """Return the voltage across a diode, volts, that carries this current, amperes, in parallel with all resistors."""
    law, total = network.diode, np.array([network.conductances.sum()])
    return float(law.rail - law.solve(total, total * law.rail - current)[0])


def factors(network: GraphNetwork, slopes: Float[Array, "blocks branches"]) -> Any:
    """Factorize Δᵀ diag(slopes) Δ over the free nodes by SuperLU, one block per row; symmetric, hence without pivoting."""
    scatter, rows, starts = network.stencil
    blocks, size = np.arange(len(slopes))[:, None], len(network.free)
    data = (scatter @ slopes.T).T.ravel()
    columns = np.append((starts[:-1] + len(rows) * blocks).ravel(), data.size)
    matrix = csc_array((data, (rows + size * blocks).ravel(), columns), shape=(len(slopes) * size,) * 2)
    return splu(matrix, permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


def output_resistance(network: GraphNetwork) -> Float[Array, "outputs outputs"]:
    """The output resistance matrix, ohms: response of the read-outs to currents between their nodes, with all diodes off."""
    branches = network.incidence.shape[0]
    slopes = np.zeros((1, branches))
    slopes[0, : len(network.resistors)] = network.conductances
    readout = network.incidence[branches - len(network.outputs) :].toarray()[:, network.free]
    return np.asarray(readout @ factors(network, slopes).solve(np.ascontiguousarray(readout.T)))


def require_definite(network: GraphNetwork, beta: float) -> None:
    """Raise UserError, which names the output, if a nudge of ``beta`` siemens makes the circuit indefinite.

    It is definite for any state of the diodes if -beta is below the smallest eigenvalue of the inverse output
    resistance.
    """
    if beta >= 0:
        return
    values, vectors = np.linalg.eigh(output_resistance(network))
    if -beta * values[-1] >= 1:
        plus, minus = network.outputs[int(np.abs(vectors[:, -1]).argmax())]
        output = network.names[plus] + (f" - {network.names[minus]}" if minus >= 0 else "")
        raise UserError(
            f"nudge: beta = {beta:.4g} S makes the circuit indefinite at output {output}: the smallest eigenvalue of "
            f"the output conductance is only {1 / values[-1]:.4g} S; use |beta| below that"
        )
