"""ngspice for networks on a graph: the same equilibria as the sparse Newton solver's, measured in the circuit simulator."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.circuit import Circuit
from eqprop_analog.circuit.graph_network import compile_graph
from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.models.graph_kirchhoff import GraphEquations
from eqprop_analog.models.graph_network import GraphNetwork
from eqprop_analog.nudging import Nudge
from eqprop_analog.solvers.sparse_newton import certified, relative
from eqprop_analog.solvers.sweeps import TOGETHER_THEN_ALONE, Chunk, Measured, Rung, Sweeps

Array = np.ndarray

TOLERANCE = 1e-9
"""Largest voltage that one Newton step would move ngspice's, over the circuit's largest: what certifies them."""


class GraphNgspiceSolver(Sweeps[GraphNetwork]):
    """F(v) = 0 by ngspice's own Newton iteration: one netlist and one ``.dc`` sweep for many samples and all phases.

    Every equilibrium is certified by the network's own equations; a sample whose sweep ngspice does not finish is asked for
    again alone, then carries its status. See Sweeps for the processes.
    """

    def _checked(self, network: GraphNetwork, inputs: ArrayLike) -> Float[Array, "batch inputs"]:
        network.validate()
        batch = network.check_inputs(inputs)
        compile_graph(network, batch[:1])
        return batch

    def solve_phases(
        self, network: GraphNetwork, inputs: ArrayLike, nudges: Sequence[Nudge]
    ) -> tuple[Equilibrium, ...]:
        """The free phase and every nudged one, each nudged phase swept to from the free phase of its own sample."""
        network.validate()
        batch = network.check_inputs(inputs)
        at_once = all(nudge.kind == "conductance" for nudge in nudges)
        return self._free_and_nudged(network, batch, nudges, at_once=at_once)

    def _phases(
        self,
        network: GraphNetwork,
        inputs: Float[Array, "batch inputs"],
        nudges: Sequence[Nudge | None],
        start: Equilibrium | None,
    ) -> tuple[Equilibrium, ...]:
        free = GraphEquations.of(network, inputs)
        start = free.begun(start)
        equations = [free.nudged(nudge, start) if nudge else free for nudge in nudges]

        def circuit(_rung: Rung, chunk: Chunk) -> Circuit:
            injections = [each.select(chunk).injection for each in equations]
            return compile_graph(network, inputs[chunk], injections, validate=False)

        def certify(measured: Measured) -> list[Equilibrium]:
            return [_certified(*phase) for phase in zip(equations, measured, nudges, strict=True)]

        return self._climb(TOGETHER_THEN_ALONE, (len(nudges), *free.sources.shape), circuit, certify)


def _certified(equations: GraphEquations, voltages: Float[Array, "batch nodes"], nudge: Nudge | None) -> Equilibrium:
    known = np.isfinite(voltages).all(axis=1)
    close = np.zeros(len(voltages), bool)
    if known.any():
        some, v = equations.select(known), voltages[known]
        close[known] = relative(some.response(v, some.residuals(v)), v) <= TOLERANCE
    return certified(equations, voltages, close, nudge)
