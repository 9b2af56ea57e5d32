"""Compilation of a resistive network: every equation of networks.resistive.network becomes a device.

Nets: ``xp_i``/``xn_i`` are the +x and -x rows, ``xb`` is the bias row, ``h<l>_j`` are the nodes of hidden layer l, ``a<l>_j``
their amplified drives, ``o_k`` the outputs, ``rail_p``/``rail_n`` the rails of the diodes. Devices: ``R<l>_<row>_<column>`` are
the conductances of a crossbar (rows 0..n-1 are xp, n..2n-1 xn, 2n xb), ``Xd`` diodes (``Xdp`` and ``Xdn`` of an antiparallel
pair), ``Xa`` amplifiers, ``Ib`` bias currents, and ``C<net>`` node capacitances.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Literal

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.network import in_double
from eqprop_analog.devices import Antiparallel, is_own_device
from eqprop_analog.errors import UserError
from eqprop_analog.networks.resistive.layered import LayeredNetwork
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.spice.circuit import Circuit, Section
from eqprop_analog.spice.elements import (
    GROUND,
    POINT,
    SAMPLE,
    Amplifiers,
    Capacitors,
    Conductances,
    Crossbar,
    CurrentSources,
    Diodes,
    Element,
    Injection,
    NudgeSources,
    Resistors,
    VoltageSources,
)
from eqprop_analog.spice.netlist import laws_in_text

Array = np.ndarray
Form = Literal["flat", "norton"]


def compile_network(
    network: LayeredNetwork,
    inputs: Float[Array, "batch inputs"],
    injections: Sequence[Injection | None] = (None,),
    form: Form = "norton",
    *,
    validate: bool = True,
) -> Circuit:
    """The validated circuit that solves every sample under every injection (None is the free phase).

    The sweep point is ``len(injections)·sample + phase``: each nudged phase follows the free phase of its own sample. One sample
    in one phase gives a static circuit. ``form="flat"`` has every resistor; ``"norton"`` replaces the first crossbar and its
    sources by one current and one conductance for each node, without a change of any node voltage. Raises UserError.
    ``validate=False`` checks values but not the graph, for loops over one topology.
    """
    network = in_double(network.in_spice())
    circuit = layered_circuit(network, inputs, injections, form)
    circuit.validate(whole=validate)
    network.require_definite(min((float(np.min(each[0])) for each in injections if each), default=0.0))
    return circuit


def without_last_amplifiers(
    network: ResistiveNetwork,
    inputs: Float[Array, "batch inputs"],
    injections: Sequence[Injection | None],
    *,
    validate: bool = True,
) -> Circuit:
    """Norton form of ``compile_network`` without the last amplifiers, of gain A: the outputs are at v_L/A instead of v_L.

    Kirchhoff's law at output k, divided by A, is Σ_j G_jk(v_j - v_k/A) + (b_k + c_k)/A - g·v_k/A = 0, and hidden node j loses
    Σ_k G_jk(v_j - v_k/A) through its amplifier. These are the currents of resistors between the nodes. The circuit has two
    unknowns and two devices fewer for each hidden node.
    """
    if network.depth < 2 or network.amplifier_gain[-1] == 1:
        return compile_network(network, inputs, injections, validate=validate)
    *gains, gain = network.amplifier_gain
    *biases, last = in_double(network).biases
    plain = replace(network, amplifier_gain=(*gains, 1.0), biases=(*biases, last / gain))
    divided = [each and (each[0], each[1] / gain) for each in injections]
    circuit = compile_network(plain, inputs, divided, validate=validate)
    outputs = len(circuit.outputs)
    return replace(circuit, factors=(1.0,) * (len(circuit.probes) - outputs) + (gain,) * outputs)


def layered_circuit(
    network: LayeredNetwork,
    inputs: Float[Array, "batch inputs"],
    injections: Sequence[Injection | None],
    form: Form,
) -> Circuit:
    """The result of ``compile_network`` before validation, for a float64 network that SPICE can represent."""
    if form not in ("flat", "norton"):
        raise UserError(f'form: expected "flat" or "norton", got "{form}"')
    phases = len(injections)
    inputs = network.check_inputs(inputs)
    rows = network.rows(inputs)
    sections = [_first_crossbar(network, rows, form, SAMPLE if phases > 1 else POINT)]
    rail = network.diode.rail
    if network.depth > 1:
        rails = VoltageSources(("rail_p", "rail_n"), np.array([[rail, -rail]]))
        of = ("into every node", "out of it") if _paired(network) else ("excitatory nodes", "inhibitory nodes")
        sections.append(Section(f"bias rails: {of[0]} {rail:+g} V, {of[1]} {-rail:+g} V", (rails,)))
    sections += [
        Section(_heading(network, layer), tuple(_layer(network, layer))) for layer in range(1, network.depth + 1)
    ]
    outputs = nodes(network, network.depth)
    nudges = NudgeSources.of(tuple((net, GROUND) for net in outputs), len(inputs), injections)
    if np.ndim(network.nudge_factor):
        nudges = replace(nudges, factor=network.nudge_factor)
    if nudges.conductance.any() or nudges.current.any():
        sections.append(Section("nudge: drives every output towards its target", (nudges,)))
    amplified = [layer for layer in range(1, network.depth) if network.amplified(layer)]
    return Circuit(
        title=f"eqprop-analog: resistive network {'-'.join(map(str, network.layers))}, {form} form{network.circuit_kind}",
        notes=(*_notes(network, nudges, form), *network.spice_notes()),
        sections=tuple(sections),
        models=(
            *((network.diode.spice[0],) if network.depth > 1 else ()),
            *sorted({network.amplifier_model(layer)[0] for layer in amplified}),
        ),
        options=dict(network.spice_options),
        probes=tuple(net for layer in range(1, network.depth + 1) for net in nodes(network, layer)),
        outputs=outputs,
        points=len(rows) * phases,
        phases=phases,
        parameters=_stated(network) if form == "flat" else {},
        laws=laws_in_text(network.diode) if network.depth > 1 else {},
        meters=tuple(_meters(network)),
    )


def _meters(network: LayeredNetwork) -> Iterator[str]:
    """The current, from anode to cathode, through every diode that is a SPICE device, by layer, member and node."""
    if not is_own_device(network.diode):
        return
    for layer in range(1, network.depth):
        for member in ("p", "n") if _paired(network) else ("",):
            for j in range(network.layers[layer]):
                yield f"v.xd{member}{layer}_{j}.vmeter"


def _stated(network: LayeredNetwork) -> dict[str, float]:
    """Parameters of the network that netlist_import needs in addition to the circuit."""
    low, high = map(float, network.conductance_window)
    nodes_per_class = 2 if network.outputs == "pairs" else 1
    return {"input_gain": network.input_gain, "nodes_per_class": nodes_per_class, "g_min": low, "g_max": high}


def with_capacitances(circuit: Circuit, network: LayeredNetwork, farads: Sequence[float]) -> Circuit:
    """``circuit`` with a capacitance to ground at every node of layers 1..L; ``farads``: one for each layer; UserError."""
    if len(farads) != network.depth:
        raise UserError(
            f"capacitance: expected one number or one for each of {network.depth} layers, got {len(farads)}"
        )
    banks = tuple(Capacitors(nodes(network, layer), value) for layer, value in enumerate(farads, start=1))
    for bank in banks:
        bank.check()
    return replace(circuit, sections=(*circuit.sections, Section("node capacitances", banks)))


def nodes(network: LayeredNetwork, layer: int) -> tuple[str, ...]:
    """Nets of the nodes of ``layer``."""
    return numbered("o" if layer == network.depth else f"h{layer}", network.layers[layer])


@cache
def numbered(name: str, count: int) -> tuple[str, ...]:
    """name_0, name_1, ..."""
    return tuple(f"{name}_{k}" for k in range(count))


def drives(network: LayeredNetwork, layer: int) -> tuple[str, ...]:
    """Nets of the rows that ``layer`` drives: the outputs of its amplifiers, or the nodes themselves if the gain is 1."""
    if not network.amplified(layer):
        return nodes(network, layer)
    return numbered(f"a{layer}", network.layers[layer])


def _first_crossbar(network: LayeredNetwork, rows: Float[Array, "samples rows"], form: Form, counter: str) -> Section:
    nets, crossbar, inputs = nodes(network, 1), network.crossbars[0], network.layers[0]
    size = f"{crossbar.rows} x {crossbar.columns}"
    if form == "flat":
        row_nets = tuple(f"xp_{i}" for i in range(inputs)) + tuple(f"xn_{i}" for i in range(inputs))
        row_nets += ("xb",) if network.bias_row else ()
        at_bias = f", one at {network.bias_row:+g} V" if network.bias_row else ""
        heading = f"inputs: {inputs} rows at +x, {inputs} at -x{at_bias}, and crossbar 1 ({size})"
        return Section(heading, (VoltageSources(row_nets, rows, counter), *crossbar.parts(1, row_nets, nets)))
    Crossbar(1, ("row",) * crossbar.rows, nets, crossbar).check()
    amperes = crossbar.mirrored(rows[:, :inputs])
    if network.bias_row:
        amperes += network.bias_row * crossbar.row(-1)
    currents = CurrentSources("n1", nets, amperes, counter)
    heading = f"inputs and crossbar 1 ({size}), Norton form: a current and a conductance for each node"
    return Section(heading, (currents, Conductances("n1", nets, crossbar.column_sums())))


def _layer(network: LayeredNetwork, layer: int) -> Iterator[Element]:
    """The crossbar of the layer unless it is the first, its biases, diodes and amplifiers."""
    nets = nodes(network, layer)
    if layer > 1:
        yield from network.crossbars[layer - 1].parts(layer, drives(network, layer - 1), nets)
    yield CurrentSources(f"b{layer}", nets, network.biases[layer - 1][None])
    if layer == network.depth:
        return
    model, parameters = network.diode_model(layer)
    members = ("p", "n") if _paired(network) else ("",)
    for member, side in zip(members, network.diode_sides(layer), strict=True):
        pairs = [("rail_p", net) if sign > 0 else (net, "rail_n") for net, sign in zip(nets, side, strict=True)]
        yield Diodes(f"{member}{layer}_", tuple(pairs), model, parameters, layer)
    if network.amplified(layer):
        gain = network.amplifier_gain[layer - 1]
        yield Amplifiers(layer, nets, drives(network, layer), gain, *network.amplifier_model(layer))
    loading = network.loading(layer)
    loaded = np.flatnonzero(loading).tolist()
    if loaded:
        names = tuple(f"Rin{layer}_{j}" for j in loaded)
        yield Resistors(names, tuple((nets[j], GROUND) for j in loaded), 1 / loading[loaded])


def _paired(network: LayeredNetwork) -> bool:
    """Whether every hidden node has two diodes."""
    return isinstance(network.diode, Antiparallel)


def _heading(network: LayeredNetwork, layer: int) -> str:
    size = network.layers[layer]
    if layer == network.depth:
        pairs = f", read in {network.classes} pairs" if network.outputs == "pairs" else ""
        return f"layer {layer}: {size} linear output nodes{pairs}"
    gain = network.amplifier_gain[layer - 1]
    amplified = f", bidirectional amplifiers of gain {gain:g}" if gain != 1 else ""
    halves = (
        "two antiparallel diodes each"
        if _paired(network)
        else f"{(size + 1) // 2} excitatory and {size // 2} inhibitory"
    )
    return f"layer {layer}: {size} hidden nodes, {halves}{amplified}"


def _notes(network: LayeredNetwork, nudges: NudgeSources, form: Form) -> tuple[str, ...]:
    law, parameters = network.diode.spice
    diode = ", ".join([law, *(f"{name} = {exactly(value)}" for name, value in parameters.items())])
    diode = f"antiparallel pairs of {diode}" if _paired(network) else diode
    diodes = "Xdp<l>_j (from rail_p) and Xdn<l>_j (into rail_n)" if _paired(network) else "Xd<l>_j"
    gains = ", ".join(f"{gain:g}" for gain in network.amplifier_gain if gain != 1) or "none"
    flat = (
        "Nets: xp_i/xn_i rows at +x/-x, h<l>_j hidden nodes, a<l>_j amplified drives, o_k outputs, y_k targets.",
        "R<l>_<row>_<column> connects a row of crossbar l to a column; rows 0..n-1 of crossbar 1 are xp, the next n are xn.",
        *((f"Row 2n is xb, the bias row at {network.bias_row:g} V.",) if network.bias_row else ()),
    )
    norton = (
        "Nets: h<l>_j hidden nodes, a<l>_j amplified drives, o_k outputs, y_k targets.",
        "Bn1_j or In1_j and Rn1_j replace column j of crossbar 1 and its sources; R<l>_<row>_<column> are the other crossbars.",
    )
    count = sum(crossbar.conducting for crossbar in network.crossbars)
    return (
        f"Layers {' - '.join(map(str, network.layers))}; {count} conductances above zero.",
        f"Input gain {exactly(network.input_gain)} V a unit; amplifier gains: {gains}; diodes: {diode}.",
        _phase(nudges),
        *(flat if form == "flat" else norton),
        f"Ib<l>_j bias currents, {diodes} diodes, Xa<l>_j amplifiers, rail_p/rail_n the diodes' rails.",
        *(("Outputs are pairs: class k is read as v(o_2k) - v(o_2k+1).",) if network.outputs == "pairs" else ()),
        "Units: volts, amperes, ohms. Indices count from 0, layers from 1.",
    )


def _phase(nudges: NudgeSources) -> str:
    if len(nudges.conductance) > 1:
        return f"A sweep of {len(nudges.conductance)} points: samples and phases."
    if nudges.conductance.any():
        return (
            f"Nudged phase: a conductance of {nudges.conductance[0]:g} S from every output to a source at its target."
        )
    return "Nudged phase: a constant current into every output." if nudges.current.any() else "Free phase."


def exactly(value: float) -> str:
    """The shortest exact representation of a number, for notes that are read back."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))
