"""Options that several commands share, and their conversion to a network, inputs and JSON."""

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
"""Options on which no result depends."""

ARCHIVES = (b"PK", b"\x93NUMPY")
"""First bytes of files of arrays."""


class Fresh(Protocol):
    """The "fresh" feature of a kind of network: the options by which --layers makes one."""

    what: str
    """A short description of the network."""
    names: Sequence[str]
    """Names of its options; those that are not given are None or False."""
    of_netlists: Sequence[str]
    """The options that complete a netlist which does not state them."""

    def add_options(self, group: "argparse._ArgumentGroup") -> None:
        """Add the options to a parser."""
        ...

    def make(self, layers: Sequence[int], seed: int, **given: Any) -> Network:
        """Make a network of these sizes with the given options."""
        ...


class Read(Protocol):
    """A netlist as read by the "netlist reader" of a kind of network."""

    @property
    def network(self) -> Network:
        """The network of the netlist."""
        ...

    @property
    def inputs(self) -> Float[Array, "1 inputs"]:
        """The netlist's input vector."""
        ...

    @property
    def nudge(self) -> Nudge | None:
        """The nudge in the netlist, if it is a nudge by conductances, else None."""
        ...

    def phase(self) -> Equations | None:
        """The equations of the netlist's nudged phase; None for the free phase."""
        ...


def _with(feature: str) -> dict[str, Any]:
    """Return ``feature`` of every kind of network that has it, by the kind's name."""
    return {name: kind.feature(feature) for name, kind in families().items() if feature in kind.features}


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add --layers, --network and the other options that define a network."""
    group = parser.add_argument_group("network")
    group.add_argument("--layers", type=int, nargs="+", metavar="N", help="inputs, hidden layers ..., outputs")
    group.add_argument(
        "--network",
        type=Path,
        metavar="FILE.npz",
        help="instead of --layers: a saved network, or a flat netlist for ngspice, with any file name",
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
    """Add --diode; see ``characterization.device_file.diode_table``."""
    parser.add_argument(
        "--diode",
        metavar="FILE.toml|LAW",
        help=f"{whose}: a device file from `eqprop-analog device`, or a law with its default parameters (default ngspice)",
    )


def add_beta(parser: argparse.ArgumentParser) -> None:
    """Add --beta; see ``beta``."""
    parser.add_argument(
        "--beta",
        type=option("S"),
        metavar="SIEMENS",
        help="nudge conductance, such as 100nS (default: a tenth of the safe bound; for a Hopfield network dimensionless, 0.5)",
    )


def add_capacitance(parser: argparse.ArgumentParser, note: str = "") -> None:
    """Add --capacitance, farads."""
    parser.add_argument(
        "--capacitance",
        type=option("F"),
        nargs="+",
        default=[1e-12],
        metavar="FARADS",
        help=f"capacitance to ground at every node, or one for each layer (default 1e-12){note}",
    )


def add_time_limit(parser: argparse.ArgumentParser) -> None:
    """Add --time-limit of ngspice, seconds."""
    parser.add_argument(
        "--time-limit",
        type=option("s"),
        default=TIME_LIMIT,
        metavar="SECONDS",
        help=f"time limit for one ngspice sweep, after which its samples fail (default {TIME_LIMIT:g})",
    )


def network(options: argparse.Namespace, netlist: Read | None = None, **usual: Any) -> Network:
    """Return the requested network. Raises UserError if it is not given, or given twice with differences.

    ``netlist`` is the result of ``read`` for --network. ``usual`` holds settings of a fresh network that take precedence
    over its options, if its kind has them.
    """
    kinds: dict[str, Fresh] = _with("fresh")
    given = {name: _given(options, each.names) for name, each in kinds.items()}
    if options.network is None:
        if options.layers is None:
            raise UserError("no network is given; add, for example, --layers 784 100 10 or --network FILE.npz")
        model = USUAL if options.model is None else options.model
        for other, settings in given.items():
            if other != model:
                _refuse(settings, f"these options belong to --model {other}, not to {model} networks")
        known = {name: value for name, value in usual.items() if name in kinds[model].names}
        return kinds[model].make(options.layers, options.seed, **(given[model] | known))
    netlist = read(options) if netlist is None else netlist
    loaded: Network = netlist.network if netlist else load(options.network)
    unsaid = kinds[loaded.family].of_netlists if netlist else ()
    settings = {name: value for each in given.values() for name, value in each.items() if name not in unsaid}
    _refuse(settings, f"{options.network} defines them already")
    if options.model not in (None, loaded.family):
        raise UserError(f"--model {options.model} disagrees with {options.network}, which is a {loaded.family} network")
    if options.layers is not None and tuple(options.layers) != loaded.layers:
        raise UserError(f"--layers {options.layers} disagrees with {options.network}, which is {list(loaded.layers)}")
    return loaded


def _given(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Return the options that are given, with their values."""
    values = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in values.items() if value is not None and value is not False}


def load(path: Path) -> Any:
    """Load a network of any kind from a saved file or a netlist. Raises UserError if the file holds none."""
    if is_netlist(path):
        return read_netlist(path).network
    if path.is_dir():
        raise UserError(
            f"{path}: this is a folder; name a file in it, such as {path / 'network.npz'} of a training run"
        )
    return load_network(path)


def read_netlist(path: Path, options: argparse.Namespace | None = None) -> Read:
    """Read a netlist, completed by ``options``.

    Raises the first reader's UserError if no kind of network can read it.
    """
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
    """Return whether a file is text: neither an archive of arrays by its content, nor named ``.npz``."""
    if path.is_dir() or path.suffix == ".npz":
        return False
    if not path.is_file():  # a pipe can be read only once; for a missing file, only the name counts
        return path.exists() or bool(path.suffix)
    try:
        with path.open("rb") as file:
            return not file.read(6).startswith(ARCHIVES)
    except OSError:
        return True


def read(options: argparse.Namespace) -> Read | None:
    """Read --network if it is a netlist, else return None."""
    if options.network is None or not is_netlist(options.network):
        return None
    return read_netlist(options.network, options)


def _refuse(given: dict[str, Any], why: str) -> None:
    if given:
        raise UserError(f"{why}; leave out --{'/--'.join(given).replace('_', '-')}")


def array(
    path: Path | None, name: str, columns: int, default: Float[Array, "rows columns"]
) -> Float[Array, "rows columns"]:
    """Return a (rows, columns) array from a ``.npy`` file, from typed numbers, or the default. Raises UserError otherwise.

    Numbers are separated by commas, rows by semicolons, such as 1,0;0,1.
    """
    if path is None:
        return default
    given = _typed(str(path)) if not path.exists() else None
    given = read_array(path, f"--{name}") if given is None else given
    values = np.atleast_2d(given)
    if values.ndim != 2 or values.shape[1] != columns or not len(values):
        raise UserError(f"--{name} {path}: expected shape (samples, {columns}), got {given.shape}")
    if not np.isfinite(values).all():
        raise UserError(f"--{name} {path}: contains NaN or infinite values")
    return values


def _typed(text: str) -> Array | None:
    """Parse the numbers in ``text``; None if it is something else, such as the name of a file."""
    rows = [[part.strip() for part in row.split(",")] for row in text.split(";")]
    if not all((found := NUMBER.fullmatch(part)) and not found[2] for row in rows for part in row):
        return None
    return real_array([[float(part) for part in row] for row in rows], "numbers")


def example_inputs(network: Network, seed: int, samples: int) -> Float[Array, "samples inputs"]:
    """Return reproducible uniform inputs in [0, 1]. Raises UserError for a seed below 0."""
    check_seed(seed)
    return np.random.default_rng(seed).uniform(0, 1, (samples, network.layers[0]))


def example_targets(network: Network, samples: int) -> Float[Array, "samples classes"]:
    """Return targets with 1 V at each read-out in turn, and 0 V at the others."""
    return np.eye(network.classes)[np.arange(samples) % network.classes]


def beta(options: argparse.Namespace, network: Network) -> float:
    """Return --beta, or a value for which the network is certainly stable (usual_beta)."""
    if options.beta is not None:
        if not network.beta_unit and isinstance(options.beta, Quantity) and options.beta.unit:
            raise UserError(
                f"--beta: beta of a {network.family} network is dimensionless, got a value in {options.beta.unit}"
            )
        if not np.isfinite(options.beta) or options.beta == 0:
            raise UserError(f"--beta: expected a finite number of siemens other than 0, got {options.beta}")
        return float(options.beta)
    network.equations(np.zeros((1, network.layers[0])))  # this names a node that nothing drives
    return network.usual_beta()


class Suggested(tuple[str, ...]):
    """Choices for help and completion; other values are accepted, too, such as those registered by modules of --import."""

    __slots__ = ()

    def __contains__(self, value: object) -> bool:
        """Return whether argparse accepts a value; its meaning is checked later."""
        return isinstance(value, str)


def add_workers(parser: argparse.ArgumentParser, what: str = "parallel processes") -> None:
    """Add --workers and --cluster; see ``count_workers``."""
    parser.add_argument(
        "--workers", type=int, metavar="N", help=f"{what} (default 1, or as many as the cluster has threads)"
    )
    add_cluster(parser)


def add_cluster(parser: Any) -> None:
    """Add --cluster, to which ``cli.main`` connects (spice.ngspice.cluster.on_cluster)."""
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="use a running Dask cluster, given by its scheduler's address, such as tcp://10.0.0.1:8786, in a "
        "network that you trust (docs/cluster.md)",
    )


def count_workers(arguments: argparse.Namespace) -> None:
    """Set the default number of workers if none is given. Raises UserError for less than 1."""
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
        help="the solver of every equilibrium: surrogate, ngspice, or your own (experiments.solvers.register_solver)",
    )


def add_json(parser: argparse.ArgumentParser, what: str = "every figure") -> None:
    """Add --json; see ``report_figures``."""
    parser.add_argument(
        "--json",
        type=figures_file,
        metavar="FILE",
        help=f"write {what}, all options and versions as JSON; with -, to standard output, and all "
        "other output to standard error",
    )


def figures_file(text: str) -> Path:
    """Parse the path of --json; a path that cannot be written is refused before anything is computed."""
    path = Path(text)
    if path != STANDARD_OUTPUT:
        try:
            require_writable(path)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
    return path


def report_figures(arguments: argparse.Namespace, figures: dict[str, Any], *files: Path) -> None:
    """Write the figures to ``files`` and to the file of --json, with all options and the versions of the programs."""
    asked = {name: _plain(value) for name, value in vars(arguments).items() if name not in NO_SETTINGS}
    document = {"command": arguments.command, "options": asked} | figures | {"versions": versions()}
    for path in (*files, arguments.json):
        write_json(path, document)


def _plain(value: Any) -> Any:
    """Return the value of an option for JSON."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def write_json(path: Path | None, figures: dict[str, Any]) -> None:
    """Write figures to a file, to standard output for "-", or nowhere for None."""
    if path is None:
        return
    text = json.dumps(figures, indent=2)
    if path == STANDARD_OUTPUT:
        console.figures(text)
    else:
        write_text(path, text + "\n")
