"""Options that several commands share, and how they become a network, inputs and JSON."""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from eqprop_analog.cli import console
from eqprop_analog.core import Equations, Network, families, load_network
from eqprop_analog.core.checks import check_seed
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.core.registry import USUAL
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.results import versions
from eqprop_analog.experiments.solvers import SOLVERS, SURROGATE
from eqprop_analog.files import read_array, require_writable, write_text
from eqprop_analog.incoming import real_array
from eqprop_analog.quantities import NUMBER, Quantity, option
from eqprop_analog.spice.ngspice.cluster import current_cluster
from eqprop_analog.spice.ngspice.sweeps import TIME_LIMIT

Array = np.ndarray

STANDARD_OUTPUT = Path("-")
NO_SETTINGS = ("command", "run", "json", "quiet", "verbose")
"""What a command line says that no figure depends on."""

ARCHIVES = (b"PK", b"\x93NUMPY")
"""How files of arrays begin."""


class Fresh(Protocol):
    """The "fresh" feature of a kind of network: the options by which --layers makes one."""

    what: str
    """What it is made of, in a few words."""
    names: Sequence[str]
    """Its options; those that are not given are None, or False."""
    of_netlists: Sequence[str]
    """Those among them that complete a netlist which does not state them."""

    def add_options(self, group: "argparse._ArgumentGroup") -> None:
        """Add them."""
        ...

    def make(self, layers: Sequence[int], seed: int, **given: Any) -> Network:
        """A network of these sizes and of the options that were given."""
        ...


class Read(Protocol):
    """What the "netlist reader" of a kind of network makes of a netlist."""

    @property
    def network(self) -> Network:
        """The network."""
        ...

    @property
    def inputs(self) -> Float[Array, "1 inputs"]:
        """The netlist's input vector."""
        ...

    @property
    def nudge(self) -> Nudge | None:
        """The nudge that it is written under, where that is a nudge by conductances."""
        ...

    def phase(self) -> Equations | None:
        """The equations of the nudged phase that it is written in; None of the free phase."""
        ...


def _with(feature: str) -> dict[str, Any]:
    """What every kind of network that has ``feature`` has there, by the kind's name."""
    return {name: kind.feature(feature) for name, kind in families().items() if feature in kind.features}


def add_network(parser: argparse.ArgumentParser) -> None:
    """--layers or --network, and what else makes a network."""
    group = parser.add_argument_group("network")
    group.add_argument("--layers", type=int, nargs="+", metavar="N", help="inputs, hidden layers ..., outputs")
    group.add_argument(
        "--network",
        type=Path,
        metavar="FILE.npz",
        help="instead: a saved network, or a flat netlist for ngspice, whatever its file is called",
    )
    group.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of initial conductances and of example inputs (default 0)",
    )
    kinds: dict[str, Fresh] = _with("fresh")
    group.add_argument(
        "--model",
        choices=list(kinds),
        help=f"the kind of network that --layers builds: {', or '.join(each.what for each in kinds.values())} (default {USUAL})",
    )
    for each in kinds.values():
        each.add_options(group)


def add_diode(parser: Any, whose: str) -> None:
    """--diode; see ``characterization.device_file.diode_table``."""
    parser.add_argument(
        "--diode",
        metavar="FILE.toml|LAW",
        help=f"{whose}: a device file from `eqprop-analog device`, or a law with its default parameters (default ngspice)",
    )


def add_beta(parser: argparse.ArgumentParser) -> None:
    """--beta; see ``beta``."""
    parser.add_argument(
        "--beta",
        type=option("S"),
        metavar="SIEMENS",
        help="nudge conductance, such as 100nS (default: a tenth of the safe bound; for a Hopfield network dimensionless, 0.5)",
    )


def add_capacitance(parser: argparse.ArgumentParser, note: str = "") -> None:
    """--capacitance, farads."""
    parser.add_argument(
        "--capacitance",
        type=option("F"),
        nargs="+",
        default=[1e-12],
        metavar="FARADS",
        help=f"capacitance to ground at every node, or one for each layer (default 1e-12){note}",
    )


def add_time_limit(parser: argparse.ArgumentParser) -> None:
    """--time-limit of ngspice, seconds."""
    parser.add_argument(
        "--time-limit",
        type=option("s"),
        default=TIME_LIMIT,
        metavar="SECONDS",
        help=f"time limit for one ngspice sweep, after which its samples fail (default {TIME_LIMIT:g})",
    )


def network(options: argparse.Namespace, netlist: Read | None = None, **usual: Any) -> Network:
    """The network asked for; UserError if it is asked for twice, differently, or not at all.

    ``netlist``: what ``read`` has made of --network already. ``usual``: settings that a fresh network takes, whatever its options
    say, if its kind has them.
    """
    kinds: dict[str, Fresh] = _with("fresh")
    given = {name: _given(options, each.names) for name, each in kinds.items()}
    if options.network is None:
        if options.layers is None:
            raise UserError("no network is given; add --layers 784 100 10, or --network FILE.npz")
        model = USUAL if options.model is None else options.model
        for other, settings in given.items():
            if other != model:
                _refuse(settings, f"these are of --model {other}, not of {model} networks")
        known = {name: value for name, value in usual.items() if name in kinds[model].names}
        return kinds[model].make(options.layers, options.seed, **(given[model] | known))
    netlist = read(options) if netlist is None else netlist
    loaded: Network = netlist.network if netlist else load(options.network)
    unsaid = kinds[loaded.family].of_netlists if netlist else ()
    settings = {name: value for each in given.values() for name, value in each.items() if name not in unsaid}
    _refuse(settings, f"{options.network} has its own")
    if options.model not in (None, loaded.family):
        raise UserError(f"--model {options.model} disagrees with {options.network}, which is a {loaded.family} network")
    if options.layers is not None and tuple(options.layers) != loaded.layers:
        raise UserError(f"--layers {options.layers} disagrees with {options.network}, which is {list(loaded.layers)}")
    return loaded


def _given(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Those of the options that are given, with their values."""
    values = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in values.items() if value is not None and value is not False}


def load(path: Path) -> Any:
    """The network of any kind in a file, saved or a netlist; UserError if there is none."""
    if is_netlist(path):
        return read_netlist(path).network
    if path.is_dir():
        raise UserError(f"{path}: a folder; name a file in it, such as {path / 'network.npz'} of a training run")
    return load_network(path)


def read_netlist(path: Path, options: argparse.Namespace | None = None) -> Read:
    """What a netlist says, completed by ``options``. Raises UserError where no kind of network reads it: the first one's."""
    refusals = []
    fresh: dict[str, Fresh] = _with("fresh")
    for name, reader in _with("netlist reader").items():
        given = {} if options is None else _given(options, fresh[name].of_netlists)
        try:
            found: Read = reader(path, **given)
        except UserError as error:
            refusals.append(error)
        else:
            return found
    raise refusals[0]


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


def read(options: argparse.Namespace) -> Read | None:
    """All that --network says where it is a netlist."""
    if options.network is None or not is_netlist(options.network):
        return None
    return read_netlist(options.network, options)


def _refuse(given: dict[str, Any], why: str) -> None:
    if given:
        raise UserError(f"{why}; leave out --{'/--'.join(given).replace('_', '-')}")


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


class Suggested(tuple[str, ...]):
    """Choices that are shown and completed, beside which others are taken, too: those of modules that --import names."""

    __slots__ = ()

    def __contains__(self, value: object) -> bool:
        """Whether argparse lets it pass; what it means is found out later."""
        return isinstance(value, str)


def add_workers(parser: argparse.ArgumentParser, what: str = "parallel processes") -> None:
    """--workers and --cluster; see ``count_workers``."""
    parser.add_argument(
        "--workers", type=int, metavar="N", help=f"{what} (default 1, or as many as the cluster has threads)"
    )
    add_cluster(parser)


def add_cluster(parser: Any) -> None:
    """--cluster, which ``cli.main`` connects to (spice.ngspice.cluster.on_cluster)."""
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="work on a Dask cluster that is running, by its scheduler's address, such as tcp://10.0.0.1:8786, in a "
        "network that you trust (docs/cluster.md)",
    )


def count_workers(arguments: argparse.Namespace) -> None:
    """Put the usual number of workers where none is given. Raises UserError for less than 1."""
    if arguments.workers is None:
        cluster = current_cluster()
        arguments.workers = 1 if cluster is None else cluster.threads
    if arguments.workers < 1:
        raise UserError(f"--workers: expected at least 1, got {arguments.workers}")


def add_solver(parser: Any, default: str | None = None) -> None:
    """--solver."""
    parser.add_argument(
        "--solver",
        choices=Suggested((SURROGATE, *SOLVERS)),
        default=default,
        help="the solver of every equilibrium: surrogate, ngspice, or one of your own (experiments.solvers.register_solver)",
    )


def add_json(parser: argparse.ArgumentParser, what: str = "every figure") -> None:
    """--json; see ``report_figures``."""
    parser.add_argument(
        "--json",
        type=figures_file,
        metavar="FILE",
        help=f"write {what}, all options and versions as JSON; with -, to standard output, and all "
        "other output to standard error",
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
