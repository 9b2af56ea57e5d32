"""Kinds of networks by name: the one place, beside loading, where kinds are told apart."""

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
"""Modules whose FAMILY is registered when it is first asked for."""
USUAL = next(iter(BUILT_IN))
"""What files and command lines mean that name no kind."""


def later(where: str) -> Callable[[], Any]:
    """Imports and returns ``where`` ("module:name") when it is called: registering a kind imports nothing else of it."""
    module, _, name = where.partition(":")
    return lambda: getattr(import_module(module), name)


@dataclass(frozen=True)
class Family:
    """A kind of network, and what belongs to it but not to its mathematics."""

    name: str
    network: type[Network]
    file_format: str
    """What its saved networks call themselves."""
    surrogate: Callable[[], Solver]
    """Finds its equilibria in NumPy, to the last digit."""
    tolerance: float = 1e-9
    """Excess (core.Equations) of an equilibrium that a circuit simulator found."""
    ladder: Sequence[Any] = ()
    """Ways to ask ngspice for what it fails at (spice.ngspice.sweeps.Rung), one after the other; () is those of every kind."""
    config: Callable[[], Any] | None = None
    """The class of its training's configuration (an experiments.config.TrainConfig); None: not trained by itself."""
    description: Callable[[], Any] | None = None
    """What the report says of it: a report.description.Description; None is what it says of any network."""
    pictures: Mapping[str, Callable[[], Callable[[Any, Path], None]]] = field(default_factory=dict)
    """What a finished run leaves of its network, by the name of the file: imports what draws it there."""
    dynamics: Callable[[], Solver] | None = None
    """Where there are many equilibria: finds the one that the circuit settles to, nearly, where ngspice then begins."""
    features: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    """What else there is for it, by the name in FEATURES; imported when it is asked for (see ``later``)."""

    def feature(self, name: str, asked: str = "") -> Any:
        """What ``features`` has under ``name``; ``asked``: what the user asked for it by.

        UserError, which names the kinds that have it, where there is none.
        """
        if name not in self.features:
            others = [other.name for other in families().values() if name in other.features]
            raise UserError(
                f"{asked or name}: this is available for {' and '.join(others) or 'no'} networks, not for {self.name} networks"
            )
        return self.features[name]()


FEATURES: Mapping[str, str] = {
    "findings": "(config, network) -> (findings, figures): warnings about a finished run, beyond its error",
    "fresh": "cli.options.Fresh: the options by which --layers makes such a network",
    "netlist reader": "(path, **given) -> cli.options.Read: a network, and the inputs and the phase of its netlist",
    "subcircuits": "(network, inputs, phase, library, dialect): the netlist as ``network``, subcircuits, and a ``testbench``",
    "chip netlist": "(network, inputs, nudge, form, specification, seed, number) -> (text, notes): as one chip has it",
    "wires": "(network, wire_resistance=, tile=, link_resistance=, cell=) -> network: the circuit with wires and cells of a law",
    "transient": "(arguments, network, inputs, targets): what the command of this name does",
    "energy": "(arguments, network, inputs, targets): what the command of this name does",
}
"""What a kind of network may have beside its mathematics, and what shared code calls it with."""


ENTRY_POINTS = "eqprop_analog.families"
"""The group in which an installed package names its Family: then commands know it, too."""
_REGISTERED: dict[str, Family] = {}


def register(family: Family) -> None:
    """Make a kind of network known by its name; UserError if another one has it."""
    known = _REGISTERED.setdefault(family.name, family)
    if known.network is not family.network:
        raise UserError(
            f'family "{family.name}" is registered already, for {known.network.__name__}; choose another name'
        )


def families() -> dict[str, Family]:
    """Every registered kind by its name; other packages' are registered by their entry points (ENTRY_POINTS)."""
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
    """The kind of this name. UserError if it is not registered."""
    if name not in _REGISTERED and name in BUILT_IN:
        register(import_module(BUILT_IN[name]).FAMILY)
    if name not in _REGISTERED and name not in families():
        raise UserError(f'family "{name}" is unknown; there are {", ".join(families())}')
    return _REGISTERED[name]


def family_of(network: Network | Any) -> Family:
    """The kind of ``network``. UserError if it is not registered."""
    name = str(getattr(network, "family", ""))
    if name not in _REGISTERED and name in BUILT_IN:
        register(import_module(BUILT_IN[name]).FAMILY)
    if name not in _REGISTERED:
        raise UserError(
            f"{type(network).__name__}: this kind of network is not registered (core.register); there are {', '.join(families())}"
        )
    return _REGISTERED[name]


def load_network(path: str | Path) -> Any:
    """The network of any kind that is saved in the file ``path``. Raises UserError if there is none.

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
