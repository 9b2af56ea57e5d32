"""The netlist of one sample in one phase, of any network."""

import numpy as np
from jaxtyping import Float

from eqprop_analog.core import Equations, Network, family_of
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.spice.circuit import Circuit
from eqprop_analog.spice.dialects import NGSPICE, Dialect
from eqprop_analog.spice.netlist import static_netlist

Array = np.ndarray

DIGITS = 6
"""Digits of the initial voltages of a network with several equilibria."""


def phase(network: Network, inputs: Float[Array, "1 inputs"], nudge: Nudge) -> Equations:
    """Return the equations of the nudged phase; a current nudge is computed at the surrogate's free equilibrium."""
    start = family_of(network).surrogate().solve(network, inputs).require() if nudge.kind == "current" else None
    return network.equations(inputs).nudged([nudge], start)


def netlist(
    network: Network,
    circuit: Circuit,
    inputs: Float[Array, "1 inputs"],
    nudge: Nudge | None = None,
    dialect: Dialect = NGSPICE,
) -> str:
    """Return the text of ``circuit``, which is that of ``network`` at ``inputs`` under ``nudge``.

    If there are several equilibria, Newton's iteration starts at the one that the circuit reaches from 0 V; otherwise
    it could find any of them.
    """
    if network.convex:
        return static_netlist(circuit, dialect=dialect)
    dynamics = family_of(network).surrogate()
    rest = dynamics.solve(network, inputs)
    equations = network.equations(inputs)
    if nudge is not None:
        rest = dynamics.solve(network, inputs, nudge, rest)
        equations = equations.nudged([nudge], None)
    start = np.concatenate(equations.unknowns(rest.voltages), axis=1)[0]
    if network.continuous:  # otherwise the last digit may decide between two winners
        start = start.round(DIGITS)
    return static_netlist(circuit, start, dialect)
