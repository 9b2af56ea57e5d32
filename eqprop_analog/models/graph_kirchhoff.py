"""Kirchhoff's current law of a network on a graph, for given inputs and nudge, and its linearisation."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.errors import UserError
from eqprop_analog.models.checks import checked_start, fitted_nudges
from eqprop_analog.models.graph_network import GraphNetwork
from eqprop_analog.nudging import Nudge

Array = np.ndarray

AMPLE = 10.0
"""How far the bound on a diode's current lies above what the sources can drive."""
NODES_AT_ONCE = 4096
"""In one factorisation of many samples: more strain the processor's caches, fewer cost calls."""


@dataclass(frozen=True, eq=False)
class GraphEquations:
    """F(v) = c - Δᵀ i(Δv) = 0 at every free node, with i = G w in resistors, I(w) in diodes, g·o - y between read-out nodes.

    (g, y) is the nudge: it drives the current y - g·o out of output o's plus node's source into it and back from its minus
    node. A diode's law goes on along its tangent from ``ceiling`` on, where no equilibrium lies, so that nothing overflows.
    """

    network: GraphNetwork
    sources: Float[Array, "batch nodes"]
    """Voltages of held nodes, 0 elsewhere."""
    nudge_conductance: float
    """g, siemens."""
    nudge_current: Float[Array, "#batch outputs"]
    """y, amperes."""
    ceiling: float
    """Volts that no diode has across it at equilibrium."""

    @classmethod
    def of(cls, network: GraphNetwork, inputs: Float[Array, "batch inputs"]) -> Self:
        """The free phase's equations."""
        sources = np.zeros((len(inputs), len(network.names)))
        sources[:, network.inputs] = inputs
        sources[:, network.rails] = network.rail_volts
        none = np.zeros((1, len(network.outputs)))
        return cls(network, sources, 0.0, none, _ceiling(network, sources, 0.0, none))

    def nudged(self, nudge: Nudge, free: Equilibrium | None) -> Self:
        """The equations under ``nudge``; ``free`` is where a current nudge is taken.

        Raises UserError for a nudge that does not fit the outputs or makes the circuit indefinite, and for a current nudge
        taken at anything but a free equilibrium.
        """
        (nudge,) = fitted_nudges([nudge], len(self.sources), len(self.network.outputs), free, float)
        conductance, current = nudge.injection(None if free is None else free.outputs)
        require_definite(self.network, conductance)
        ceiling = _ceiling(self.network, self.sources, conductance, current)
        return replace(self, nudge_conductance=conductance, nudge_current=current, ceiling=ceiling)

    @property
    def injection(self) -> tuple[float, Float[Array, "#batch outputs"]]:
        """The nudge as (g, y), siemens and amperes; zeros in the free phase."""
        return self.nudge_conductance, self.nudge_current

    def begun(self, start: Equilibrium | None) -> Equilibrium | None:
        """``start`` in float64; UserError unless it has a voltage for every node, every read-out and sample."""
        sizes = len(self.network.names), len(self.network.outputs)
        return checked_start(start, len(self.sources), sizes, float)

    def select(self, samples: Bool[Array, " batch"] | Int[Array, " some"]) -> Self:
        """The equations of some of the samples."""
        current = self.nudge_current if len(self.nudge_current) == 1 else self.nudge_current[samples]
        return replace(self, sources=self.sources[samples], nudge_current=current)

    def held(self, voltages: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
        """``voltages`` with the held nodes at their sources'."""
        result = voltages.copy()
        result[:, self.network.held] = self.sources[:, self.network.held]
        return result

    def residuals(self, voltages: Float[Array, "batch nodes"]) -> Float[Array, "batch free"]:
        """F: net current into each free node, amperes."""
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
        """di/dw of resistors, diodes and nudges, siemens."""
        network, batch = self.network, len(voltages)
        capped, _ = self._split(network.drops(voltages)[1])
        through = [
            np.broadcast_to(network.conductances, (batch, len(network.resistors))),
            network.diode.slope(capped),
            np.full((batch, len(network.outputs)), self.nudge_conductance),
        ]
        return np.concatenate(through, axis=1)

    def energy(self, voltages: Float[Array, "batch nodes"]) -> Float[Array, " batch"]:
        """The energy whose gradient is -F, the nudge's share included, watts up to a constant."""
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
        """J⁻¹ ``currents``, volts: what currents into the free nodes (A) move, linearised at ``voltages``.

        J = -∂F/∂v = Δᵀ diag(slopes) Δ. Without diodes it is one matrix for all samples, factorised once; else the samples'
        matrices are the blocks of one. Newton's step is the response to F.
        """
        moved = np.zeros_like(voltages)
        free = self.network.free
        if not len(self.network.diodes):
            moved[:, free] = self._linear.solve(np.ascontiguousarray(currents.T)).T
            return moved
        slopes = self.slopes(voltages)
        for some in np.array_split(np.arange(len(voltages)), -(-currents.size // NODES_AT_ONCE)):
            solution = factors(self.network, slopes[some]).solve(currents[some].ravel())
            moved[some[:, None], free] = solution.reshape(-1, len(free))
        return moved

    @cached_property
    def _linear(self) -> Any:
        return factors(self.network, self.slopes(self.sources[:1]))

    def _split(self, across: Float[Array, "batch diodes"]) -> tuple[Array, Array]:
        """Law's node voltage of each diode, no further than the ceiling, and the volts across the diode beyond that."""
        capped = np.minimum(across, self.ceiling) if across.size else across
        return self.network.diode.rail - capped, across - capped


def _ceiling(network: GraphNetwork, sources: Array, nudge_conductance: float, nudge_current: Array) -> float:
    """Junction voltage that no equilibrium reaches, volts.

    What flows through a diode flows through resistors too, so it is less than what all of them in parallel would carry at
    the largest difference between sources; the law's own node solve gives the voltage at such a current.
    """
    law, total = network.diode, float(network.conductances.sum()) + abs(nudge_conductance)
    injected = np.abs(network.currents).sum() + np.abs(nudge_current).sum(axis=1).max()
    driven = AMPLE * (2 * np.abs(sources).max() * total + injected)
    return float(law.rail - law.solve(np.array([total]), np.array([total * law.rail - driven]))[0])


def factors(network: GraphNetwork, slopes: Float[Array, "blocks branches"]) -> Any:
    """SuperLU of Δᵀ diag(slopes) Δ over the free nodes, in their order, a block for each row; symmetric, so without pivoting."""
    scatter, rows, starts = network.stencil
    blocks, size = np.arange(len(slopes))[:, None], len(network.free)
    data = (scatter @ slopes.T).T.ravel()
    columns = np.append((starts[:-1] + len(rows) * blocks).ravel(), data.size)
    matrix = csc_array((data, (rows + size * blocks).ravel(), columns), shape=(len(slopes) * size,) * 2)
    return splu(matrix, permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


def output_resistance(network: GraphNetwork) -> Float[Array, "outputs outputs"]:
    """Ohms: how the read-outs answer currents between their nodes, with every diode off."""
    branches = network.incidence.shape[0]
    slopes = np.zeros((1, branches))
    slopes[0, : len(network.resistors)] = network.conductances
    readout = network.incidence[branches - len(network.outputs) :].toarray()[:, network.free]
    return np.asarray(readout @ factors(network, slopes).solve(np.ascontiguousarray(readout.T)))


def require_definite(network: GraphNetwork, beta: float) -> None:
    """Raise UserError, naming the output, if a nudge of ``beta`` siemens makes the circuit indefinite.

    It is definite, whatever its diodes do, while -beta is below the smallest eigenvalue of the inverse output resistance.
    """
    if beta >= 0:
        return
    values, vectors = np.linalg.eigh(output_resistance(network))
    if -beta * values[-1] >= 1:
        plus, minus = network.outputs[int(np.abs(vectors[:, -1]).argmax())]
        output = network.names[plus] + (f" - {network.names[minus]}" if minus >= 0 else "")
        raise UserError(
            f"nudge: beta = {beta:.4g} S makes the circuit indefinite at output {output}: the outputs are held by only "
            f"{1 / values[-1]:.4g} S; use |beta| below that"
        )
