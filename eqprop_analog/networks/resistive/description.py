"""The description of a layered resistive network in the report."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from eqprop_analog.devices import in_words
from eqprop_analog.networks.resistive.energy_section import energy
from eqprop_analog.networks.resistive.histograms import conductance_histograms
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.plotting.blocks import BlockOfDiagram
from eqprop_analog.plotting.sheet import engineering
from eqprop_analog.report.description import Description, Fields
from eqprop_analog.report.page import Table


def _tables(network: ResistiveNetwork) -> Iterator[Table]:
    yield _layers(network)
    yield _devices(network)


def _histograms(network: ResistiveNetwork, path: Path) -> str:
    conductance_histograms(network, path)
    return "conductances of each crossbar, and the fraction of cells at G_min"


def _fields(network: ResistiveNetwork, pixels: int) -> Fields | None:
    if not network.crossbars[0].is_matrix:
        return None
    values = 1e6 * (network.conductances[0][:pixels] - network.conductances[0][pixels : 2 * pixels])
    return values, "its conductance from the +x row minus that from the -x row", "G+ - G- (µS)"


def _levels(network: ResistiveNetwork) -> list[tuple[str, float]]:
    if network.depth == 1:
        return []
    rail = abs(network.diode.rail)
    return [("rails", rail), ("", -rail)] if rail else [("rails", 0.0)]


def _layers(network: ResistiveNetwork) -> Table:
    rows = [
        (
            "input rows",
            f"{network.crossbars[0].rows}",
            "",
            "",
            "",
            "",
            "",
            "ideal voltage sources, +x and -x" + (f", one row at {network.bias_row:g} V" if network.bias_row else ""),
        )
    ]
    low = network.conductance_window[0]
    for layer, crossbar in enumerate(network.crossbars, start=1):
        last = layer == network.depth
        gain = 1.0 if last else network.amplifier_gain[layer - 1]
        above = 0 if last else int((network.polarity(layer) > 0).sum())
        kinds = "linear" if last else f"{above} nodes kept above a rail, {crossbar.columns - above} below one"
        if not last and len(network.diode_sides(layer)) > 1:
            kinds = "antiparallel diodes"
        used = crossbar.elements()[2]
        span = f"{engineering(used.min(), 'S')} to {engineering(used.max(), 'S')}" if used.size else "none"
        rows.append(
            (
                "outputs" if last else f"hidden layer {layer}",
                f"{crossbar.columns}",
                f"{crossbar.rows} x {crossbar.columns}" + ("" if crossbar.is_matrix else f", {crossbar.name}"),
                f"{used.size:,}",
                f"{crossbar.free_parameters:,}",
                f"{100 * float((crossbar.conductance <= low).mean()):.1f} %" if crossbar.free_parameters else "",
                span,
                kinds + (f"; amplifiers of gain {gain:g}" if gain != 1 else ""),
            )
        )
    heads = ("layer", "nodes", "crossbar before it", "resistors", "free", "at G_min", "conductances", "what it is")
    return Table("Layers", heads, rows)


def _devices(network: ResistiveNetwork) -> Table:
    low, high = network.conductance_window
    diode = in_words(network.diode)
    biases = np.concatenate(network.biases)
    return Table(
        "Devices",
        ("parameter", "value"),
        [
            ("conductance window", f"{engineering(low, 'S')} to {engineering(high, 'S')}"),
            ("diode (SI units)", diode),
            ("diode rails", f"±{engineering(abs(network.diode.rail), 'V')}"),
            ("volts per unit of input", engineering(network.input_gain, "V")),
            ("bias currents", f"{engineering(biases.min(), 'A')} to {engineering(biases.max(), 'A')}"),
            ("read-out", "one pair of outputs per class" if network.outputs == "pairs" else "one output per class"),
        ],
    )


def _blocks(network: ResistiveNetwork) -> list[BlockOfDiagram]:
    sources = [f"{network.layers[0]:,} values", f"{network.crossbars[0].rows:,} source rows"]
    found = [BlockOfDiagram("inputs", sources, "nodes")]
    for layer, crossbar in enumerate(network.crossbars, start=1):
        last = layer == network.depth
        lines = [f"{crossbar.rows:,} x {crossbar.columns:,}", f"{crossbar.elements()[2].size:,} resistors"]
        if not crossbar.is_matrix:
            lines.insert(0, crossbar.name.replace("_", " "))
        found.append(BlockOfDiagram(f"crossbar {layer}", lines, "array", layer > 1))
        nodes = [f"{crossbar.columns:,} nodes"]
        if last:
            nodes += ["linear", "nudged while training"]
        else:
            nodes += [f"{len(network.diode_sides(layer)) * crossbar.columns:,} diodes"]
            gain = network.amplifier_gain[layer - 1]
            nodes += [f"amplifiers, gain {gain:g}"] if gain != 1 else []
        found.append(BlockOfDiagram("outputs" if last else f"hidden layer {layer}", nodes, "nodes", both_ways=True))
    return found


DESCRIPTION = Description(_tables, _histograms, _fields, _levels, blocks=_blocks, energy=energy)
