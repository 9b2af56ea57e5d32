"""The proof of a graph network's equilibria (core.proof): diodes connect any two nodes, and so may a negative nudge."""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from eqprop_analog.core.proof import DOUBLE, LONG, verified
from eqprop_analog.devices import slopes_between
from eqprop_analog.networks.graph.equations import NODES_AT_ONCE, GraphEquations, factors
from eqprop_analog.networks.graph.network import GraphNetwork
from eqprop_analog.networks.graph.reading import GROUND
from eqprop_analog.networks.node_proof import MORE

Array = np.ndarray
UNSURE = 1e-10
"""Fraction of the output resistance that may be lost in rounding."""
Free = Float[Array, "batch free"]
Branches = Float[Array, "batch branches"]


@dataclass(frozen=True, eq=False)
class GraphProof:
    """See core.proof.Provable; its nodes are the free nodes."""

    equations: GraphEquations
    given: Free
    precisions = (DOUBLE, LONG)

    def select(self, samples: Bool[Array, " batch"] | Int[Array, " some"]) -> Self:
        """See Provable."""
        return replace(self, equations=self.equations.select(samples), given=self.given[samples])

    @property
    def scale(self) -> Float[Array, " batch"]:
        """See Provable."""
        return np.asarray(np.abs(self.everywhere(self.given)).max(axis=1))

    def nodes(self, voltages: Free) -> tuple[Float[Array, "batch nodes"]]:
        """See Provable."""
        return (self.everywhere(voltages),)

    def quick(self) -> Float[Array, " batch"]:
        """No quick bound exists, because conductances between free nodes may amplify their interaction."""
        return np.full(len(self.given), np.inf)

    def currents(self, voltages: Free, precision: np.dtype[Any]) -> tuple[Free, Free]:
        """See Provable."""
        equations, network, unit = self.equations, self.equations.network, np.finfo(precision).eps / 2
        v = self.everywhere(voltages).astype(precision)
        drops = self.drops(v)
        resistors, diodes, outputs = self.parts
        flow, lost = np.zeros_like(drops), np.zeros(drops.shape)
        flow[:, resistors] = network.conductances * drops[:, resistors]
        law, own = network.diode, network.diode.rail - drops[:, diodes]
        flow[:, diodes] = -law.current(own)
        lost[:, diodes] = unit * law.slope(own) * (np.abs(own) + np.abs(drops[:, diodes]) + abs(law.rail))
        pulled = equations.nudge_conductance * drops[:, outputs]
        flow[:, outputs] = pulled - equations.nudge_current
        lost[:, outputs] = unit * (np.abs(pulled) + np.abs(equations.nudge_current))
        lost += unit * np.abs(flow).astype(np.float64)
        terms = MORE + self.degree
        into = network.currents.astype(precision)[network.free] - self.gathered(flow)
        rounding = terms * (self.gathered(lost, positive=True) + unit * np.abs(network.currents)[network.free])
        return into, rounding

    def linearised(self, voltages: Free, radius: Float[Array, " batch"]) -> "_Linearised":
        """See Provable."""
        return _Linearised(self, voltages, radius)

    def everywhere(self, free: Free) -> Float[Array, "batch nodes"]:
        """Return the voltages of all nodes."""
        v = self.equations.sources.copy()
        v[:, self.equations.network.free] = free
        return v

    @cached_property
    def parts(self) -> tuple[slice, slice, slice]:
        """Slices of resistors, diodes and outputs among the branches."""
        network = self.equations.network
        ends = np.cumsum((0, len(network.resistors), len(network.diodes), len(network.outputs))).tolist()
        resistors, diodes, outputs = (slice(*pair) for pair in pairwise(ends))
        return resistors, diodes, outputs

    @cached_property
    def _ends(self) -> Int[Array, "branches 2"]:
        network = self.equations.network
        return np.concatenate([network.resistors, network.diodes, network.outputs])

    @property
    def degree(self) -> int:
        """Largest number of branches at a node."""
        return int(np.bincount(self._ends[self._ends != GROUND]).max(initial=0))

    def drops(self, voltages: Float[Array, "batch nodes"]) -> Branches:
        """Return the volts across every branch, each rounded once."""
        ends = self._ends
        behind = np.where(ends[:, 1] == GROUND, 0, voltages[:, ends[:, 1]])
        return voltages[:, ends[:, 0]] - behind

    def gathered(self, flow: Branches, *, positive: bool = False) -> Free:
        """Return the sum of branch currents out of each free node, amperes; ``positive``: of their magnitudes."""
        network = self.equations.network
        if flow.dtype == DOUBLE:
            incidence = abs(network.incidence) if positive else network.incidence
            return np.asarray((incidence.T @ flow.T).T)[:, network.free]
        total = np.zeros((len(network.names), len(flow)), flow.dtype)
        ends = self._ends
        np.add.at(total, ends[:, 0], flow.T)
        behind = ends[:, 1] != GROUND
        np.add.at(total, ends[behind, 1], flow.T[behind] if positive else -flow.T[behind])
        return total.T[:, network.free]


class _Linearised:
    """J = Δᵀ diag(slopes) Δ; see core.proof.Linearised. For a negative nudge, it is M minus the nudge's part."""

    def __init__(self, circuit: GraphProof, voltages: Free, radius: Float[Array, " batch"]) -> None:
        self.circuit, equations = circuit, circuit.equations
        network = equations.network
        drops = circuit.drops(circuit.everywhere(voltages))
        resistors, diodes, outputs = circuit.parts
        self.slopes = np.empty(drops.shape)
        self.slopes[:, resistors] = network.conductances
        self.slopes[:, outputs] = equations.nudge_conductance
        own, wide = network.diode.rail - drops[:, diodes], 2 * radius[:, None]
        low, high = slopes_between(network.diode, own - wide, own + wide)
        self.slopes[:, diodes] = low
        spread = np.zeros(drops.shape)
        spread[:, diodes] = (high - low) * wide
        self.spread = circuit.gathered(spread, positive=True)

    def solve(self, currents: Free) -> Free:
        """See Linearised."""
        return self._solved(self._factors, currents.astype(np.float64))

    def left(self, currents: Free, step: Free) -> Free:
        """See Linearised."""
        return self._left(self.slopes, currents, step)

    def _left(self, slopes: Branches, currents: Free, step: Free) -> Free:
        unit = np.finfo(currents.dtype).eps / 2
        flow = slopes * self._drops(step.astype(currents.dtype))
        error = unit * (MORE + self.circuit.degree) * self.circuit.gathered(np.abs(flow), positive=True)
        return (np.abs(currents - self.circuit.gathered(flow)) + error).astype(np.float64)

    def reach(self, currents: Free) -> Free:
        """See Linearised: M⁻¹ verified, plus the contribution of a negative nudge, |M⁻¹|R|ᵀ w (w·|R| M⁻¹ c)|, w² >= diag W.

        W = (1/|g| - R M⁻¹ Rᵀ)⁻¹, positive definite while the circuit is (Woodbury's identity).
        """
        plain = self._passive_reach(currents)
        if (self.circuit.equations.nudge_conductance >= 0).all():
            return plain
        answers = self._answers(len(currents))
        weights = np.sqrt(self._stiffened(answers))
        seen = (weights * (plain @ abs(self._readout).T)).sum(axis=1, keepdims=True)
        return plain + np.einsum("bo,bon->bn", weights, answers) * seen

    def _answers(self, batch: int) -> Float[Array, "batch outputs free"]:
        """Return a bound of |M⁻¹ Rᵀ| of each sample, ohms."""
        answers = []
        for row in self._readout:
            asked = np.tile(row, (batch, 1))
            found = self._solved(self._passive, asked)
            answers.append(np.abs(found) + self._passive_reach(self._left(self._without_nudge, asked, found)))
        return np.stack(answers, axis=1)

    def unsigned(self, currents: Free, rounding: Free) -> Float[Array, " batch"]:
        """See Linearised: |x_j|² <= (J⁻¹)_jj F·J⁻¹F, for J and J + anything positive semidefinite."""
        asked = (np.abs(currents) + rounding).astype(np.float64)
        stiffest = self.reach(np.ones_like(asked)).max(axis=1, initial=0.0)
        return np.asarray(np.sqrt(stiffest * (asked * self.reach(asked)).sum(axis=1)))

    def _stiffened(self, answers: Float[Array, "batch outputs free"]) -> Float[Array, "batch outputs"]:
        """Return diag W, siemens, from R M⁻¹ Rᵀ to rounding; infinite if the circuit is not safely definite."""
        taken = np.broadcast_to(self.circuit.equations.nudge_conductance, (len(answers), 1))
        strength = np.where(taken < 0, -1 / np.where(taken < 0, taken, 1), np.inf)
        exact = np.stack(
            [self._solved(self._passive, np.tile(row, (len(answers), 1))) @ self._readout.T for row in self._readout],
            axis=1,
        )
        values, vectors = np.linalg.eigh(0.5 * (exact + exact.swapaxes(1, 2)))
        margin = strength * (1 - UNSURE) - values
        diagonal = np.einsum("bok,bk->bo", vectors**2, 1 / margin)
        return np.where((margin > 0).all(axis=1, keepdims=True), diagonal, np.inf)

    @cached_property
    def _readout(self) -> Float[Array, "outputs free"]:
        network = self.circuit.equations.network
        return np.asarray(network.incidence[-len(network.outputs) :].toarray()[:, network.free])

    def _passive_reach(self, currents: Free) -> Free:
        """Return a verified bound of |M⁻¹ c| for all |c| <= ``currents``."""
        gathered, slopes = self.circuit.gathered, self._without_nudge

        def image(found: Free) -> tuple[Free, Free]:
            flow = slopes * self._drops(found)
            return gathered(flow), gathered(np.abs(flow), positive=True)

        rounding = (MORE + self.circuit.degree) * np.finfo(np.float64).eps / 2
        own = gathered(slopes, positive=True)
        return verified(lambda asked: self._solved(self._passive, asked), image, own, currents, rounding)

    @cached_property
    def _without_nudge(self) -> Branches:
        slopes = self.slopes.copy()
        outputs = self.circuit.parts[2]
        slopes[:, outputs] = np.maximum(slopes[:, outputs], 0)
        return slopes

    @cached_property
    def _factors(self) -> list[tuple[Array, Any]]:
        return self._factorised(self.slopes)

    @cached_property
    def _passive(self) -> list[tuple[Array, Any]]:
        return (
            self._factors
            if (self.circuit.equations.nudge_conductance >= 0).all()
            else self._factorised(self._without_nudge)
        )

    def _factorised(self, slopes: Branches) -> list[tuple[Array, Any]]:
        """Factorize a block for each of some samples, None if singular; without diodes, only the single block of a nudge."""
        network, samples = self.circuit.equations.network, np.arange(len(slopes))
        if not len(network.diodes):
            taken = np.broadcast_to(self.circuit.equations.nudge_conductance[:, 0], len(slopes))
            groups = [np.flatnonzero(taken == g) for g in np.unique(taken)]
            return [(some, _factors(network, slopes[some[:1]])) for some in groups]
        pieces = np.array_split(samples, max(1, -(-samples.size * len(network.free) // NODES_AT_ONCE)))
        found = [(some, _factors(network, slopes[some])) for some in pieces]
        alone = [sample[None] for some, lu in found if lu is None and len(some) > 1 for sample in some]
        kept = [(some, lu) for some, lu in found if lu is not None or len(some) == 1]
        return kept + [(sample, _factors(network, slopes[sample])) for sample in alone]

    def _solved(self, factored: list[tuple[Array, Any]], currents: Free) -> Free:
        found = np.full(currents.shape, np.nan)
        together = not len(self.circuit.equations.network.diodes)
        for some, lu in factored:
            if lu is None:
                continue
            right = np.ascontiguousarray(currents[some].T) if together else currents[some].ravel()
            found[some] = lu.solve(right).T if together else lu.solve(right).reshape(len(some), -1)
        return found

    def _drops(self, free: Free) -> Branches:
        """Return the volts across every branch, with fixed nodes at 0 V."""
        v = np.zeros((len(free), len(self.circuit.equations.network.names)), free.dtype)
        v[:, self.circuit.equations.network.free] = free
        return self.circuit.drops(v)


def _factors(network: GraphNetwork, slopes: Branches) -> Any:
    """Factorize the samples' matrices; None if one of them is singular."""
    try:
        return factors(network, slopes)
    except RuntimeError:
        return None
