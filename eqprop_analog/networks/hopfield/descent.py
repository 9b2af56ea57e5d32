"""Coordinate descent on the Hopfield energy: odd layers simultaneously, then even layers."""

from dataclasses import dataclass

import numpy as np

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.hopfield.relaxation import ExplicitSteps, Relaxation, RelaxingBatch


@dataclass(frozen=True, kw_only=True)
class HopfieldDescentSolver(Relaxation):
    """s_l ← ρ(u_l(s)) of layers 1, 3, ..., then of 2, 4, ...: each the minimum of E over its layer for fixed other layers.

    A nudge that follows the state makes the last layer's force depend on the layer itself; it is damped to
    v ← (u + λv)/(1 + λ), s = ρ(v), with λ = gain · max ∂²(βC)/∂s²: with the hard sigmoid and the squared error this is
    again the minimum, otherwise a step of mirror descent. The energy of tied weights decreases at every step, also with
    max pooling, where it is concave and lies below the minimized tangent.

    >>> import eqprop_analog as ea
    >>> network = ea.HopfieldNetwork.dense([4, 6, 2], seed=0)
    >>> free = ea.HopfieldDescentSolver().solve(network, [[0.1, 0.2, 0.3, 0.4]])
    >>> free.status[0].name, free.outputs.shape  # states of the outputs, volts
    ('CONVERGED', (1, 2))
    """

    def begin(self, equations: HopfieldEquations, start: Layers | None) -> RelaxingBatch:
        """Begin a batch at ``start``, or at rest."""
        return RelaxingBatch.of_states(equations, start)

    def explicit_steps(self, network: HopfieldNetwork) -> ExplicitSteps:
        """See Relaxation: whole steps, layers 1, 3, ... and then 2, 4, ..."""
        return ExplicitSteps([range(0, network.depth, 2), range(1, network.depth, 2)])

    def advance(self, batch: RelaxingBatch) -> None:
        """Do one step of all samples, in place."""
        equations, buffer = batch.equations, batch.equations.network.buffer
        depth = equations.network.depth
        for layer in (*range(1, depth + 1, 2), *range(2, depth + 1, 2)):
            s = batch.states[layer - 1]
            u = equations.force(layer, batch.states, batch.forces[layer - 1])
            if layer == depth and equations.curvature is not None:
                damping = buffer.gain * equations.curvature
                v = buffer.inverse(s)
                u += damping * np.where(np.isfinite(v), v, u)
                u /= 1 + damping
            buffer.output(u, out=s)
