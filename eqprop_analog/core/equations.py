"""The protocol of a network's equations, which are satisfied at an equilibrium for given inputs and nudge."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from jaxtyping import Bool, Float, Int

if TYPE_CHECKING:
    from eqprop_analog.core.equilibrium import Equilibrium
    from eqprop_analog.core.nudge import Nudge
    from eqprop_analog.core.proof import Provable

Array = np.ndarray
Nodes = tuple[Array, ...]
"""The unknowns of a batch, volts, as one or more arrays; the first axis is the sample."""


class Equations(Protocol):
    """F(nodes) = 0 for a batch of samples in one phase, or in several stacked phases. Instances are immutable.

    The nodes are the quantities that a circuit simulator measures (the probes of Network.circuit, concatenated);
    ``states`` converts them to the voltages of an Equilibrium.
    """

    network: Any
    """The network of these equations."""

    def __len__(self) -> int:
        """Samples."""
        ...

    def nudged(self, nudges: Sequence["Nudge"], free: "Equilibrium | None") -> Self:
        """Return the equations under each of ``nudges``, stacked: (len(nudges)·batch) samples.

        Current nudges are computed at ``free``. Raises UserError for a nudge that does not match the outputs, or under
        which the network has no unique equilibrium, which a residual would not show.
        """
        ...

    def with_nudged(self, nudged: Self) -> Self | None:  # noqa: ARG002
        """The free phase's samples and below them those of ``nudged``, as one batch; None where that is not known."""
        return None

    def select(self, samples: Bool[Array, " batch"] | Int[Array, " some"]) -> Self:
        """Return the equations of some of the samples."""
        ...

    def begun(self, start: "Equilibrium | None") -> "Equilibrium | None":
        """Return ``start`` in the network's precision.

        Raises UserError unless it has a voltage for every node and sample.
        """
        ...

    def likeness(self, inputs: Float[Array, "batch inputs"]) -> Float[Array, "batch features"]:
        """Return features of the samples by which a sweep orders them, so that consecutive samples have similar device states."""
        return inputs

    def initial(self) -> Nodes:
        """Return the default initial guess of a solver: all nodes at rest."""
        ...

    def measured(self, probes: Float[Array, "batch probes"]) -> Nodes:
        """Return the unknowns from the measurements of the circuit's probes."""
        ...

    def states(self, nodes: Nodes) -> tuple[Array, ...]:
        """Return Equilibrium.voltages from the unknowns."""
        return nodes

    def unknowns(self, voltages: tuple[Array, ...]) -> Nodes:
        """Return the unknowns from Equilibrium.voltages."""
        return voltages

    def imbalance(self, nodes: Nodes) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
        """Return (residual, excess) of each sample: the largest |F| (Network.residual_unit), and a dimensionless distance.

        The excess is the distance in volts of a node from the root of its equation with fixed neighbours, divided by
        the circuit's largest voltage, or another measure that is not hidden by a steep device. Certificates and solvers
        compare it with a tolerance.
        """
        ...

    def proof(self, nodes: Nodes, excess: Float[Array, " batch"]) -> "Provable | None":  # noqa: ARG002
        """Return the equations for a proof of the distance of ``nodes`` from the equilibrium; None if ``excess`` suffices."""
        return None

    def largest_residual(self, nodes: Nodes) -> Float[Array, " batch"]:
        """Return only the residual of ``imbalance``."""
        return self.imbalance(nodes)[0]

    def out_of_bounds(self, nodes: Nodes, close: Bool[Array, " batch"]) -> Bool[Array, " batch"]:  # noqa: ARG002
        """Return the samples with a node beyond the reach of the sources; none if states are bounded.

        ``close``: samples that satisfy F = 0 within the tolerance.
        """
        return np.zeros(len(self), bool)

    def stable(self, nodes: Nodes) -> Bool[Array, " batch"]:  # noqa: ARG002
        """Return whether these equilibria are stable; always true if the equations are convex."""
        return np.ones(len(self), bool)

    def adjoint(self, voltages: tuple[Array, ...], pull: Float[Array, "batch outputs"]) -> tuple[Array, ...]:
        """Solve Jᵀa = (0, ..., 0, pull) for a, with J = -∂F/∂s at ``voltages`` (an equilibrium); one array for each of them."""
        ...
