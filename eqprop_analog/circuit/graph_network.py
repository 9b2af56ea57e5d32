"""Compilation of a network on a graph: every edge becomes a device between the nets of its two nodes.

Nets: ``n_<label>`` the nodes, ``y_k`` the targets. Devices: ``R<e>`` resistors, ``Xd<d>`` diodes, ``Vn_<label>`` sources (inputs
and rails), ``Ic_<k>`` constant currents into node k, ``Rnudge_k`` the nudge between the nodes of output k.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.circuit.elements import GROUND, POINT, SAMPLE, CurrentSources, Element, Pair, VoltageSources, series
from eqprop_analog.circuit.graph import Circuit, Section
from eqprop_analog.errors import UserError
from eqprop_analog.models.graph_kirchhoff import require_definite
from eqprop_analog.models.graph_network import GraphNetwork

Array = np.ndarray
Injection = tuple[float, Float[Array, "#batch outputs"]]
"""A nudge as (g, y): it drives y - g·o through every output o; siemens and amperes. Zeros are the free phase."""


@dataclass(frozen=True, eq=False)
class Resistors:
    """I_e = G_e (V(tail_e) - V(head_e)); G_e = 0 is no resistor."""

    pairs: tuple[Pair, ...]
    conductance: Float[Array, " edges"]
    """Siemens."""

    def _present(self) -> Iterator[tuple[int, Pair]]:
        conducting = (self.conductance > 0).tolist()
        return ((e, pair) for e, (pair, here) in enumerate(zip(self.pairs, conducting, strict=True)) if here)

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """One resistor an edge."""
        return ((f"R{e}", pair) for e, pair in self._present())

    def dc_paths(self) -> Iterable[Pair]:
        """Every edge."""
        return (pair for _, pair in self._present())

    def held(self) -> Iterable[Pair]:
        """None."""
        return ()

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


@dataclass(frozen=True, eq=False)
class Junctions:
    """One diode an edge, from anode to cathode."""

    pairs: tuple[Pair, ...]
    """(anode, cathode) of each."""
    model: str
    """Subcircuit, defined in ``circuits/<model>.lib``."""
    parameters: dict[str, float]

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """(anode, cathode) of each."""
        return ((f"Xd{d}", pair) for d, pair in enumerate(self.pairs))

    def dc_paths(self) -> Iterable[Pair]:
        """None: a diode that blocks holds nothing."""
        return ()

    def held(self) -> Iterable[Pair]:
        """None."""
        return ()

    def lines(self) -> Iterable[str]:
        """X elements."""
        tail = " ".join([self.model, *(f"{key}={float(value)!r}" for key, value in self.parameters.items())])
        return (f"{name} {anode} {cathode} {tail}" for name, (anode, cathode) in self.devices())

    def check(self) -> None:
        """Parameters are the law's own business."""


@dataclass(frozen=True, eq=False)
class OutputNudges:
    """I_k = y_k - g·V(plus_k, minus_k) from minus to plus: statically a conductance g and a source, or a current alone."""

    pairs: tuple[Pair, ...]
    """(plus, minus) of each output."""
    conductance: Float[Array, " points"]
    """g, siemens."""
    current: Float[Array, "points outputs"]
    """y, amperes."""

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """One an output (its target source included)."""
        return ((f"nudge_{k}", (minus, plus)) for k, (plus, minus) in enumerate(self.pairs))

    def dc_paths(self) -> Iterable[Pair]:
        """None: the free phase must stand without it."""
        return ()

    def held(self) -> Iterable[Pair]:
        """None."""
        return ()

    def lines(self) -> Iterable[str]:
        """V and R (or I) elements in a static circuit; B elements along a sweep."""
        static, g = len(self.conductance) == 1, float(self.conductance[0])
        if not static:
            yield f"Bbeta beta 0 V={series(self.conductance)}"
        for k, (plus, minus) in enumerate(self.pairs):
            if not static:
                yield f"Bnudge_{k} {minus} {plus} I={series(self.current[:, k])}-V(beta)*V({plus},{minus})"
            elif g == 0:
                yield f"Inudge_{k} {minus} {plus} {float(self.current[0, k])!r}"
            else:
                yield f"Vy_{k} y_{k} {minus} {float(self.current[0, k]) / g!r}"
                yield f"Rnudge_{k} y_{k} {plus} {1 / g!r}"

    def check(self) -> None:
        """Finite nudges."""
        sound = np.isfinite(self.current).all(axis=0) & np.isfinite(self.conductance).all()
        if not sound.all():
            raise UserError(f"net {self.pairs[int(np.argmin(sound))][0]}: nudge is not finite")


def compile_graph(
    network: GraphNetwork,
    inputs: Float[Array, "batch inputs"],
    injections: Sequence[Injection | None] = (None,),
    *,
    validate: bool = True,
) -> Circuit:
    """The validated circuit that solves every sample under every injection (None is the free phase).

    Sweep point ``len(injections)·sample + phase``, as for layered networks; one sample in one phase is a static circuit.
    Raises UserError. ``validate=False`` checks values but not the graph, for loops over one topology.
    """
    network = network.in_spice()
    model, parameters = network.diode.spice
    nudges = _nudges(network, len(inputs), injections)
    counter = SAMPLE if len(injections) > 1 else POINT
    banks: list[tuple[str, bool, Element]] = [
        ("inputs", len(network.inputs) > 0, VoltageSources(_names(network, network.inputs), inputs, counter)),
        ("rails", len(network.rails) > 0, VoltageSources(_names(network, network.rails), network.rail_volts[None])),
        ("constant currents", bool(network.currents.any()), CurrentSources("c", network.names, network.currents[None])),
        ("resistors", True, Resistors(_nets(network, network.resistors), network.conductances)),
        ("diodes", len(network.diodes) > 0, Junctions(_nets(network, network.diodes), model, parameters)),
        (
            "nudge: pulls every output towards its target",
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
        probes=network.names,
        outputs=tuple(dict.fromkeys(net for pair in nudges.pairs for net in pair if net != GROUND)),
        points=len(nudges.conductance),
        phases=len(injections),
    )
    if validate:
        circuit.validate()
    else:
        circuit.check()
    require_definite(network, float(nudges.conductance.min()))
    return circuit


def _nets(network: GraphNetwork, ends: Int[Array, "pairs 2"]) -> tuple[Pair, ...]:
    names = (*network.names, GROUND)  # -1 is ground
    return tuple((names[one], names[other]) for one, other in ends.tolist())


def _names(network: GraphNetwork, nodes: Int[Array, " nodes"]) -> tuple[str, ...]:
    return tuple(network.names[k] for k in nodes.tolist())


def _nudges(network: GraphNetwork, batch: int, injections: Sequence[Injection | None]) -> OutputNudges:
    outputs, phases = len(network.outputs), len(injections)
    conductance, current = np.zeros((batch, phases)), np.zeros((batch, phases, outputs))
    for phase, injection in enumerate(injections):
        if injection:
            conductance[:, phase], current[:, phase] = injection
    return OutputNudges(_nets(network, network.outputs), conductance.ravel(), current.reshape(-1, outputs))


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
