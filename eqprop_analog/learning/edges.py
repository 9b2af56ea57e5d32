"""The learning signal of a graph network under its name in version 0.1.0; learning.contrast accepts any network."""

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.network import Network

Array = np.ndarray


def edge_contrast(network: Network, plus: Equilibrium, minus: Equilibrium) -> Float[Array, " edges"]:
    """dC/dG_e of every resistor, V²/S: ``contrast(network, inputs, plus, minus)["conductances"]``."""
    return network.contrast(plus.voltages[0], plus, minus)["conductances"]
