"""The certificate of an equilibrium from any solver: the residual of the network's equations, bounds, and stability."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.equations import Equations, Nodes
from eqprop_analog.core.equilibrium import Equilibrium, Status, statuses
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.core.proof import allowance, prove

Array = np.ndarray

RUNAWAY = 1e3
"""Voltages beyond this multiple of all sources of the circuit, times the gains, are not accepted as an equilibrium."""


def certified(
    equations: Equations,
    nodes: Nodes,
    tolerance: float,
    nudge: Nudge | None,
    excess: Float[Array, " batch"] | None = None,
    *,
    mend: bool = False,
) -> Equilibrium:
    """Return the equilibrium at ``nodes``, with the residual and the status of every sample according to the equations.

    An excess above ``tolerance`` is STALLED. In a convex circuit, CONVERGED means that the error is proven to be within
    the bound of core.proof, else the sample is ILL_CONDITIONED. In other circuits, CONVERGED means a stable
    equilibrium. ``excess``: if the caller has it already. ``mend``: whether the nodes may be improved if the proof
    fails (not those of a measurement).
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
    """Return the nodes, improved with ``mend``, and their residual; set ``status`` to ILL_CONDITIONED where the proof fails."""
    with np.errstate(all="ignore"):
        proof, dtype = equations.proof(nodes, excess), nodes[0].dtype
        if proof is None:
            return nodes, residual
        proven = prove(proof, status, allowance(dtype, tolerance, proof.scale), mend=mend and dtype == np.float64)
        if proven is proof.given:
            return nodes, residual
        return proof.nodes(proven), equations.largest_residual(proof.nodes(proven))


def largest(arrays: Sequence[Float[Array, "batch nodes"]]) -> Float[Array, " batch"]:
    """Return the largest magnitude in each sample."""
    return np.asarray(np.max([np.abs(values).max(axis=1) for values in arrays], axis=0))
