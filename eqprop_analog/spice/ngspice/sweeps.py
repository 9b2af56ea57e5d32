"""The base of all ngspice solvers: sweeps of many samples in worker processes; samples that fail are solved again."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from concurrent.futures import TimeoutError as TimeLimitExceeded
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.network import Network
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.errors import UserError
from eqprop_analog.incoming import seconds_of, whole_number
from eqprop_analog.spice.circuit import Circuit
from eqprop_analog.spice.netlist import NEWTON, SPARSE, settings
from eqprop_analog.spice.ngspice import library as libngspice
from eqprop_analog.spice.ngspice.cluster import workers_for
from eqprop_analog.spice.ngspice.workers import WorkerLostError, Workers

Array = np.ndarray
N = TypeVar("N", bound=Network)
Chunk = Int[Array, " some"]
Asked = Circuit | tuple[Circuit, Float[Array, " probes"] | None]
"""A circuit to sweep, and optionally the initial voltages of Newton's iteration, volts."""
Measured = Float[Array, "points samples probes"]
"""Volts; NaN where ngspice returned no result."""
log = logging.getLogger(__name__)

SAMPLES_PER_SWEEP = 100
"""Samples in one sweep; above 100 samples, longer sweeps do not reduce the cost of an equilibrium."""
TIME_LIMIT = 600.0
"""Longest time of one sweep, seconds."""


@dataclass(frozen=True)
class Rung:
    """One way of solving by ngspice; samples that fail on one rung are solved again on the next."""

    name: str
    samples: int
    """Number of samples in one sweep; a sample that fails ends the whole sweep."""
    options: Mapping[str, float] = field(default_factory=dict)
    slack: float = 1.0
    """Factor on the tolerances of Newton's iteration."""
    guess: bool = False
    """Start at the surrogate's free phase."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Files in circuits/ that replace the files of some subcircuits."""

    def options_for(self, circuit: Circuit) -> Mapping[str, float]:
        """Options of ngspice in addition to those of the circuit."""
        if self.slack == 1:
            return self.options
        own = settings(circuit)
        return {**{key: self.slack * own[key] for key in NEWTON}, **self.options}


TOGETHER_THEN_ALONE = (Rung("batch", SAMPLES_PER_SWEEP), Rung("alone", 1))
_COLD: dict[str, Any] = {"options": {"itl1": 100, "itl2": 100}}
COLD = (Rung("cold", SAMPLES_PER_SWEEP, **_COLD), Rung("cold, alone", 1, **_COLD))
"""For starts at rest; if sources jump, Newton's iteration may oscillate."""
_AT_KNEES: dict[str, Any] = {"options": {"reltol": 1e-9, "vntol": 1e-11}, "models": {"clamp": "knee/clamp"}}
AT_KNEES = (
    Rung("clamps at their knees", SAMPLES_PER_SWEEP, **_AT_KNEES),
    Rung("clamps at their knees, alone", 1, **_AT_KNEES),
)
"""For circuits with clamps: the current of a clamp may be too small to decide its state from its voltage alone."""

ROUNDINGS = 10
"""Allowed error of a mesh's nodes, in multiples of Circuit.rounding; how rounding errors add up depends on its matrix."""
AT_ROUNDINGS = Rung("tolerances at ten roundings", SAMPLES_PER_SWEEP, slack=ROUNDINGS)
"""For meshes. If the iteration cannot meet its tolerances, ngspice tries gmin stepping, which fails or leaves gmin at nodes."""
BY_SPARSE = Rung("alone, by SPARSE from the surrogate's equilibrium", 1, SPARSE, guess=True)
"""For meshes, whose other rungs use KLU where ngspice has it."""
SPARSE_CELLS = 64 * 64
"""Largest number of cells of a mesh that SPARSE solves in seconds."""


class Sweeps(ABC, Generic[N]):
    """Runs libngspice in ``workers`` separate processes, which start at the first solve and end with the solver.

    Within ``on_cluster`` the workers of that cluster are used. With an ``executor``, its workers are used, and a circuit that
    makes libngspice end its process also ends that worker. If a worker is lost, its sweep is repeated. If a sweep exceeds
    ``time_limit`` seconds, its samples continue on the next rung.

    A solver also works in daemons, in pools of processes and after a fork (each process has its own workers), and several
    threads may use it. After an interrupted solve, the next one needs no cleanup. ngspice runs with its own defaults: no
    ``.spiceinit`` is executed, neither the user's nor the current folder's.
    """

    def __init__(self, workers: int = 1, time_limit: float = TIME_LIMIT, executor: Executor | None = None) -> None:
        """Raise UserError for invalid numbers, and if libngspice is missing."""
        workers = whole_number(workers, "workers", 1)
        time_limit = seconds_of(time_limit, "time limit")
        if executor is None:
            libngspice.library_path()
        self.workers = workers
        self.time_limit = time_limit
        self._work = workers_for(workers, time_limit) if executor is None else Workers(workers, time_limit, executor)

    def start(self) -> int:
        """Start the workers, wait until one of them has loaded libngspice, and return the major version of ngspice."""
        try:
            return int(self._work.result(self._work.submit(libngspice.load)))
        except TimeLimitExceeded as error:
            raise UserError(f"ngspice was not loaded within the time limit of {self.time_limit:g} s") from error

    def close(self) -> None:
        """Stop the workers; the next solve starts new ones."""
        self._work.close()

    def solve(
        self, network: N, inputs: ArrayLike, nudge: Nudge | None = None, start: Equilibrium | None = None
    ) -> Equilibrium:
        """Equilibrium of each row of ``inputs``, volts.

        ``start``: the free phase of a current nudge, and the initial state of dynamics. Raises UserError for a circuit that
        fails validation; the status of samples that ngspice cannot solve says so.
        """
        (result,) = self._phases(network, self._checked(network, inputs), [nudge], start)
        derived = nudge is not None and (nudge.taken_at_free or not network.convex)
        return result.inheriting(start) if derived else result

    @abstractmethod
    def _checked(self, network: N, inputs: ArrayLike) -> Float[Array, "batch inputs"]:
        """``inputs`` as an array, checked once for all sweeps.

        Raises UserError for invalid inputs, an invalid network, or a graph that is not a circuit.
        """

    @abstractmethod
    def _phases(
        self,
        network: N,
        inputs: Float[Array, "batch inputs"],
        nudges: Sequence[Nudge | None],
        start: Equilibrium | None,
    ) -> tuple[Equilibrium, ...]:
        """One phase per nudge (None is the free phase), all in one sweep."""

    def _free_and_nudged(
        self,
        network: N,
        inputs: Float[Array, "batch inputs"],
        nudges: Sequence[Nudge],
        start: Equilibrium | None = None,
        *,
        at_once: bool,
    ) -> tuple[Equilibrium, ...]:
        """The free phase and every nudged one; ``at_once`` if no nudged phase depends on the free phase."""
        if at_once:
            return self._phases(network, inputs, [None, *nudges], start)
        (free,) = self._phases(network, inputs, [None], start)
        if not nudges:
            return (free,)
        filled = replace(free, voltages=tuple(np.nan_to_num(v) for v in free.voltages))
        nudged = self._phases(network, inputs, nudges, filled)
        return free, *(phase.inheriting(free) for phase in nudged)

    def _climb(
        self,
        ladder: Iterable[Rung],
        shape: tuple[int, int, int],
        circuit: Callable[[Rung, Chunk], Asked],
        certify: Callable[[Measured], Sequence[Equilibrium]],
        order: Chunk | None = None,
    ) -> tuple[Equilibrium, ...]:
        """The phases that ``certify`` returns for ``shape`` voltages (points of a sample's sweep, samples, probes).

        Each rung solves the circuits, from ``circuit``, of the samples that are not yet good in all phases; the first rung solves
        all samples in ``order``.
        """
        measured = np.full(shape, np.nan)
        points, samples, probes = shape
        todo: Array = np.arange(samples) if order is None else order
        phases: Sequence[Equilibrium] = ()
        for rung in ladder:
            with closing(self._sweep(rung, todo, circuit)) as sweeps:
                for chunk, swept in sweeps:
                    measured[:, chunk] = swept.reshape(len(chunk), points, probes).swapaxes(0, 1)
            phases = certify(measured)
            todo = np.flatnonzero(~np.all([phase.good for phase in phases], axis=0))
            if not todo.size:
                break
            log.warning("ngspice (%s): %d of %d samples not certified", rung.name, todo.size, samples)
        return tuple(phases)

    def _sweep(
        self,
        rung: Rung,
        samples: Chunk,
        circuit: Callable[[Rung, Chunk], Asked],
    ) -> Generator[tuple[Chunk, Float[Array, "points probes"]]]:
        """The voltages of every chunk of ``samples`` that ngspice solves."""
        pieces = max(min(self.workers, samples.size), -(-samples.size // rung.samples))
        log.debug("ngspice: %d samples in %d sweeps, %d workers", samples.size, pieces, self.workers)
        jobs: list[tuple[Chunk, Any]] = []
        try:
            whole = None if rung.guess else circuit(rung, samples)
            for part in np.array_split(np.arange(samples.size), pieces):
                chunk = samples[part]
                asked = whole.select(part) if isinstance(whole, Circuit) else circuit(rung, chunk)
                bench, guess = asked if isinstance(asked, tuple) else (asked, None)
                bench = replace(bench, models=tuple(rung.models.get(model, model) for model in bench.models))
                jobs.append((chunk, self._work.submit(libngspice.sweep, bench, rung.options_for(bench), guess)))
            for chunk, job in jobs:
                try:
                    swept = self._work.result(job)
                except (libngspice.SimulationError, WorkerLostError) as error:
                    log.warning("ngspice: %s", error)
                except TimeLimitExceeded:
                    log.warning("ngspice did not finish within %g s", self.time_limit)
                else:
                    yield chunk, swept
        finally:
            for _, job in jobs:  # after an interrupt, no sweep of this solve remains
                self._work.cancel(job)
