"""The learning signal of a graph network under its name in version 0.1.0; learning.contrast accepts any network."""

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.network import Network

Array = np.ndarray


def edge_contrast(network: Network, plus: Equilibrium, minus: Equilibrium) -> Float[Array, " edges"]:
    """dC/dG_e of every resistor, V²/S: ``contrast(network, inputs, plus, minus)["conductances"]``.

    >>> import networkx as nx
    >>> import eqprop_analog as ea
    >>> network = ea.GraphNetwork.from_graph(nx.path_graph(4), inputs=[0], outputs=[2], rails={3: 0.0})
    >>> solver, x, y = ea.SparseNewtonSolver(), [[3.0]], [[2.0]]
    >>> free = solver.solve(network, x)
    >>> plus, minus = (solver.solve(network, x, nudge=ea.Nudge(y, beta), start=free) for beta in (1e-9, -1e-9))
    >>> ea.edge_contrast(network, plus, minus).shape  # V²/S
    (3,)
    """
    return network.contrast(plus.voltages[0], plus, minus)["conductances"]
