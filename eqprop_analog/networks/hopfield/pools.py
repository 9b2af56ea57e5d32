"""Weights and max pools of a Hopfield network's circuit.

The sites of a pool are weighted sums like the nodes: net ``m<l>_<k>`` has the voltage V(m) = Σ W s of site k before layer l, set
by the weights ``R<l>_<i>_<k>`` and a leak ``Rm<l>_<k>``. ``Xpool<l>_<j>`` compares the sites of window j, injects g·V(winner)
into node j of layer l, and sets ``mw<l>_<k>`` to 1 V for the winner and to 0 V for the others. ``Xback<l>_<k>`` sets
``mp<l>_<k>`` and ``mn<l>_<k>`` to +K·s_j and -K·s_j for the winner and to 0 V for the others; the backward weights
``Rr<l>_<k>_<i>`` start there. Untied weights have separate winners for the backward direction: ``mr<l>_<k>``,
``Rs<l>_<i>_<k>``, ``Rmr<l>_<k>``, ``Xpoolr<l>_<j>``, ``mrw<l>_<k>``.
"""

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.networks.hopfield.connections import Connection
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.resistive.netlist import Form
from eqprop_analog.spice.circuit import Section
from eqprop_analog.spice.elements import GROUND, Conductances, Element
from eqprop_analog.spice.saturating import Kernel, PoolReturns, Pools, Weights

Array = np.ndarray

MODELS = ("pool_site", "pool_return")
"""Names of the subcircuits of a circuit with pools."""


def nets(network: HopfieldNetwork, layer: int, output: str = "") -> tuple[str, ...]:
    """Nets of the nodes of ``layer``, or of their true ("p") or inverted ("n") outputs; layer 0 has only outputs."""
    stem = f"x{output}_" if layer == 0 else f"o{output}_" if layer == network.depth else f"h{output}{layer}_"
    return tuple(f"{stem}{j}" for j in range(network.layers[layer]))


def connected(connection: Connection, weights: Float[Array, "..."]) -> Float[Array, "before sites"]:
    """Connection.matrix with zeros for sites that belong to no window."""
    matrix, windows = connection.matrix(weights), connection.windows
    if windows.size == matrix.shape[1]:
        return matrix
    used = np.zeros(matrix.shape[1], bool)
    used[windows] = True
    return matrix * used


def site_loads(network: HopfieldNetwork) -> Layers:
    """Σ|W| over everything that leads to each site, dimensionless, of every connection that pools."""
    pooling = [*zip(network.connections, network.weights, strict=True)]
    pooling += zip(network.connections[1:], network.returning, strict=True) if network.returning else ()
    return tuple(np.abs(connected(each, weights)).sum(axis=0) for each, weights in pooling if pools(each))


def pools(connection: Connection) -> bool:
    """Whether the network has pools."""
    return connection.windows.shape[1] > 1


def bank(
    network: HopfieldNetwork, layer: int, unit: float, form: Form, *, back: bool = False, own: bool = False
) -> Weights:
    """The weights of connection ``layer`` to the nodes or sites after it, or the backward weights with ``back``.

    ``own``: to the separate sites of untied backward weights. ``unit``: g/K, siemens.
    """
    connection = network.connections[layer - 1]
    values = network.back[layer - 2] if back or own else network.weights[layer - 1]
    matrix = connected(connection, values)
    sites = np.arange(matrix.shape[1])
    controlled = form == "norton" and pools(connection)
    kernel = None
    if values.shape != matrix.shape:
        numbers = np.arange(1.0, values.size + 1).reshape(values.shape)
        shared = np.rint(connection.matrix(numbers)).astype(int) - 1
        apart = bool(network.returning or network.feedback != 1)
        stem = f"wr{layer}" if own or (back and apart) else f"w{layer}"
        kernel = Kernel(stem, values, shared.T if back else shared, apart if back else not own)
    if back:
        rows = [_sites(layer, sites, kind) if pools(connection) else nets(network, layer, kind) for kind in ("p", "n")]
        return Weights(f"r{layer}", rows[0], rows[1], nets(network, layer - 1), matrix.T, unit, kernel, controlled)
    true, inverted = nets(network, layer - 1, "p"), nets(network, layer - 1, "n")
    if own:
        return Weights(f"s{layer}", true, inverted, _sites(layer, sites, "r"), matrix, unit, kernel, controlled)
    columns = _sites(layer, sites) if pools(connection) else nets(network, layer)
    return Weights(f"{layer}", true, inverted, columns, matrix, unit, kernel, controlled)


def pool_sections(
    network: HopfieldNetwork,
    form: Form,
    inputs: Float[Array, "samples inputs"],
    conductance: float,
    swing: float,
) -> dict[int, Section]:
    """Sections of the netlist by the next layer: its sites, their pools and the backward direction.

    In the Norton form the first connection has no such section. ``conductance``: g, siemens; ``swing``: K, volts. Several samples
    share the tolerance of the one with the largest input.
    """
    sections: dict[int, Section] = {}
    written: set[int] = set()
    for layer in range(1 if form == "flat" else 2, network.depth + 1):
        size = network.connections[layer - 1].windows.shape[1]
        if size > 1:
            sections[layer] = _pooled(network, layer, form, inputs, conductance, swing, here=size not in written)
            written.add(size)
    return sections


def _pooled(
    network: HopfieldNetwork,
    layer: int,
    form: Form,
    inputs: Float[Array, "samples inputs"],
    conductance: float,
    swing: float,
    *,
    here: bool,
) -> Section:
    """The section of one connection; ``here``: whether it defines the subcircuit of its pools."""
    windows = network.connections[layer - 1].windows
    elements = _compared(network, layer, form, inputs, conductance, swing, here=here)
    if layer > 1:
        own = bool(network.returning)
        if own:
            elements += _compared(network, layer, form, inputs, conductance, swing, own=True)
        numbers = windows.ravel()
        outputs = np.repeat(nets(network, layer, "p"), windows.shape[1])
        named = (_sites(layer, numbers, kind) for kind in ("rw" if own else "w", "p", "n"))
        elements.append(PoolReturns(str(layer), tuple(numbers.tolist()), tuple(outputs.tolist()), *named))
    heading = f"pools before layer {layer}: {windows.size} sites; the largest of every {windows.shape[1]} drives a node"
    return Section(heading, tuple(elements))


def pool_notes() -> tuple[str, ...]:
    """The lines about pools in the header of the netlist."""
    return (
        "Pools: m<l>_k are sites at sum(W*s) volts. mw<l>_k is at 1 V if site k is the first of its window that reaches",
        "the largest value, otherwise at 0 V. Xpool<l>_j injects g times the winner's voltage into node j of layer l.",
        "Xback<l>_k sets mp<l>_k and mn<l>_k of the winner to +K*s_j and -K*s_j, and the others to 0 V.",
        "Untied weights have separate winners, mrw<l>_k, for the backward direction. In the Norton form, weights to and from",
        "sites are currents, G<l>_i_k and Gr<l>_k_i.",
    )


def _compared(
    network: HopfieldNetwork,
    layer: int,
    form: Form,
    inputs: Float[Array, "samples inputs"],
    conductance: float,
    swing: float,
    *,
    own: bool = False,
    here: bool = False,
) -> list[Element]:
    """Sites with their weights, leaks and comparators; ``own``: those of untied backward weights."""
    connection = network.connections[layer - 1]
    windows = network.connections[layer - 1].windows
    values = network.returning[layer - 2] if own else network.weights[layer - 1]
    before = inputs if layer == 1 else np.ones((1, network.layers[layer - 1]))  # states are at most 1 V
    ties = connection.ties(values, before).max(axis=0)
    weights = bank(network, layer, conductance / swing, form, own=own)
    used = np.sort(windows, axis=None)
    load = np.abs(weights.weights).sum(axis=0)[used] if form == "flat" else 0 * used
    kind, letter = ("r", "rw") if own else ("", "w")
    nodes = (GROUND,) * len(windows) if own else nets(network, layer)
    return [
        weights,
        Conductances(f"m{kind}{layer}", _sites(layer, used, kind), conductance * (1 - load / swing)),
        Pools(
            f"{kind}{layer}",
            nodes,
            tuple(_sites(layer, window, kind) for window in windows),
            tuple(_sites(layer, window, letter) for window in windows),
            conductance,
            ties,
            here,
        ),
    ]


def _sites(layer: int, numbers: Int[Array, " sites"], kind: str = "") -> tuple[str, ...]:
    """Nets of the sites before ``layer``, or of the nets that ``kind`` selects; see the module."""
    return tuple(f"m{kind}{layer}_{k}" for k in numbers.tolist())
