"""Compilation of a network with the imperfections of a chip: every wire segment, and individual diodes and amplifiers.

Nets and devices in addition to those of the ideal netlist: ``r<l>_<i>`` is row i of crossbar l after ``Rs1_<i>`` of its source
or ``Rout<l-1>_<i>`` of its amplifier; ``Rin<l>_<j>`` loads node j of layer l. ``w<l>r_<i>_<j>`` and ``w<l>c_<i>_<j>`` are the
row wire and the column wire of crossbar l at cell (i, j), and ``R<l>_<i>_<j>`` connects them. ``R<l>wr_<i>_<j>`` is the segment
of the row to the left of the cell, and ``R<l>wc_<i>_<j>`` the segment of the column below it.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from eqprop_analog.errors import UserError
from eqprop_analog.networks.crossbars.wired import WiredArray, WiredCrossbar
from eqprop_analog.networks.nonideal.amplifiers import AMPLIFIER
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.resistive.netlist import Form, compile_network
from eqprop_analog.spice.circuit import Circuit, Section
from eqprop_analog.spice.elements import (
    CurrentSources,
    Element,
    Injection,
    VoltageSources,
)

Array = np.ndarray


def compile_nonideal(
    network: NonidealNetwork,
    inputs: Float[Array, "batch inputs"],
    injections: Sequence[Injection | None] = (None,),
    form: Form = "flat",
    *,
    validate: bool = True,
) -> Circuit:
    """The circuit of resistive.netlist.compile_network with the imperfections of ``network``. Raises UserError.

    ``injections``: (g, c) of each phase; c includes the factors and offsets of the nudge, and g (siemens) does not. The Norton
    form requires a first crossbar with ideal wires and sources. ``validate=False`` checks values but not the graph, for loops
    over one topology.
    """
    if form == "norton" and "norton" not in network.forms:
        raise UserError('form: "norton" is exact only for ideal wires and sources; use form="flat"')
    return compile_network(network, inputs, injections, form, validate=validate)


def compile_tile(
    crossbar: WiredCrossbar, rows: Float[Array, "samples rows"], currents: Float[Array, "samples columns"]
) -> Circuit:
    """A single array with wires, its row ports at ``rows`` (V), ``currents`` (A) into its column ports, which are probed.

    These currents represent the rest of the chip, so a single array can be verified if SPICE cannot solve the whole chip. Raises
    UserError.
    """
    row_nets = tuple(f"r1_{i}" for i in range(crossbar.shape[0]))
    columns = tuple(f"c_{j}" for j in range(crossbar.shape[1]))
    elements: tuple[Element, ...] = (
        VoltageSources(row_nets, rows),
        WiredArray(1, row_nets, columns, crossbar),
        CurrentSources("n1", columns, currents),
    )
    circuit = Circuit(
        title=f"eqprop-analog: an array of {crossbar.shape[0]} x {crossbar.shape[1]} cells with its wires",
        notes=("Sources hold the rows; the rest of the chip is a current into every column.",),
        sections=(Section("the array", elements),),
        models=(),
        options={},
        probes=columns,
        outputs=columns,
        points=len(rows),
        phases=1,
    )
    circuit.check()
    return circuit


def chip_notes(network: NonidealNetwork) -> tuple[str, ...]:
    """Header lines of a chip's netlist in addition to those of an ideal network."""
    found = []
    if network.junctions:
        found.append(
            f"Every diode has its own is and n at {network.junctions.nominal.celsius:g} C, and dtemp, its temperature above the "
            f"chip's {network.junctions.celsius:g} C."
        )
    if any(each.resistance.any() for each in network.crossbars):
        found.append("r<l>_<i> is row i of crossbar l behind its source's Rs1_<i> or its amplifier's Rout<l-1>_<i>.")
    if network.periphery.differs(["input_conductance"]):
        found.append("Rin<l>_<j> is the input of node j's amplifier.")
    if network.periphery.differs(tuple(AMPLIFIER.values())):
        found.append("Every amplifier has its own factors on its gain forward and back, and its own offset in volts.")
    if network.periphery.differs(["nudge_factor"]):
        found.append("The nudge's conductance, or its current, has a factor of its own at every output.")
    if network.wire_resistance:
        rows, columns = network.tile
        found += [
            f"Wires: {network.wire_resistance:g} ohm a segment, tiles of at most {rows} x {columns}.",
            "R<l>wr_<i>_<j> is the row segment left of cell (i, j), R<l>wc_<i>_<j> the column segment below it; the cell",
            "R<l>_<i>_<j> joins their nets w<l>r_<i>_<j> and w<l>c_<i>_<j>. Rows are driven at their left ends, columns end in",
            "their nodes at the bottom; each tile has wires of its own.",
        ]
    if network.link_resistance:
        found.append(f"The segment at every port of a tile has {network.link_resistance:g} ohm more.")
    return tuple(found)
