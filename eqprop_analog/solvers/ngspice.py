"""ngspice: the same equilibria, measured in the circuit simulator."""

from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.circuit import compile_network
from eqprop_analog.circuit.resistive import Form
from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.models import NodalEquations, ResistiveNetwork
from eqprop_analog.models.resistive import by_layer
from eqprop_analog.nudging import Nudge
from eqprop_analog.solvers.certificate import certified
from eqprop_analog.solvers.surrogate import SurrogateSolver
from eqprop_analog.solvers.sweeps import TIME_LIMIT, TOGETHER_THEN_ALONE, Asked, Chunk, Measured, Rung, Sweeps

Array = np.ndarray

TOLERANCE = 1e-10
"""KCL residual of a certified node, as the surrogate measures it (solvers.certificate.imbalance): ngspice's own
reltol = 1e-11 leaves far less."""

# The first rung asks for more than the certificate needs; the later ones take what the certificate accepts, from better starts.
LADDER = (
    *TOGETHER_THEN_ALONE,
    Rung("alone, from the surrogate's voltages", 1, {"reltol": 1e-10, "vntol": 1e-13, "itl2": 2000}, guess=True),
    Rung("alone, gmin and source stepping", 1, {"reltol": 1e-9, "vntol": 1e-12, "gminsteps": 20, "srcsteps": 20}),
)


class NgspiceSolver(Sweeps[ResistiveNetwork]):
    """F(v) = 0 by ngspice's own Newton iteration: one netlist and one ``.dc`` sweep for many samples and all phases.

    Every equilibrium is certified by the network's own equations; one that is not is asked for again down LADDER. See Sweeps
    for the processes.
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
        super().__init__(workers, time_limit, executor)
        self.form: Form = form
        self.repeats = repeats

    def _checked(self, network: ResistiveNetwork, inputs: ArrayLike) -> Float[Array, "batch inputs"]:
        network.validate()
        batch = network.check_inputs(inputs)
        compile_network(network, batch[:1], form=self.form)
        return batch

    def solve_phases(
        self, network: ResistiveNetwork, inputs: Float[Array, "batch inputs"], nudges: Sequence[Nudge]
    ) -> tuple[Equilibrium, ...]:
        """The free phase and every nudged one, each nudged phase swept to from the free phase of its own sample.

        Current nudges depend on the free voltages and therefore cost a second sweep. For training: ``network`` and
        ``inputs`` are taken as already valid.
        """
        at_once = all(nudge.kind == "conductance" for nudge in nudges)
        return self._free_and_nudged(network, inputs, nudges, at_once=at_once)

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
        start = free.begun(start)
        equations = [free.nudged([nudge], start) if nudge else free for nudge in nudges]

        def circuit(rung: Rung, chunk: Chunk) -> Asked:
            asked = [each.select(chunk) for each in equations for _ in range(self.repeats)]
            return self._circuit(rung, asked, inputs[chunk])

        def certify(measured: Measured) -> list[Equilibrium]:
            phases = zip(equations, measured[self.repeats - 1 :: self.repeats], nudges, strict=True)
            return [
                certified(each, by_layer(voltages, network.layers), TOLERANCE, nudge)
                for each, voltages, nudge in phases
            ]

        shape = len(nudges) * self.repeats, len(inputs), sum(network.layers[1:])
        return self._climb(LADDER, shape, circuit, certify)

    def _circuit(self, rung: Rung, equations: Sequence[NodalEquations], inputs: Float[Array, "batch inputs"]) -> Asked:
        """The circuit of one sweep (the worker writes its text) and where Newton's iteration begins, volts."""
        network = equations[0].network
        injections = [each.injection for each in equations]
        circuit = compile_network(network, inputs, injections, self.form, validate=False)
        if not rung.guess:
            return circuit, None
        free = SurrogateSolver().solve(network, inputs[:1])
        return circuit, np.concatenate(free.voltages, axis=1)[0]
