"""ngspice for Hopfield networks: the operating point of their circuit, from where its dynamics come to rest."""

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.circuit import Circuit
from eqprop_analog.circuit.hopfield import compile_hopfield
from eqprop_analog.circuit.resistive import Form
from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.models import HopfieldEquations, HopfieldNetwork
from eqprop_analog.models.resistive import by_layer
from eqprop_analog.nudging import Nudge
from eqprop_analog.solvers.hopfield_certificate import certified
from eqprop_analog.solvers.leaky_integrator import LeakyIntegratorSolver
from eqprop_analog.solvers.sweeps import TIME_LIMIT, TOGETHER_THEN_ALONE, Chunk, Measured, Rung, Sweeps

Array = np.ndarray

TOLERANCE = 1e-9
"""Volts: what Kirchhoff's current law may leave at a certified node, over the node's conductance."""
STEP = 0.1
"""Time constants: long steps may end in another basin than the circuit's own, or turn around an equilibrium for ever."""
BEGIN = LeakyIntegratorSolver(step=STEP, tolerance=1e-6)
"""Where Newton's iteration begins; it does the rest."""


def surrogate() -> LeakyIntegratorSolver:
    """The circuit's dynamics in NumPy, to the last digit."""
    return LeakyIntegratorSolver(step=STEP, max_steps=50_000)


class HopfieldNgspiceSolver(Sweeps[HopfieldNetwork]):
    """-u + W ρ(u) + b + pull = 0 by ngspice's own Newton iteration: one netlist and one ``.dc`` sweep for many samples.

    The energy has many minima, and Newton's iteration, which knows no dynamics, may leave the basin that the circuit is in, or
    find a point where it would not stay. So every sample begins where the leaky integrators of its circuit, in NumPy, come to
    rest: from u = 0 V, or from ``start``; in the netlist a source holds every node there, and lets go. Every equilibrium is
    certified by the network's own equations (solvers.hopfield_certificate); one that is not is asked for again alone, then
    carries its status. See Sweeps for the processes.
    """

    many_equilibria: ClassVar[bool] = True

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
        super().__init__(workers, time_limit, executor)
        self.form: Form = form
        self.swing = swing

    def _checked(self, network: HopfieldNetwork, inputs: ArrayLike) -> Float[Array, "batch inputs"]:
        network.validate()
        batch = network.check_inputs(inputs)
        compile_hopfield(network, batch[:1], form=self.form, swing=self.swing)
        return batch

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
        return self._free_and_nudged(network, inputs, nudges, start, at_once=False)

    def _phases(
        self,
        network: HopfieldNetwork,
        inputs: Float[Array, "batch inputs"],
        nudges: Sequence[Nudge | None],
        start: Equilibrium | None,
    ) -> tuple[Equilibrium, ...]:
        network, inputs = network.astype(np.float64), inputs.astype(np.float64)
        free = HopfieldEquations.of(network, inputs)
        start = free.begun(start)
        rests = [BEGIN.solve(network, inputs, nudge, start) for nudge in nudges]
        given = [nudge for nudge in nudges if nudge is not None]
        equations = free.nudged(given, start) if given else free
        begin = equations.forces(tuple(map(np.concatenate, zip(*(rest.voltages for rest in rests), strict=True))))
        inputs = np.tile(inputs, (len(nudges), 1))

        def circuit(_rung: Rung, chunk: Chunk) -> Circuit:
            return compile_hopfield(
                network,
                inputs[chunk],
                equations.select(chunk),
                self.form,
                swing=self.swing,
                start=tuple(u[chunk] for u in begin),
                validate=False,
            )

        def certify(measured: Measured) -> list[Equilibrium]:
            _held, let_go = measured
            return [certified(equations, by_layer(let_go, network.layers), TOLERANCE, None)]

        shape = 2, len(inputs), sum(network.layers[1:])
        (result,) = self._climb(TOGETHER_THEN_ALONE, shape, circuit, certify)
        return result.split(nudges)
