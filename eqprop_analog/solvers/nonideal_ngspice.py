"""ngspice for networks with a chip's imperfections: every one a device, measured in the circuit simulator."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.circuit import Circuit
from eqprop_analog.circuit.nonideal_network import compile_nonideal
from eqprop_analog.circuit.resistive import Form
from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.models.nonideal_equations import NonidealEquations
from eqprop_analog.models.nonideal_network import NonidealNetwork
from eqprop_analog.nudging import Nudge
from eqprop_analog.solvers.nonideal_newton import certified
from eqprop_analog.solvers.sweeps import TOGETHER_THEN_ALONE, Chunk, Measured, Rung, Sweeps

Array = np.ndarray

TOLERANCE = 1e-9
"""Excess of a certified equilibrium (solvers.nonideal_newton), over the circuit's largest voltage."""


class NonidealNgspiceSolver(Sweeps[NonidealNetwork]):
    """F(v) = 0 by ngspice's own Newton iteration: one netlist and one ``.dc`` sweep for many samples and all phases.

    The netlist is in the Norton form where wires and sources of the first crossbar are ideal. Certified by the reduced
    equations of NonidealNewtonSolver. A sample whose sweep ngspice does not finish is asked for again alone, then carries its
    status. ngspice's reordering grows fast with the wires' nodes: for tiles and small networks. See Sweeps for the processes.
    """

    def _checked(self, network: NonidealNetwork, inputs: ArrayLike) -> Float[Array, "batch inputs"]:
        batch = network.check_inputs(inputs)
        compile_nonideal(network, batch[:1], form=_form(network))
        return batch

    def solve_phases(
        self, network: NonidealNetwork, inputs: ArrayLike, nudges: Sequence[Nudge]
    ) -> tuple[Equilibrium, ...]:
        """The free phase and every nudged one, each nudged phase swept to from the free phase of its own sample."""
        batch = network.check_inputs(inputs)
        at_once = all(nudge.kind == "conductance" for nudge in nudges)
        return self._free_and_nudged(network, batch, nudges, at_once=at_once)

    def _phases(
        self,
        network: NonidealNetwork,
        inputs: Float[Array, "batch inputs"],
        nudges: Sequence[Nudge | None],
        start: Equilibrium | None,
    ) -> tuple[Equilibrium, ...]:
        network = network.in_spice()
        free = NonidealEquations.of(network, inputs)
        start = free.begun(start)
        equations = [free.nudged([nudge], start) if nudge else free for nudge in nudges]

        def circuit(_rung: Rung, chunk: Chunk) -> Circuit:
            injections = [each.select(chunk).injection for each in equations]
            return compile_nonideal(network, inputs[chunk], injections, _form(network), validate=False)

        def certify(measured: Measured) -> list[Equilibrium]:
            phases = zip(equations, measured, nudges, strict=True)
            return [certified(each, voltages, TOLERANCE, nudge) for each, voltages, nudge in phases]

        return self._climb(TOGETHER_THEN_ALONE, (len(nudges), *free.source.shape), circuit, certify)


def _form(network: NonidealNetwork) -> Form:
    return "norton" if network.driven[0].direct else "flat"
