"""The part of a report that says what was built: layers, devices, the circuit's picture, its netlist."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from eqprop_analog import data
from eqprop_analog.circuit import Circuit, compile_network, static_netlist
from eqprop_analog.circuit.hopfield import compile_hopfield, default_swing
from eqprop_analog.config import TrainConfig
from eqprop_analog.devices import table_of
from eqprop_analog.errors import UserError
from eqprop_analog.models import HopfieldEquations, HopfieldNetwork, ResistiveNetwork
from eqprop_analog.models.connections import Convolution, Dense
from eqprop_analog.nudging import Nudge
from eqprop_analog.plotting.crossbars import crossbar_maps, receptive_fields
from eqprop_analog.plotting.schematic import drawable, schematic
from eqprop_analog.plotting.sheet import engineering
from eqprop_analog.report.folder import RunFolder
from eqprop_analog.report.page import Block, Missing, Table, Text, download, picture
from eqprop_analog.solvers.hopfield_ngspice import surrogate

FLAT = 250_000
"""Resistors above which the page carries the Norton form."""
UNROLLED = 20_000_000
"""Weights that a circuit of a convolution may have for the report to compile it."""


def built(run: RunFolder, folder: Path) -> Iterator[Block]:
    """Tables and pictures; these pass through ``folder``."""
    network = run.network
    if isinstance(network, ResistiveNetwork):
        yield _resistive_layers(network)
        yield _resistive_devices(network)
    else:
        yield _hopfield_layers(network)
        yield _hopfield_devices(network)
    try:
        yield from _circuit_pictures(run, folder)
    except UserError as error:
        yield Missing(f"No picture of the circuit: {error}.")
    yield from _fields(run.config, network, folder)


def netlists(run: RunFolder) -> Iterator[Block]:
    """The circuit of the first test image, to take out of the page."""
    try:
        image, of = _example(run)
        resistors = _resistors(run.network)
        form = "flat" if resistors <= FLAT else "norton"
        circuit = _compiled(run, image, form)
        text = _text(run, circuit, image)
    except UserError as error:
        yield Missing(f"No netlist: {error}.")
        return
    yield Text(
        f"The free phase of {of}. "
        + (
            f"Every one of its {resistors:,} resistors is in it. "
            if form == "flat"
            else f"With all {resistors:,} resistors it would be too large for this page, so crossbar 1 and its sources are here "
            "one current and one conductance a node, which leaves every voltage as it is; "
            f"eqprop-analog netlist --network {run.folder / 'network.npz'} --output FILE.cir writes every resistor. "
        )
        + "Run it with ngspice -b."
    )
    yield download("network_free.cir", text.encode(), f"{text.count(chr(10)):,} lines")


def _compiled(run: RunFolder, image: np.ndarray, form: str, *, nudged: bool = False) -> Circuit:
    network = run.network
    targets = np.eye(1, network.classes)
    if isinstance(network, ResistiveNetwork):
        beta = run.circuit_beta
        injection = (beta, beta * targets) if nudged and network.nudge_kind == "conductance" else None
        return compile_network(network, image, [injection], form)  # type: ignore[arg-type]
    _require_unrolled(network)
    equations = HopfieldEquations.of(network, image)
    if nudged:
        equations = equations.nudged([Nudge(targets, run.config.beta)], None)
    return compile_hopfield(network, image, equations, form)  # type: ignore[arg-type]


def _require_unrolled(network: HopfieldNetwork) -> None:
    pairs = sum(each.sizes[0] * each.sizes[1] for each in network.connections if not isinstance(each, Dense))
    if pairs > UNROLLED:
        raise UserError(f"the convolutions join {pairs:,} pairs of nodes, more than this page unrolls into a circuit")


def _text(run: RunFolder, circuit: Circuit, image: np.ndarray) -> str:
    network = run.network
    if isinstance(network, ResistiveNetwork):
        return static_netlist(circuit)
    rest = surrogate().solve(network, image).require()
    guess = np.concatenate(HopfieldEquations.of(network, image).forces(rest.voltages), axis=1)[0].round(6)
    return static_netlist(circuit, guess)


def _example(run: RunFolder) -> tuple[np.ndarray, str]:
    """One input vector, and what it is."""
    try:
        return run.samples[0][:1], f"the first test image of {run.config.data_name}"
    except UserError as error:
        random = np.random.default_rng(0).uniform(0, 1, (1, run.config.sizes[0]))
        return random, f"an input drawn from U(0, 1) (no image: {error})"


def _resistors(network: ResistiveNetwork | HopfieldNetwork) -> int:
    if isinstance(network, ResistiveNetwork):
        return sum(int(np.count_nonzero(matrix)) for matrix in network.conductances)
    sizes = [each.sizes[0] * each.sizes[1] for each in network.connections]
    return sizes[0] + 2 * sum(sizes[1:])


def _circuit_pictures(run: RunFolder, folder: Path) -> Iterator[Block]:
    image, of = _example(run)
    circuit = _compiled(run, image, "flat", nudged=True)
    if drawable(circuit):
        shown = schematic(circuit, folder / "schematic.svg")
        alt = f"Schematic of the circuit: {shown.caption.replace(chr(10), '; ')}"
        yield picture(
            folder / "schematic.svg", alt, f"Drawn from the netlist of {of}, nudged towards 1 V at read-out 0."
        )
        yield download("schematic.svg", (folder / "schematic.svg").read_bytes(), "the drawing by itself")
        return
    count = crossbar_maps(circuit, folder / "maps.png")
    yield picture(
        folder / "maps.png",
        f"{count} maps of conductances, one a crossbar; dark cells conduct most.",
        "The conductances of each crossbar, as the netlist has them; the largest 0.5 % of a map share its darkest shade.",
    )


def _fields(config: TrainConfig, network: ResistiveNetwork | HopfieldNetwork, folder: Path) -> Iterator[Block]:
    channels, height, width = data.SHAPES[config.dataset]
    if channels != 1 or height * width != config.sizes[0] or height * width < 16:
        return
    if isinstance(network, ResistiveNetwork):
        pixels = height * width
        values = 1e6 * (network.conductances[0][:pixels] - network.conductances[0][pixels : 2 * pixels])
        what, unit = "its conductance from the +x row less that from the -x row", "G+ - G- (µS)"
    elif isinstance(network.connections[0], Dense):
        values, what, unit = network.weights[0], "its weight", "weight"
    else:
        return
    drawn, nodes = receptive_fields(values, (height, width), unit, folder / "fields.png")
    yield picture(
        folder / "fields.png",
        f"What {drawn} of {nodes} nodes of layer 1 respond to, each as an image of {height} x {width} pixels.",
        f"Receptive fields of layer 1: for each node and pixel, {what}; {drawn} of {nodes} nodes.",
    )


def _resistive_layers(network: ResistiveNetwork) -> Table:
    rows = [
        (
            "input rows",
            f"{len(network.conductances[0])}",
            "",
            "",
            "",
            "",
            "ideal voltage sources, +x and -x" + (f", one row at {network.bias_row:g} V" if network.bias_row else ""),
        )
    ]
    low = network.conductance_window[0]
    for layer, matrix in enumerate(network.conductances, start=1):
        last = layer == network.depth
        gain = 1.0 if last else network.amplifier_gain[layer - 1]
        above = 0 if last else int((network.polarity(layer) > 0).sum())
        kinds = "linear" if last else f"{above} kept above a rail, {matrix.shape[1] - above} below one"
        if not last and len(network.diode_sides(layer)) > 1:
            kinds = "antiparallel diodes"
        used = matrix[matrix > 0]
        span = f"{engineering(used.min(), 'S')} to {engineering(used.max(), 'S')}" if used.size else "none"
        rows.append(
            (
                "outputs" if last else f"hidden layer {layer}",
                f"{matrix.shape[1]}",
                f"{matrix.shape[0]} x {matrix.shape[1]}",
                f"{used.size:,}",
                f"{100 * float((matrix <= low).mean()):.1f} %",
                span,
                kinds + (f"; amplifiers of gain {gain:g}" if gain != 1 else ""),
            )
        )
    return Table(
        "Layers", ("layer", "nodes", "crossbar before it", "resistors", "at G_min", "conductances", "what it is"), rows
    )


def _resistive_devices(network: ResistiveNetwork) -> Table:
    low, high = network.conductance_window
    diode = ", ".join(f"{name} = {value}" for name, value in table_of(network.diode).items())
    biases = np.concatenate(network.biases)
    return Table(
        "Devices",
        ("parameter", "value"),
        [
            ("conductance window", f"{engineering(low, 'S')} to {engineering(high, 'S')}"),
            ("diode (SI units)", diode),
            ("diode rails", f"±{engineering(abs(network.diode.rail), 'V')}"),
            ("volts at an input of 1", engineering(network.input_gain, "V")),
            ("bias currents", f"{engineering(biases.min(), 'A')} to {engineering(biases.max(), 'A')}"),
            ("read-out", "a class is a pair of outputs" if network.outputs == "pairs" else "one output a class"),
        ],
    )


def _hopfield_layers(network: HopfieldNetwork) -> Table:
    rows = [("inputs", f"{network.layers[0]}", "", "", "")]
    for layer, (each, values) in enumerate(zip(network.connections, network.weights, strict=True), start=1):
        what = "dense" if isinstance(each, Dense) else "convolution"
        if isinstance(each, Convolution):
            what += f", {each.channels} channels, kernel {each.kernel}" + (
                f", pool {each.pool}" if each.pool > 1 else ""
            )
        name = "outputs" if layer == network.depth and network.head is None else f"layer {layer}"
        shape = " x ".join(map(str, values.shape))
        rows.append((name, f"{network.layers[layer]}", what, shape, f"{values.min():.3g} to {values.max():.3g}"))
    if network.head is not None:
        weights = network.head[0]
        shape = " x ".join(map(str, weights.shape))
        rows.append(("read-out", f"{network.classes}", "dense", shape, f"{weights.min():.3g} to {weights.max():.3g}"))
    return Table("Layers", ("layer", "nodes", "connection before it", "weights", "from"), rows)


def _hopfield_devices(network: HopfieldNetwork) -> Table:
    law, parameters = network.buffer.spice
    rows = [
        ("buffer", ", ".join([law.replace("_", " "), *(f"{name} = {value:g}" for name, value in parameters.items())])),
        ("weights back", "of their own (untied)" if network.returning else "equal to those forward (tied)"),
    ]
    try:
        _require_unrolled(network)
        rows.append(("swing K of the buffers' outputs", engineering(default_swing(network), "V")))
    except UserError as error:
        rows.append(("as a circuit", f"not possible: {error}"))
    return Table("Devices", ("parameter", "value"), rows)
