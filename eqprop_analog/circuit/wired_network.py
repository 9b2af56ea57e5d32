"""Compilation of a network whose crossbars have wires: every wire segment becomes a resistor.

Beside circuit.resistive's nets and devices: ``w<l>r_<i>_<j>`` and ``w<l>c_<i>_<j>`` are the row wire and the column wire of
crossbar l at cell (i, j), ``R<l>_<i>_<j>`` joins them; ``R<l>wr_<i>_<j>`` is the row's segment left of the cell,
``R<l>wc_<i>_<j>`` the column's segment below it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from eqprop_analog.circuit.elements import Crossbar, Element, Injection, Pair
from eqprop_analog.circuit.graph import Circuit, Section
from eqprop_analog.circuit.resistive import compile_network
from eqprop_analog.models.wired_crossbar import WiredCrossbar
from eqprop_analog.models.wired_network import WiredNetwork

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class WiredArray:
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

    def held(self) -> Iterable[Pair]:
        """None."""
        return ()

    def lines(self) -> Iterable[str]:
        """R elements, ohms."""
        return (f"{name} {one} {other} {ohms!r}" for name, (one, other), ohms in self._resistors())

    def check(self) -> None:
        """As for the crossbar without wires."""
        Crossbar(self.number, self.rows, self.columns, self.crossbar.conductance).check()

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


def compile_wired(
    network: WiredNetwork,
    inputs: Float[Array, "batch inputs"],
    injections: Sequence[Injection | None] = (None,),
    *,
    validate: bool = True,
) -> Circuit:
    """The flat circuit of circuit.resistive's compile_network, its crossbars with their wires. Raises UserError.

    ``validate=False`` checks values but not the graph, for loops over one topology.
    """
    ideal = compile_network(network.ideal, inputs, injections, "flat", validate=validate)
    betas = [float(np.min(injection[0])) for injection in injections if injection is not None]
    network.require_definite(min(betas, default=0.0))
    sections = tuple(
        Section(each.heading, tuple(_wired(part, network) for part in each.elements)) for each in ideal.sections
    )
    circuit = replace(
        ideal, title=f"{ideal.title}, with wires", notes=(*ideal.notes, *_notes(network)), sections=sections
    )
    if validate:
        circuit.validate()
    return circuit


def _wired(element: Element, network: WiredNetwork) -> Element:
    if not isinstance(element, Crossbar):
        return element
    crossbar = network.crossbars[element.number - 1]
    if crossbar.wire_resistance == 0:
        return element
    return WiredArray(element.number, element.rows, element.columns, crossbar)


def _notes(network: WiredNetwork) -> tuple[str, ...]:
    wires = "; ".join(
        f"crossbar {number}: {crossbar.wire_resistance:g} ohm a segment, tiles of at most {crossbar.tile[0]} x {crossbar.tile[1]}"
        for number, crossbar in enumerate(network.crossbars, start=1)
    )
    return (
        f"Wires: {wires}.",
        "R<l>wr_<i>_<j> is the row segment left of cell (i, j), R<l>wc_<i>_<j> the column segment below it; the cell",
        "R<l>_<i>_<j> joins their nets w<l>r_<i>_<j> and w<l>c_<i>_<j>. Rows are driven at their left ends, columns end in",
        "their nodes at the bottom; each tile has wires of its own.",
    )
