"""The protocol of a solver: whatever finds equilibria, an algorithm, a simulator or a board."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.nudge import Nudge

Array = np.ndarray


class Solver(Protocol):
    """Finds equilibria of the networks that it is for."""

    def solve(
        self, network: Any, inputs: ArrayLike, nudge: Nudge | None = None, start: Equilibrium | None = None
    ) -> Equilibrium:
        """Equilibrium of each row of ``inputs`` (batch, inputs) in ``network`` under ``nudge``, each with its status.

        ``start`` is where a current nudge is taken, and where dynamics begin. Raises UserError for a network, inputs, a nudge
        or a start that do not fit each other.
        """
        ...

    def solve_phases(
        self, network: Any, inputs: Float[Array, "batch inputs"], nudges: Sequence[Nudge]
    ) -> tuple[Equilibrium, ...]:
        """The free equilibrium of each row of ``inputs`` in ``network``, then that under each of ``nudges``.

        ``start``, where a solver takes it: as in ``solve``.
        """
        ...


def close(solver: Any) -> None:
    """Let go of the solver's worker processes, if it has some."""
    end = getattr(solver, "close", None)
    if end is not None:
        end()
