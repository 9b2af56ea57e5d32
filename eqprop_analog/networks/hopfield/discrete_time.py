"""The discrete-time map of all layers simultaneously."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.hopfield.relaxation import ExplicitSteps, Relaxation, RelaxingBatch, require_step


@dataclass(frozen=True, kw_only=True)
class DiscreteTimeSolver(Relaxation):
    """s ← s + ε(ρ(u(s)) - s), all layers at once. Source: Ernoult et al. 2019; Laborieux et al. 2021 (ε = 1).

    For large weights, a whole step can alternate between two states forever, which is STALLED; a partial step does not.
    Only this solver supports nudges of kind "output".

    >>> import eqprop_analog as ea
    >>> network = ea.HopfieldNetwork.dense([4, 6, 2], seed=0)
    >>> free = ea.DiscreteTimeSolver().solve(network, [[0.1, 0.2, 0.3, 0.4]])
    >>> free.status[0].name, free.outputs.shape  # states of the outputs, volts
    ('CONVERGED', (1, 2))
    """

    nudges_outputs: ClassVar[bool] = True
    step: float = 1.0
    """ε, the step relative to the distance to ρ(u)."""

    def __post_init__(self) -> None:
        """Raise UserError for invalid steps."""
        super().__post_init__()
        require_step(self.step)

    def begin(self, equations: HopfieldEquations, start: Layers | None) -> RelaxingBatch:
        """Begin a batch at ``start``, or at rest."""
        return RelaxingBatch.of_states(equations, start)

    def explicit_steps(self, network: HopfieldNetwork) -> ExplicitSteps:
        """See Relaxation."""
        return ExplicitSteps([range(network.depth)], self.step)

    def advance(self, batch: RelaxingBatch) -> None:
        """Do one step of all samples, in place."""
        equations, buffer = batch.equations, batch.equations.network.buffer
        equations.forces(batch.states, batch.forces)
        behind = equations.pull(batch.states[-1]) if equations.at_output else None
        for s, u in zip(batch.states, batch.forces, strict=True):
            if self.step == 1:
                buffer.output(u, out=s)
                continue
            np.subtract(buffer.output(u, out=u), s, out=u)
            np.multiply(u, self.step, out=u)
            np.add(s, u, out=s)
        if behind is not None:
            np.add(batch.states[-1], np.multiply(behind, self.step, out=behind), out=batch.states[-1])
