"""Newton's method for all nodes of a whole chip by sparse direct factorization, and the certificate of its equilibria."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float

from eqprop_analog.core.certificate import certified
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.devices.cells import CellLaw
from eqprop_analog.networks.nonideal.newton import NonidealNewtonSolver, PhaseSolver
from eqprop_analog.networks.whole_chip.equations import WholeChipEquations
from eqprop_analog.networks.whole_chip.network import WholeChip

Array = np.ndarray
All = Float[Array, "batch nodes"]

ELEMENTS = 2**21
"""Largest number of node voltages that are certified together, because the factors of each sample are kept."""
CROSSINGS = 100
"""Largest number of steps across kinks of piecewise laws."""
SHORTEST = 2.0**-10
"""Smallest fraction of a step that is taken."""
SETTLED = 1e-14
"""Step size relative to the circuit's largest voltage below which only rounding remains."""


@dataclass(frozen=True)
class WholeChipNewtonSolver(PhaseSolver):
    """J(u) δ = F(u), v ← u + λ δ, where u is v after every diode has balanced the current of its own node.

    λ is 1, or the largest power of ½ for which the next step, with the same J, is shorter by at least λ/4. This natural
    monotonicity test is invariant to scaling of nodes and currents (Deuflhard 2004, Newton Methods for Nonlinear Problems, 3.3).
    """

    tolerance: float = 1e-12
    """Largest excess of a converged node, relative to the circuit's largest voltage."""
    max_iterations: int = 500
    taken: ClassVar = (WholeChip, WholeChipEquations)

    def _settle(self, equations: WholeChipEquations, begin: All) -> All:
        return settled(equations, begin, self.max_iterations)

    def _certified(self, equations: WholeChipEquations, volts: All, nudge: Nudge | None) -> Equilibrium:
        """Certify a few samples at a time, because the proof keeps the factors of each."""
        samples = max(1, ELEMENTS // volts.shape[1])
        parts = [
            certified(equations.select(some), (volts[some],), self.tolerance, None)
            for k in range(0, len(volts), samples)
            for some in [np.arange(k, min(k + samples, len(volts)))]
        ]
        layers = tuple(map(np.concatenate, zip(*(part.voltages for part in parts), strict=True)))
        status: Array = np.concatenate([part.status for part in parts])
        return Equilibrium(layers, np.concatenate([part.residual for part in parts]), status, nudge)


def newton_for(cell: CellLaw | None, tolerance: float | None = None) -> NonidealNewtonSolver | WholeChipNewtonSolver:
    """The solver of a chip (whole_chip.network.chip_of) with the given cells; by default to full precision."""
    kind = NonidealNewtonSolver if cell is None else WholeChipNewtonSolver
    return kind() if tolerance is None else kind(tolerance)


def settled(
    equations: WholeChipEquations, begin: All, iterations: int = 500, held: Bool[Array, " nodes"] | None = None
) -> All:
    """Voltages of every sample at the end of Newton's method; ``held``: nodes that do not move."""
    found = np.empty_like(begin)
    for sample in range(len(begin)):
        one = equations.select(np.array([sample]))
        with np.errstate(over="ignore", invalid="ignore"):
            found[sample] = _newton(one, begin[sample : sample + 1], iterations, held)[0]
    return found


def with_wires(equations: WholeChipEquations, layers: All) -> All:
    """Voltages of all nodes with the layers held at ``layers``, volts; NaN for samples in which these are not finite."""
    volts = np.zeros((len(layers), equations.assembly.size))
    volts[:, : equations.layered] = layers
    held = np.arange(volts.shape[1]) < equations.layered
    if held.all():
        return volts
    sound = np.isfinite(layers).all(axis=1)
    volts[~sound] = np.nan
    volts[sound] = settled(equations.select(sound), volts[sound], held=held)
    return volts


def _newton(
    equations: WholeChipEquations, volts: All, iterations: int, held: Bool[Array, " nodes"] | None
) -> Float[Array, "1 nodes"]:
    assembly, across = equations.assembly, 0
    volts, missing = _relaxed(equations, volts, held)
    for _ in range(iterations):
        factors = equations.factors(volts, held)

        def step(missing: All, factors: object = factors) -> All:
            return assembly.solved(factors, missing[0])[None]

        delta = step(missing)
        length, part = np.abs(delta).max(), 1.0
        settled_below = SETTLED * float(equations.scale(volts)[0])
        best = np.inf, volts, missing
        while part >= SHORTEST:
            ahead, left = _relaxed(equations, volts + part * delta, held)
            following = np.abs(step(left)).max() if np.isfinite(left).all() else np.inf
            if following <= (1 - part / 4) * length or length <= settled_below:
                break
            if following < best[0]:
                best = following, ahead, left
            part /= 2
        else:
            # At a kink the slope on one side does not predict the other, so the best of all steps is taken.
            following, ahead, left = best
            across += 1
            if not np.isfinite(following) or across > CROSSINGS:
                return volts
        volts, missing = ahead, left
        if min(length, following) <= settled_below:
            break
    return volts


def _relaxed(equations: WholeChipEquations, volts: All, held: Bool[Array, " nodes"] | None) -> tuple[All, All]:
    """Voltages with each diode balancing its hidden node while all other nodes are fixed; F there, 0 at held nodes."""
    hidden = equations.assembly.hidden
    if hidden and held is None:
        rooted = volts.copy()
        rooted[:, :hidden] = equations.roots(volts, equations.without_diodes(volts))[:, :hidden]
        volts = rooted
    without = equations.without_diodes(volts)
    missing = equations.missing(volts, without)
    return volts, missing if held is None else np.where(held, 0.0, missing)
