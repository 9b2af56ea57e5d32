"""The discrete-time map, all layers at once."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from eqprop_analog.models import HopfieldEquations, Layers
from eqprop_analog.solvers.relaxation import Motion, Relaxation


@dataclass(frozen=True, kw_only=True)
class DiscreteTimeSolver(Relaxation):
    """s ← ρ(u(s)), all layers at once. Source: Ernoult et al. 2019; Laborieux et al. 2021.

    Where weights are large it can alternate between two states for ever, which is STALLED. It alone takes nudges of kind
    "output".
    """

    nudges_behind: ClassVar[bool] = True

    def begin(self, equations: HopfieldEquations, start: Layers | None) -> Motion:
        """A batch at ``start``, or at rest."""
        return Motion.of_states(equations, start)

    def advance(self, motion: Motion) -> None:
        """One step of all samples, in place."""
        equations, buffer = motion.equations, motion.equations.network.buffer
        equations.forces(motion.states, motion.forces)
        behind = equations.pull(motion.states[-1]) if equations.behind else None
        for s, u in zip(motion.states, motion.forces, strict=True):
            buffer.output(u, out=s)
        if behind is not None:
            np.add(motion.states[-1], behind, out=motion.states[-1])
