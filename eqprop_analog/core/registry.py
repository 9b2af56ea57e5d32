"""Kinds of networks by name: the only place, apart from loading, that distinguishes kinds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from eqprop_analog.core.network import Network
from eqprop_analog.core.solver import Solver
from eqprop_analog.errors import UserError
from eqprop_analog.files import array_format

BUILT_IN: Mapping[str, str] = {
    "resistive": "eqprop_analog.networks.resistive.family",
    "hopfield": "eqprop_analog.networks.hopfield.family",
    "graph": "eqprop_analog.networks.graph.family",
    "nonideal": "eqprop_analog.networks.nonideal.family",
    "whole_chip": "eqprop_analog.networks.whole_chip.family",
}
"""Modules whose FAMILY is registered on first use."""
USUAL = next(iter(BUILT_IN))
"""The default kind in files and on command lines."""


def later(where: str) -> Callable[[], Any]:
    """Return a function that imports and returns ``where`` ("module:name") when it is called, so that registration is cheap."""
    module, _, name = where.partition(":")
    return lambda: getattr(import_module(module), name)


@dataclass(frozen=True)
class Family:
    """A kind of network, and everything that belongs to it apart from its mathematics."""

    name: str
    network: type[Network]
    file_format: str
    """Format name of its saved networks."""
    surrogate: Callable[[], Solver]
    """Its surrogate solver in NumPy, at full precision."""
    tolerance: float = 1e-9
    """Largest excess (core.Equations) of an equilibrium from a circuit simulator."""
    ladder: Sequence[Any] = ()
    """Strategies for samples at which ngspice fails (spice.ngspice.sweeps.Rung), in order; () means those of every kind."""
    config: Callable[[], Any] | None = None
    """The class of its training configuration (an experiments.config.TrainConfig); None if it cannot be trained."""
    description: Callable[[], Any] | None = None
    """Its description in the report (a report.description.Description); None is the general one."""
    pictures: Mapping[str, Callable[[], Callable[[Any, Path], None]]] = field(default_factory=dict)
    """Pictures of the network of a finished run, by the name of the file."""
    dynamics: Callable[[], Solver] | None = None
    """For several equilibria: a solver that finds approximately the one to which the circuit settles, as a start for ngspice."""
    features: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    """Further features, by their name in FEATURES; they are imported on demand (see ``later``)."""

    def feature(self, name: str, asked: str = "") -> Any:
        """Return the feature ``name``; ``asked``: the user's option or command, for the message.

        Raises UserError, which names the kinds that have it, if there is none.
        """
        if name not in self.features:
            others = [other.name for other in families().values() if name in other.features]
            raise UserError(
                f"{asked or name}: this is available for {' and '.join(others) or 'no'} networks, not for "
                f"{self.name} networks"
            )
        return self.features[name]()


FEATURES: Mapping[str, str] = {
    "findings": "(config, network) -> (findings, figures): warnings about a finished run, apart from its error",
    "fresh": "cli.options.Fresh: the options by which --layers makes such a network",
    "netlist reader": "(path, **given) -> cli.options.Read: a network, and the inputs and the phase of its netlist",
    "subcircuits": "(network, inputs, phase, library, dialect): the netlist as ``network``, subcircuits, and a ``testbench``",
    "chip netlist": "(network, inputs, nudge, form, specification, seed, number) -> (text, notes): the netlist of one chip",
    "wires": "(network, wire_resistance=, tile=, link_resistance=, cell=) -> network: the circuit with wires and nonlinear cells",
    "transient": "(arguments, network, inputs, targets): runs the command of this name",
    "energy": "(arguments, network, inputs, targets): runs the command of this name",
}
"""Features that a kind of network may have, and the arguments with which shared code calls them."""


ENTRY_POINTS = "eqprop_analog.families"
"""The group of entry points by which an installed package registers its Family for the commands."""
_REGISTERED: dict[str, Family] = {}


def register(family: Family) -> None:
    """Register a kind of network by its name. Raises UserError if the name is taken."""
    known = _REGISTERED.setdefault(family.name, family)
    if known.network is not family.network:
        raise UserError(
            f'family "{family.name}" is registered already, for {known.network.__name__}; choose another name'
        )


def families() -> dict[str, Family]:
    """Return all registered kinds by name; other packages register theirs by entry points (ENTRY_POINTS)."""
    _load_entry_points()
    for name, module in BUILT_IN.items():
        if name not in _REGISTERED:
            register(import_module(module).FAMILY)
    return dict(_REGISTERED)


@cache
def _load_entry_points() -> None:
    for point in entry_points(group=ENTRY_POINTS):
        register(point.load())


def family(name: str) -> Family:
    """Return the kind of this name. Raises UserError if it is not registered."""
    if name not in _REGISTERED and name in BUILT_IN:
        register(import_module(BUILT_IN[name]).FAMILY)
    if name not in _REGISTERED and name not in families():
        raise UserError(f'family "{name}" is unknown; there are {", ".join(families())}')
    return _REGISTERED[name]


def family_of(network: Network | Any) -> Family:
    """Return the kind of ``network``. Raises UserError if it is not registered."""
    name = str(getattr(network, "family", ""))
    if name not in _REGISTERED and name in BUILT_IN:
        register(import_module(BUILT_IN[name]).FAMILY)
    if name not in _REGISTERED:
        raise UserError(
            f"{type(network).__name__}: this kind of network is not registered (core.register); there are "
            f"{', '.join(families())}"
        )
    return _REGISTERED[name]


def load_network(path: str | Path) -> Any:
    """Load a saved network of any kind from the file ``path``. Raises UserError if the file holds none.

    >>> import tempfile
    >>> import eqprop_analog as ea
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ea.ResistiveNetwork.dense([2, 3, 2]).save(f"{folder}/net.npz")
    ...     ea.load_network(f"{folder}/net.npz").layers
    (2, 3, 2)
    """
    found = array_format(path, "network file")
    known = {family.file_format: family for family in families().values() if family.file_format}
    if found not in known:
        formats = ", ".join(f'"{name}"' for name in known)
        raise UserError(
            f'{path}: expected format {formats}, got "{found:.80}"; '
            "use the version of this program that wrote it, or another file"
        )
    return known[found].network.load(path)
