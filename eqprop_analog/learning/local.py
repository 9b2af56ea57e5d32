"""Local learning signals of a weight, from the states at its two ends, one for each direction of the signal."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from eqprop_analog.core.checks import check_free
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.network import Network
from eqprop_analog.errors import UserError
from eqprop_analog.learning.contrast import contrast, require_phases

Array = np.ndarray
Signal = Literal["contrast", "vector-field", "differential"]
"""A learning signal from two phases, or from two moments of one; see ``contrast``, ``vector_field`` and ``differential``."""


def vector_field(
    network: Network,
    inputs: ArrayLike,
    plus: Equilibrium,
    minus: Equilibrium,
    free: Equilibrium | None = None,
) -> Mapping[str, Array]:
    """dC/dW_ij ≈ -1/(β₊ - β₋)·⟨s̄_pre (s_post₊ - s_post₋)⟩: for untied weights, each direction separately.

    s̄ are the states of ``free`` (the published code of Laborieux et al. 2021 without ``same_update``), or, if it is
    not given, the mean of both phases. In that case the two directions of a tied weight add up to its contrast. Source:
    Scellier et al. 2018; Laborieux et al. 2021. Raises UserError like ``contrast``.
    """
    if free is None:
        return _directed(network, inputs, plus, minus, [(0.5, plus), (0.5, minus)])
    check_free("vector field", network.phase_shapes(len(plus.status)), free)
    return _directed(network, inputs, plus, minus, [(1.0, free)])


def differential(network: Network, inputs: ArrayLike, plus: Equilibrium, minus: Equilibrium) -> Mapping[str, Array]:
    """dC/dW_ij ≈ -1/(β₊ - β₋)·⟨s_pre₋ (s_post₊ - s_post₋)⟩: a discretization of s_pre ds_post/dt, related to STDP.

    ``minus`` is the earlier moment. Summed over a slow nudged phase, the two directions of a weight give its contrast
    at the end. Source: Scellier & Bengio 2017; Ernoult et al. 2020. Raises UserError like ``contrast``.
    """
    return _directed(network, inputs, plus, minus, [(1.0, minus)])


def learning_signal(
    signal: Signal,
    network: Network,
    inputs: ArrayLike,
    plus: Equilibrium,
    minus: Equilibrium,
    free: Equilibrium | None = None,
) -> Mapping[str, Array]:
    """Return the signal of that name; ``free``: see vector_field. Conductances, which have no direction, have only the contrast.

    Raises UserError for a signal that the network does not have.
    """
    if signal != "contrast" and not network.directed:
        raise UserError(f'signal: a {network.family} network learns from the "contrast", got "{signal}"')
    if signal == "contrast":
        return contrast(network, inputs, plus, minus)
    if signal == "vector-field":
        return vector_field(network, inputs, plus, minus, free)
    return differential(network, inputs, plus, minus)


def _directed(
    network: Network,
    inputs: ArrayLike,
    plus: Equilibrium,
    minus: Equilibrium,
    references: Sequence[tuple[float, Equilibrium]],
) -> Mapping[str, Array]:
    return network.directed_contrast(require_phases(network, inputs, plus, minus), plus, minus, references)
