"""Free states of each example, from which its free phase in the next epoch starts (Scellier & Bengio 2017)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from eqprop_analog.core.equilibrium import Equilibrium, Status
from eqprop_analog.core.network import Network
from eqprop_analog.errors import UserError

Array = np.ndarray


@dataclass(frozen=True)
class PersistentStates:
    """The last free states of every example of a data set, volts; 0 V before the first."""

    states: tuple[Array, ...]
    """States of layers 1..L, each (examples, nodes), volts."""

    @classmethod
    def of(cls, network: Network, examples: int) -> "PersistentStates":
        """Return states at 0 V, in the network's dtype."""
        dtype = next(iter(network.arrays().values())).dtype
        return cls(tuple(np.zeros((examples, nodes), dtype) for nodes in network.layers[1:]))

    def start(self, examples: Int[Array, " batch"] | None) -> Equilibrium:
        """Return the initial states of ``examples``. Raises UserError if a batch has no indices."""
        if examples is None:
            raise UserError("persistent states: expected the indices of the examples with every batch, got none")
        size = len(examples)
        status = np.full(size, Status.TRUNCATED, dtype=object)
        return Equilibrium(tuple(s[examples] for s in self.states), np.full(size, np.nan), status)

    def keep(self, examples: Int[Array, " batch"] | None, free: Equilibrium) -> None:
        """Store the free phases of ``examples``, except those that failed."""
        good = free.good
        which = np.asarray(examples)[good]
        for mine, its in zip(self.states, free.voltages, strict=True):
            mine[which] = its[good]

    def arrays(self) -> dict[str, Array]:
        """Return the arrays by their names in checkpoints, ``state_<l>``; they can be written in place."""
        return {f"state_{l}": s for l, s in enumerate(self.states, start=1)}
