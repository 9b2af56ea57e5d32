"""ngspice for networks on a graph: the same equilibria as the sparse Newton solver's, measured in the circuit simulator."""

import logging
from collections.abc import Sequence
from concurrent.futures import TimeoutError as TimeLimitExceeded
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from eqprop_analog.circuit.graph_network import compile_graph
from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.models.graph_kirchhoff import GraphEquations
from eqprop_analog.models.graph_network import GraphNetwork
from eqprop_analog.nudging import Nudge
from eqprop_analog.solvers import libngspice
from eqprop_analog.solvers.sparse_newton import certified, relative
from eqprop_analog.solvers.workers import WorkerLostError, Workers

Array = np.ndarray
log = logging.getLogger(__name__)

TOLERANCE = 1e-9
"""Largest voltage that one Newton step would move ngspice's, over the circuit's largest: what certifies them."""
SAMPLES_PER_SWEEP = 50


class GraphNgspiceSolver:
    """F(v) = 0 by ngspice's own Newton iteration: one netlist and one ``.dc`` sweep for many samples and all phases.

    libngspice runs in ``workers`` processes of its own (solvers.workers). Every equilibrium is certified by the network's
    own equations; a sample whose sweep ngspice does not finish is asked for again alone, then carries its status.
    """

    def __init__(self, workers: int = 1, time_limit: float = 600.0) -> None:
        """``time_limit`` in seconds, of one sweep. UserError if libngspice is missing."""
        libngspice.library_path()
        self.workers = workers
        self.time_limit = time_limit
        self._work = Workers(workers, time_limit)

    def solve(
        self, network: GraphNetwork, inputs: ArrayLike, nudge: Nudge | None = None, start: Equilibrium | None = None
    ) -> Equilibrium:
        """Equilibrium of each row of ``inputs``; ``start`` gives a current nudge its free phase (ngspice begins by itself).

        Raises UserError for a circuit that fails validation; samples that ngspice cannot solve carry their status.
        """
        network.validate()
        batch = network.check_inputs(inputs)
        compile_graph(network, batch[:1])  # the whole graph is validated once, here
        (result,) = self._phases(network, batch, [nudge], start)
        return result

    def solve_phases(
        self, network: GraphNetwork, inputs: ArrayLike, nudges: Sequence[Nudge]
    ) -> tuple[Equilibrium, ...]:
        """The free phase and every nudged one, each nudged phase swept to from the free phase of its own sample."""
        network.validate()
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
        network: GraphNetwork,
        inputs: Float[Array, "batch inputs"],
        nudges: Sequence[Nudge | None],
        start: Equilibrium | None,
    ) -> tuple[Equilibrium, ...]:
        free = GraphEquations.of(network, inputs)
        if start is not None:
            free.require_shape(start)
        equations = [free.nudged(nudge, start) if nudge else free for nudge in nudges]
        measured = np.full((len(nudges), len(inputs), len(network.names)), np.nan)
        todo = np.arange(len(inputs))
        for at_once in (SAMPLES_PER_SWEEP, 1):
            self._measure(equations, inputs, todo, at_once, measured)
            phases = [
                _certified(each, voltages, nudge)
                for each, voltages, nudge in zip(equations, measured, nudges, strict=True)
            ]
            todo = np.flatnonzero(~np.all([phase.good for phase in phases], axis=0))
            if not todo.size:
                break
            log.warning("ngspice (%d at once): %d of %d samples not certified", at_once, todo.size, len(inputs))
        return tuple(phases)

    def _measure(
        self,
        equations: Sequence[GraphEquations],
        inputs: Float[Array, "batch inputs"],
        samples: Int[Array, " some"],
        at_once: int,
        measured: Float[Array, "phases batch nodes"],
    ) -> None:
        """Sweep ``samples``, ``at_once`` in a netlist, and write what ngspice delivers into ``measured``."""
        jobs = []
        for chunk in np.array_split(samples, max(min(self.workers, samples.size), -(-samples.size // at_once))):
            injections = [each.select(chunk).injection for each in equations]
            circuit = compile_graph(equations[0].network, inputs[chunk], injections, validate=False)
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


def _certified(equations: GraphEquations, voltages: Float[Array, "batch nodes"], nudge: Nudge | None) -> Equilibrium:
    known = np.isfinite(voltages).all(axis=1)
    close = np.zeros(len(voltages), bool)
    if known.any():
        some, v = equations.select(known), voltages[known]
        close[known] = relative(some.response(v, some.residuals(v)), v) <= TOLERANCE
    return certified(equations, voltages, close, nudge)
