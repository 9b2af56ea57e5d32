"""The reference gradient: dC/dθ of the free equilibrium by the implicit function theorem, exact up to rounding."""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.models import Gradient, NodalEquations, ResistiveNetwork
from eqprop_analog.models.checks import check_free, checked_target, layer_shapes
from eqprop_analog.nudging import Cost, cost_slope
from eqprop_analog.solvers.newton import newton_step

Array = np.ndarray


def implicit_gradient(
    network: ResistiveNetwork,
    inputs: ArrayLike,
    target: Float[Array, "batch classes"],
    free: Equilibrium,
    cost: Cost = "squared-error",
) -> Gradient:
    """dC/dθ, batch mean, from the response of the linearised circuit to the current -∂C/∂v at the output nodes.

    dv/dβ = J⁻¹(-∂C/∂v) is what equilibrium propagation measures by a finite nudge; here it is one linear solve at ``free``.
    Raises UserError unless ``free`` is a free phase of this network and batch that did not fail.
    """
    batch = network.check_inputs(inputs)
    check_free("implicit gradient", layer_shapes(len(batch), network.layers), free)
    equations = NodalEquations.of(network, batch)
    current = [np.zeros_like(v) for v in free.voltages]
    read = network.readout(free.outputs)
    wanted = checked_target(target, read.shape, read.dtype)
    current[-1] = -network.along_readout(cost_slope(cost, read, wanted))
    return network.drop_gradient(batch, free.voltages, newton_step(equations, free.voltages, tuple(current)))
