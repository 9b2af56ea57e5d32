"""Block coordinate descent: every layer in turn takes the voltages that satisfy its own equations exactly."""

from collections.abc import Sequence

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.networks.resistive.equations import NodalEquations


def sweep(equations: NodalEquations, voltages: Layers, order: Sequence[int] | None = None) -> Layers:
    """One sweep, by default all odd layers and then all even ones; the energy falls or stays.

    Nodes of one layer do not touch each other, so a layer is a batch of scalar problems with closed forms. Voltages are
    (batch, nodes) arrays in volts; ``voltages`` itself is left alone. Source: Scellier 2024, arXiv 2402.11674, section 4.
    """
    swept = list(voltages)
    if order is None:
        order = (*range(1, equations.depth + 1, 2), *range(2, equations.depth + 1, 2))
    for layer in order:
        swept[layer - 1] = equations.solve_layer(layer, tuple(swept))
    return tuple(swept)
