"""The arithmetic of training on truncated phases, in place; one file a way of computing it."""

import logging
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Protocol

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.kernels.numpy import PlainKernels
from eqprop_analog.networks.resistive.network import ResistiveNetwork

Array = np.ndarray
log = logging.getLogger(__name__)


class Kernels(Protocol):
    """All that reads or writes a crossbar while a network learns; made for one network, and followed by its parameters.

    Arrays have the network's dtype and are C-contiguous; results go into the arrays given. What a crossbar's sums are is
    kept from update to update, so nothing else may change the network meanwhile.
    """

    driven: bool
    """Whether every column of every crossbar has a conductance above zero."""

    @property
    def column_sums(self) -> Sequence[Float[Array, " columns"]]:
        """Σ_i G_l[i, j] of every crossbar, siemens."""
        ...

    @property
    def totals(self) -> tuple[Float[Array, " nodes"], ...]:
        """D_l of every layer (networks.resistive.equations.NodalEquations), siemens; the same arrays after every update."""
        ...

    def arrays(self) -> dict[str, Array]:
        """Every sum by name; the arrays themselves, to be written to."""
        ...

    def drive(self, inputs: Float[Array, "batch inputs"], source: Float[Array, "batch nodes"]) -> None:
        """s_1 = x·(G⁺ - G⁻) + b_1, amperes; ``inputs`` are those of the next ``descend``."""
        ...

    def settle(
        self,
        sweeps: int,
        source: Float[Array, "samples nodes"],
        nudge: Float[Array, "samples 1"],
        current: Float[Array, "samples outputs"],
        voltages: Layers,
    ) -> bool:
        """That many sweeps of coordinate descent on ``voltages``, under a nudge that injects current - nudge·v.

        Whether all outputs are finite.
        """
        ...

    def descend(self, mean: Layers, slope: Layers, rates: Sequence[float], bias_rates: Sequence[float]) -> None:
        """θ ← θ - rate·Σ_batch d(∂E/∂θ)/dβ, conductances within their window (see learning.contrast.drop_gradient).

        ``mean`` and ``slope`` are v and dv/dβ of every layer; rates are by layer, and hold 1/batch and γ_l/γ_L.
        """
        ...

    def follow(self) -> None:
        """Take up conductances that were changed from outside, with new sums."""
        ...


def kernels_for(network: ResistiveNetwork) -> Kernels:
    """Compiled kernels, where numba is installed and the diodes' law states a compiled node solve, else NumPy's, which is said.

    They take crossbar 1 of a kind that kernels.numba.inputs knows, and matrices behind it; other networks are left to NumPy.
    """
    if network.depth == 1 or not all(crossbar.is_matrix for crossbar in network.crossbars[1:]):
        return PlainKernels(network)
    if find_spec("numba") is None:
        _announce(
            "numba is not installed (pip install numba), so NumPy computes the training steps: some three times slower"
        )
        return PlainKernels(network)
    from eqprop_analog.kernels.numba.inputs import INPUTS
    from eqprop_analog.kernels.numba.nodes import node_of
    from eqprop_analog.kernels.numba.training import CompiledKernels

    if type(network.crossbars[0]) not in INPUTS:
        return PlainKernels(network)
    if node_of(network.diode, network.conductances[0].dtype) is None:
        _announce(
            f"{network.diode} states no compiled node solve (compiled_node), so NumPy computes the training steps: slower"
        )
        return PlainKernels(network)
    _announce("compiling the training step for this machine, once; the first batch waits for it")
    return CompiledKernels(network)


@cache
def _announce(text: str) -> None:
    """Once a process."""
    log.info(text)
