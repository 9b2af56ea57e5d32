"""The part of a report that describes what was built: layers, devices, the picture of the circuit, its netlist."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from eqprop_analog.core import Network
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.config import TrainConfig
from eqprop_analog.experiments.netlists import netlist
from eqprop_analog.plotting.blocks import block_diagram
from eqprop_analog.plotting.crossbars import crossbar_maps, receptive_fields
from eqprop_analog.plotting.schematic import drawable, schematic
from eqprop_analog.report.description import description_of
from eqprop_analog.report.folder import RunFolder
from eqprop_analog.report.page import Block, Missing, Text, download, picture
from eqprop_analog.spice.circuit import Circuit

FLAT = 250_000
"""Number of resistors above which the page contains the Norton form."""
UNROLLED = 20_000_000
"""Largest number of weights of a convolution's circuit that the report compiles."""


def built(run: RunFolder, folder: Path) -> Iterator[Block]:
    """Yield tables and pictures; ``folder`` holds the pictures temporarily."""
    network = run.network
    yield from description_of(network).tables(network)
    try:
        yield from _circuit_pictures(run, folder)
    except UserError as error:
        yield Missing(f"No picture of the circuit: {error}.")
    yield from _fields(run.config, network, folder)


def netlists(run: RunFolder) -> Iterator[Block]:
    """Yield the circuit of the first test image as a download."""
    try:
        image, of = _example(run)
        network = run.circuit
        resistors = network.resistors_in_circuit
        form = "flat" if resistors <= FLAT else network.forms[0]
        if form == "flat" and resistors > FLAT:
            raise UserError(f"{resistors:,} resistors are too many for this page")
        circuit = _compiled(run, network, image, form)
        text = netlist(network, circuit, image)
    except UserError as error:
        yield Missing(f"No netlist: {error}.")
        return
    yield Text(
        f"The free phase of {of}. "
        + (
            f"It contains all {resistors:,} resistors. "
            if form == "flat"
            else f"With all {resistors:,} resistors it is too large for this page, so crossbar 1 and its sources are reduced to "
            "one current and one conductance for each node, which changes no voltage; "
            f"eqprop-analog netlist --network {run.folder / 'network.npz'} --output FILE.cir writes every resistor. "
        )
        + "Run it with ngspice -b."
    )
    yield download("network_free.cir", text.encode(), f"{text.count(chr(10)):,} lines")


def _compiled(run: RunFolder, network: Network, image: np.ndarray, form: str, *, nudged: bool = False) -> Circuit:
    inner = 0 if network.continuous else sum(network.connections_by_layer[1:])
    if sum(network.connections_by_layer) > UNROLLED or inner > FLAT:
        raise UserError("the network has too many connections between nodes to compile its circuit for this page")
    phase = None
    if nudged and network.nudge_kind == "conductance":
        phase = network.equations(image).nudged([Nudge(np.eye(1, network.classes), run.circuit_beta)], None)
    return network.circuit(image, [phase], form)


def _example(run: RunFolder) -> tuple[np.ndarray, str]:
    """Return one input vector and its description."""
    try:
        return run.samples[0][:1], f"the first test {run.config.samples_word[:-1]} of {run.config.data_name}"
    except UserError as error:
        random = np.random.default_rng(0).uniform(0, 1, (1, run.config.sizes[0]))
        return random, f"an input drawn from U(0, 1) (no image: {error})"


def _circuit_pictures(run: RunFolder, folder: Path) -> Iterator[Block]:
    image, of = _example(run)
    wires = "" if run.circuit is run.network else ", with ideal wires and linear cells"
    circuit = _compiled(run, run.network, image, "flat", nudged=True)
    if drawable(circuit):
        shown = schematic(circuit, folder / "schematic.svg")
        alt = f"Schematic of the circuit: {shown.caption.replace(chr(10), '; ')}"
        yield picture(
            folder / "schematic.svg",
            alt,
            f"Drawn from the netlist of {of}, with a nudge towards 1 V at read-out 0{wires}.",
        )
        yield download("schematic.svg", (folder / "schematic.svg").read_bytes(), "the drawing as a file")
        return
    draw = description_of(run.network).picture
    if draw is not None:
        yield picture(folder / "network.png", draw(run.network, folder / "network.png"))
        return
    block_diagram(description_of(run.network).blocks(run.network), folder / "blocks.png")
    yield picture(
        folder / "blocks.png",
        "Block diagram of the network, from the inputs to the outputs.",
        "The network as a block diagram. Arrows with two heads: the nodes act back on the layer before.",
    )
    count = crossbar_maps(circuit, folder / "maps.png")
    yield picture(
        folder / "maps.png",
        f"{count} maps of conductances, one for each crossbar; dark cells have the largest conductances.",
        "The conductances of each crossbar, as in the netlist; the largest 0.5 % of the values in a map have the "
        "darkest shade.",
    )


def _fields(config: TrainConfig, network: Network, folder: Path) -> Iterator[Block]:
    channels, height, width = config.image_shape
    if channels != 1 or height == 1 or height * width != config.sizes[0] or height * width < 16:
        return
    found = description_of(network).fields(network, height * width)
    if found is None:
        return
    values, what, unit = found
    drawn, nodes = receptive_fields(values, (height, width), unit, folder / "fields.png")
    yield picture(
        folder / "fields.png",
        f"Weights of the inputs at {drawn} of {nodes} nodes of layer 1, each as an image of {height} x {width} pixels.",
        f"Receptive fields of layer 1: for each node and pixel, {what}; {drawn} of {nodes} nodes.",
    )
