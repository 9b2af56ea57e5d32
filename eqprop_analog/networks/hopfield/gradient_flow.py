"""Projected gradient flow of the Hopfield energy, as in the original paper."""

from dataclasses import dataclass

import numpy as np

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.devices.buffer import HardSigmoid
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.hopfield.relaxation import ExplicitSteps, Relaxation, RelaxingBatch, require_step


@dataclass(frozen=True, kw_only=True)
class GradientFlowSolver(Relaxation):
    """dv/dt = -∂E/∂v = ρ′(v)·(u - v),  s = ρ(v),  v clipped to the span of ρ; by Euler's method.

    With the hard sigmoid of gain 1, s = v and this is ds/dt = u - s clipped to [0, 1], the recipe of Scellier & Bengio
    2017. With any buffer its fixed points are s = ρ(u): E is the energy of networks.hopfield.network, whose leak is
    ∫ρ⁻¹ds, where the papers' ½v² would give v = ρ′(v)·u. A smooth buffer that saturates makes it slow; the leaky
    integrator descends without ρ′.

    >>> import eqprop_analog as ea
    >>> network = ea.HopfieldNetwork.dense([4, 6, 2], seed=0)
    >>> free = ea.GradientFlowSolver().solve(network, [[0.1, 0.2, 0.3, 0.4]])
    >>> free.status[0].name, free.outputs.shape  # states of the outputs, volts
    ('CONVERGED', (1, 2))
    """

    step: float = 0.5
    """ε, in units of the nodes' time constant."""

    def __post_init__(self) -> None:
        """Raise UserError for invalid steps."""
        super().__post_init__()
        require_step(self.step)

    def begin(self, equations: HopfieldEquations, start: Layers | None) -> RelaxingBatch:
        """Begin a batch at ``start``, or at rest."""
        low, high = equations.network.buffer.span
        if (low, high) == (0, 1):  # where ρ rises, v = s
            return RelaxingBatch.of_states(equations, start)
        batch = RelaxingBatch.of_voltages(equations, start)
        for v in batch.voltages:
            v.clip(low, high, out=v)
        return batch

    def explicit_steps(self, network: HopfieldNetwork) -> ExplicitSteps:
        """See Relaxation; only for hard sigmoids."""
        if not isinstance(network.buffer, HardSigmoid):
            return super().explicit_steps(network)
        return ExplicitSteps([range(network.depth)], self.step * network.buffer.gain, flows=True)

    def advance(self, batch: RelaxingBatch) -> None:
        """Do one step of all samples, in place."""
        buffer = batch.equations.network.buffer
        batch.equations.forces(batch.states, batch.forces)
        for v, u, s in zip(batch.voltages, batch.forces, batch.states, strict=True):
            np.subtract(u, v, out=u)
            np.multiply(u, self.step * buffer.rise(s), out=u)
            np.add(v, u, out=v)
            v.clip(*buffer.span, out=v)
            if v is not s:
                buffer.output(v, out=s)
