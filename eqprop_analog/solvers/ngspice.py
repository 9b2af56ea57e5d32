"""ngspice: the same equilibria, measured in the circuit simulator."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from concurrent.futures import TimeoutError as TimeLimitExceeded
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from eqprop_analog.circuit import Circuit, compile_network
from eqprop_analog.circuit.resistive import Form
from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.errors import UserError
from eqprop_analog.models import NodalEquations, ResistiveNetwork
from eqprop_analog.nudging import Nudge
from eqprop_analog.solvers import libngspice
from eqprop_analog.solvers.certificate import certified
from eqprop_analog.solvers.surrogate import SurrogateSolver
from eqprop_analog.solvers.workers import WorkerLostError, Workers

Array = np.ndarray
log = logging.getLogger(__name__)

TOLERANCE = 1e-10
"""KCL residual of a certified node, as the surrogate measures it (solvers.certificate.imbalance): ngspice's own
reltol = 1e-11 leaves far less."""
SAMPLES_PER_SWEEP = 100
"""Longer sweeps gain nothing: from 100 samples on, an equilibrium costs the same."""
TIME_LIMIT = 600.0
"""Seconds that one sweep may take."""


@dataclass(frozen=True)
class Rung:
    """One way to ask ngspice; samples that fail on one rung are asked again on the next."""

    name: str
    samples: int
    """Samples in one sweep: a sample that fails ends its whole sweep."""
    options: Mapping[str, float] = field(default_factory=dict)
    guess: bool = False
    """Begin at the surrogate's free phase."""


# The first rung asks for more than the certificate needs; the later ones take what the certificate accepts, from better starts.
LADDER = (
    Rung("batch", SAMPLES_PER_SWEEP),
    Rung("alone", 1),
    Rung("alone, from the surrogate's voltages", 1, {"reltol": 1e-10, "vntol": 1e-13, "itl2": 2000}, guess=True),
    Rung("alone, gmin and source stepping", 1, {"reltol": 1e-9, "vntol": 1e-12, "gminsteps": 20, "srcsteps": 20}),
)


class NgspiceSolver:
    """F(v) = 0 by ngspice's own Newton iteration: one netlist and one ``.dc`` sweep for many samples and all phases.

    libngspice runs in ``workers`` processes of its own, started at the first solve and stopped with the solver, or on any
    ``executor`` the caller has (a Dask client's, say; a circuit that makes libngspice end takes that worker down). Every
    equilibrium is certified by the network's own equations; one that is not is asked for again down LADDER. A worker that
    dies costs the same question once more; one that exceeds ``time_limit`` seconds costs its samples their rung.
    """

    def __init__(
        self,
        workers: int = 1,
        form: Form = "norton",
        time_limit: float = TIME_LIMIT,
        executor: Executor | None = None,
        repeats: int = 1,
    ) -> None:
        """``form``: "norton", or "flat" with every resistor of the first crossbar. UserError if libngspice is missing.

        ``repeats``: how often in a row each point of a sweep is asked for; the last answer counts. ngspice delivers the
        iterate before its last, up to reltol away, and begins a point by extrapolation from the two before: the third answer
        is good to rounding.
        """
        if workers < 1:
            raise UserError(f"workers: expected at least 1, got {workers}")
        if not time_limit > 0:
            raise UserError(f"time limit: expected seconds above 0, got {time_limit}")
        if executor is None:
            libngspice.library_path()
        self.workers = workers
        self.form: Form = form
        self.time_limit = time_limit
        self.repeats = repeats
        self._work = Workers(workers, time_limit, executor)

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
        (result,) = self._phases(network, batch, [nudge], start)
        return result

    def solve_phases(
        self, network: ResistiveNetwork, inputs: Float[Array, "batch inputs"], nudges: Sequence[Nudge]
    ) -> tuple[Equilibrium, ...]:
        """The free phase and every nudged one, each nudged phase swept to from the free phase of its own sample.

        Current nudges depend on the free voltages and therefore cost a second sweep. For training: ``network`` and
        ``inputs`` are taken as already valid.
        """
        if all(nudge.kind == "conductance" for nudge in nudges):
            return self._phases(network, inputs, [None, *nudges], None)
        (free,) = self._phases(network, inputs, [None], None)
        # A sample without a free phase gets none here either, whatever its current.
        filled = replace(free, voltages=tuple(np.nan_to_num(v) for v in free.voltages))
        return free, *self._phases(network, inputs, nudges, filled)

    def start(self) -> int:
        """Start the workers now, wait until one has libngspice loaded, and return its major version."""
        try:
            return int(self._work.result(self._work.submit(libngspice.load)))
        except TimeLimitExceeded as error:
            raise UserError(f"ngspice was not loaded within the time limit of {self.time_limit:g} s") from error

    def close(self) -> None:
        """Stop the workers; the next solve starts new ones."""
        self._work.close()

    def _phases(
        self,
        network: ResistiveNetwork,
        inputs: Float[Array, "batch inputs"],
        nudges: Sequence[Nudge | None],
        start: Equilibrium | None,
    ) -> tuple[Equilibrium, ...]:
        network = network.in_spice().astype(np.float64)
        inputs = inputs.astype(np.float64)
        free = NodalEquations.of(network, inputs)
        if start is not None:
            free.require_shape(start)
        equations = [free.nudged([nudge], start) if nudge else free for nudge in nudges]
        sizes = network.layers[1:]
        measured = [tuple(np.full((len(inputs), size), np.nan) for size in sizes) for _ in equations]
        todo = np.arange(len(inputs))
        for rung in LADDER:
            self._measure(rung, equations, inputs, todo, measured)
            phases = [
                certified(each, voltages, TOLERANCE, nudge)
                for each, voltages, nudge in zip(equations, measured, nudges, strict=True)
            ]
            todo = np.flatnonzero(~_all_good(phases))
            if not todo.size:
                break
            log.warning("ngspice (%s): %d of %d samples not certified", rung.name, todo.size, len(inputs))
        return tuple(phases)

    def _measure(
        self,
        rung: Rung,
        equations: Sequence[NodalEquations],
        inputs: Float[Array, "batch inputs"],
        samples: Int[Array, " some"],
        voltages: Sequence[tuple[Float[Array, "batch nodes"], ...]],
    ) -> None:
        """Sweep ``samples`` and write what ngspice delivers into ``voltages``, one tuple of layers a phase."""
        pieces = max(min(self.workers, samples.size), -(-samples.size // rung.samples))
        jobs = []
        for chunk in np.array_split(samples, pieces):
            asked = [each.select(chunk) for each in equations for _ in range(self.repeats)]
            circuit, guess = self._circuit(rung, asked, inputs[chunk])
            jobs.append((chunk, self._work.submit(libngspice.sweep, circuit, rung.options, guess)))
        splits = np.cumsum(equations[0].network.layers[1:-1]).tolist()
        for chunk, job in jobs:
            try:
                result = self._work.result(job)[self.repeats - 1 :: self.repeats]
            except (libngspice.SimulationError, WorkerLostError) as error:
                log.warning("ngspice: %s", error)
                continue
            except TimeLimitExceeded:
                log.warning("ngspice did not finish within %g s", self.time_limit)
                continue
            for phase, layers in enumerate(voltages):
                for layer, v in zip(layers, np.split(result[phase :: len(voltages)], splits, axis=1), strict=True):
                    layer[chunk] = v

    def _circuit(
        self, rung: Rung, equations: Sequence[NodalEquations], inputs: Float[Array, "batch inputs"]
    ) -> tuple[Circuit, Float[Array, " probes"] | None]:
        """The circuit of one sweep (the worker writes its text) and where Newton's iteration begins, volts."""
        network = equations[0].network
        injections = [each.injection for each in equations]
        circuit = compile_network(network, inputs, injections, self.form, validate=False)
        if not rung.guess:
            return circuit, None
        free = SurrogateSolver().solve(network, inputs[:1])
        return circuit, np.concatenate(free.voltages, axis=1)[0]


def _all_good(phases: Sequence[Equilibrium]) -> Bool[Array, " batch"]:
    return np.asarray(np.all([phase.good for phase in phases], axis=0))
