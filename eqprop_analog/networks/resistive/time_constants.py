"""C dδ/dt = -J δ: relaxation of a circuit with node capacitances towards a nearby equilibrium."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, eigsh

from eqprop_analog.core.equilibrium import Layers, by_layer
from eqprop_analog.networks.resistive.equations import NodalEquations
from eqprop_analog.networks.resistive.newton import newton_step

Array = np.ndarray

ACCURACY = 1e-10
"""Relative tolerance of a time constant."""


def slowest_time_constants(
    equations: NodalEquations, voltages: Layers, capacitance: Sequence[float]
) -> Float[Array, " batch"]:
    """τ = 1/λ, seconds, with the smallest eigenvalue λ of J x = λ C x at each sample's ``voltages``, J = -∂F/∂v.

    ``capacitance`` to ground at every node, farads, is one number for each layer. In y = √(γC) δ the operator is symmetric. In a
    linear circuit, |y| therefore decays at least as fast as exp(-t/τ) from any initial state; in any circuit, this holds with the
    τ of blocking diodes (bounded by ``transient.time_constant``). τ is the largest eigenvalue of the inverse, found by the
    Lanczos method without forming a matrix; each vector costs one Newton step. Nodes held by an ideal clamp do not move.
    """
    samples = range(len(voltages[0]))
    return np.array([_slowest(equations.select(np.array([k])), _of(voltages, k), capacitance) for k in samples])


def _of(voltages: Layers, sample: int) -> Layers:
    return tuple(v[sample, None] for v in voltages)


def _slowest(equations: NodalEquations, here: Layers, capacitance: Sequence[float]) -> float:
    layers = equations.network.layers
    sizes = layers[1:]
    gammas = np.repeat(equations.network.gammas, sizes)
    farads = np.repeat(capacitance, sizes)

    def inverse(y: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
        charges = np.sqrt(farads / gammas) * y.ravel()
        moved = newton_step(equations, here, by_layer(charges[None], layers))
        return np.sqrt(farads * gammas) * np.concatenate(moved, axis=1)[0]

    start = np.ones(len(farads))
    if len(start) == 1:
        return float(inverse(start)[0])
    operator = LinearOperator((len(start), len(start)), matvec=inverse, dtype=np.float64)
    return float(eigsh(operator, k=1, which="LA", v0=start, tol=ACCURACY, return_eigenvectors=False)[0])
