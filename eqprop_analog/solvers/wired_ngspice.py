"""ngspice for networks whose crossbars have wires: every segment a resistor, measured in the circuit simulator."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.circuit import Circuit
from eqprop_analog.circuit.wired_network import compile_wired
from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.models.wired_network import WiredEquations, WiredNetwork
from eqprop_analog.nudging import Nudge
from eqprop_analog.solvers.sweeps import TOGETHER_THEN_ALONE, Chunk, Rung, Sweeps
from eqprop_analog.solvers.wired_newton import certified

Array = np.ndarray

TOLERANCE = 1e-9
"""Excess of a certified equilibrium (solvers.wired_newton), over the circuit's largest voltage."""


class WiredNgspiceSolver(Sweeps[WiredNetwork]):
    """F(v) = 0 by ngspice's own Newton iteration: one flat netlist and one ``.dc`` sweep for many samples and all phases.

    Certified by the reduced equations of WiredNewtonSolver. A sample whose sweep ngspice does not finish is asked for again
    alone, then carries its status. ngspice's reordering grows fast with the wires' nodes: for tiles and small networks. See
    Sweeps for the processes.
    """

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
        at_once = all(nudge.kind == "conductance" for nudge in nudges)
        return self._free_and_nudged(network, batch, nudges, at_once=at_once)

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

        def circuit(chunk: Chunk) -> Circuit:
            injections = [each.select(chunk).injection for each in equations]
            return compile_wired(network, inputs[chunk], injections, validate=False)

        def measure(rung: Rung, samples: Chunk) -> None:
            for chunk, swept in self._sweep(rung, samples, circuit):
                measured[:, chunk] = swept.reshape(len(chunk), len(equations), -1).swapaxes(0, 1)

        def certify() -> list[Equilibrium]:
            return [
                certified(each, voltages, TOLERANCE, nudge)
                for each, voltages, nudge in zip(equations, measured, nudges, strict=True)
            ]

        return self._climb(TOGETHER_THEN_ALONE, len(inputs), measure, certify)
