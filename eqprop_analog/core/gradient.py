"""The gradient of a resistive network's cost, exact or estimated from two phases."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.shown import Shown

Array = np.ndarray
UNITS = {"conductance": "V²/S", "bias": "V²/A"}


@dataclass(frozen=True, eq=False, repr=False)
class Gradient(Shown, Mapping[str, Array]):
    """dC/dθ, batch mean: for conductances (V²/S) and bias currents (V²/A), as arrays like the network's, or by their names.

    >>> import eqprop_analog as ea
    >>> network, solver, x, y = ea.ResistiveNetwork.dense([2, 3, 2]), ea.SurrogateSolver(), [[0.1, 0.2]], [[1.0, 0.0]]
    >>> free = solver.solve(network, x)
    >>> plus, minus = (solver.solve(network, x, nudge=ea.Nudge(y, beta), start=free) for beta in (1e-9, -1e-9))
    >>> gradient = ea.contrast(network, x, plus, minus)
    >>> gradient.conductances[0].shape, gradient.biases[0].shape  # V²/S, V²/A
    ((4, 3), (3,))
    """

    conductances: tuple[Float[Array, "rows columns"], ...]
    """Gradients with respect to the conductances, V²/S, one array per crossbar."""
    biases: tuple[Float[Array, " nodes"], ...]
    """Gradients with respect to the bias currents, V²/A, one array per layer."""

    def facts(self) -> dict[str, str]:
        """Shape and root mean square of every array."""
        sizes = {name: " x ".join(map(str, values.shape)) for name, values in self.arrays().items()}
        return {
            name: f"{sizes[name]}, rms {np.sqrt((values**2).mean()):.3g} {UNITS[name.partition('_')[0]]}"
            for name, values in self.arrays().items()
            if values.size
        }

    def arrays(self) -> dict[str, Array]:
        """Return the arrays by the names of the network's arrays."""
        return named(self.conductances, self.biases)

    def __getitem__(self, name: str) -> Array:
        """Return the gradient of the parameter of this name."""
        return self.arrays()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays())

    def __len__(self) -> int:
        return 2 * len(self.conductances)


def named(conductances: Sequence[Array], biases: Sequence[Array]) -> dict[str, Array]:
    """Return the arrays of crossbars and layers 1..L by their names in files."""
    named = {f"conductance_{l}": matrix for l, matrix in enumerate(conductances, start=1)}
    return named | {f"bias_{l}": bias for l, bias in enumerate(biases, start=1)}
