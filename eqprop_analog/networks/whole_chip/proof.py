"""The proof of a whole chip's equilibria (core.proof): a circuit of many nodes with branch slopes bounded in a box."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csc_array

from eqprop_analog.core.proof import DOUBLE, LONG
from eqprop_analog.networks.node_proof import MORE, NodeLinearisation, box, law_currents
from eqprop_analog.networks.whole_chip.equations import HELD, WholeChipEquations

Array = np.ndarray
Nodes = Float[Array, "batch nodes"]
Branches = Float[Array, "batch branches"]


@dataclass(frozen=True, eq=False)
class WholeChipProof:
    """See core.proof.Provable."""

    equations: WholeChipEquations
    given: Nodes
    precisions: ClassVar[Sequence[np.dtype[Any]]] = (DOUBLE, LONG)

    def select(self, samples: Bool[Array, " batch"] | Int[Array, " some"]) -> Self:
        """See Provable."""
        return replace(self, equations=self.equations.select(samples), given=self.given[samples])

    @property
    def scale(self) -> Float[Array, " batch"]:
        """See Provable."""
        return self.equations.scale(self.given)

    def nodes(self, voltages: Nodes) -> tuple[Nodes]:
        """See Provable."""
        return (voltages,)

    def quick(self) -> Float[Array, " batch"]:
        """None, because weakly held groups of wire nodes would require a solution for each sample."""
        return np.full(len(self.given), np.inf)

    def currents(self, voltages: Nodes, precision: np.dtype[Any]) -> tuple[Nodes, Nodes]:
        """See Provable."""
        voltages = voltages.astype(precision)
        current, rounding = self.without_diodes(voltages)
        hidden = self.equations.assembly.hidden
        if hidden:
            drawn, lost = law_currents(self.equations.network.law(), self.equations.polarity, voltages[:, :hidden])
            current[:, :hidden] -= drawn
            rounding[:, :hidden] += lost
        return current, rounding.astype(np.float64)

    def without_diodes(self, voltages: Nodes) -> tuple[Nodes, Nodes]:
        """Net currents without the diodes, and the part that rounding in the precision of the voltages may hide, amperes."""
        unit = np.finfo(voltages.dtype).eps / 2
        equations, assembly = self.equations, self.equations.assembly
        ends = equations.ends(voltages)
        drops = np.asarray((assembly.incidence @ ends.T).T)
        # The voltage of a node is exact; that of a drive or row is rounded a few times, and a drop once.
        inexact = np.abs(ends)
        inexact[:, : assembly.size] = 0
        error = MORE * unit * np.asarray((abs(assembly.incidence) @ inexact.T).T) + unit * np.abs(drops)
        flows = np.abs(equations.flows(drops))
        lost = equations.slopes(np.abs(drops) + error) * error + MORE * unit * flows
        summed = assembly.collected(np.asarray((assembly.touching @ flows.T).T))
        loaded = np.abs(equations.sources) + np.abs(equations.loads * voltages)
        rounding = assembly.collected(np.asarray((assembly.touching @ lost.T).T))
        rounding += (assembly.degree + MORE) * unit * (summed + loaded)
        return equations.without_diodes(voltages), rounding

    def linearised(self, voltages: Nodes, radius: Float[Array, " batch"]) -> "_Linearised":
        """See Provable."""
        return _Linearised(self, voltages, radius)

    def least_and_largest(
        self, voltages: Nodes, radius: Float[Array, " batch"]
    ) -> tuple[tuple[Branches, Nodes], tuple[Branches, Nodes]]:
        """Slopes of branches (S) and drives in the box: (smallest, smallest), (largest, largest)."""
        equations, assembly = self.equations, self.equations.assembly
        network, wide = equations.network, np.broadcast_to(radius[:, None], voltages.shape)
        low = high = equations.follow(voltages)
        if network.saturating.size:
            x = np.abs(voltages[:, network.saturating] + network.offset[network.saturating])
            near, far = np.maximum(x - radius[:, None], 0), x + radius[:, None]
            low, high = low.copy(), high.copy()
            own = network.gains[network.saturating]
            low[:, network.saturating] = own * (1 - np.tanh(far / network.input_range) ** 2)
            high[:, network.saturating] = own * (1 - np.tanh(near / network.input_range) ** 2)
        moved = assembly.steps(wide, high)
        drops = np.abs(equations.drops(voltages))
        span = np.asarray((abs(assembly.incidence) @ moved.T).T)
        least, largest = equations.slopes(np.maximum(drops - span, 0)), equations.slopes(drops + span)
        return (least, low), (largest, high)


class _Linearised(NodeLinearisation):
    """The smallest J of a whole chip in the box. No off-diagonal entry is positive, so |J| bounds changes of either sign."""

    def __init__(self, circuit: WholeChipProof, voltages: Nodes, radius: Float[Array, " batch"]) -> None:
        self.circuit, equations, assembly = circuit, circuit.equations, circuit.equations.assembly
        least, largest = circuit.least_and_largest(voltages, radius)
        self._least, self._largest = (self._matrices(*each) for each in (least, largest))
        self._own = assembly.unordered(np.stack([each.diagonal() for each in self._least]))
        low, high = np.zeros_like(voltages), np.zeros_like(voltages)
        hidden = assembly.hidden
        if hidden:
            without, rounding = circuit.without_diodes(voltages)
            moved = self._moved(np.broadcast_to(radius[:, None], voltages.shape), self._largest)
            more = (moved + rounding)[:, :hidden]
            law, sign = equations.network.law(), equations.polarity
            held_by = np.broadcast_to(equations.least, voltages.shape)[:, :hidden]
            inflow = without[:, :hidden] + held_by * voltages[:, :hidden]
            below, above = (sign * law.solve(held_by, sign * (inflow + each)) for each in (-more, more))
            low[:, :hidden], high[:, :hidden] = box(law, sign, voltages[:, :hidden], (below, above))
        totals = self._own + equations.loads, self._own + np.abs(equations.loads)
        super().__init__(totals, (low, high), radius, np.zeros_like(voltages))

    def coupled(self, voltages: Nodes) -> Nodes:
        """See NodeLinearisation."""
        return np.asarray(self._own * voltages - self._image_of(voltages, self._least))

    def bent(self, radius: Float[Array, " batch"]) -> Nodes:
        """See NodeLinearisation: slopes of branches and drives may increase up to their largest values in the box."""
        wide = np.broadcast_to(radius[:, None], self._own.shape)
        return self._moved(wide, self._largest) - self._moved(wide, self._least)

    def solved(self, currents: Nodes) -> Nodes:
        """See NodeLinearisation."""
        assembly = self.circuit.equations.assembly
        return np.stack([assembly.solved(*each) for each in zip(self._factors, currents, strict=True)])

    def unsigned(self, currents: Nodes, rounding: Nodes) -> Float[Array, " batch"]:  # noqa: ARG002
        """See Linearised: None, because branch slopes above the smallest ones increase the coupling of nodes."""
        return np.full(len(currents), np.inf)

    @cached_property
    def _factors(self) -> list[Any]:
        assembly = self.circuit.equations.assembly
        more = np.minimum(self.slopes, HELD) - self._own
        return [assembly.factors(assembly.with_diagonal(*each)) for each in zip(self._least, more, strict=True)]

    def _matrices(self, slopes: Branches, follow: Float[Array, "batch hidden"]) -> list[csc_array]:
        assembly = self.circuit.equations.assembly
        none = np.zeros(assembly.size)
        return [assembly.matrix(*each, none) for each in zip(slopes, follow, strict=True)]

    def _image_of(self, voltages: Nodes, matrices: Sequence[csc_array]) -> Nodes:
        order = self.circuit.equations.assembly.order
        return self.circuit.equations.assembly.unordered(
            np.stack([matrix @ own[order] for matrix, own in zip(matrices, voltages, strict=True)])
        )

    def _moved(self, wide: Nodes, matrices: Sequence[csc_array]) -> Nodes:
        """|J| of each sample times ``wide``."""
        return self._image_of(wide, [abs(matrix) for matrix in matrices])

    def _roundings(self, dtype: np.dtype[Any]) -> float:
        """Number of terms in the sums at a node: those of its branches and of the branches of its drive."""
        return float((2 * self.circuit.equations.assembly.degree + MORE) * np.finfo(dtype).eps / 2)
