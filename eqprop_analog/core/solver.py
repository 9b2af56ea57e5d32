"""The protocol of a solver, which finds equilibria: an algorithm, a simulator or a board."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.nudge import Nudge

Array = np.ndarray


class Solver(Protocol):
    """Finds the equilibria of networks that it supports."""

    def solve(
        self, network: Any, inputs: ArrayLike, nudge: Nudge | None = None, start: Equilibrium | None = None
    ) -> Equilibrium:
        """Return the equilibrium of each row of ``inputs`` (batch, inputs) in ``network`` under ``nudge``, each with its status.

        ``start`` is the equilibrium at which a current nudge is computed, and the initial state of dynamics. Raises
        UserError if network, inputs, nudge and start do not match.
        """
        ...

    def solve_phases(
        self, network: Any, inputs: Float[Array, "batch inputs"], nudges: Sequence[Nudge]
    ) -> tuple[Equilibrium, ...]:
        """Return the free equilibrium of each row of ``inputs`` in ``network``, followed by that under each of ``nudges``.

        ``start``, if the solver accepts it: as in ``solve``.
        """
        ...


def close(solver: Any) -> None:
    """End the solver's worker processes, if it has any."""
    end = getattr(solver, "close", None)
    if end is not None:
        end()
