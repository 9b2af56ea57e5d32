"""Free states kept per example from epoch to epoch, from which its next free phase begins (Scellier & Bengio 2017)."""

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
    """Layers 1..L, each (examples, nodes)."""

    @classmethod
    def of(cls, network: Network, examples: int) -> "PersistentStates":
        """All at 0 V, in the network's dtype."""
        dtype = next(iter(network.arrays().values())).dtype
        return cls(tuple(np.zeros((examples, nodes), dtype) for nodes in network.layers[1:]))

    def start(self, examples: Int[Array, " batch"] | None) -> Equilibrium:
        """Where the free phases of ``examples`` begin. Raises UserError if a batch does not say which they are."""
        if examples is None:
            raise UserError("persistent states: expected the indices of the examples with every batch, got none")
        size = len(examples)
        status = np.full(size, Status.TRUNCATED, dtype=object)
        return Equilibrium(tuple(s[examples] for s in self.states), np.full(size, np.nan), status)

    def keep(self, examples: Int[Array, " batch"] | None, free: Equilibrium) -> None:
        """Remember the free phases of ``examples``, those that failed left out."""
        good = free.good
        which = np.asarray(examples)[good]
        for mine, its in zip(self.states, free.voltages, strict=True):
            mine[which] = its[good]

    def arrays(self) -> dict[str, Array]:
        """By the names they have in checkpoints, ``state_<l>``; the arrays themselves, to be written to."""
        return {f"state_{l}": s for l, s in enumerate(self.states, start=1)}
