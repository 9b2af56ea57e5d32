"""The certificate of an equilibrium, whoever found it: the network's own equations, bounds, and whether it would stay."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.equations import Equations, Nodes
from eqprop_analog.core.equilibrium import Equilibrium, Status, statuses
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.core.proof import allowance, prove

Array = np.ndarray

RUNAWAY = 1e3
"""Voltages beyond this multiple of everything that drives the circuit, amplified, are no equilibrium of it."""


def certified(
    equations: Equations,
    nodes: Nodes,
    tolerance: float,
    nudge: Nudge | None,
    excess: Float[Array, " batch"] | None = None,
    *,
    mend: bool = False,
) -> Equilibrium:
    """The equilibrium at ``nodes``, with the residual and the status that the equations give every sample.

    An excess above ``tolerance`` is STALLED. In a convex circuit CONVERGED is proven to be as near the equilibrium as core.proof
    asks, else ILL_CONDITIONED; in others it is an equilibrium at which the circuit would stay. ``excess``: where the caller has
    it already. ``mend``: where the proof fails, the nodes may be improved on (a measurement's may not).
    """
    with np.errstate(invalid="ignore", over="ignore"):
        if excess is None:
            residual, excess = equations.imbalance(nodes)
        else:
            residual = equations.largest_residual(nodes)
        close = excess <= tolerance
        status = statuses(close)
        settled = np.flatnonzero(close)
        if settled.size and not equations.network.convex:
            stays = equations.select(settled).stable(tuple(each[settled] for each in nodes))
            status[settled[~stays]] = Status.UNSTABLE
        status[equations.out_of_bounds(nodes, close)] = Status.OUT_OF_BOUNDS
    status[~np.isfinite(largest(nodes))] = Status.SIMULATOR_FAILED
    if equations.network.convex and (status == Status.CONVERGED).any():
        nodes, residual = _proven(equations, nodes, tolerance, excess, status, residual, mend=mend)
    return Equilibrium(equations.states(nodes), residual, status, nudge)


def _proven(
    equations: Equations, nodes: Nodes, tolerance: float, excess: Array, status: Array, residual: Array, *, mend: bool
) -> tuple[Nodes, Float[Array, " batch"]]:
    """The nodes, improved on with ``mend``, and their residual; ``status`` is ILL_CONDITIONED where the proof fails."""
    with np.errstate(all="ignore"):
        proof, dtype = equations.proof(nodes, excess), nodes[0].dtype
        if proof is None:
            return nodes, residual
        proven = prove(proof, status, allowance(dtype, tolerance, proof.scale), mend=mend and dtype == np.float64)
        if proven is proof.given:
            return nodes, residual
        return proof.nodes(proven), equations.largest_residual(proof.nodes(proven))


def largest(arrays: Sequence[Float[Array, "batch nodes"]]) -> Float[Array, " batch"]:
    """Largest magnitude in each sample."""
    return np.asarray(np.max([np.abs(values).max(axis=1) for values in arrays], axis=0))
