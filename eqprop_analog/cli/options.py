"""Options that several commands share, and how they become a network, inputs and JSON."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.characterization.device_file import read_device
from eqprop_analog.cli import console
from eqprop_analog.core import Network, load_network
from eqprop_analog.core.checks import check_seed
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.devices import LAWS, law_from
from eqprop_analog.devices.buffer import BUFFERS, buffer_from
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.results import versions
from eqprop_analog.files import read_array, require_writable, write_text
from eqprop_analog.incoming import real_array
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.resistive.equations import NodalEquations
from eqprop_analog.networks.resistive.netlist_import import Given, WrittenNetlist, read_netlist
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.surrogate import SurrogateSolver
from eqprop_analog.quantities import NUMBER, Quantity, option
from eqprop_analog.spice.elements import Injection
from eqprop_analog.spice.ngspice.sweeps import TIME_LIMIT

Array = np.ndarray

STANDARD_OUTPUT = Path("-")
NO_SETTINGS = ("command", "run", "json", "quiet", "verbose")
"""What a command line says that no figure depends on."""

MODELS = ("resistive", "hopfield")
"""What --layers can make."""
RESISTIVE = ("diode", "amplifier_gain", "input_gain", "bias_row", "outputs", "conductance_window")
"""Options of fresh resistive networks."""
UNSAID = ("input_gain", "outputs", "conductance_window")
"""Those that a netlist may leave to the command line."""
ARCHIVES = (b"PK", b"\x93NUMPY")
"""How files of arrays begin."""


def add_network(parser: argparse.ArgumentParser) -> None:
    """--layers or --network, and what else makes a network."""
    group = parser.add_argument_group("network")
    group.add_argument("--layers", type=int, nargs="+", metavar="N", help="inputs, hidden layers ..., outputs")
    group.add_argument(
        "--network",
        type=Path,
        metavar="FILE.npz",
        help="a trained or saved network instead, or a flat netlist for ngspice, whatever its name ends in",
    )
    group.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of fresh conductances and of example inputs (default 0)"
    )
    add_diode(group, "of fresh networks")
    group.add_argument("--amplifier-gain", type=float, metavar="A", help="of fresh networks (default 1: no amplifiers)")
    group.add_argument(
        "--input-gain",
        type=option("V"),
        metavar="VOLTS",
        help="of fresh networks, and of a netlist that does not state it, V per unit of input (default 1)",
    )
    group.add_argument(
        "--outputs",
        choices=["single", "pairs"],
        help="of the same: one output node a class, or the difference of two (default single)",
    )
    group.add_argument(
        "--conductance-window",
        type=option("S"),
        nargs=2,
        metavar=("G_MIN", "G_MAX"),
        help="of the same: what learning may reach, S (default 0 1e-4)",
    )
    group.add_argument(
        "--bias-row",
        type=option("V"),
        metavar="VOLTS",
        help="one more row of crossbar 1 of fresh networks, at this voltage",
    )
    group.add_argument(
        "--model",
        choices=MODELS,
        help="what --layers makes: resistors and diodes, or leaky integrators and saturating buffers (default resistive)",
    )
    group.add_argument(
        "--buffer",
        metavar="LAW",
        help=f"of fresh Hopfield networks: {', '.join(BUFFERS)}, or one of your own (default hard-sigmoid)",
    )
    group.add_argument(
        "--untied", action="store_true", help="give a fresh Hopfield network's way back weights of its own"
    )


def add_diode(parser: Any, whose: str) -> None:
    """--diode; see ``diode_table``."""
    parser.add_argument(
        "--diode",
        metavar="FILE.toml|LAW",
        help=f"{whose}: a device file, which `eqprop-analog device` makes, or a law with its usual parameters (default ngspice)",
    )


def diode_table(given: str) -> dict[str, Any]:
    """The table of the law that --diode names, a device file's or that of its usual parameters. Raises UserError."""
    if given in LAWS:
        return {"law": given}
    path = Path(given)
    if path.suffix != ".toml":
        raise UserError(f"--diode {given}: expected a device file, FILE.toml, or one of the laws {', '.join(LAWS)}")
    return read_device(path)


def add_beta(parser: argparse.ArgumentParser) -> None:
    """--beta; see ``beta``."""
    parser.add_argument(
        "--beta",
        type=option("S"),
        metavar="SIEMENS",
        help="nudge conductance, such as 100nS (default: a tenth of the safe bound; of a Hopfield network without unit, 0.5)",
    )


def add_capacitance(parser: argparse.ArgumentParser, note: str = "") -> None:
    """--capacitance, farads."""
    parser.add_argument(
        "--capacitance",
        type=option("F"),
        nargs="+",
        default=[1e-12],
        metavar="FARADS",
        help=f"to ground at every node, or one a layer (default 1e-12){note}",
    )


def add_time_limit(parser: argparse.ArgumentParser) -> None:
    """--time-limit of ngspice, seconds."""
    parser.add_argument(
        "--time-limit",
        type=option("s"),
        default=TIME_LIMIT,
        metavar="SECONDS",
        help=f"what one ngspice sweep may take before its samples are given up (default {TIME_LIMIT:g})",
    )


def network(
    options: argparse.Namespace,
    netlist: WrittenNetlist | None = None,
    window: tuple[float, float] | None = None,
) -> ResistiveNetwork | HopfieldNetwork:
    """The network asked for; UserError if it is asked for twice, differently, or not at all.

    ``netlist``: what ``written`` has read of --network already. ``window``: (G_min, G_max) of the devices that a fresh
    resistive network is for, siemens.
    """
    resistive = {name: getattr(options, name) for name in RESISTIVE if getattr(options, name) is not None}
    hopfield = {
        name: getattr(options, name) for name in ("buffer", "untied") if getattr(options, name) not in (None, False)
    }
    if options.network is None:
        if options.layers is None:
            raise UserError("name the network: --layers 784 100 10, or --network FILE.npz")
        if options.model == "hopfield":
            _refuse(resistive, "a Hopfield network has none of these")
            return _fresh_hopfield(options)
        _refuse(hopfield, "these are of --model hopfield")
        if "diode" in resistive:
            resistive["diode"] = law_from(diode_table(resistive["diode"]))
        if window is not None:
            resistive["conductance_window"] = window
        return ResistiveNetwork.dense(options.layers, options.seed, **resistive)
    netlist = written(options) if netlist is None else netlist
    unsaid = UNSAID if netlist else ()
    _refuse({k: v for k, v in (resistive | hopfield).items() if k not in unsaid}, f"{options.network} has its own")
    loaded = netlist.network if netlist else load(options.network)
    if loaded.family not in MODELS:
        raise UserError(
            f"{options.network}: this command is about layered networks, not {loaded.family} ones; verify takes all"
        )
    if options.model not in (None, loaded.family):
        raise UserError(f"--model {options.model} disagrees with {options.network}, which is a {loaded.family} network")
    if options.layers is not None and tuple(options.layers) != loaded.layers:
        raise UserError(f"--layers {options.layers} disagrees with {options.network}, which is {list(loaded.layers)}")
    return loaded


def load(path: Path) -> Any:
    """The network of any kind in a file, saved or a netlist; UserError if there is none."""
    if is_netlist(path):
        return read_netlist(path).network
    if path.is_dir():
        raise UserError(f"{path}: a folder; name a file in it, such as {path / 'network.npz'} of a training run")
    return load_network(path)


def is_netlist(path: Path) -> bool:
    """Whether a file is a text, by what is in it: whatever is no archive of arrays, and is not called ``.npz`` either."""
    if path.is_dir() or path.suffix == ".npz":
        return False
    if not path.is_file():  # a pipe can be read once; a file that is missing has its name alone
        return path.exists() or bool(path.suffix)
    try:
        with path.open("rb") as file:
            return not file.read(6).startswith(ARCHIVES)
    except OSError:
        return True


def written(options: argparse.Namespace) -> WrittenNetlist | None:
    """All that --network says where it is a netlist."""
    if options.network is None or not is_netlist(options.network):
        return None
    window = options.conductance_window
    return read_netlist(options.network, Given(options.input_gain, options.outputs, tuple(window) if window else None))


def _refuse(given: dict[str, Any], why: str) -> None:
    if given:
        raise UserError(f"{why}; leave out --{'/--'.join(given).replace('_', '-')}")


def _fresh_hopfield(options: argparse.Namespace) -> HopfieldNetwork:
    """Drawn by "fan-in", which gives it biases, too: without them half of the nodes of a hard sigmoid rest at a corner."""
    buffer = buffer_from({"law": "hard-sigmoid" if options.buffer is None else options.buffer})
    return HopfieldNetwork.dense(options.layers, options.seed, buffer=buffer, untied=options.untied, initial="fan-in")


def array(
    path: Path | None, name: str, columns: int, default: Float[Array, "rows columns"]
) -> Float[Array, "rows columns"]:
    """A (rows, columns) array from a ``.npy`` file, or numbers themselves, or the default; UserError for anything else.

    Numbers: separated by commas, rows by semicolons, such as 1,0;0,1.
    """
    if path is None:
        return default
    given = _typed(str(path)) if not path.exists() else None
    given = read_array(path, f"--{name}") if given is None else given
    values = np.atleast_2d(given)
    if values.ndim != 2 or values.shape[1] != columns or not len(values):
        raise UserError(f"--{name} {path}: expected shape (samples, {columns}), got {given.shape}")
    if not np.isfinite(values).all():
        raise UserError(f"--{name} {path}: holds NaN or infinite values")
    return values


def _typed(text: str) -> Array | None:
    """The numbers that ``text`` consists of; None if it is something else, such as the name of a file."""
    rows = [[part.strip() for part in row.split(",")] for row in text.split(";")]
    if not all((found := NUMBER.fullmatch(part)) and not found[2] for row in rows for part in row):
        return None
    return real_array([[float(part) for part in row] for row in rows], "numbers")


def example_inputs(network: Network, seed: int, samples: int) -> Float[Array, "samples inputs"]:
    """Uniform inputs in [0, 1], reproducible; UserError for a seed below 0."""
    check_seed(seed)
    return np.random.default_rng(seed).uniform(0, 1, (samples, network.layers[0]))


def example_targets(network: Network, samples: int) -> Float[Array, "samples classes"]:
    """1 V at one read-out after the other, 0 V at the rest."""
    return np.eye(network.classes)[np.arange(samples) % network.classes]


def beta(options: argparse.Namespace, network: Network) -> float:
    """--beta, or what the network certainly bears (usual_beta)."""
    if options.beta is not None:
        if not network.beta_unit and isinstance(options.beta, Quantity) and options.beta.unit:
            raise UserError(f"--beta: of a {network.family} network beta has no unit, got one in {options.beta.unit}")
        if not np.isfinite(options.beta) or options.beta == 0:
            raise UserError(f"--beta: expected siemens, finite and not 0, got {options.beta}")
        return float(options.beta)
    network.equations(np.zeros((1, network.layers[0])))  # a node that nothing drives is named here
    return network.usual_beta()


def injection(network: ResistiveNetwork, inputs: Float[Array, "batch inputs"], nudge: Nudge) -> Injection:
    """What ``nudge`` injects at the outputs; a current nudge is taken at the surrogate's free equilibrium."""
    batch = network.check_inputs(inputs)
    free = SurrogateSolver().solve(network, batch).require() if nudge.kind == "current" else None
    return NodalEquations.of(network, batch).nudged([nudge], free).injection


def add_json(parser: argparse.ArgumentParser, what: str = "every figure") -> None:
    """--json; see ``report_figures``."""
    parser.add_argument(
        "--json",
        type=figures_file,
        metavar="FILE",
        help=f"write {what}, all options and versions; - is standard output, all else goes to standard error then",
    )


def figures_file(text: str) -> Path:
    """The path after --json, refused before anything is computed if it cannot be written."""
    path = Path(text)
    if path != STANDARD_OUTPUT:
        try:
            require_writable(path)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
    return path


def report_figures(arguments: argparse.Namespace, figures: dict[str, Any], *files: Path) -> None:
    """Write the figures to ``files`` and where --json asks for them: with all options, and the versions that computed them."""
    asked = {name: _plain(value) for name, value in vars(arguments).items() if name not in NO_SETTINGS}
    document = {"command": arguments.command, "options": asked} | figures | {"versions": versions()}
    for path in (*files, arguments.json):
        write_json(path, document)


def _plain(value: Any) -> Any:
    """Of an option, as JSON has it."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def write_json(path: Path | None, figures: dict[str, Any]) -> None:
    """Write figures to a file, to standard output if it is "-", or, for None, nowhere."""
    if path is None:
        return
    text = json.dumps(figures, indent=2)
    if path == STANDARD_OUTPUT:
        console.figures(text)
    else:
        write_text(path, text + "\n")
