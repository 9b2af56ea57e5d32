"""ngspice for Hopfield networks: the operating point of their circuit, from where its dynamics come to rest."""

import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from concurrent.futures import TimeoutError as TimeLimitExceeded
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from eqprop_analog.circuit.hopfield import compile_hopfield
from eqprop_analog.circuit.resistive import Form
from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.errors import UserError
from eqprop_analog.models import HopfieldEquations, HopfieldNetwork, Layers
from eqprop_analog.nudging import Nudge
from eqprop_analog.solvers import libngspice
from eqprop_analog.solvers.hopfield_certificate import certified
from eqprop_analog.solvers.leaky_integrator import LeakyIntegratorSolver
from eqprop_analog.solvers.relaxation import split
from eqprop_analog.solvers.workers import WorkerLostError, Workers

Array = np.ndarray
log = logging.getLogger(__name__)

TOLERANCE = 1e-9
"""Volts: what Kirchhoff's current law may leave at a certified node, over the node's conductance."""
SAMPLES_PER_SWEEP = 100
TIME_LIMIT = 600.0
"""Seconds that one sweep may take."""
STEP = 0.1
"""Time constants: long steps may end in another basin than the circuit's own, or turn around an equilibrium for ever."""
BEGIN = LeakyIntegratorSolver(step=STEP, tolerance=1e-6)
"""Where Newton's iteration begins; it does the rest."""


def surrogate() -> LeakyIntegratorSolver:
    """The circuit's dynamics in NumPy, to the last digit."""
    return LeakyIntegratorSolver(step=STEP, max_steps=50_000)


class HopfieldNgspiceSolver:
    """-u + W ρ(u) + b + pull = 0 by ngspice's own Newton iteration: one netlist and one ``.dc`` sweep for many samples.

    The energy has many minima, and Newton's iteration, which knows no dynamics, may leave the basin that the circuit is in, or
    find a point where it would not stay. So every sample begins where the leaky integrators of its circuit, in NumPy, come to
    rest: from u = 0 V, or from ``start``; in the netlist a source holds every node there, and lets go. Every equilibrium is
    certified by the network's own equations (solvers.hopfield_certificate); one that is not is asked for again alone, then
    carries its status.
    """

    def __init__(
        self,
        workers: int = 1,
        form: Form = "norton",
        swing: float | None = None,
        time_limit: float = TIME_LIMIT,
        executor: Executor | None = None,
    ) -> None:
        """``form``: "norton", or "flat" with a resistor for every input. ``swing``: the buffers' K, see compile_hopfield.

        UserError if libngspice is missing.
        """
        if workers < 1:
            raise UserError(f"workers: expected at least 1, got {workers}")
        if not time_limit > 0:
            raise UserError(f"time limit: expected seconds above 0, got {time_limit}")
        if executor is None:
            libngspice.library_path()
        self.workers = workers
        self.form: Form = form
        self.swing = swing
        self.time_limit = time_limit
        self._work = Workers(workers, time_limit, executor)

    def solve(
        self,
        network: HopfieldNetwork,
        inputs: ArrayLike,
        nudge: Nudge | None = None,
        start: Equilibrium | None = None,
    ) -> Equilibrium:
        """States of each row of ``inputs``, begun where the circuit rests that is let go at ``start``, or at u = 0 V.

        Raises UserError for a circuit that fails validation; samples that ngspice cannot solve carry their status.
        """
        network.validate()
        batch = network.check_inputs(inputs)
        compile_hopfield(
            network, batch[:1], form=self.form, swing=self.swing
        )  # the whole graph is validated once, here
        (result,) = self._solve(network, batch, [nudge], start)
        return result

    def solve_phases(
        self,
        network: HopfieldNetwork,
        inputs: Float[Array, "batch inputs"],
        nudges: Sequence[Nudge],
        start: Equilibrium | None = None,
    ) -> tuple[Equilibrium, ...]:
        """The free phase and every nudged one, each nudged phase begun at the free phase of its own sample.

        For training: ``network`` and ``inputs`` are taken as already valid.
        """
        (free,) = self._solve(network, inputs, [None], start)
        if not nudges:
            return (free,)
        # A sample without a free phase gets none here either, wherever it begins.
        filled = replace(free, voltages=tuple(np.nan_to_num(s) for s in free.voltages))
        return free, *self._solve(network, inputs, nudges, filled)

    def close(self) -> None:
        """Stop the workers; the next solve starts new ones."""
        self._work.close()

    def start(self) -> int:
        """Start the workers now, wait until one has libngspice loaded, and return its major version."""
        try:
            return int(self._work.result(self._work.submit(libngspice.load)))
        except TimeLimitExceeded as error:
            raise UserError(f"ngspice was not loaded within the time limit of {self.time_limit:g} s") from error

    def _solve(
        self,
        network: HopfieldNetwork,
        inputs: Float[Array, "batch inputs"],
        nudges: Sequence[Nudge | None],
        start: Equilibrium | None,
    ) -> tuple[Equilibrium, ...]:
        """One phase a nudge, all of them in one sweep."""
        network, inputs = network.astype(np.float64), inputs.astype(np.float64)
        rests = [BEGIN.solve(network, inputs, nudge, start) for nudge in nudges]
        free = HopfieldEquations.of(network, inputs)
        given = [nudge for nudge in nudges if nudge is not None]
        equations = free.nudged(given, start) if given else free
        begin = equations.forces(tuple(map(np.concatenate, zip(*(rest.voltages for rest in rests), strict=True))))
        measured = tuple(np.full_like(u, np.nan) for u in begin)
        inputs = np.tile(inputs, (len(nudges), 1))
        todo = np.arange(len(inputs))
        for at_once in (SAMPLES_PER_SWEEP, 1):
            self._measure(equations, inputs, todo, at_once, begin, measured)
            result = certified(equations, measured, TOLERANCE, None)
            todo = np.flatnonzero(~result.good)
            if not todo.size:
                break
            log.warning("ngspice (%d at once): %d of %d samples not certified", at_once, todo.size, len(inputs))
        return tuple(split(result, nudges))

    def _measure(
        self,
        equations: HopfieldEquations,
        inputs: Float[Array, "batch inputs"],
        samples: Int[Array, " some"],
        at_once: int,
        begin: Layers,
        measured: Layers,
    ) -> None:
        """Sweep ``samples``, ``at_once`` in a netlist, and write the node voltages that ngspice delivers into ``measured``."""
        jobs = []
        for chunk in np.array_split(samples, max(min(self.workers, samples.size), -(-samples.size // at_once))):
            circuit = compile_hopfield(
                equations.network,
                inputs[chunk],
                equations.select(chunk),
                self.form,
                swing=self.swing,
                start=tuple(u[chunk] for u in begin),
                validate=False,
            )
            jobs.append((chunk, self._work.submit(libngspice.sweep, circuit)))
        splits = np.cumsum(equations.network.layers[1:-1]).tolist()
        for chunk, job in jobs:
            try:
                swept = self._work.result(job)[1::2]
            except (libngspice.SimulationError, WorkerLostError) as error:
                log.warning("ngspice: %s", error)
            except TimeLimitExceeded:
                log.warning("ngspice did not finish within %g s", self.time_limit)
            else:
                for layer, u in zip(measured, np.split(swept, splits, axis=1), strict=True):
                    layer[chunk] = u
