"""J = D + Σ - N: the proof of an equilibrium (core.proof) with diodes from nodes to rails and couplings N >= 0."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.proof import DOUBLE, verified
from eqprop_analog.devices import Law, slopes_between

Array = np.ndarray
Nodes = Float[Array, "batch nodes"]

UNIT = float(np.finfo(np.float64).eps / 2)
MORE = 16
"""Roundings of a node's equation in addition to those of its sums: totals, products with gains, solution of the law."""


class NodeLinearisation(ABC):
    """J = diag(D + Σ) - N with Σ the smallest slopes in the box; see core.proof.Linearised. Held nodes have Σ = ∞."""

    def __init__(
        self, totals: tuple[Nodes, Nodes], slopes: tuple[Nodes, Nodes], radius: Float[Array, " batch"], distance: Nodes
    ) -> None:
        """``totals``: D, and the sum of the magnitudes of its terms (a negative nudge is a negative term).

        ``slopes``: smallest and largest in the box; ``distance`` of every node from its own root, volts.
        """
        (total, sums), (low, high) = totals, slopes
        self.slopes = np.asarray(total + low, np.float64)
        self.held = np.isinf(self.slopes)
        self.sums = np.where(self.held, 0.0, sums + low)
        change = np.where(self.held, 0.0, high - np.where(self.held, 0.0, low))
        self.spread: Nodes = change * radius[:, None] + self.bent(radius)
        self.distance = distance

    @abstractmethod
    def coupled(self, voltages: Nodes) -> Nodes:
        """N v, amperes, in the precision of ``voltages``."""

    @abstractmethod
    def solved(self, currents: Nodes) -> Nodes:
        """J⁻¹ ``currents``."""

    def bent(self, radius: Float[Array, " batch"]) -> Nodes:  # noqa: ARG002 - used by subclasses in which N also changes
        """Largest change of N over the box, times its radius, amperes."""
        return np.zeros_like(self.slopes)

    def solve(self, currents: Nodes) -> Nodes:
        """See Linearised."""
        return self.solved(np.where(self.held, 0.0, currents).astype(np.float64))

    def left(self, currents: Nodes, step: Nodes) -> Nodes:
        """See Linearised."""
        wide = step.astype(currents.dtype)
        own, others = np.where(self.held, 0.0, self.slopes) * wide, self.coupled(wide)
        size = self.sums * np.abs(step)
        error = self._roundings(currents.dtype) * (size + self.coupled(np.abs(wide))) + self._roundings(DOUBLE) * size
        return np.where(self.held, 0.0, np.abs(currents - (own - others)) + error).astype(np.float64)

    def reach(self, currents: Nodes) -> Nodes:
        """See Linearised."""
        return verified(self.solved, self._image, self.sums, currents, self._roundings(DOUBLE))

    def _image(self, voltages: Nodes) -> tuple[Nodes, Nodes]:
        own, others = np.where(self.held, 0.0, self.slopes) * voltages, self.coupled(voltages)
        return own - others, self.sums * np.abs(voltages) + np.abs(others)

    def unsigned(self, currents: Nodes, rounding: Nodes) -> Float[Array, " batch"]:
        """See Linearised: each node by its current, or by the distance from its own root, which is safe for steep diodes."""
        by_current = np.nan_to_num(np.abs(currents) + rounding, nan=np.inf)
        steepest = np.where(self.held, 0.0, self.slopes) + self._roundings(DOUBLE) * self.sums
        by_distance = steepest * self.distance
        return np.asarray(self.reach(np.minimum(by_current, by_distance)).max(axis=1))

    def _roundings(self, dtype: np.dtype[Any]) -> float:
        return float((self.slopes.shape[1] + MORE) * np.finfo(dtype).eps / 2)


def box(law: Law, sign: Nodes, voltages: Nodes, roots: tuple[Nodes, Nodes]) -> tuple[Nodes, Nodes]:
    """Smallest and largest slopes of the diodes between ``voltages`` and any point between the ``roots`` of the nodes.

    ``sign``: polarity ±1 of the nodes.
    """
    low, high = np.minimum(voltages, roots[0]), np.maximum(voltages, roots[1])
    least, largest = slopes_between(law, np.where(sign > 0, low, -high), np.where(sign > 0, high, -low))
    return np.where(np.isinf(least) & (low < high), 0.0, least), largest  # an ideal clamp holds a node only at its rail


def law_currents(law: Law, sign: Nodes, voltages: Nodes) -> tuple[Nodes, Nodes]:
    """Currents that the diodes draw from their nodes, and bounds of their rounding errors, amperes."""
    own = sign * voltages
    current, slope = law.current(own), law.slope(own)
    unit = np.finfo(voltages.dtype).eps / 2
    return sign * current, MORE * unit * (np.abs(current) + slope * (np.abs(own) + abs(law.rail)))
