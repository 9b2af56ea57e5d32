"""A resistive network as subcircuits, one for each crossbar and layer, and a testbench that includes them.

The subcircuits contain the unchanged lines of the flat form: a pin has the name of the net to which it is connected.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
from jaxtyping import Float

from eqprop_analog.errors import UserError
from eqprop_analog.networks.resistive.equations import NodalEquations
from eqprop_analog.networks.resistive.netlist import compile_network, drives, nodes
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.spice.circuit import Circuit
from eqprop_analog.spice.dialects import NGSPICE, Dialect
from eqprop_analog.spice.elements import Crossbar, Diodes, Injection
from eqprop_analog.spice.netlist import settings, subcircuits
from eqprop_analog.text import in_one_line

Array = np.ndarray

PINS = 1004
"""Largest number of pins of a subcircuit: ngspice 39 rejects 1,005, because its table of 1,005 includes ground."""
JUNCTION, SPREAD = "diode_is", "diode_spread"
"""Parameters of the testbench: a junction's saturation current (A), and the standard deviation of its logarithm."""
WIDTH = 120
"""Length of a line; lists of pins are continued on the next line."""


@dataclass(frozen=True)
class Hierarchy:
    """Two files of one circuit."""

    testbench: str
    """Sources, rails, nudge and measurements, with ``.param`` lines for adjustable values; includes the network."""
    network: str
    """The device under test: subcircuits and their connections."""


def hierarchical_netlist(
    network: ResistiveNetwork,
    inputs: Float[Array, "1 inputs"],
    nudge: Injection,
    file: str,
    dialect: Dialect = NGSPICE,
) -> Hierarchy:
    """The network under ``inputs``, in its free phase and under ``nudge``, in one run of the testbench.

    ``file``: the name by which the testbench includes the network. A crossbar or layer with more pins than a subcircuit may
    have is divided into tiles ``crossbar_<l>_<rows>_<columns>`` and parts ``layer_<l>_<part>``. Raises UserError.
    """
    if in_one_line(file) != file or '"' in file:
        raise UserError(
            f"{in_one_line(file)}: this file name cannot be included by a netlist; use letters, digits and -_."
        )
    circuit = compile_network(network, inputs, [nudge], "flat")
    network = network.in_spice().astype(np.float64)
    parts = list(_parts(network, circuit))
    return Hierarchy(
        "\n".join(dialect.finished([*_testbench(network, circuit, inputs, nudge, file, dialect), ".end", ""])),
        "\n".join(dialect.finished([*_device(circuit, parts, dialect), ""])),
    )


def in_subcircuits(
    network: ResistiveNetwork, inputs: Float[Array, "1 inputs"], phase: NodalEquations, file: str, dialect: Dialect
) -> Hierarchy:
    """``hierarchical_netlist`` under the nudge of ``phase``."""
    return hierarchical_netlist(network, inputs, phase.injection, file, dialect)


@dataclass(frozen=True)
class _Part:
    """One subcircuit, which is used once."""

    name: str
    heading: str
    pins: tuple[str, ...]
    lines: Sequence[str]


def _device(circuit: Circuit, parts: Sequence[_Part], dialect: Dialect) -> Iterator[str]:
    yield f"* {circuit.title.removesuffix(', flat form')}, as subcircuits: to be included by a testbench"
    yield from (f"* {note}" for note in circuit.notes if not note.startswith(("Free phase", "Nudged phase")))
    yield f"* A pin has the name of the net to which it is connected; no subcircuit has more than {PINS} pins."
    yield from subcircuits(circuit, dialect)
    for part in parts:
        yield ""
        yield f"* {part.heading}"
        yield from _wrapped(".subckt", part.name, *part.pins)
        yield from map(dialect.element, part.lines)
        yield f".ends {part.name}"
    yield ""
    yield "* the network: drive xp_i, xn_i (and xb), rail_p and rail_n; read o_k"
    for part in parts:
        yield from _wrapped(f"X{part.name}", *part.pins, part.name)


def _parts(network: ResistiveNetwork, circuit: Circuit) -> Iterator[_Part]:
    """The subcircuits of each crossbar and of the other devices of each layer, in tiles if necessary."""
    crossbars = [element for element in circuit.elements if isinstance(element, Crossbar)]
    layers = [section for section in circuit.sections if section.heading.startswith("layer ")]
    for layer, (crossbar, section) in enumerate(zip(crossbars, layers, strict=True), start=1):
        yield from _tiles(crossbar)
        rest = [
            line
            for element in section.elements
            if element is not crossbar
            for line in (_varied(element) if isinstance(element, Diodes) else element.lines())
        ]
        yield from _slices(network, layer, section.heading, rest)


def _diode_parameters(network: ResistiveNetwork) -> dict[str, float]:
    """Diode parameters of the testbench: ``diode_<parameter>`` of their subcircuit, and the spread of a junction's I_S."""
    if network.depth == 1:
        return {}
    found = {f"diode_{key}": float(value) for key, value in network.diode.spice[1].items()}
    return found | ({SPREAD: 0.0} if JUNCTION in found else {})


def _varied(diodes: Diodes) -> Iterator[str]:
    """The diodes with the parameters of the testbench; every saturation current also varies by its own random number."""
    spread = JUNCTION.removeprefix("diode_") in diodes.parameters
    random = np.random.default_rng([0, diodes.layer, *map(ord, diodes.prefix)])
    given = {key: f"{{diode_{key}}}" for key in diodes.parameters}
    for name, (anode, cathode) in diodes.devices():
        if spread:
            given[JUNCTION.removeprefix("diode_")] = f"{{{JUNCTION}*exp({random.standard_normal():.6f}*{SPREAD})}}"
        yield " ".join([name, anode, cathode, diodes.model, *(f"{key}={value}" for key, value in given.items())])


def _tiles(crossbar: Crossbar) -> Iterator[_Part]:
    rows, columns = len(crossbar.rows), len(crossbar.columns)
    across = np.array_split(np.arange(columns), -(-columns // (PINS // 2)))
    down = np.array_split(np.arange(rows), -(-rows // (PINS - len(across[0]))))
    name = f"crossbar_{crossbar.number}"
    for (a, i), (b, j) in ((r, c) for r in enumerate(down) for c in enumerate(across)):
        whole = len(down) == len(across) == 1
        where = "" if whole else f", rows {i[0]} to {i[-1]}, columns {j[0]} to {j[-1]}"
        yield _Part(
            name if whole else f"{name}_{a}_{b}",
            f"crossbar {crossbar.number} ({rows} x {columns}){where}",
            (*(crossbar.rows[k] for k in i.tolist()), *(crossbar.columns[k] for k in j.tolist())),
            list(crossbar.between(i, j)),
        )


def _slices(network: ResistiveNetwork, layer: int, heading: str, lines: Iterable[str]) -> Iterator[_Part]:
    """The devices at the nodes of ``layer`` except its crossbar, divided into parts of several nodes; may be empty."""
    hidden = layer < network.depth
    here = nodes(network, layer)
    behind = drives(network, layer) if hidden else here
    blocks = np.array_split(np.arange(len(here)), -(-len(here) // ((PINS - 2) // 2)))
    of = {net: number for number, block in enumerate(blocks) for k in block.tolist() for net in (here[k], behind[k])}
    held: list[list[str]] = [[] for _ in blocks]
    for line in lines:
        held[next(of[net] for net in line.split()[1:3] if net in of)].append(line)
    for number, (block, inside) in enumerate(zip(blocks, held, strict=True)):
        if not inside:
            continue
        mine = [here[k] for k in block.tolist()]
        mine += [behind[k] for k in block.tolist() if behind[k] != here[k]]
        whole = len(blocks) == 1
        yield _Part(
            f"layer_{layer}" if whole else f"layer_{layer}_{number}",
            heading if whole else f"{heading}: nodes {block[0]} to {block[-1]}",
            ("rail_p", "rail_n", *mine) if hidden else tuple(mine),
            inside,
        )


def _testbench(
    network: ResistiveNetwork,
    circuit: Circuit,
    inputs: Float[Array, "1 inputs"],
    nudge: Injection,
    file: str,
    dialect: Dialect,
) -> Iterator[str]:
    measured = dialect.two_phases(circuit.outputs)
    pull = float(np.ravel(nudge[0])[0])
    current = np.broadcast_to(nudge[1], (1, len(circuit.outputs)))[0].tolist()
    yield f"* {circuit.title.removesuffix(', flat form')}: its testbench; the network is in {file}"
    yield "* Edit the .param lines. Inputs x_i drive rows at +x_i and -x_i times volts_per_unit; rail and bias_row are in volts;"
    if pull:
        yield "* the nudge is a conductance of beta siemens from every output to a source at its target, y_k volts; beta may be"
        yield "* negative as long as the circuit stays positive definite."
    else:
        yield "* the nudge is a current of i_k amperes into every output, taken at the free phase of these inputs."
    diodes = _diode_parameters(network)
    if diodes:
        yield f"* Diodes: {', '.join(diodes)} are the parameters of their subcircuit, the same for all of them."
    if SPREAD in diodes:
        yield f"* {SPREAD} is the standard deviation of ln(is) from diode to diode (0.1: about 10 %); the same draw in every run."
    yield "* One run sweeps V(phase) over 0, the free phase, and 1, the nudged one, and measures every output in both: <net>_free"
    yield "* and <net>_nudged."
    yield from (f"* {note}" for note in dialect.note)
    yield from dialect.options(settings(circuit), circuit.models)
    yield ""
    hidden = network.depth > 1
    yield f".param volts_per_unit={network.input_gain!r}"
    yield from ([f".param bias_row={network.bias_row!r}"] if network.bias_row else [])
    yield from ([f".param rail={float(network.diode.rail)!r}"] if hidden else [])
    yield from (f".param {name}={value!r}" for name, value in diodes.items())
    yield from (f".param x_{i}={x!r}" for i, x in enumerate(inputs[0].tolist()))
    yield from [f".param beta={pull!r}"] if pull else []
    yield from (f".param {'y' if pull else 'i'}_{k}={c / pull if pull else c!r}" for k, c in enumerate(current))
    yield ""
    yield f'.include "{file}"' if " " in file else f".include {file}"
    yield ""
    yield f"* {circuit.sections[0].heading.split(', and crossbar')[0]}"
    yield from (f"Vxp_{i} xp_{i} 0 {{volts_per_unit*x_{i}}}" for i in range(network.layers[0]))
    yield from (f"Vxn_{i} xn_{i} 0 {{-volts_per_unit*x_{i}}}" for i in range(network.layers[0]))
    yield from ["Vxb xb 0 {bias_row}"] if network.bias_row else []
    if hidden:
        yield ""
        yield f"* {circuit.sections[1].heading}"
        yield "Vrail_p rail_p 0 {rail}"
        yield "Vrail_n rail_n 0 {-rail}"
    yield ""
    yield "* nudge, while V(phase) is 1"
    yield "Vphase phase 0 0"
    for k, net in enumerate(circuit.outputs):
        if pull:
            yield f"Vy_{k} y_{k} 0 {{y_{k}}}"
            yield dialect.element(f"Bnudge_{k} 0 {net} I={{beta}}*V(phase)*(V(y_{k})-V({net}))")
        else:
            yield f"Gnudge_{k} 0 {net} phase 0 {{i_{k}}}"
    yield ""
    yield from measured


def _wrapped(*words: str) -> list[str]:
    """One statement, wrapped to several lines."""
    return wrap(" ".join(words), WIDTH, subsequent_indent="+ ", break_long_words=False, break_on_hyphens=False)
