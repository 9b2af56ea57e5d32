"""``eqprop-analog netlist``: a layer shape or a saved network as a SPICE file."""

import argparse
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from eqprop_analog.cli import console, options
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.chips.chip import Chip
from eqprop_analog.experiments.chips.mapping import impedance_scale, onto, scaling_notes
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.files import packaged, write_text
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.netlist import compile_hopfield
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.hopfield.ngspice import surrogate
from eqprop_analog.networks.nonideal.equations import NonidealEquations
from eqprop_analog.networks.nonideal.netlist import compile_nonideal
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.nonideal.newton import NonidealNewtonSolver
from eqprop_analog.networks.resistive.hierarchy import hierarchical_netlist
from eqprop_analog.networks.resistive.netlist import compile_network
from eqprop_analog.networks.resistive.netlist_import import WrittenNetlist
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.spice.circuit import Circuit
from eqprop_analog.spice.dialects import DIALECTS
from eqprop_analog.spice.elements import Injection
from eqprop_analog.spice.netlist import static_netlist
from eqprop_analog.text import shell_word

SUMMARY = "Write a network as a SPICE netlist, for ngspice, LTspice, Xyce or gnucap, that runs as it stands."
EXAMPLES = """\
examples:
  every resistor of a 784x2-100-10 network:  --layers 784 100 10 --output mnist.cir
  a trained network, Norton form:            --network runs/demo/network.npz --form norton --output demo.cir
  with a nudge of 0.1 uS towards output 0:   --layers 2 4 1 --phase nudged --beta 1e-7 --output nudged.cir
  subcircuits in xor.lib, and a testbench:   --network netlists/xor.npz --form subcircuits --output xor.cir
  for LTspice (or xyce, or gnucap):          --network netlists/xor.npz --dialect ltspice --output xor.cir
  a netlist edited by hand, as a network:    --network edited.cir --output edited.npz
  the same network on one imperfect chip:    --layers 4 6 2 --specification everything --chip 3 --output chip.cir
  and a picture of its circuit:              --network netlists/xor.npz --output xor.cir --picture xor.svg
  a Hopfield network, nudged by beta = 0.5:  --model hopfield --layers 3 3 2 --phase nudged --output hopfield.cir"""


DIGITS = 6
"""Of the voltages at which a Hopfield network begins."""
NOTE_WIDTH = 120
"""Characters of a line in the header."""
OF_NETLISTS = {
    "form": "flat",
    "dialect": "ngspice",
    "phase": "free",
    **dict.fromkeys(("inputs", "targets", "beta", "specification", "picture")),
}
"""Options, with their defaults, that say nothing about the network itself."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    options.add_network(parser)
    parser.add_argument(
        "--form",
        choices=["flat", "norton", "subcircuits"],
        default="flat",
        help="every resistor; crossbar 1 reduced; or every resistor in one subcircuit a crossbar, in a .lib beside the "
        "testbench, which runs free and nudged phase (default flat)",
    )
    parser.add_argument(
        "--dialect", choices=list(DIALECTS), default="ngspice", help="the program that is to run it (default ngspice)"
    )
    parser.add_argument(
        "--phase", choices=["free", "nudged"], default="free", help="without or with the nudge (default free)"
    )
    parser.add_argument(
        "--inputs",
        type=Path,
        metavar="X.npy",
        help="the input vector, or its numbers (1,0); default: that of a netlist given as --network, else uniform from --seed",
    )
    parser.add_argument(
        "--targets", type=Path, metavar="Y.npy", help="targets of the nudge, V (default: 1 V at output 0)"
    )
    options.add_beta(parser)
    parser.add_argument(
        "--specification",
        metavar="NAME|FILE",
        help=f"as one chip of it has the network: one of {', '.join(packaged('specifications'))}, or a TOML file",
    )
    parser.add_argument(
        "--chip", type=int, metavar="N", help="which chip of the lot --seed (default 0), as written, before any drift"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE.cir", help="the netlist; FILE.npz: the network"
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE.svg|png|pdf",
        help="draw what is written: the schematic of a small circuit, the crossbars of a large one as maps of conductances",
    )


def run(arguments: argparse.Namespace) -> None:
    """Compile, validate, write."""
    if arguments.chip is not None and arguments.specification is None:
        raise UserError("--chip: is of a specification; add --specification, or leave it out")
    written = options.written(arguments)
    network = options.network(arguments, written, _window(arguments))
    if arguments.output.suffix == ".npz":
        given = [f"--{name}" for name, usual in OF_NETLISTS.items() if getattr(arguments, name) != usual]
        if given:
            raise UserError(f"--output {arguments.output}: the network itself has no {given[0]}; write FILE.cir")
        network.save(arguments.output)
        console.say(f"{arguments.output}: the network {'-'.join(map(str, network.layers))}")
        return
    begin = time.perf_counter()
    texts = _texts(arguments, network, written)
    for path, text in texts.items():
        write_text(path, text)
    lines = ", ".join(f"{path}: {text.count(chr(10))} lines" for path, text in texts.items())
    command = DIALECTS[arguments.dialect].command
    console.say(f"{lines} in {time.perf_counter() - begin:.2f} s; run it: {command} {shell_word(arguments.output)}")


def _window(arguments: argparse.Namespace) -> tuple[float, float] | None:
    """(G_min, G_max) of the chip's devices, siemens, where one is asked for."""
    if arguments.specification is None:
        return None
    window = Specification.load(arguments.specification).technology.window
    return window.lowest, window.highest


def _texts(
    arguments: argparse.Namespace, network: ResistiveNetwork | HopfieldNetwork, written: WrittenNetlist | None
) -> dict[Path, str]:
    """Every file to write; ``written`` is what --network says where it is a netlist."""
    example = written.inputs if written else options.example_inputs(network, arguments.seed, 1)
    inputs = options.array(arguments.inputs, "inputs", network.layers[0], example)
    targets = options.array(arguments.targets, "targets", network.classes, _usual_targets(network, written))
    if len(inputs) != 1 or len(targets) != 1:
        raise UserError(f"a netlist holds one sample, got {len(inputs)} inputs and {len(targets)} targets")
    if isinstance(network, HopfieldNetwork):
        if arguments.specification:
            raise UserError("--specification: chips are of resistive networks; leave it out")
        return {arguments.output: _hopfield(arguments, network, inputs, targets)}
    if arguments.specification:
        return {arguments.output: _chip(arguments, network, inputs, targets, written)}
    if arguments.form == "subcircuits":
        return _subcircuits(arguments, network, inputs, _injection(arguments, network, inputs, targets, written))
    nudge = None
    if arguments.phase == "nudged":
        nudge = _injection(arguments, network, inputs, targets, written)
    circuit = _drawn(arguments, compile_network(network, inputs, [nudge], arguments.form))
    return {arguments.output: static_netlist(circuit, dialect=DIALECTS[arguments.dialect])}


def _drawn(arguments: argparse.Namespace, circuit: Circuit) -> Circuit:
    """``circuit``, of which a picture is made where one is asked for."""
    if arguments.picture:
        from eqprop_analog.plotting.circuit import draw_circuit

        console.say(f"{arguments.picture}: {draw_circuit(circuit, arguments.picture)}")
    return circuit


def _injection(
    arguments: argparse.Namespace,
    network: ResistiveNetwork,
    inputs: np.ndarray,
    targets: np.ndarray,
    written: WrittenNetlist | None,
) -> Injection:
    """The nudge asked for; where none is, that of a netlist given as --network."""
    if written and written.injection and arguments.beta is None and arguments.targets is None:
        return written.injection
    return options.injection(network, inputs, Nudge(targets, _beta(arguments, network, written), network.nudge_kind))


def _subcircuits(
    arguments: argparse.Namespace, network: ResistiveNetwork, inputs: np.ndarray, nudge: Injection
) -> dict[Path, str]:
    """The testbench, and beside it the network."""
    if arguments.picture:
        raise UserError("--picture: is drawn of the flat or the norton form; leave out --form subcircuits")
    library = arguments.output.with_suffix(".lib")
    if library == arguments.output:
        raise UserError(f"--output {library}: the network will have this name; call the testbench FILE.cir")
    files = hierarchical_netlist(network, inputs, nudge, library.name, DIALECTS[arguments.dialect])
    return {library: files.network, arguments.output: files.testbench}


def _pulled(
    network: ResistiveNetwork | HopfieldNetwork, written: WrittenNetlist | None
) -> tuple[float, np.ndarray] | None:
    """(β, targets) of a netlist given as --network that pulls its outputs by conductances to sources; None of any other."""
    if written is None or written.injection is None or network.classes != network.layers[-1]:
        return None
    g, current = float(np.max(written.injection[0])), np.asarray(written.injection[1])
    return (g, current / g) if g else None


def _usual_targets(network: ResistiveNetwork | HopfieldNetwork, written: WrittenNetlist | None) -> np.ndarray:
    """Where --targets says nothing: those of the netlist, or the usual ones."""
    pulled = _pulled(network, written)
    return pulled[1] if pulled else options.example_targets(network, 1)


def _beta(arguments: argparse.Namespace, network: ResistiveNetwork, written: WrittenNetlist | None) -> float:
    """--beta, that of the netlist, or the usual one."""
    pulled = _pulled(network, written) if arguments.beta is None else None
    if pulled:
        return pulled[0]
    if arguments.beta is None and written and written.injection and arguments.targets is None:
        raise UserError("--beta: the netlist's nudge is a current into its outputs; name --beta and --targets instead")
    return options.beta(arguments, network)


def _chip(
    arguments: argparse.Namespace,
    network: ResistiveNetwork,
    inputs: np.ndarray,
    targets: np.ndarray,
    written: WrittenNetlist | None,
) -> str:
    """The network written into the chip's devices, by impedance scaling where the specification has it: the header says so."""
    if arguments.form == "subcircuits" or arguments.dialect != "ngspice":
        raise UserError(
            "--specification: a chip's netlist is flat or norton, for ngspice, whose diodes can differ in temperature"
        )
    if arguments.picture:
        raise UserError("--picture: a chip's wires have no place in a schematic; leave out --specification")
    specification = Specification.load(arguments.specification)
    wanted = onto(network, specification)
    chip = Chip.drawn(specification, wanted, arguments.seed, 0 if arguments.chip is None else arguments.chip)
    chip.program(wanted)
    circuit = NonidealNetwork(chip.network, chip.periphery, specification.wires.resistance, specification.wires.tile)
    injection = None
    if arguments.phase == "nudged":
        scale = impedance_scale(network, specification.technology.window) if specification.impedance_scaling else 1.0
        nudge = Nudge(targets, scale * _beta(arguments, network, written), network.nudge_kind)
        start = NonidealNewtonSolver().solve(circuit, inputs).require() if nudge.kind == "current" else None
        injection = NonidealEquations.of(circuit, circuit.check_inputs(inputs)).nudged([nudge], start).injection
    compiled = compile_nonideal(circuit, inputs, [injection], arguments.form)
    notes = (*compiled.notes, *_chip_notes(specification, network, chip))
    return static_netlist(replace(compiled, notes=notes))


def _chip_notes(specification: Specification, network: ResistiveNetwork, chip: Chip) -> list[str]:
    """Which chip it is, what it changes in the network, which is printed too, and what its specification sets."""
    scaling = scaling_notes(network, specification.technology.window) if specification.impedance_scaling else ()
    for note in scaling:
        console.say(note)
    kept = "Diodes, gains, bias currents and nudge are nominally those of the network." if not scaling else ""
    settings = [f"{name} = {value}" for name, value in specification.settings().items()]
    written = textwrap.wrap(f"It sets {', '.join(settings) or 'nothing'}.", NOTE_WIDTH)
    return [f"Chip {chip.number} of specification {specification.label}. {kept}".strip(), *scaling, *written]


def _hopfield(arguments: argparse.Namespace, network: HopfieldNetwork, inputs: np.ndarray, targets: np.ndarray) -> str:
    """Newton's iteration begins where the circuit rests that is let go at 0 V; which minimum it finds is else left to it."""
    if arguments.form == "subcircuits":
        raise UserError("--form subcircuits: is of resistive networks; take flat or norton")
    inputs = network.check_inputs(inputs)
    equations = HopfieldEquations.of(network, inputs)
    nudge = None
    if arguments.phase == "nudged":
        nudge = Nudge(targets, options.beta(arguments, network))
        equations = equations.nudged([nudge], None)
    circuit = _drawn(arguments, compile_hopfield(network, inputs, equations, arguments.form))
    dynamics = surrogate()
    free = dynamics.solve(network, inputs)
    rest = free if nudge is None else dynamics.solve(network, inputs, nudge, free)
    start = np.concatenate(equations.forces(rest.voltages), axis=1)[0].round(DIGITS)
    return static_netlist(circuit, start, DIALECTS[arguments.dialect])
