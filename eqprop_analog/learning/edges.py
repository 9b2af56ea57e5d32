"""Learning on a graph: each edge from the voltages across itself alone, beside the exact gradient that judges it."""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.models.checks import check_free, check_pair, checked_target
from eqprop_analog.models.graph_kirchhoff import GraphEquations
from eqprop_analog.models.graph_network import GraphNetwork
from eqprop_analog.nudging import Cost, Nudge, cost_slope
from eqprop_analog.solvers.graph_ngspice import GraphNgspiceSolver
from eqprop_analog.solvers.sparse_newton import SparseNewtonSolver

Array = np.ndarray


def edge_contrast(network: GraphNetwork, plus: Equilibrium, minus: Equilibrium) -> Float[Array, " edges"]:
    """dC/dG_e = 1/(β₊ - β₋) · ½⟨(Δv_e)²₊ - (Δv_e)²₋⟩, batch mean, V²/S.

    ``plus`` and ``minus`` may be any two phases of different β: ±β is centred (error O(β²)), +β and free one-sided (O(β)).
    Source: Scellier & Bengio 2017; for such networks Stern et al. 2021 (coupled learning) and Kendall et al. 2020. Raises
    UserError if the phases do not differ in β, have not the network's shape, or failed.
    """
    check_pair("contrast", network.phase_shapes(len(plus.status)), plus, minus)
    span = plus.beta - minus.beta
    # ½(a² - b²) is the mean drop times the difference of drops: no cancellation of large squares.
    mean = network.drops(0.5 * (plus.voltages[0] + minus.voltages[0]))[0]
    change = network.drops((plus.voltages[0] - minus.voltages[0]) / span)[0]
    return np.asarray((mean * change).mean(axis=0))


def implicit_edge_gradient(
    network: GraphNetwork,
    inputs: ArrayLike,
    target: Float[Array, "batch outputs"],
    free: Equilibrium,
    cost: Cost = "squared-error",
) -> Float[Array, " edges"]:
    """dC/dG_e = -⟨Δv_e (Δλ)_e⟩ with J λ = Rᵀ∂C/∂o at the free equilibrium, batch mean, V²/S: exact up to rounding.

    One linear solve of the circuit linearised at ``free`` gives the adjoint voltages λ; R takes voltages to read-outs. Raises
    UserError unless ``free`` is a free phase of this network and batch that did not fail.
    """
    equations = GraphEquations.of(network, network.check_inputs(inputs))
    check_free("implicit gradient", network.phase_shapes(len(equations.sources)), free)
    slope = cost_slope(cost, free.outputs, checked_target(target, free.outputs.shape, float))
    into = (network.incidence[-len(network.outputs) :].T @ slope.T).T[:, network.free]
    adjoint = equations.response(free.voltages[0], into)
    return np.asarray(-(network.drops(free.voltages[0])[0] * network.drops(adjoint)[0]).mean(axis=0))


def descend_edges(network: GraphNetwork, gradient: Float[Array, " edges"], rate: float) -> None:
    """G ← clip(G - η dC/dG, G_min, G_max), in place; ``rate`` η in S²/V²."""
    np.clip(network.conductances - rate * gradient, *network.conductance_window, out=network.conductances)


def edge_step(
    network: GraphNetwork,
    solver: SparseNewtonSolver | GraphNgspiceSolver,
    inputs: ArrayLike,
    targets: Float[Array, "batch outputs"],
    free: Equilibrium,
    beta: float,
    rate: float,
) -> None:
    """One update of ``network``, in place, by the centred contrast of ±``beta`` (S) on ½‖o - y‖².

    ``free`` is the free phase at ``inputs``, from which the nudged ones begin. Raises UserError if a phase fails.
    """
    plus, minus = (solver.solve(network, inputs, Nudge(targets, sign * beta), free) for sign in (1, -1))
    descend_edges(network, edge_contrast(network, plus, minus), rate)
