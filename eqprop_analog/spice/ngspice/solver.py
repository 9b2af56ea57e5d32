"""The solver that measures equilibria in the circuit simulator ngspice."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.core.certificate import certified
from eqprop_analog.core.equations import Equations
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.network import Network, in_double
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.core.proof import ERROR
from eqprop_analog.core.registry import family_of
from eqprop_analog.devices import is_own_device
from eqprop_analog.errors import UserError
from eqprop_analog.spice.ngspice.order import alike
from eqprop_analog.spice.ngspice.sweeps import (
    AT_KNEES,
    AT_ROUNDINGS,
    BY_SPARSE,
    COLD,
    ROUNDINGS,
    SPARSE_CELLS,
    TIME_LIMIT,
    TOGETHER_THEN_ALONE,
    Asked,
    Chunk,
    Measured,
    Rung,
    Sweeps,
)

Array = np.ndarray

REDUCED = "reduced"
"""The form with the fewest unknowns (Network.reduced_circuit), for training loops."""


class NgspiceSolver(Sweeps[Network]):
    """Solves F = 0 by ngspice's Newton iteration, for any network with a circuit: one ``.dc`` sweep for many samples.

    Every equilibrium is certified by the network's own equations (core.certificate). If this fails, the sample is solved again by
    the next rungs of the family's ladder, and after the last one its status says why. See Sweeps for the processes.

    If a network has several equilibria, Newton's iteration, which does not follow the dynamics, may leave the circuit's basin of
    attraction or find an unstable equilibrium. Therefore every sample starts where the family's dynamics settle, from rest or
    from ``start``: in the netlist a source holds every node at this voltage, and is then switched off. Max pools are
    discontinuous, and from a point that is only near the equilibrium, Newton's iteration may change the winners. With them, each
    sample starts at the surrogate's equilibrium.

    >>> import eqprop_analog as ea
    >>> network = ea.ResistiveNetwork.dense([2, 3, 2])
    >>> measured = ea.NgspiceSolver().solve(network, [[0.1, 0.2]])  # doctest: +SKIP
    >>> float(abs(measured.outputs - ea.SurrogateSolver().solve(network, [[0.1, 0.2]]).outputs).max()) < 1e-12  # doctest: +SKIP
    True
    """

    def __init__(
        self,
        workers: int = 1,
        form: str | None = None,
        time_limit: float = TIME_LIMIT,
        executor: Executor | None = None,
        repeats: int = 1,
        swing: float | None = None,
        cold: bool = False,
    ) -> None:
        """``form``: "norton", or "flat" with every device; None is the first form of the network; REDUCED is for training.

        Raises UserError if libngspice is not installed.
        ``workers``: number of processes; ``time_limit``: longest time of one sweep in seconds; ``executor``: an executor that
        runs the sweeps instead, such as a Dask client's. See Sweeps.
        ``repeats``: number of times that each point of a sweep is solved in succession; the last result counts. ngspice returns
        the iterate before its last, up to reltol away, and starts a point by extrapolation from the two points before it, so
        the third result is exact to rounding. ``swing``: swing of a Hopfield network's buffers, see compile_hopfield. ``cold``:
        if a network has several equilibria, start every sample at rest instead, as in a netlist without initial values.
        """
        super().__init__(workers, time_limit, executor)
        self.form = form
        self.repeats = repeats
        self.swing = swing
        self.cold = cold

    def _ladder(self, network: Network, inputs: Float[Array, "batch inputs"]) -> Iterator[Rung]:
        """The rungs of the ladder, one after another."""
        if self.cold:
            yield from COLD if len(inputs) > 1 else COLD[:1]
            return
        first, *others = family_of(network).ladder or TOGETHER_THEN_ALONE
        yield first
        circuit = self._circuit(network, inputs[:1], [None], validate=False)
        yield from (rung for rung in AT_KNEES if not rung.models.keys().isdisjoint(circuit.models))
        if circuit.mesh:
            yield AT_ROUNDINGS
        yield from others
        if 0 < circuit.mesh <= SPARSE_CELLS:
            yield BY_SPARSE

    def _circuit(self, network: Network, inputs: Array, phases: Sequence[Equations | None], **settings: Any) -> Any:
        if self.swing is not None:
            settings["swing"] = self.swing
        if self.form == REDUCED:
            return network.reduced_circuit(inputs, phases, **settings)
        return network.circuit(inputs, phases, self.form or network.forms[0], **settings)

    def _checked(self, network: Network, inputs: ArrayLike) -> Float[Array, "batch inputs"]:
        family_of(network)  # raises UserError for an unknown family
        network.validate()
        batch = network.check_inputs(inputs)
        self._circuit(network, batch[:1], [None])
        return batch

    def solve_phases(
        self,
        network: Network,
        inputs: ArrayLike,
        nudges: Sequence[Nudge],
        start: Equilibrium | None = None,
    ) -> tuple[Equilibrium, ...]:
        """The free phase and every nudged one; each nudged phase starts at the free phase of its sample.

        Nudges that depend on the free phase, and dynamics, require a second sweep. ``network`` is not validated, so that
        training saves this time.
        """
        at_once = network.convex and all(nudge.kind == "conductance" for nudge in nudges)
        return self._free_and_nudged(network, network.check_inputs(inputs), nudges, start, at_once=at_once)

    def _phases(
        self,
        network: Network,
        inputs: Float[Array, "batch inputs"],
        nudges: Sequence[Nudge | None],
        start: Equilibrium | None,
    ) -> tuple[Equilibrium, ...]:
        network = in_double(network.in_spice())
        inputs = inputs.astype(np.float64)
        free = network.equations(inputs)
        start = free.begun(start)
        if not network.convex:
            return self._settled(network, inputs, nudges, start, free)
        given = [nudge for nudge in nudges if nudge is not None]
        groups: list[tuple[Any, Sequence[Nudge | None]]] = [(free, [None])] if len(given) < len(nudges) else []
        if given:
            nudged = free.nudged(given, start)
            together = free.with_nudged(nudged) if groups and nudges[0] is None else None
            groups = [(together, nudges)] if together is not None else [*groups, (nudged, given)]
        family, tolerance = family_of(network), family_of(network).tolerance

        def circuit(rung: Rung, chunk: Chunk) -> Asked:
            nonlocal tolerance
            asked = [
                each.select(chunk + number * len(inputs))
                for each, members in groups
                for number in range(len(members))
                for _ in range(self.repeats)
            ]
            bench = self._circuit(network, inputs[chunk], asked, validate=False)
            tolerance = max(tolerance, min(ROUNDINGS * bench.rounding, ERROR[np.dtype(np.float64)]))
            if not rung.guess:
                return bench
            begin = family.surrogate().solve(network, inputs[chunk[:1]])
            return bench, np.concatenate(asked[0].unknowns(begin.voltages), axis=1)[0]

        meters = self._meters(network, inputs)
        probes = _probes(free)

        def certify(measured: Measured) -> list[Equilibrium]:
            last = iter(measured[self.repeats - 1 :: self.repeats])
            return [phase for each, members in groups for phase in one_group(each, members, last)]

        def one_group(phase: Any, members: Sequence[Nudge | None], last: Iterator[Array]) -> Iterable[Equilibrium]:
            found = np.concatenate([next(last) for _ in members])
            nodes = phase.measured(found[:, :probes])
            if meters:
                phase = phase.metered(nodes, found[:, probes:])
            return certified(phase, nodes, tolerance, None).split(members)

        shape = len(nudges) * self.repeats, len(inputs), probes + meters
        return self._climb(self._ladder(network, inputs), shape, circuit, certify, alike(free.likeness(inputs)))

    def _meters(self, network: Network, inputs: Float[Array, "batch inputs"]) -> int:
        """Number of currents that are measured in addition to the probes. Raises UserError if the equations cannot use them."""
        if not is_own_device(getattr(network, "diode", None)):
            return 0
        meters = len(self._circuit(network, inputs[:1], [None], validate=False).meters)
        if not hasattr(network.equations(inputs[:1]), "metered"):
            raise UserError(
                f"in a {network.family} network diodes are certified by their law; give it the law's table (as_device = false)"
            )
        return meters

    def _settled(
        self,
        network: Network,
        inputs: Float[Array, "batch inputs"],
        nudges: Sequence[Nudge | None],
        start: Equilibrium | None,
        free: Equations,
    ) -> tuple[Equilibrium, ...]:
        """Solve all phases as one batch; each sample is first held where its dynamics settle."""
        family = family_of(network)
        given = [nudge for nudge in nudges if nudge is not None]
        equations = free.nudged(given, start) if given else free
        if self.cold:
            begin = equations.initial()
        else:
            settle = family.dynamics if family.dynamics and network.continuous else family.surrogate
            rests = [settle().solve(network, inputs, nudge, start) for nudge in nudges]
            begin = equations.unknowns(tuple(map(np.concatenate, zip(*(rest.voltages for rest in rests), strict=True))))
        inputs = np.tile(inputs, (len(nudges), 1))

        def circuit(_rung: Rung, chunk: Chunk) -> Asked:
            held = tuple(each[chunk] for each in begin)
            return self._circuit(network, inputs[chunk], [equations.select(chunk)], start=held, validate=False)

        def certify(measured: Measured) -> list[Equilibrium]:
            _held, let_go = measured
            return [certified(equations, equations.measured(let_go), family.tolerance, None)]

        shape = 2, len(inputs), _probes(free)
        (result,) = self._climb(self._ladder(network, inputs), shape, circuit, certify)
        return result.split(nudges)


def _probes(equations: Equations) -> int:
    return sum(each.shape[1] for each in equations.initial())


GraphNgspiceSolver = NonidealNgspiceSolver = NgspiceSolver
"""Names from version 0.1.0, kept for one more version: one solver is for every network."""
