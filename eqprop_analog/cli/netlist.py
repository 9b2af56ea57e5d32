"""``eqprop-analog netlist``: a layer shape or a saved network as a SPICE file."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from eqprop_analog.cli import console, options, samples, wiring
from eqprop_analog.core import Equations, Network, family_of
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.devices import own_subcircuit
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.experiments.netlists import netlist, phase
from eqprop_analog.files import packaged, write_text
from eqprop_analog.spice.circuit import Circuit
from eqprop_analog.spice.programs import PROGRAMS
from eqprop_analog.text import shell_word

SUMMARY = "Write a network as a self-contained SPICE netlist for ngspice, LTspice, Xyce, gnucap or Spectre."
EXAMPLES = """\
examples:
  every resistor of a 784x2-100-10 network:     --layers 784 100 10 --output mnist.cir
  a trained network, Norton form:               --network runs/demo/network.npz --form norton --output demo.cir
  the same with a digit at its inputs:          --network runs/demo/network.npz --dataset mnist --sample 7 --output seven.cir
  with a nudge of 0.1 uS to 1 V at output 0:    --layers 2 4 1 --phase nudged --beta 1e-7 --output nudged.cir
  subcircuits in xor.lib, and a testbench:      --network netlists/xor.npz --form subcircuits --output xor.cir
  for LTspice (or xyce, gnucap, spectre):       --network netlists/xor.npz --dialect ltspice --output xor.cir
  a netlist edited by hand, as a network:       --network edited.cir --output edited.npz
  the same network on one imperfect chip:       --layers 4 6 2 --specification everything --chip 3 --output chip.cir
  and a picture of its circuit:                 --network netlists/xor.npz --output xor.cir --picture xor.svg
  with wires of 20 ohm a cell, tiles of 4 x 4:  --layers 4 6 2 --wire-resistance 20ohm --tile 4 4 --output wires.cir
  a Hopfield network, nudged by beta = 0.5:     --model hopfield --layers 3 3 2 --phase nudged --output hopfield.cir"""


OF_NETLISTS = {
    "form": "flat",
    "dialect": "ngspice",
    "phase": "free",
    **dict.fromkeys(
        ("inputs", "targets", "sample", "dataset", "beta", "specification", "picture", "devices", *wiring.WIRES)
    ),
}
"""Options that describe the netlist and not the network, with their defaults."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    options.add_network(parser)
    parser.add_argument(
        "--form",
        choices=["flat", "norton", "subcircuits"],
        default="flat",
        help="flat: every resistor; norton: crossbar 1 reduced; subcircuits: one for each crossbar, in a .lib file next to the "
        "testbench, which runs the free and the nudged phase (default flat)",
    )
    parser.add_argument(
        "--dialect",
        choices=list(PROGRAMS),
        default="ngspice",
        help="the program that will run the netlist (default ngspice)",
    )
    parser.add_argument(
        "--phase", choices=["free", "nudged"], default="free", help="without or with the nudge (default: free)"
    )
    wiring.add_wires(parser)
    samples.add_samples(parser, several=False)
    options.add_beta(parser)
    parser.add_argument(
        "--specification",
        metavar="NAME|FILE",
        help="write the network as programmed into a chip of this specification: one of "
        f"{', '.join(packaged('specifications'))}, or a TOML file",
    )
    parser.add_argument(
        "--chip",
        type=int,
        metavar="N",
        help="chip index within the lot of --seed (default 0); the chip is shown after programming, before any drift",
    )
    parser.add_argument(
        "--devices",
        choices=["own", "table"],
        help="for diodes made by `eqprop-analog device from-spice`: the device's own subcircuit, or its table (default: own; for "
        "programs other than ngspice and for chips: table)",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE.cir", help="the netlist; FILE.npz: the network"
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE.svg|png|pdf",
        help="draw the circuit: a schematic if it is small, otherwise maps of the conductances of its crossbars",
    )


def run(arguments: argparse.Namespace) -> None:
    """Compile, validate and write the circuit."""
    if arguments.chip is not None and arguments.specification is None:
        raise UserError("--chip: a chip index needs a specification; add --specification, or leave --chip out")
    read = options.read(arguments)
    network = options.network(arguments, read, **_window(arguments))
    if arguments.output.suffix == ".npz":
        given = [
            f"--{name.replace('_', '-')}" for name, usual in OF_NETLISTS.items() if getattr(arguments, name) != usual
        ]
        if given:
            raise UserError(
                f"--output {arguments.output}: {given[0]} describes a netlist and not a network; "
                "write FILE.cir, or leave it out"
            )
        network.save(arguments.output)
        console.say(f"{arguments.output}: the network {'-'.join(map(str, network.layers))}")
        return
    begin = time.perf_counter()
    texts = _texts(arguments, network, read)
    for path, text in texts.items():
        write_text(path, text)
    lines = ", ".join(f"{path}: {text.count(chr(10))} lines" for path, text in texts.items())
    command = PROGRAMS[arguments.dialect].command
    console.say(f"{lines} in {time.perf_counter() - begin:.2f} s; run it: {command} {shell_word(arguments.output)}")


def _window(arguments: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Return (G_min, G_max) of the devices of a requested chip, siemens, else None."""
    if arguments.specification is None:
        return {}
    window = Specification.load(arguments.specification).technology.window
    return {"conductance_window": (window.lowest, window.highest)}


def _texts(arguments: argparse.Namespace, network: Network, read: options.Read | None) -> dict[Path, str]:
    """Return the text of every file to write; ``read`` is the content of a netlist given as --network."""
    target = read.nudge.target if read and read.nudge else options.example_targets(network, 1)
    usual = (read.inputs if read else options.example_inputs(network, arguments.seed, 1), target)
    given, targets = samples.solved(arguments, network, arguments.network, usual)
    inputs = network.check_inputs(given)
    network = _with_devices(arguments, network)
    if arguments.specification and (wires := wiring.wires_given(arguments)):
        raise UserError(
            f"{wires[0]}: a specification states its own wires and cells; leave out this option or --specification"
        )
    network = wiring.with_wires(arguments, network)
    if arguments.specification:
        return {arguments.output: _chip(arguments, network, inputs, targets, read)}
    nudge, phase = None, None
    if arguments.phase == "nudged" or arguments.form == "subcircuits":
        nudge, phase = _nudged(arguments, network, inputs, targets, read)
    if arguments.form == "subcircuits":
        return _subcircuits(arguments, network, inputs, phase)
    circuit = _drawn(arguments, network.circuit(inputs, [phase], arguments.form))
    return {arguments.output: netlist(network, circuit, inputs, nudge, PROGRAMS[arguments.dialect])}


def _with_devices(arguments: argparse.Namespace, network: Network) -> Network:
    """Return the network with its diodes in the form of --devices.

    Raises UserError if it has no devices of that form.
    """
    make: Callable[[], Network] | None = getattr(network, "with_own_devices", None)
    own = own_subcircuit(getattr(network, "diode", None)) is not None
    if (
        arguments.devices is None
        and make
        and own
        and arguments.dialect == "ngspice"
        and arguments.specification is None
    ):
        return make()
    if arguments.devices != "own":
        return network
    if arguments.specification is not None:
        raise UserError("--devices own: the diodes of a chip are written as tables; leave out --devices")
    if make is None:
        raise UserError(
            f"--devices own: the diodes of a {network.family} network are written by their law; leave out --devices"
        )
    return make()


def _drawn(arguments: argparse.Namespace, circuit: Circuit) -> Circuit:
    """Return ``circuit`` after drawing it, if --picture is given."""
    if arguments.picture:
        from eqprop_analog.plotting.circuit import draw_circuit

        console.say(f"{arguments.picture}: {draw_circuit(circuit, arguments.picture)}")
    return circuit


def _nudged(
    arguments: argparse.Namespace,
    network: Network,
    inputs: np.ndarray,
    targets: np.ndarray,
    read: options.Read | None,
) -> tuple[Nudge | None, Equations]:
    """Return the requested nudge and its phase, or else the phase of a netlist given as --network."""
    asked = arguments.beta is not None or _targets_given(arguments)
    written = read.phase() if read and not asked else None
    if written is not None:
        return None, written
    nudge = Nudge(targets, _beta(arguments, network, read), network.nudge_kind)
    return nudge, phase(network, inputs, nudge)


def _targets_given(arguments: argparse.Namespace) -> bool:
    return arguments.targets is not None or arguments.dataset is not None


def _subcircuits(
    arguments: argparse.Namespace, network: Network, inputs: np.ndarray, phase: Equations | None
) -> dict[Path, str]:
    """Return the testbench, and the file of the network's subcircuits."""
    write = family_of(network).feature("subcircuits", "--form subcircuits")
    if arguments.picture:  # the same devices; the subcircuits only group them
        _drawn(arguments, network.circuit(inputs, [phase], "flat"))
    library = arguments.output.with_suffix(".lib")
    if library == arguments.output:
        raise UserError(
            f"--output {library}: this name is taken by the network's own file; name the testbench FILE.cir"
        )
    files = write(network, inputs, phase, library.name, PROGRAMS[arguments.dialect])
    return {library: files.network, arguments.output: files.testbench}


def _beta(arguments: argparse.Namespace, network: Network, read: options.Read | None) -> float:
    """Return --beta, the netlist's beta, or the default."""
    if arguments.beta is None and read is not None:
        if read.nudge is not None:
            return read.nudge.beta
        if read.phase() is not None and not _targets_given(arguments):
            raise UserError(
                "--beta: the nudge of this netlist is a current into its outputs; give --beta and --targets as well"
            )
    return options.beta(arguments, network)


def _chip(
    arguments: argparse.Namespace,
    network: Network,
    inputs: np.ndarray,
    targets: np.ndarray,
    read: options.Read | None,
) -> str:
    """Return the network as programmed into a chip's devices, and print the changes."""
    write = family_of(network).feature("chip netlist", "--specification")
    if arguments.form == "subcircuits" or arguments.dialect != "ngspice":
        raise UserError(
            "--specification: a chip needs --form flat or norton and ngspice, whose diodes can have different "
            "temperatures"
        )
    if arguments.picture:
        raise UserError(
            "--picture: a schematic cannot show the wires of a chip; leave out --specification or --picture"
        )
    nudge = None
    if arguments.phase == "nudged":
        nudge = Nudge(targets, _beta(arguments, network, read), network.nudge_kind)
    specification, number = Specification.load(arguments.specification), arguments.chip or 0
    text, notes = write(network, inputs, nudge, arguments.form, specification, arguments.seed, number)
    for note in notes:
        console.say(note)
    return str(text)
