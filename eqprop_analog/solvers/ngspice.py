"""ngspice: the same equilibria, measured in the circuit simulator."""

import logging
import weakref
from collections.abc import Sequence
from concurrent.futures import TimeoutError as TimeLimitExceeded
from typing import Any, cast

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from pebble import ProcessExpired, ProcessFuture, ProcessPool

from eqprop_analog.circuit import Circuit, compile_network, sweep_netlist
from eqprop_analog.circuit.resistive import Form, Injection
from eqprop_analog.equilibrium import Equilibrium, Status, statuses
from eqprop_analog.errors import UserError
from eqprop_analog.models import NodalEquations, ResistiveNetwork
from eqprop_analog.nudging import Nudge
from eqprop_analog.solvers import libngspice
from eqprop_analog.solvers.surrogate import excess
from eqprop_analog.solvers.workers import process_pool

Array = np.ndarray
log = logging.getLogger(__name__)

TOLERANCE = 1e-10
"""KCL residual of a certified node, as the surrogate measures it (solvers.surrogate.excess): ngspice's own
reltol = 1e-11 leaves far less."""
RUNAWAY = 1e3
"""Voltages beyond this multiple of everything that drives the circuit, amplified, are no equilibrium of it."""
GRACE = 5.0
"""Seconds that workers have to leave by themselves when the solver is closed."""
SAMPLES_PER_SWEEP = 50
"""Longer sweeps gain nothing: from 50 samples on, an equilibrium costs the same."""


class NgspiceSolver:
    """F(v) = 0 by ngspice's own Newton iteration: one netlist and one ``.dc`` sweep for many samples and all phases.

    libngspice runs in ``workers`` processes of its own, started at the first solve and stopped with the solver. A worker
    that dies or exceeds ``time_limit`` seconds costs one retry. Every equilibrium is certified by the network's own equations.
    """

    def __init__(self, workers: int = 1, form: Form = "norton", time_limit: float = 600.0) -> None:
        """``form``: "norton", or "flat" with every resistor of the first crossbar. UserError if libngspice is missing."""
        if workers < 1:
            raise UserError(f"workers: expected at least 1, got {workers}")
        libngspice.library_path()
        self.workers = workers
        self.form: Form = form
        self.time_limit = time_limit
        self._pool: ProcessPool | None = None

    def solve(
        self,
        network: ResistiveNetwork,
        inputs: ArrayLike,
        nudge: Nudge | None = None,
        start: Equilibrium | None = None,
    ) -> Equilibrium:
        """Equilibrium of each row of ``inputs``; ``start`` gives a current nudge its free phase (ngspice begins by itself).

        Raises UserError for a circuit that fails validation; samples that ngspice cannot solve carry their status.
        """
        network.validate()
        batch = network.check_inputs(inputs)
        compile_network(network, batch[:1], form=self.form)  # the whole graph is validated once, here
        (result,) = self._phases(network, batch, [nudge], None if start is None else start.outputs)
        return result

    def solve_phases(
        self, network: ResistiveNetwork, inputs: Float[Array, "batch inputs"], nudges: Sequence[Nudge]
    ) -> tuple[Equilibrium, ...]:
        """The free phase and every nudged one, each nudged phase swept to from the free phase of its own sample.

        Current nudges depend on the free voltages and therefore cost a second sweep.
        """
        if all(nudge.kind == "conductance" for nudge in nudges):
            return self._phases(network, inputs, [None, *nudges], None)
        (free,) = self._phases(network, inputs, [None], None)
        return free, *self._phases(network, inputs, nudges, free.outputs)

    def start(self) -> None:
        """Start the workers now and wait until one has libngspice loaded."""
        self._running().schedule(libngspice.load).result()

    def close(self) -> None:
        """Stop the workers; the next solve starts new ones."""
        if self._pool is not None:
            _stop(self._pool)
            self._pool = None

    def _phases(
        self,
        network: ResistiveNetwork,
        inputs: Float[Array, "batch inputs"],
        nudges: Sequence[Nudge | None],
        free_outputs: Float[Array, "batch outputs"] | None,
    ) -> tuple[Equilibrium, ...]:
        free = NodalEquations.of(network.in_spice().astype(np.float64), inputs.astype(np.float64))
        equations = [free.nudged([nudge], free_outputs) if nudge else free for nudge in nudges]
        voltages = self._measure(
            network,
            inputs,
            [
                (float(each.nudge_conductance[0, 0]), each.nudge_current) if nudge else None
                for each, nudge in zip(equations, nudges, strict=True)
            ],
        )
        splits = np.cumsum(network.layers[1:-1]).tolist()
        return tuple(
            _certified(each, tuple(np.split(voltages[:, phase], splits, axis=1)), nudge)
            for phase, (each, nudge) in enumerate(zip(equations, nudges, strict=True))
        )

    def _measure(
        self, network: ResistiveNetwork, inputs: Float[Array, "batch inputs"], injections: Sequence[Injection | None]
    ) -> Float[Array, "batch phases nodes"]:
        """Voltages of all nodes, volts; NaN for samples that ngspice did not solve even on their own."""
        batch = len(inputs)
        pieces = max(self.workers if batch > 1 else 1, -(-batch // SAMPLES_PER_SWEEP))
        chunks = [chunk for chunk in np.array_split(np.arange(batch), min(pieces, batch)) if chunk.size]
        result = np.full((batch, len(injections), sum(network.layers[1:])), np.nan)
        jobs = [(chunk, self._submit(self._compile(network, inputs, injections, chunk))) for chunk in chunks]
        for chunk, (circuit, future) in jobs:
            measured = self._collect(circuit, future)
            singles = [] if measured is not None or len(chunk) == 1 else np.split(chunk, len(chunk))
            if measured is not None:
                result[chunk] = measured.reshape(len(chunk), len(injections), -1)
            for single in singles:  # one sample that ngspice cannot solve ends the whole sweep: solve each alone
                alone = self._collect(*self._submit(self._compile(network, inputs, injections, single)))
                if alone is not None:
                    result[single] = alone
        return result

    def _compile(
        self,
        network: ResistiveNetwork,
        inputs: Float[Array, "batch inputs"],
        injections: Sequence[Injection | None],
        samples: Array,
    ) -> Circuit:
        some = [
            (g, c[samples] if len(c) == len(inputs) else c)
            for g, c in [each or (0.0, np.zeros((1, 1))) for each in injections]
        ]
        given = [pair if injection else None for pair, injection in zip(some, injections, strict=True)]
        return compile_network(network, inputs[samples], given, self.form, validate=False)

    def _submit(self, circuit: Circuit) -> tuple[Circuit, "ProcessFuture[Any]"]:
        arguments = (sweep_netlist(circuit), circuit.probes)
        return circuit, self._running().schedule(libngspice.sweep, args=arguments, timeout=self.time_limit)

    def _running(self) -> ProcessPool:
        if self._pool is None:
            self._pool = process_pool(self.workers)
            weakref.finalize(self, _stop, self._pool)
        return self._pool

    def _collect(self, circuit: Circuit, future: "ProcessFuture[Any]") -> Float[Array, "points nodes"] | None:
        """The sweep's voltages, or None, with the reason in the log, if ngspice failed."""
        try:
            try:
                measured = future.result()
            except ProcessExpired as error:
                log.warning("an ngspice worker died (%s); solving its samples again", error)
                measured = self._submit(circuit)[1].result()
        except TimeLimitExceeded:
            log.warning("ngspice did not finish within %g s", self.time_limit)
            return None
        except (ProcessExpired, libngspice.SimulationError) as error:
            log.warning("ngspice: %s", error)
            return None
        if len(measured) != circuit.points:
            log.warning("ngspice solved %d of %d points", len(measured), circuit.points)
            return None
        return cast("Array", measured)


def _certified(equations: NodalEquations, voltages: tuple[Array, ...], nudge: Nudge | None) -> Equilibrium:
    """Voltages with the KCL residual and the status that the network's own equations give them."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = excess(equations, voltages)
        residual = np.max([np.abs(current).max(axis=1) for current in equations.residuals(voltages)], axis=0)
        largest = np.max([np.abs(v).max(axis=1) for v in voltages], axis=0)
    gain = np.prod([max(1.0, gain) for gain in equations.network.amplifier_gain])
    driving = np.maximum(equations.largest_input, abs(equations.network.diode.rail)) * gain
    status = statuses(error <= TOLERANCE)
    status[largest > RUNAWAY * np.maximum(driving, 1.0)] = Status.OUT_OF_BOUNDS
    status[~np.isfinite(largest)] = Status.SIMULATOR_FAILED
    return Equilibrium(voltages, residual, status, nudge)


def _stop(pool: ProcessPool) -> None:
    """Let the workers finish and leave; end those that do not."""
    pool.close()  # type: ignore[no-untyped-call]
    try:
        pool.join(GRACE)
    except TimeLimitExceeded:
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()
