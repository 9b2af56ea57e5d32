"""What every solver by ngspice does: sweeps of many samples in worker processes, and those that fail asked for again."""

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
"""A circuit to sweep, and where Newton's iteration begins, volts."""
Measured = Float[Array, "points samples probes"]
"""Volts; NaN where ngspice gave none."""
log = logging.getLogger(__name__)

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
    slack: float = 1.0
    """Factor on the tolerances of Newton's iteration."""
    guess: bool = False
    """Begin at the surrogate's free phase."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Files in circuits/ to take subcircuits from, in place of their own."""

    def options_for(self, circuit: Circuit) -> Mapping[str, float]:
        """Options of ngspice beside those of the circuit."""
        if self.slack == 1:
            return self.options
        own = settings(circuit)
        return {**{key: self.slack * own[key] for key in NEWTON}, **self.options}


TOGETHER_THEN_ALONE = (Rung("batch", SAMPLES_PER_SWEEP), Rung("alone", 1))
_COLD: dict[str, Any] = {"options": {"itl1": 100, "itl2": 100}}
COLD = (Rung("cold", SAMPLES_PER_SWEEP, **_COLD), Rung("cold, alone", 1, **_COLD))
"""For starts at rest: where sources jump, Newton's iteration may go in circles."""
_AT_KNEES: dict[str, Any] = {"options": {"reltol": 1e-9, "vntol": 1e-11}, "models": {"clamp": "knee/clamp"}}
AT_KNEES = (
    Rung("clamps at their knees", SAMPLES_PER_SWEEP, **_AT_KNEES),
    Rung("clamps at their knees, alone", 1, **_AT_KNEES),
)
"""For circuits with clamps: one may carry too little for a decision by its voltage alone, and what decides is a small step."""

ROUNDINGS = 10
"""Of a mesh (Circuit.rounding), that its nodes may be off: how the roundings of its nodes add up, its matrix alone knows."""
AT_ROUNDINGS = Rung("tolerances at ten roundings", SAMPLES_PER_SWEEP, slack=ROUNDINGS)
"""For meshes. An iteration that cannot meet its tolerances ends in gmin stepping, which fails or leaves gmin at every node."""
BY_SPARSE = Rung("alone, by SPARSE from the surrogate's equilibrium", 1, SPARSE, guess=True)
"""For meshes, whose other rungs are solved by KLU where there is one."""
SPARSE_CELLS = 64 * 64
"""Of a mesh that SPARSE still solves in seconds."""


class Sweeps(ABC, Generic[N]):
    """libngspice in ``workers`` processes of its own, started at the first solve and stopped with the solver.

    Within ``on_cluster`` on the workers of that cluster; or on any ``executor`` the caller has, where a circuit that makes
    libngspice end takes that worker down. A worker that dies costs the same question once more; one that exceeds
    ``time_limit`` seconds costs its samples their rung.

    A solver works in daemons and pools of others and after a fork, each process with workers of its own, and for several threads
    at once. A solve that is interrupted leaves nothing to be done before the next. ngspice runs with its own defaults: no
    ``.spiceinit`` is executed, neither the user's nor the current folder's.
    """

    def __init__(self, workers: int = 1, time_limit: float = TIME_LIMIT, executor: Executor | None = None) -> None:
        """Raise UserError for numbers that are none, and if libngspice is missing."""
        workers = whole_number(workers, "workers", 1)
        time_limit = seconds_of(time_limit, "time limit")
        if executor is None:
            libngspice.library_path()
        self.workers = workers
        self.time_limit = time_limit
        self._work = workers_for(workers, time_limit) if executor is None else Workers(workers, time_limit, executor)

    def start(self) -> int:
        """Start the workers now, wait until one has libngspice loaded, and return its major version."""
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
        """Equilibrium of each row of ``inputs``; ``start`` gives a current nudge its free phase, dynamics their beginning.

        Raises UserError for a circuit that fails validation; samples that ngspice cannot solve carry their status.
        """
        (result,) = self._phases(network, self._checked(network, inputs), [nudge], start)
        derived = nudge is not None and (nudge.taken_at_free or not network.convex)
        return result.inheriting(start) if derived else result

    @abstractmethod
    def _checked(self, network: N, inputs: ArrayLike) -> Float[Array, "batch inputs"]:
        """``inputs`` as an array. UserError for these, the network, or a graph that is no circuit: once for all sweeps."""

    @abstractmethod
    def _phases(
        self,
        network: N,
        inputs: Float[Array, "batch inputs"],
        nudges: Sequence[Nudge | None],
        start: Equilibrium | None,
    ) -> tuple[Equilibrium, ...]:
        """One phase a nudge (None is the free one), all of them in one sweep."""

    def _free_and_nudged(
        self,
        network: N,
        inputs: Float[Array, "batch inputs"],
        nudges: Sequence[Nudge],
        start: Equilibrium | None = None,
        *,
        at_once: bool,
    ) -> tuple[Equilibrium, ...]:
        """The free phase and every nudged one; ``at_once`` if no nudged phase has to know the free one beforehand."""
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
        """The phases that ``certify`` makes of ``shape`` voltages (points of a sample's sweep, samples, probes).

        On one rung after the other the samples are asked for, by ``circuit``, that are not yet good in all phases; on the first
        in ``order`` (all samples).
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
        """The voltages of every chunk of ``samples`` that ngspice delivers."""
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
            for _, job in jobs:  # what is interrupted leaves nothing to be done before the next solve
                self._work.cancel(job)
