"""The arithmetic of training with truncated phases, in place; one file for each implementation."""

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
    """All operations on a crossbar during training; made for one network, whose parameters they change.

    Arrays have the network's dtype and are C-contiguous; results are written to the given arrays. The sums of a
    crossbar are kept from update to update, so that nothing else may change the network meanwhile.
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
        """Return all sums by name; the arrays can be written in place."""
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
        """Do a number of sweeps of coordinate descent on ``voltages``, under a nudge that injects current - nudge·v.

        Returns whether all outputs are finite.
        """
        ...

    def descend(self, mean: Layers, slope: Layers, rates: Sequence[float], bias_rates: Sequence[float]) -> None:
        """θ ← θ - rate·Σ_batch d(∂E/∂θ)/dβ, with conductances clipped to their window.

        ``mean`` and ``slope`` are v and dv/dβ of every layer; rates are given for each layer, and include 1/batch and
        γ_l/γ_L.
        """
        ...

    def follow(self) -> None:
        """Recompute the sums after conductances were changed from outside."""
        ...


def kernels_for(network: ResistiveNetwork) -> Kernels:
    """Return compiled kernels if numba is installed and the diodes' law has a compiled node solve; else NumPy's, with a message.

    Compiled kernels support a crossbar 1 of a kind in kernels.numba.inputs, followed by matrices; other networks use
    NumPy.
    """
    if network.depth == 1 or not all(crossbar.is_matrix for crossbar in network.crossbars[1:]):
        return PlainKernels(network)
    if find_spec("numba") is None:
        _announce(
            "numba is not installed (pip install numba), so that NumPy computes the training steps, about three "
            "times slower"
        )
        return PlainKernels(network)
    from eqprop_analog.kernels.numba.inputs import INPUTS
    from eqprop_analog.kernels.numba.nodes import node_of
    from eqprop_analog.kernels.numba.training import CompiledKernels

    if type(network.crossbars[0]) not in INPUTS:
        return PlainKernels(network)
    if node_of(network.diode, network.conductances[0].dtype) is None:
        _announce(
            f"{network.diode} has no compiled node solve (compiled_node), so that NumPy computes the training steps, "
            "which is slower"
        )
        return PlainKernels(network)
    _announce("compiling the training step for this machine; the first batch waits for it")
    return CompiledKernels(network)


@cache
def _announce(text: str) -> None:
    """Log a message once per process."""
    log.info(text)
