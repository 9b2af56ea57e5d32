"""The description of a Hopfield network in the report."""

from collections.abc import Iterator
from pathlib import Path

from eqprop_analog.errors import UserError
from eqprop_analog.networks.hopfield.connections import Convolution, Dense
from eqprop_analog.networks.hopfield.histograms import weight_histograms
from eqprop_analog.networks.hopfield.netlist import default_swing
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.plotting.sheet import engineering
from eqprop_analog.report.description import Description, Fields
from eqprop_analog.report.page import Table


def _tables(network: HopfieldNetwork) -> Iterator[Table]:
    yield _layers(network)
    yield _devices(network)


def _histograms(network: HopfieldNetwork, path: Path) -> str:
    weight_histograms(network, path)
    return "weights of each connection"


def _fields(network: HopfieldNetwork, pixels: int) -> Fields | None:  # noqa: ARG001 - as many as there are inputs
    return (network.weights[0], "its weight", "weight") if isinstance(network.connections[0], Dense) else None


def _layers(network: HopfieldNetwork) -> Table:
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
    return Table("Layers", ("layer", "nodes", "incoming connection", "weights", "from"), rows)


def _back(network: HopfieldNetwork) -> str:
    if network.returning:
        return "separate (untied)"
    return (
        "equal to the forward weights (tied)"
        if network.feedback == 1
        else f"{network.feedback:g} times the forward weights"
    )


def _devices(network: HopfieldNetwork) -> Table:
    law, parameters = network.buffer.spice
    rows = [
        ("buffer", ", ".join([law.replace("_", " "), *(f"{name} = {value:g}" for name, value in parameters.items())])),
        ("feedback weights", _back(network)),
    ]
    try:
        rows.append(("swing K of the buffer outputs", engineering(default_swing(network), "V")))
    except UserError as error:
        rows.append(("as a circuit", f"not possible: {error}"))
    return Table("Devices", ("parameter", "value"), rows)


DESCRIPTION = Description(_tables, _histograms, _fields)
