"""The surrogate: the circuit's equilibria in vectorized NumPy, without a circuit simulator."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.equilibrium import Equilibrium, Status
from eqprop_analog.models import Layers, NodalEquations, ResistiveNetwork
from eqprop_analog.nudging import Nudge
from eqprop_analog.solvers.certificate import certified, excess, largest
from eqprop_analog.solvers.coordinate_descent import sweep
from eqprop_analog.solvers.newton import newton_step

Array = np.ndarray

TOLERANCE = {np.dtype(np.float64): 1e-13, np.dtype(np.float32): 1e-5}
"""Default bound by precision, some hundred roundings."""
STEP_LENGTHS = tuple(4.0**-k for k in range(9))
"""Parts of a Newton step that are tried where the whole does not halve the error."""
CHUNK_ELEMENTS = 2**24
"""Matrix elements that one batch of Newton steps may hold."""


@dataclass(frozen=True)
class SurrogateSolver:
    """F(v) = 0 (models.NodalEquations) by Newton steps that coordinate descent keeps safe, or by a fixed number of sweeps.

    Each iteration tries a Newton step followed by a sweep, and keeps it for the samples whose residual it halves; the
    others take what ends lowest of shorter steps and none, each followed by a sweep, under which the convex energy always
    falls. Arrays have the network's dtype.
    """

    tolerance: float | None = None
    """Largest KCL residual of a converged node, as the voltage that would mend it over the circuit's largest voltage
    (default 1e-13 in float64, 1e-5 in float32)."""
    max_iterations: int = 200
    sweeps: int | None = None
    """Stop after this many sweeps of coordinate descent instead: status TRUNCATED."""
    check_residual: bool = True
    """Whether truncated phases report their residual."""

    def solve(
        self,
        network: ResistiveNetwork,
        inputs: ArrayLike,
        nudge: Nudge | None = None,
        start: Equilibrium | None = None,
    ) -> Equilibrium:
        """Equilibrium of each row of ``inputs`` (batch, inputs), begun at ``start`` or at 0 V.

        Raises UserError for a network, inputs, a nudge or a start that do not make a circuit with one equilibrium.
        """
        network.validate()
        equations = NodalEquations.of(network, network.check_inputs(inputs))
        if start is not None:
            equations.require_shape(start)
        if nudge is not None:
            equations = equations.nudged([nudge], start)
        return self._settle(equations, equations.zeros() if start is None else start.voltages, nudge)

    def solve_phases(
        self, network: ResistiveNetwork, inputs: Float[Array, "batch inputs"], nudges: Sequence[Nudge]
    ) -> tuple[Equilibrium, ...]:
        """The free phase, then every nudged phase begun at the free one, the nudged ones solved as one batch.

        For training: ``network`` and ``inputs`` are taken as already valid and of one dtype.
        """
        equations = NodalEquations.of(network, inputs)
        free = self._settle(equations, equations.zeros(), None)
        stacked = tuple(np.tile(v, (len(nudges), 1)) for v in free.voltages)
        together = self._settle(equations.nudged(nudges, free), stacked, None)
        parts = [slice(k * len(inputs), (k + 1) * len(inputs)) for k in range(len(nudges))]
        return free, *(
            Equilibrium(
                tuple(v[part] for v in together.voltages), together.residual[part], together.status[part], nudge
            )
            for part, nudge in zip(parts, nudges, strict=True)
        )

    def _settle(self, equations: NodalEquations, voltages: Layers, nudge: Nudge | None) -> Equilibrium:
        batch = len(equations.drive)
        if self.sweeps is None:
            return self._converge(equations, voltages, nudge)
        for _ in range(self.sweeps):
            voltages = sweep(equations, voltages)
        residual = np.full(batch, np.nan)
        if self.check_residual:
            residual = largest(equations.residuals(voltages))
        finite = np.isfinite(voltages[-1]).all(axis=1)  # what is not, in any layer, has reached the outputs
        status = np.array([Status.OUT_OF_BOUNDS, Status.TRUNCATED])[finite.astype(int)]
        return Equilibrium(voltages, residual, status, nudge)

    def _converge(self, equations: NodalEquations, start: Layers, nudge: Nudge | None) -> Equilibrium:
        bound = self.tolerance if self.tolerance is not None else TOLERANCE[equations.drive.dtype]
        voltages = sweep(equations, start)
        error = excess(equations, voltages)
        for _ in range(self.max_iterations):
            active = np.flatnonzero(~(error <= bound))
            if not active.size:
                break
            widest = max(equations.network.layers[2:], default=1)
            for samples in np.array_split(active, -(-active.size * widest**2 // CHUNK_ELEMENTS)):
                improved, now = _iterate(equations.select(samples), tuple(v[samples] for v in voltages), error[samples])
                for layer, v in zip(voltages, improved, strict=True):
                    layer[samples] = v
                error[samples] = now
        return certified(equations, voltages, bound, nudge)


def _iterate(equations: NodalEquations, voltages: Layers, error: Float[Array, " batch"]) -> tuple[Layers, Array]:
    """A Newton step and a sweep where that halves the error, the lowest of shorter steps or none elsewhere."""
    with np.errstate(invalid="ignore", over="ignore"):
        step = newton_step(equations, voltages, equations.residuals(voltages))
        trial = sweep(equations, _along(voltages, step, 1))
        trial_error = excess(equations, trial)
        refused = ~(trial_error < 0.5 * error)
        if refused.any():
            some = equations.select(refused)
            begin, direction = (tuple(v[refused] for v in layers) for layers in (voltages, step))
            safe = _descend(some, begin, direction)
            for layer, v in zip(trial, safe, strict=True):
                layer[refused] = v
            trial_error[refused] = excess(some, safe)
    return trial, trial_error


def _descend(equations: NodalEquations, voltages: Layers, step: Layers) -> Layers:
    """A sweep from ``voltages``, or from part of the way along ``step`` where that ends at a lower energy."""
    best = sweep(equations, voltages)
    lowest = equations.energy(best)
    for length in STEP_LENGTHS:
        trial = sweep(equations, _along(voltages, step, length))
        energy = equations.energy(trial)
        lower = energy < lowest
        lowest[lower] = energy[lower]
        for layer, v in zip(best, trial, strict=True):
            layer[lower] = v[lower]
    return best


def _along(voltages: Layers, step: Layers, length: float) -> Layers:
    return tuple(v + length * d for v, d in zip(voltages, step, strict=True))
