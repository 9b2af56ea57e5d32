"""Compilation of a graph network: every edge becomes a device between the nets of its two nodes.

Nets: ``n_<label>`` the nodes, ``y_k`` the targets. Devices: ``R<e>`` resistors, ``Xd<d>`` diodes, ``Vn_<label>`` sources (inputs
and rails), ``Ic_<k>`` constant currents into node k, ``Rnudge_k`` the nudge between the nodes of output k.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.errors import UserError
from eqprop_analog.networks.graph.equations import require_definite
from eqprop_analog.networks.graph.network import GraphNetwork
from eqprop_analog.spice.circuit import Circuit, Section
from eqprop_analog.spice.elements import (
    GROUND,
    POINT,
    SAMPLE,
    CurrentSources,
    Diodes,
    Element,
    Injection,
    NudgeSources,
    Pair,
    VoltageSources,
)
from eqprop_analog.spice.netlist import laws_in_text

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Resistors(Element):
    """I_e = G_e (V(tail_e) - V(head_e)); for G_e = 0, there is no resistor."""

    pairs: tuple[Pair, ...]
    conductance: Float[Array, " edges"]
    """Siemens."""

    def _present(self) -> Iterator[tuple[int, Pair]]:
        conducting = (self.conductance > 0).tolist()
        return ((e, pair) for e, (pair, here) in enumerate(zip(self.pairs, conducting, strict=True)) if here)

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """One resistor per edge."""
        return ((f"R{e}", pair) for e, pair in self._present())

    def dc_paths(self) -> Iterable[Pair]:
        """Every edge."""
        return (pair for _, pair in self._present())

    def lines(self) -> Iterable[str]:
        """R elements, ohms."""
        conductances = self.conductance.tolist()
        return (f"R{e} {tail} {head} {1 / conductances[e]!r}" for e, (tail, head) in self._present())

    def check(self) -> None:
        """Finite and not negative."""
        sound = np.isfinite(self.conductance) & (self.conductance >= 0)
        if not sound.all():
            edge = int(np.argmin(sound))
            tail, head = self.pairs[edge]
            raise UserError(
                f"net {tail}: conductance R{edge} to {head} must be finite and not negative, got {self.conductance[edge]} S"
            )


def compile_graph(
    network: GraphNetwork,
    inputs: Float[Array, "batch inputs"],
    injections: Sequence[Injection | None] = (None,),
    *,
    validate: bool = True,
) -> Circuit:
    """Return the validated circuit of all samples under all injections (None is the free phase).

    The sweep point is ``len(injections)·sample + phase``, as for layered networks; one sample in one phase is a static
    circuit. Raises UserError. ``validate=False`` checks values but not the graph, for loops over one topology.
    """
    network, inputs = network.in_spice(), network.check_inputs(inputs)
    model, parameters = network.diode.spice
    nudges = NudgeSources.of(_nets(network, network.outputs), len(inputs), injections)
    counter = SAMPLE if len(injections) > 1 else POINT
    banks: list[tuple[str, bool, Element]] = [
        ("inputs", len(network.inputs) > 0, VoltageSources(_names(network, network.inputs), inputs, counter)),
        ("rails", len(network.rails) > 0, VoltageSources(_names(network, network.rails), network.rail_volts[None])),
        ("constant currents", bool(network.currents.any()), CurrentSources("c", network.names, network.currents[None])),
        ("resistors", True, Resistors(_nets(network, network.resistors), network.conductances)),
        ("diodes", len(network.diodes) > 0, Diodes("", _nets(network, network.diodes), model, parameters)),
        (
            "nudge: drives every output towards its target",
            bool(nudges.conductance.any() or nudges.current.any()),
            nudges,
        ),
    ]
    circuit = Circuit(
        title=f"eqprop-analog: network of {len(network.names)} nodes",
        notes=_notes(network, injections),
        sections=tuple(Section(heading, (bank,)) for heading, present, bank in banks if present),
        models=(model,) if len(network.diodes) else (),
        options=network.diode.options if len(network.diodes) else {},
        laws=laws_in_text(network.diode) if len(network.diodes) else {},
        probes=network.names,
        outputs=tuple(dict.fromkeys(net for pair in nudges.outputs for net in pair if net != GROUND)),
        points=len(nudges.conductance),
        phases=len(injections),
    )
    circuit.validate(whole=validate)
    require_definite(network, float(nudges.conductance.min()))
    return circuit


def _nets(network: GraphNetwork, ends: Int[Array, "pairs 2"]) -> tuple[Pair, ...]:
    names = (*network.names, GROUND)  # -1 is ground
    return tuple((names[one], names[other]) for one, other in ends.tolist())


def _names(network: GraphNetwork, nodes: Int[Array, " nodes"]) -> tuple[str, ...]:
    return tuple(network.names[k] for k in nodes.tolist())


def _notes(network: GraphNetwork, injections: Sequence[Injection | None]) -> tuple[str, ...]:
    law, parameters = network.diode.spice
    diode = ", ".join([law, *(f"{name} = {value:g}" for name, value in parameters.items())])
    reads = ", ".join(
        f"V({one})" if two == GROUND else f"V({one},{two})" for one, two in _nets(network, network.outputs)
    )
    phase = "Free phase." if injections in ((None,), [None]) else "Nudged towards targets, or a sweep through phases."
    diodes = f"{len(network.diodes)} diodes ({diode})" if len(network.diodes) else "no diodes"
    sources = f"{len(network.inputs)} inputs, {len(network.rails)} rails"
    return (
        f"{len(network.resistors)} resistors, {diodes}, {sources}.",
        phase,
        "Nets: n_<label> the node with that label in the graph, y_k targets. Vn_<label> or Bn_<label> hold inputs and rails.",
        f"Outputs: {reads}."[:250],
        "Units: volts, amperes, ohms.",
    )
