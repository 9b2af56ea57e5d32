"""The reference gradient: dC/dθ of the free equilibrium by the implicit function theorem, exact up to rounding."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.core.checks import check_free, checked_target
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.network import Network
from eqprop_analog.core.nudge import Cost, cost_slope

Array = np.ndarray


def implicit_gradient(
    network: Network,
    inputs: ArrayLike,
    target: Float[Array, "batch classes"],
    free: Equilibrium,
    cost: Cost = "squared-error",
) -> Mapping[str, Array]:
    """dC/dθ, batch mean, float64, by the names of ``network.arrays()`` (a resistive network's as a Gradient).

    One linear solve of the equations linearized at ``free`` gives the response to the drive -∂C/∂(outputs), which
    equilibrium propagation measures by a finite nudge; for untied weights, which have no energy, the adjoint is solved.
    The result is exact if ``free`` has converged and no node is at a kink of its device. Raises UserError unless
    ``free`` is a successful free phase of this network and batch, and if the linear system is singular.
    """
    network = network.astype(np.float64)
    batch = network.check_inputs(inputs)
    check_free("implicit gradient", network.phase_shapes(len(batch)), free)
    voltages = tuple(v.astype(np.float64, copy=False) for v in free.voltages)
    read = network.readout(voltages[-1])
    slope = cost_slope(cost, read, checked_target(target, read.shape, read.dtype))
    response = network.equations(batch).adjoint(voltages, network.along_readout(-slope))
    gradient = network.gradient(batch, voltages, response)
    own = network.readout_gradient(voltages[-1], slope / len(batch))
    return {**gradient, **own} if own else gradient
