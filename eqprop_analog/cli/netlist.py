"""``eqprop-analog netlist``: a layer shape or a saved network as a SPICE file."""

import argparse
import time
from pathlib import Path

import numpy as np

from eqprop_analog.chips import Chip, Specification
from eqprop_analog.chips.mapping import impedance_scale, mapped
from eqprop_analog.circuit import compile_network, static_netlist
from eqprop_analog.circuit.hopfield import compile_hopfield
from eqprop_analog.circuit.nonideal_network import compile_nonideal
from eqprop_analog.cli import console, options
from eqprop_analog.errors import UserError
from eqprop_analog.files import packaged, write_text
from eqprop_analog.models import HopfieldEquations, HopfieldNetwork, ResistiveNetwork
from eqprop_analog.models.nonideal_equations import NonidealEquations
from eqprop_analog.models.nonideal_network import NonidealNetwork
from eqprop_analog.nudging import Nudge
from eqprop_analog.solvers.hopfield_ngspice import surrogate
from eqprop_analog.solvers.nonideal_newton import NonidealNewtonSolver

SUMMARY = "Write a network as a SPICE netlist that `ngspice -b FILE` runs as it stands."
EXAMPLES = """\
examples:
  every resistor of a 784x2-100-10 network:  --layers 784 100 10 --output mnist.cir
  a trained network, Norton form:            --network runs/demo/network.npz --form norton --output demo.cir
  with a nudge of 0.1 uS towards output 0:   --layers 2 4 1 --phase nudged --beta 1e-7 --output nudged.cir
  the same network on one imperfect chip:    --layers 4 6 2 --specification everything --chip 3 --output chip.cir
  a Hopfield network, nudged by beta = 0.5:  --model hopfield --layers 3 3 2 --phase nudged --output hopfield.cir"""


DIGITS = 6
"""Of the voltages at which a Hopfield network begins."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    options.add_network(parser)
    parser.add_argument(
        "--form",
        choices=["flat", "norton"],
        default="flat",
        help="every resistor, or crossbar 1 reduced (default flat)",
    )
    parser.add_argument(
        "--phase", choices=["free", "nudged"], default="free", help="without or with the nudge (default free)"
    )
    parser.add_argument(
        "--inputs", type=Path, metavar="X.npy", help="the input vector (default: uniform in [0, 1] from --seed)"
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
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.cir", help="the netlist")


def run(arguments: argparse.Namespace) -> None:
    """Compile, validate, write."""
    if arguments.chip is not None and arguments.specification is None:
        raise UserError("--chip: is of a specification; add --specification, or leave it out")
    network = options.network(arguments)
    inputs = options.array(
        arguments.inputs, "inputs", network.layers[0], options.example_inputs(network, arguments.seed, 1)
    )
    targets = options.array(arguments.targets, "targets", network.classes, options.example_targets(network, 1))
    if len(inputs) != 1 or len(targets) != 1:
        raise UserError(f"a netlist holds one sample, got {len(inputs)} inputs and {len(targets)} targets")
    begin = time.perf_counter()
    if isinstance(network, HopfieldNetwork):
        if arguments.specification:
            raise UserError("--specification: chips are of resistive networks; leave it out")
        text = _hopfield(arguments, network, inputs, targets)
    elif arguments.specification:
        text = _chip(arguments, network, inputs, targets)
    else:
        text = _resistive(arguments, network, inputs, targets)
    write_text(arguments.output, text)
    lines = text.count("\n")
    console.say(
        f"{arguments.output}: {lines} lines in {time.perf_counter() - begin:.2f} s; run it: ngspice -b {arguments.output}"
    )


def _resistive(
    arguments: argparse.Namespace, network: ResistiveNetwork, inputs: np.ndarray, targets: np.ndarray
) -> str:
    nudge = None
    if arguments.phase == "nudged":
        nudge = options.injection(network, inputs, Nudge(targets, options.beta(arguments, network), network.nudge_kind))
    return static_netlist(compile_network(network, inputs, [nudge], arguments.form))


def _chip(arguments: argparse.Namespace, network: ResistiveNetwork, inputs: np.ndarray, targets: np.ndarray) -> str:
    """The network mapped onto the devices' window and written into the chip; β is that of the network, mapped as well."""
    specification = Specification.load(arguments.specification)
    window = specification.technology.window
    mapping = mapped(network, window)
    chip = Chip.drawn(specification, mapping, arguments.seed, arguments.chip or 0)
    chip.program(mapping)
    circuit = NonidealNetwork(chip.network, chip.periphery, specification.wires.resistance, specification.wires.tile)
    injection = None
    if arguments.phase == "nudged":
        beta = impedance_scale(network, window) * options.beta(arguments, network)
        nudge = Nudge(targets, beta, network.nudge_kind)
        start = NonidealNewtonSolver().solve(circuit, inputs).require() if nudge.kind == "current" else None
        injection = NonidealEquations.of(circuit, circuit.check_inputs(inputs)).nudged([nudge], start).injection
    return static_netlist(compile_nonideal(circuit, inputs, [injection], arguments.form))


def _hopfield(arguments: argparse.Namespace, network: HopfieldNetwork, inputs: np.ndarray, targets: np.ndarray) -> str:
    """Newton's iteration begins where the circuit rests that is let go at 0 V; which minimum it finds is else left to it."""
    inputs = network.check_inputs(inputs)
    equations = HopfieldEquations.of(network, inputs)
    nudge = None
    if arguments.phase == "nudged":
        nudge = Nudge(targets, options.beta(arguments, network))
        equations = equations.nudged([nudge], None)
    circuit = compile_hopfield(network, inputs, equations, arguments.form)
    dynamics = surrogate()
    free = dynamics.solve(network, inputs)
    rest = free if nudge is None else dynamics.solve(network, inputs, nudge, free)
    return static_netlist(circuit, np.concatenate(equations.forces(rest.voltages), axis=1)[0].round(DIGITS))
