"""ngspice for networks whose crossbars have wires: every segment a resistor, measured in the circuit simulator."""

import logging
from collections.abc import Sequence
from concurrent.futures import TimeoutError as TimeLimitExceeded
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from eqprop_analog.circuit.wired_network import compile_wired
from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.models.wired_network import WiredEquations, WiredNetwork
from eqprop_analog.nudging import Nudge
from eqprop_analog.solvers import libngspice
from eqprop_analog.solvers.wired_newton import certified
from eqprop_analog.solvers.workers import WorkerLostError, Workers

Array = np.ndarray
log = logging.getLogger(__name__)

TOLERANCE = 1e-9
"""Excess of a certified equilibrium (solvers.wired_newton), over the circuit's largest voltage."""
SAMPLES_PER_SWEEP = 50


class WiredNgspiceSolver:
    """F(v) = 0 by ngspice's own Newton iteration: one flat netlist and one ``.dc`` sweep for many samples and all phases.

    Certified by the reduced equations of WiredNewtonSolver. A sample whose sweep ngspice does not finish is asked for again
    alone, then carries its status. ngspice's reordering grows fast with the wires' nodes: for tiles and small networks.
    """

    def __init__(self, workers: int = 1, time_limit: float = 600.0) -> None:
        """``time_limit`` in seconds, of one sweep. UserError if libngspice is missing."""
        libngspice.library_path()
        self.workers = workers
        self.time_limit = time_limit
        self._work = Workers(workers, time_limit)

    def solve(
        self, network: WiredNetwork, inputs: ArrayLike, nudge: Nudge | None = None, start: Equilibrium | None = None
    ) -> Equilibrium:
        """Equilibrium of each row of ``inputs``; ``start`` gives a current nudge its free phase (ngspice begins by itself).

        Raises UserError for a circuit that fails validation; samples that ngspice cannot solve carry their status.
        """
        batch = network.check_inputs(inputs)
        compile_wired(network, batch[:1])  # the whole graph is validated once, here
        (result,) = self._phases(network, batch, [nudge], start)
        return result

    def solve_phases(
        self, network: WiredNetwork, inputs: ArrayLike, nudges: Sequence[Nudge]
    ) -> tuple[Equilibrium, ...]:
        """The free phase and every nudged one, each nudged phase swept to from the free phase of its own sample."""
        batch = network.check_inputs(inputs)
        if all(nudge.kind == "conductance" for nudge in nudges):
            return self._phases(network, batch, [None, *nudges], None)
        (free,) = self._phases(network, batch, [None], None)
        # A sample without a free phase gets none here either, whatever its current.
        filled = replace(free, voltages=tuple(np.nan_to_num(v) for v in free.voltages))
        return free, *self._phases(network, batch, nudges, filled)

    def close(self) -> None:
        """Stop the workers; the next solve starts new ones."""
        self._work.close()

    def _phases(
        self,
        network: WiredNetwork,
        inputs: Float[Array, "batch inputs"],
        nudges: Sequence[Nudge | None],
        start: Equilibrium | None,
    ) -> tuple[Equilibrium, ...]:
        network = network.in_spice()
        free = WiredEquations.of(network, inputs)
        equations = [free.nudged(nudge, start) if nudge else free for nudge in nudges]
        measured = np.full((len(nudges), *free.source.shape), np.nan)
        todo = np.arange(len(inputs))
        for at_once in (SAMPLES_PER_SWEEP, 1):
            self._measure(equations, inputs, todo, at_once, measured)
            phases = [
                certified(each, voltages, TOLERANCE, nudge)
                for each, voltages, nudge in zip(equations, measured, nudges, strict=True)
            ]
            todo = np.flatnonzero(~np.all([phase.good for phase in phases], axis=0))
            if not todo.size:
                break
            log.warning("ngspice (%d at once): %d of %d samples not certified", at_once, todo.size, len(inputs))
        return tuple(phases)

    def _measure(
        self,
        equations: Sequence[WiredEquations],
        inputs: Float[Array, "batch inputs"],
        samples: Int[Array, " some"],
        at_once: int,
        measured: Float[Array, "phases batch nodes"],
    ) -> None:
        """Sweep ``samples``, ``at_once`` in a netlist, and write what ngspice delivers into ``measured``."""
        jobs = []
        for chunk in np.array_split(samples, max(min(self.workers, samples.size), -(-samples.size // at_once))):
            injections = [each.select(chunk).injection for each in equations]
            circuit = compile_wired(equations[0].network, inputs[chunk], injections, validate=False)
            jobs.append((chunk, self._work.submit(libngspice.sweep, circuit)))
        for chunk, job in jobs:
            try:
                swept = self._work.result(job)
            except (libngspice.SimulationError, WorkerLostError) as error:
                log.warning("ngspice: %s", error)
            except TimeLimitExceeded:
                log.warning("ngspice did not finish within %g s", self.time_limit)
            else:
                measured[:, chunk] = swept.reshape(len(chunk), len(equations), -1).swapaxes(0, 1)
