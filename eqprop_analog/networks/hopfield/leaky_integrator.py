"""The leaky integrators of Hopfield's circuit, in discrete time steps."""

from dataclasses import dataclass

import numpy as np

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.relaxation import Relaxation, RelaxingBatch, require_step


@dataclass(frozen=True, kw_only=True)
class LeakyIntegratorSolver(Relaxation):
    """dv/dt = -v + u(s),  s = ρ(v); by Euler's method. Source: Hopfield 1984.

    >>> import eqprop_analog as ea
    >>> network = ea.HopfieldNetwork.dense([4, 6, 2], seed=0)
    >>> free = ea.LeakyIntegratorSolver().solve(network, [[0.1, 0.2, 0.3, 0.4]])
    >>> free.status[0].name, free.outputs.shape  # states of the outputs, volts
    ('CONVERGED', (1, 2))
    """

    step: float = 0.5
    """Time step, in units of the nodes' time constant RC."""

    def __post_init__(self) -> None:
        """Raise UserError for invalid steps."""
        super().__post_init__()
        require_step(self.step)

    def begin(self, equations: HopfieldEquations, start: Layers | None) -> RelaxingBatch:
        """Begin a batch at ``start``, or at rest."""
        return RelaxingBatch.of_voltages(equations, start)

    def advance(self, batch: RelaxingBatch) -> None:
        """Do one step of all samples, in place."""
        buffer = batch.equations.network.buffer
        batch.equations.forces(batch.states, batch.forces)
        for v, u, s in zip(batch.voltages, batch.forces, batch.states, strict=True):
            np.subtract(u, v, out=u)
            np.multiply(u, self.step, out=u)
            np.add(v, u, out=v)
            buffer.output(v, out=s)
