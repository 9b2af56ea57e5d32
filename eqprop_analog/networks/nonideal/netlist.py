"""Compilation of a network with a chip's imperfections: every wire segment, diode and amplifier as it came out.

Beside the ideal netlist's nets and devices: ``r<l>_<i>`` is row i of crossbar l behind ``Rs1_<i>`` of its source
or ``Rout<l-1>_<i>`` of its amplifier, ``Rin<l>_<j>`` loads node j of layer l. ``w<l>r_<i>_<j>`` and ``w<l>c_<i>_<j>`` are the
row wire and the column wire of crossbar l at cell (i, j), ``R<l>_<i>_<j>`` joins them; ``R<l>wr_<i>_<j>`` is the row's segment
left of the cell, ``R<l>wc_<i>_<j>`` the column's segment below it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from eqprop_analog.errors import UserError
from eqprop_analog.networks.crossbars import Dense
from eqprop_analog.networks.crossbars.wired import WiredCrossbar
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.periphery import Periphery
from eqprop_analog.networks.resistive.netlist import Form, layered_circuit, nodes
from eqprop_analog.spice.circuit import Circuit, Section
from eqprop_analog.spice.elements import (
    GROUND,
    Amplifiers,
    Crossbar,
    CurrentSources,
    Diodes,
    Element,
    Injection,
    NudgeSources,
    Pair,
    Resistors,
    VoltageSources,
)

Array = np.ndarray

PARAMETERS = {
    "forward": "forward_factor",
    "back": "return_factor",
    "offset": "offset",
    "swing": "saturation_voltage",
}
"""Of the amplifiers' subcircuits, by what Periphery calls them."""


@dataclass(frozen=True, eq=False)
class WiredArray(Element):
    """A crossbar's cells between its wires, I_ij = G_ij (V(w_r) - V(w_c)), and the wires' segments, each of R ohms."""

    number: int
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    crossbar: WiredCrossbar

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Every resistor."""
        return ((name, ends) for name, ends, _ in self._resistors())

    def dc_paths(self) -> Iterable[Pair]:
        """Through every resistor."""
        return (ends for _, ends, _ in self._resistors())

    def lines(self) -> Iterable[str]:
        """R elements, ohms."""
        return (f"{name} {one} {other} {ohms!r}" for name, (one, other), ohms in self._resistors())

    def check(self) -> None:
        """As for the crossbar without wires."""
        Crossbar(self.number, self.rows, self.columns, Dense(self.crossbar.conductance)).check()

    def _resistors(self) -> Iterator[tuple[str, Pair, float]]:
        """(name, ends, ohms): cells above zero, then row segments, then column segments."""
        l, segment = self.number, float(self.crossbar.wire_resistance)
        matrix = self.crossbar.conductance
        for i, j in np.argwhere(matrix > 0).tolist():
            yield f"R{l}_{i}_{j}", (f"w{l}r_{i}_{j}", f"w{l}c_{i}_{j}"), 1 / float(matrix[i, j])
        for some, others in self.crossbar.tiles():
            for i in range(some.start, some.stop):
                for j in range(others.start, others.stop):
                    left = self.rows[i] if j == others.start else f"w{l}r_{i}_{j - 1}"
                    yield f"R{l}wr_{i}_{j}", (left, f"w{l}r_{i}_{j}"), segment
                    below = self.columns[j] if i == some.stop - 1 else f"w{l}c_{i + 1}_{j}"
                    yield f"R{l}wc_{i}_{j}", (f"w{l}c_{i}_{j}", below), segment


def compile_nonideal(
    network: NonidealNetwork,
    inputs: Float[Array, "batch inputs"],
    injections: Sequence[Injection | None] = (None,),
    form: Form = "flat",
    *,
    validate: bool = True,
) -> Circuit:
    """The circuit of resistive.netlist.compile_network with all that ``network`` has beside the ideal one. Raises UserError.

    ``injections``: (g, c) of each phase, c with the nudge's factors and offsets in it, g (siemens) still without. The Norton form
    is for a first crossbar with ideal wires and sources. ``validate=False`` checks values but not the graph, for loops over one
    topology.
    """
    network = network.in_spice()
    if form == "norton" and not network.driven[0].direct:
        raise UserError('form: "norton" is exact for ideal wires and sources alone; take form="flat"')
    network.require_definite(min((float(np.min(each[0])) for each in injections if each), default=0.0))
    ideal = layered_circuit(network.ideal, inputs, injections, form)
    sections = tuple(_real_section(each, network) for each in ideal.sections)
    amplifiers = {part.model for each in sections for part in each.elements if isinstance(part, Amplifiers)}
    circuit = replace(
        ideal,
        title=f"{ideal.title}, one chip",
        notes=(*ideal.notes, *_notes(network)),
        sections=sections,
        models=tuple(name for name in ideal.models if name != "amplifier") + tuple(sorted(amplifiers)),
        options=ideal.options | (network.junctions.options if network.junctions else {}),
    )
    circuit.validate(whole=validate)
    return circuit


def compile_tile(
    crossbar: WiredCrossbar, rows: Float[Array, "samples rows"], currents: Float[Array, "samples columns"]
) -> Circuit:
    """An array with wires by itself, its row ports at ``rows`` (V), ``currents`` (A) into its column ports, which are probed.

    What the rest of a chip does to the array is in these currents, so that an array too large for SPICE beside the others is
    witnessed alone. Raises UserError.
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


def _real_section(section: Section, network: NonidealNetwork) -> Section:
    elements = [real for part in section.elements for real in _real(part, network)]
    layer = next((part.layer for part in elements if isinstance(part, Diodes)), 0)
    return Section(section.heading, (*elements, *(_amplifiers(network, layer) if layer else ())))


def _real(element: Element, network: NonidealNetwork) -> Iterator[Element]:
    """What stands on the chip for one element of the ideal circuit; amplifiers stand by their layers."""
    if isinstance(element, Crossbar):
        yield from _crossbar(element, network)
    elif isinstance(element, Diodes) and network.junctions:
        model, parameters = network.junctions.spice
        at = network.at[element.layer - 1]
        yield replace(element, model=model, parameters={name: values[at] for name, values in parameters.items()})
    elif isinstance(element, NudgeSources):
        yield replace(element, factor=network.periphery.outputs(network.ideal))
    elif not isinstance(element, Amplifiers):
        yield element


def _crossbar(element: Crossbar, network: NonidealNetwork) -> Iterator[Element]:
    """The crossbar with its wires, and the resistances before its rows."""
    number = element.number
    driven = network.driven[number - 1]
    rows = element.rows if number == 1 else _drives(network, number - 1)
    if driven.resistance.any():
        name = "Rs1" if number == 1 else f"Rout{number - 1}"
        behind = np.flatnonzero(driven.resistance)
        ends = tuple((rows[i], f"r{number}_{i}") for i in behind.tolist())
        yield Resistors(tuple(f"{name}_{i}" for i in behind.tolist()), ends, driven.resistance[behind])
        ohms = driven.resistance.tolist()
        rows = tuple(f"r{number}_{i}" if r else net for i, (net, r) in enumerate(zip(rows, ohms, strict=True)))
    if driven.crossbar.wire_resistance:
        yield WiredArray(number, rows, element.columns, driven.crossbar)
    else:
        yield replace(element, rows=rows)


def _amplifiers(network: NonidealNetwork, layer: int) -> Iterator[Element]:
    """The amplifiers of hidden ``layer``, if there are any, and what loads its nodes."""
    at, nets = network.at[layer - 1], nodes(network.ideal, layer)
    if _amplified(network, layer):
        own = {key: network.periphery.hidden(name, network.ideal)[at] for key, name in PARAMETERS.items()}
        gain, model = network.ideal.amplifier_gain[layer - 1], "amplifier"
        if np.isfinite(own["swing"]).any():
            model = "saturating_amplifier"
        else:
            del own["swing"]
        plain = all(np.all(values == (key != "offset")) for key, values in own.items())
        yield Amplifiers(layer, nets, _drives(network, layer), gain, model, {} if plain else own)
    loading = network.periphery.hidden("input_conductance", network.ideal)[at]
    loaded = np.flatnonzero(loading)
    if loaded.size:
        names = tuple(f"Rin{layer}_{j}" for j in loaded.tolist())
        yield Resistors(names, tuple((nets[j], GROUND) for j in loaded.tolist()), 1 / loading[loaded])


def _amplified(network: NonidealNetwork, layer: int) -> bool:
    """Whether hidden ``layer`` has amplifiers: of another gain than 1, or of gain 1 with an imperfection."""
    at, ideal = network.at[layer - 1], Periphery()
    own = (network.periphery.hidden(name, network.ideal)[at] != getattr(ideal, name) for name in PARAMETERS.values())
    return network.ideal.amplifier_gain[layer - 1] != 1 or any(differs.any() for differs in own)


def _drives(network: NonidealNetwork, layer: int) -> tuple[str, ...]:
    """Nets behind ``layer``'s amplifiers, or its nodes where there are none."""
    if not _amplified(network, layer):
        return nodes(network.ideal, layer)
    return tuple(f"a{layer}_{j}" for j in range(network.layers[layer]))


def _notes(network: NonidealNetwork) -> tuple[str, ...]:
    notes = []
    if network.junctions:
        notes.append(
            f"Every diode has its own is and n at {network.junctions.nominal.celsius:g} C, and dtemp, its temperature above the "
            f"chip's {network.junctions.celsius:g} C."
        )
    if any(each.resistance.any() for each in network.driven):
        notes.append("r<l>_<i> is row i of crossbar l behind its source's Rs1_<i> or its amplifier's Rout<l-1>_<i>.")
    if network.periphery.differs(["input_conductance"]):
        notes.append("Rin<l>_<j> is the input of node j's amplifier.")
    if network.periphery.differs(tuple(PARAMETERS.values())):
        notes.append("Every amplifier has its own factors on its gain forward and back, and its own offset in volts.")
    if network.periphery.differs(["nudge_factor"]):
        notes.append("The nudge's conductance, or its current, has a factor of its own at every output.")
    if network.wire_resistance:
        rows, columns = network.tile
        notes += [
            f"Wires: {network.wire_resistance:g} ohm a segment, tiles of at most {rows} x {columns}.",
            "R<l>wr_<i>_<j> is the row segment left of cell (i, j), R<l>wc_<i>_<j> the column segment below it; the cell",
            "R<l>_<i>_<j> joins their nets w<l>r_<i>_<j> and w<l>c_<i>_<j>. Rows are driven at their left ends, columns end in",
            "their nodes at the bottom; each tile has wires of its own.",
        ]
    return tuple(notes)
