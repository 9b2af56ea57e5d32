"""Block coordinate descent: every layer in turn is set to the voltages that satisfy its equations exactly."""

from collections.abc import Sequence

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.networks.resistive.equations import NodalEquations


def sweep(equations: NodalEquations, voltages: Layers, order: Sequence[int] | None = None) -> Layers:
    """Do one sweep, by default all odd layers and then all even ones; the energy never increases.

    Nodes of one layer are not connected to each other, so that a layer is a batch of scalar problems with closed forms.
    Voltages are (batch, nodes) arrays in volts; ``voltages`` is not changed. Source: Scellier 2024, arXiv 2402.11674,
    section 4.
    """
    swept = list(voltages)
    if order is None:
        order = (*range(1, equations.depth + 1, 2), *range(2, equations.depth + 1, 2))
    for layer in order:
        swept[layer - 1] = equations.solve_layer(layer, tuple(swept))
    return tuple(swept)
