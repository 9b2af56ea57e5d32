"""Compilation of a Hopfield network: every term of C du/dt = g(-u + W ρ(u) + b) becomes a device.

Nets: ``xp_i``/``xn_i`` are the input rows at +K·x and -K·x; ``h<l>_j`` are the nodes u of hidden layer l; ``hp<l>_j`` and
``hn<l>_j`` are the true and inverted outputs +K·ρ(u) and -K·ρ(u) of their buffers; ``o_k``, ``op_k``, ``on_k`` are the same nets
of the last layer; ``r_k`` are the read-outs of a head, ``y_k`` the targets, ``p_k`` the pulls of a nudge. Devices:
``R<l>_<i>_<j>`` is the weight from node i of layer l - 1 to node j of layer l, ``Rr<l>_<i>_<j>`` the backward weight from node i
of layer l to node j of layer l - 1; ``Rl<l>_j`` are leaks, ``Xb<l>_j`` buffers, ``Ib<l>_j`` biases, ``C<net>`` node capacitances.

A weight W is a conductance |W|·g/K from the true output (W > 0) or the inverted output (W < 0). It also loads its node, so
the leak is g·(1 - Σ|W|/K): every node then has the total conductance g, whatever its weights. Source: Hopfield 1984.

A connection with pooling leads to sites first (networks.hopfield.pools), which are weighted sums like the nodes. The next layer
receives a current from the winner of each window, and returns its state through the winner alone.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.equilibrium import Layers
from eqprop_analog.errors import UserError
from eqprop_analog.incoming import real_number
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.hopfield.pools import (
    MODELS,
    bank,
    connected,
    nets,
    pool_notes,
    pool_sections,
    pools,
    site_loads,
)
from eqprop_analog.networks.resistive.netlist import Form
from eqprop_analog.spice.circuit import Circuit, Section
from eqprop_analog.spice.elements import (
    POINT,
    SAMPLE,
    Capacitors,
    Conductances,
    CurrentSources,
    Element,
    VoltageSources,
)
from eqprop_analog.spice.saturating import Buffers, Holds, Pulls, Transconductances, Weights

Array = np.ndarray

CONDUCTANCE = 1e-6
"""g: the total conductance of every node, siemens."""
MARGIN = 1.25
"""Ratio of the default K to the smallest K for which every leak is positive."""
HOLD = 1e6
"""Conductance that holds a node at its initial voltage, in units of g."""


def compile_hopfield(
    network: HopfieldNetwork,
    inputs: Float[Array, "samples inputs"],
    nudged: HopfieldEquations | None = None,
    form: Form = "norton",
    *,
    swing: float | None = None,
    start: Layers | None = None,
    conductance: float = CONDUCTANCE,
    validate: bool = True,
) -> Circuit:
    """The validated circuit of every sample, each with its row of ``nudged`` (None is the free phase).

    Sweep point k is sample k. With ``start`` (u of layers 1..L, volts), sample k has two points: 2k, at which the nodes are held
    at their initial voltages, and 2k + 1, which starts from them. One sample without a start gives a static circuit.
    ``form="flat"`` has a resistor for every input weight; ``"norton"`` replaces these resistors and their sources by one current
    and one conductance for each node, and weights to and from the sites of a pool by controlled currents. ``swing`` is K, the
    largest output of the buffers, volts; None is default_swing. ``conductance`` is g, siemens. Raises UserError if K is so small
    that the leak of a node is not positive. ``validate=False`` checks the values but not the graph.
    """
    _require_possible(form, nudged)
    network = network.astype(np.float64)
    inputs = network.check_inputs(inputs)
    swing = default_swing(network) if swing is None else real_number(swing, "swing", "volts")
    _require_leaks(network, swing)
    unit = conductance / swing
    counter = POINT if start is None else SAMPLE
    sections = [_inputs(network, inputs, form, unit, swing, counter)]
    pooled = pool_sections(network, form, inputs, conductance, swing)
    for layer, load in enumerate(loads(network, form), start=1):
        sections += [pooled[layer]] if layer in pooled else []
        sections.append(_layer(network, layer, load, form, conductance, swing))
    sections += _readout(network, conductance, swing)
    sections += _nudge(network, nudged, conductance, swing, counter)
    probes = tuple(net for layer in range(1, network.depth + 1) for net in nets(network, layer))
    if start is not None:
        holds = Holds(probes, np.concatenate(start, axis=1), HOLD * conductance)
        sections.append(
            Section(
                "hold: the first of every two points holds the nodes at the initial voltages of the second", (holds,)
            )
        )
    circuit = Circuit(
        title=f"eqprop-analog: Hopfield network {'-'.join(map(str, network.layers))}, {form} form",
        notes=_notes(network, nudged, form, conductance, swing),
        sections=tuple(sections),
        models=(network.buffer.spice[0], *(() if network.continuous else MODELS)),
        options={},
        probes=probes,
        outputs=nets(network, network.depth, "p") if network.head is None else _heads(network),
        points=len(inputs) * (1 if start is None else 2),
        phases=1 if start is None else 2,
        jumps=not network.continuous,
    )
    circuit.validate(whole=validate)
    return circuit


def with_capacitances(circuit: Circuit, network: HopfieldNetwork, farads: float) -> Circuit:
    """``circuit`` with a capacitor of ``farads`` to ground at every node of layers 1..L. Raises UserError."""
    bank = Capacitors(tuple(net for layer in range(1, network.depth + 1) for net in nets(network, layer)), farads)
    bank.check()
    return replace(circuit, sections=(*circuit.sections, Section("node capacitances", (bank,))))


def loads(network: HopfieldNetwork, form: Form = "flat") -> Layers:
    """Σ|W| over all conductances that lead to each node of layers 1..L, dimensionless.

    A pool does not load the nodes to which it leads. In the Norton form, its backward weights do not load their nodes either.
    """
    into = [np.zeros(size) for size in network.layers[1:]]
    for layer, (each, weights) in enumerate(zip(network.connections, network.weights, strict=True)):
        if not pools(each):
            into[layer] += np.abs(each.matrix(weights)).sum(axis=0)
        if layer and (form == "flat" or not pools(each)):
            into[layer - 1] += np.abs(connected(each, network.back[layer - 1])).sum(axis=1)
    return tuple(into)


def default_swing(network: HopfieldNetwork) -> float:
    """K in volts, rounded up to whole volts: the leak is at least a fifth of the conductance of every node."""
    return float(max(1, np.ceil(MARGIN * _heaviest(network))))


def _require_possible(form: Form, nudged: HopfieldEquations | None) -> None:
    if form not in ("flat", "norton"):
        raise UserError(f'form: expected "flat" or "norton", got "{form}"')
    if nudged is not None and nudged.at_output:
        raise UserError(
            'nudge: a circuit is nudged before its buffers; use kind="conductance" or "feedback" instead of "output"'
        )


def _heaviest(network: HopfieldNetwork) -> float:
    everything = [*loads(network), *site_loads(network)]
    if network.head is not None:
        everything.append(np.abs(network.head[0]).sum(axis=0))
    return max(float(load.max()) for load in everything)


def _require_leaks(network: HopfieldNetwork, swing: float) -> None:
    if not np.isfinite(swing) or swing <= _heaviest(network):
        raise UserError(
            f"swing: the weights that lead to one node sum to {_heaviest(network):.6g}, so that buffers of K = {swing:g} V leave "
            f"no leak; use a larger K, {default_swing(network):g} V for example"
        )


def _inputs(
    network: HopfieldNetwork,
    inputs: Float[Array, "samples inputs"],
    form: Form,
    unit: float,
    swing: float,
    counter: str,
) -> Section:
    here, count = nets(network, 1), network.layers[0]
    pooled = pools(network.connections[0])
    if form == "flat":
        rows = (*nets(network, 0, "p"), *nets(network, 0, "n"))
        volts = swing * np.concatenate([inputs, -inputs], axis=1)
        sources = VoltageSources(rows, volts, counter)
        if pooled:
            return Section(f"inputs: {count} rows at +K*x, {count} at -K*x", (sources,))
        heading = f"inputs: {count} rows at +K*x, {count} at -K*x, and their weights"
        return Section(heading, (sources, bank(network, 1, unit, form)))
    bank(network, 1, unit, form).check()
    if pooled:
        forces = network.connections[0].forward(network.weights[0], inputs)[0]
        heading = f"{count} inputs, their weights and pools, Norton form: a current for each node"
        return Section(heading, (CurrentSources("n1", here, swing * unit * forces, counter),))
    weights = network.connections[0].matrix(network.weights[0])
    currents = CurrentSources("n1", here, swing * unit * (inputs @ weights), counter)
    load = unit * np.abs(weights).sum(axis=0)
    used = np.flatnonzero(load)
    conductances = Conductances("n1", tuple(here[j] for j in used), load[used])
    return Section(
        f"{count} inputs and their weights, Norton form: a current and a conductance for each node",
        (currents, conductances),
    )


def _layer(
    network: HopfieldNetwork, layer: int, load: Float[Array, " nodes"], form: Form, conductance: float, swing: float
) -> Section:
    """The nodes of ``layer``, their buffers and everything that leads to them except the inputs, whose Σ|W| is ``load``."""
    elements: list[Element] = []
    if layer > 1 and not pools(network.connections[layer - 1]):
        elements.append(bank(network, layer, conductance / swing, form))
    if layer < network.depth:
        elements.append(bank(network, layer + 1, conductance / swing, form, back=True))
    here, true, inverted = (nets(network, layer, output) for output in ("", "p", "n"))
    bias = network.connections[layer - 1].spread_bias(network.biases[layer - 1])
    model, parameters = network.buffer.spice
    elements += [
        CurrentSources(f"b{layer}", here, conductance * bias[None]),
        Conductances(f"l{layer}", here, conductance * (1 - load / swing)),
        Buffers(layer, here, true, inverted, model, {**parameters, "swing": swing}),
    ]
    what = "output" if layer == network.depth else "hidden"
    return Section(f"layer {layer}: {len(here)} {what} nodes, their weights, biases, leaks, buffers", tuple(elements))


def _heads(network: HopfieldNetwork) -> tuple[str, ...]:
    return tuple(f"r_{k}" for k in range(network.classes))


def _readout(network: HopfieldNetwork, conductance: float, swing: float) -> list[Section]:
    if network.head is None:
        return []
    weights, bias = network.head
    last, here = network.depth, _heads(network)
    elements = (
        Weights("h", nets(network, last, "p"), nets(network, last, "n"), here, weights, conductance / swing),
        CurrentSources("bh", here, conductance * bias[None]),
        Conductances("lh", here, conductance * (1 - np.abs(weights).sum(axis=0) / swing)),
    )
    return [Section(f"read-out: {len(here)} classes, outside the system", elements)]


def _nudge(
    network: HopfieldNetwork, nudged: HopfieldEquations | None, conductance: float, swing: float, counter: str
) -> list[Section]:
    here = nets(network, network.depth)
    heading = "nudge: pulls every read-out towards its target"
    if nudged is None:
        return []
    if nudged.beta is None or nudged.target is None:
        if nudged.constant is None:
            return []
        return [Section(heading, (CurrentSources("nudge", here, conductance * nudged.constant, counter),))]
    sensed = nets(network, network.depth, "p") if network.head is None else _heads(network)
    scale = f"/{swing!r}" if network.head is None else ""
    classes = range(network.classes)
    across = np.eye(network.classes) if network.head is None else network.head[0]
    elements = (
        VoltageSources(("beta",), nudged.beta, counter),
        VoltageSources(tuple(f"y_{k}" for k in classes), nudged.target, counter),
        Pulls(tuple(f"V({net}){scale}" for net in sensed), sensed, nudged.cost),
        Transconductances(here, tuple(f"p_{k}" for k in classes), conductance * across),
    )
    return [Section(heading, elements)]


def _notes(
    network: HopfieldNetwork, nudged: HopfieldEquations | None, form: Form, conductance: float, swing: float
) -> tuple[str, ...]:
    law, parameters = network.buffer.spice
    buffer = ", ".join([law, *(f"{name} = {value:g}" for name, value in parameters.items())])
    tied = "untied: forward and backward weights differ"
    if not network.returning:
        same = "are equal" if network.feedback == 1 else f"are as 1 to {network.feedback:g}"
        tied = f"tied: a forward and the backward weight {same}"
    rows = (
        "Nets: xp_i/xn_i input rows at +K*x and -K*x."
        if form == "flat"
        else "Bn1_j or In1_j and Rn1_j replace the inputs and their weights: a current and a conductance into node j."
    )
    shared = any(values.ndim > 2 for values in network.weights)
    return (
        f"Layers {' - '.join(map(str, network.layers))}; weights {tied}.",
        f"Every node u holds C du/dt = g*(-u + sum(W*s) + b), s = rho(u) in [0, 1] V; g = {conductance:g} S, buffers: {buffer}.",
        f"A buffer senses its node and gives +K*s and -K*s, K = {swing:g}. A weight W is a conductance abs(W)*g/K from the first",
        "(W > 0) or the second (W < 0) to the node on which it acts, one for each direction. It also loads that node, so the",
        "leak to ground is g*(1 - sum(abs(W))/K): every node has the total conductance g. A bias b is a current g*b.",
        _phase(network, nudged),
        rows,
        "Nets: h<l>_j nodes, hp<l>_j/hn<l>_j their buffers' outputs; o_k, op_k, on_k the same of the last layer.",
        "R<l>_i_j leads from node i of layer l-1 to node j of layer l, Rr<l>_i_j back from node i of layer l to node j of l-1.",
        *(
            ("Kernels are parameters w<l>_<out>_<in>_<row>_<column>; signs and leaks are computed for these values.",)
            if shared
            else ()
        ),
        *(() if network.continuous else pool_notes()),
        "Rl<l>_j leaks, Ib<l>_j biases, Xb<l>_j buffers. Outputs are printed as K*s.",
        "The circuit may have several stable states; a .nodeset below, if present, is the initial guess.",
        "Units: volts, amperes, ohms. Indices count from 0, layers from 1.",
    )


def _phase(network: HopfieldNetwork, nudged: HopfieldEquations | None) -> str:
    if nudged is None or (nudged.beta is None and nudged.constant is None):
        return "Free phase."
    if nudged.beta is None:
        return "Nudged phase: a constant current into every output."
    read = "v(op_k)/K" if network.head is None else "v(r_k)"
    expected = "softmax(r)_k" if nudged.cost == "cross-entropy" else "r_k"
    into = "every output" if network.head is None else "every output through the read-out's weights"
    return f"Nudged phase: currents g*v(p_k) into {into}, p_k = beta*(y_k - {expected}), r_k = {read}."
