"""The flow of the energy in the original papers, as in the energy-based networks of 2019."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.relaxation import Relaxation, RelaxingBatch, require_step

Array = np.ndarray


class EnergyBasedBatch(RelaxingBatch):
    """Voltages v; other layers see the states s = ρ(v)."""

    def residual(self) -> Float[Array, " batch"]:
        """Largest |v - clip(ρ′(v)·u, 0, 1)| of each sample, volts."""
        distances = [np.abs(v - u.clip(0, 1)).max(axis=1) for v, u in zip(self.voltages, _forced(self), strict=True)]
        return np.max(distances, axis=0)


def _forced(batch: RelaxingBatch) -> Layers:
    """ρ′(v)·u of hidden layers, and u with the nudge at v of the last one, volts, in ``batch.forces``."""
    equations, forces = batch.equations, batch.forces
    equations.free().forces(batch.states, forces)
    for u, s in zip(forces[:-1], batch.states[:-1], strict=True):
        np.multiply(u, equations.network.buffer.rise(s), out=u)
    np.add(forces[-1], equations.pull(batch.voltages[-1]), out=forces[-1])
    return forces


@dataclass(frozen=True, kw_only=True)
class EnergyBasedSolver(Relaxation):
    """dv/dt = -v + ρ′(v)·u,  s = ρ(v),  v clipped to [0, 1]; for the last layer -v + u + β(y - v); by Euler's method.

    For a smooth ρ, this is the flow of E = ½Σv² - Σ s_l·(W_l s_{l-1}) - Σ b_l·s_l (Scellier & Bengio 2017), except at
    the last layer, where the published code has no ρ′. Its fixed points are not s = ρ(u): ρ acts on v, and ½v² is the
    leak's energy. Source: the published code of Ernoult et al. 2019, EPcont; there ρ is applied to the inputs, too.
    """

    step: float = 0.2
    """Time step dt, time constants."""

    def __post_init__(self) -> None:
        """Raise UserError for invalid steps."""
        super().__post_init__()
        require_step(self.step)

    def begin(self, equations: HopfieldEquations, start: Layers | None) -> EnergyBasedBatch:
        """Begin a batch at ``start``, or at rest: v = 0 V."""
        batch = RelaxingBatch.of_states(equations, start)
        voltages = equations.initial()
        buffer = equations.network.buffer
        for v, s in zip(voltages, batch.states, strict=True):
            if start is not None:
                buffer.inverse(s).clip(0, 1, out=v)
            buffer.output(v, out=s)
        return EnergyBasedBatch(equations, batch.states, voltages, batch.forces)

    def advance(self, batch: RelaxingBatch) -> None:
        """Do one step of all samples, in place."""
        for v, u, s in zip(batch.voltages, _forced(batch), batch.states, strict=True):
            np.subtract(u, v, out=u)
            np.multiply(u, self.step, out=u)
            np.add(v, u, out=v)
            v.clip(0, 1, out=v)
            batch.equations.network.buffer.output(v, out=s)
