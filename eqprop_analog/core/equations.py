"""The protocol of a network's equations: what is zero at an equilibrium, for given inputs and nudge."""

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
"""The unknowns of a batch, volts, one array or more, with samples first."""


class Equations(Protocol):
    """F(nodes) = 0 for a batch of samples in one phase, or in several phases one below the other. Instances do not change.

    The nodes are what a circuit simulator measures (the probes of Network.circuit, side by side); ``states`` makes of them the
    voltages that an Equilibrium holds.
    """

    network: Any
    """Whose equations these are."""

    def __len__(self) -> int:
        """Samples."""
        ...

    def nudged(self, nudges: Sequence["Nudge"], free: "Equilibrium | None") -> Self:
        """The equations under each of ``nudges``, one batch below the other: (len(nudges)·batch) samples.

        ``free`` is where current nudges are taken. Raises UserError for a nudge that does not fit the outputs, or under which
        the network has no one equilibrium: no residual would show that.
        """
        ...

    def with_nudged(self, nudged: Self) -> Self | None:  # noqa: ARG002
        """The free phase's samples and below them those of ``nudged``, as one batch; None where that is not known."""
        return None

    def select(self, samples: Bool[Array, " batch"] | Int[Array, " some"]) -> Self:
        """The equations of some of the samples."""
        ...

    def begun(self, start: "Equilibrium | None") -> "Equilibrium | None":
        """``start`` in the network's precision; UserError unless it has a voltage for every node and sample."""
        ...

    def likeness(self, inputs: Float[Array, "batch inputs"]) -> Float[Array, "batch features"]:
        """What tells samples apart whose devices do not conduct alike; a sweep takes near ones one after the other."""
        return inputs

    def initial(self) -> Nodes:
        """Where a solver begins that is not told where: everything at rest."""
        ...

    def measured(self, probes: Float[Array, "batch probes"]) -> Nodes:
        """The unknowns from what the circuit's probes measure."""
        ...

    def states(self, nodes: Nodes) -> tuple[Array, ...]:
        """What Equilibrium.voltages holds, from the unknowns."""
        return nodes

    def unknowns(self, voltages: tuple[Array, ...]) -> Nodes:
        """The unknowns from what Equilibrium.voltages holds."""
        return voltages

    def imbalance(self, nodes: Nodes) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
        """(residual, excess): the largest |F| of each sample (Network.residual_unit), and how far it is from F = 0 without unit.

        The excess is a distance in volts from a node's own root, neighbours held, over the circuit's largest voltage, or what
        else tells a converged node from one hidden behind a steep device; certificates and solvers compare it with a tolerance.
        """
        ...

    def proof(self, nodes: Nodes, excess: Float[Array, " batch"]) -> "Provable | None":  # noqa: ARG002
        """What proves how far ``nodes`` are from the equilibrium; ``excess`` as from imbalance. None: there is no more to it."""
        return None

    def largest_residual(self, nodes: Nodes) -> Float[Array, " batch"]:
        """The residual alone."""
        return self.imbalance(nodes)[0]

    def out_of_bounds(self, nodes: Nodes, close: Bool[Array, " batch"]) -> Bool[Array, " batch"]:  # noqa: ARG002
        """Samples with a node beyond what the sources could drive it to; none, where states are bounded.

        ``close``: samples that satisfy F = 0, as far as was asked.
        """
        return np.zeros(len(self), bool)

    def stable(self, nodes: Nodes) -> Bool[Array, " batch"]:  # noqa: ARG002
        """Whether the circuit would stay at these equilibria; always, where the equations are convex."""
        return np.ones(len(self), bool)

    def adjoint(self, voltages: tuple[Array, ...], pull: Float[Array, "batch outputs"]) -> tuple[Array, ...]:
        """A of Jᵀa = (0, ..., 0, pull), J being -∂F/∂s at ``voltages`` (an equilibrium); one array for each of them."""
        ...
