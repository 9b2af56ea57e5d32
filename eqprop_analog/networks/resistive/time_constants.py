"""C dδ/dt = -J δ: how fast a circuit with node capacitances comes back to an equilibrium that it is near."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, eigsh

from eqprop_analog.core.equilibrium import Layers, by_layer
from eqprop_analog.networks.resistive.equations import NodalEquations
from eqprop_analog.networks.resistive.newton import newton_step

Array = np.ndarray

ACCURACY = 1e-10
"""Of a time constant, relative."""


def slowest_time_constants(
    equations: NodalEquations, voltages: Layers, capacitance: Sequence[float]
) -> Float[Array, " batch"]:
    """τ = 1/λ, seconds, λ the smallest eigenvalue of J x = λ C x at each sample's ``voltages``, J = -∂F/∂v.

    ``capacitance`` to ground at every node, farads, one number a layer. In y = √(γC) δ the operator is symmetric, so that |y| of
    a linear circuit falls at least as fast as exp(-t/τ), however it begins; of any circuit, with τ where all diodes block
    (``transient.time_constant`` bounds it). τ is the largest eigenvalue of the inverse, which costs one Newton step a vector:
    Lanczos' method forms no matrix. Nodes that an ideal clamp holds do not move.
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
