"""Kinds of devices by their names in tables and files: those of this package, and registered ones."""

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import MISSING, asdict, fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from eqprop_analog.errors import UserError
from eqprop_analog.quantities import UNITS, in_file
from eqprop_analog.text import in_one_line, suggestion

log = logging.getLogger(__name__)

Thing = TypeVar("Thing")
ENTRY_POINTS = "eqprop_analog.devices"
"""Group of entry points of installed packages, each a module that registers devices when it is imported."""
OWN = "eqprop_analog"
"""Name of this package; classes of other modules come from outside."""


def require_table(table: object, what: str) -> None:
    """Raise UserError unless ``table``, which describes ``what``, is a table."""
    if not isinstance(table, Mapping):
        raise UserError(f'{what}: expected a table such as {{"law": "ngspice"}}, got {table!r:.60}')


class Registry(MutableMapping[str, type[Thing]], Generic[Thing]):
    """Classes by their names in tables.

    Modules of installed packages are imported when an unknown name is requested.
    """

    def __init__(self, word: str, kinds: Mapping[str, type[Thing]]) -> None:
        """``word``: the name of a member in messages, such as "law"."""
        self.word = word
        self._kinds = dict(kinds)
        REGISTRIES.append(self)

    def register(self, name: str) -> Callable[[type[Thing]], type[Thing]]:
        """A class decorator that registers the class as ``name``. Raises UserError if the name is taken."""

        def known(kind: type[Thing]) -> type[Thing]:
            self[name] = kind
            return kind

        return known

    def __setitem__(self, name: str, kind: type[Thing]) -> None:
        """Register ``kind`` as ``name``. Raises UserError if the name is taken."""
        there = self._kinds.get(name)
        if there is not None and (there.__module__, there.__qualname__) != (kind.__module__, kind.__qualname__):
            raise UserError(
                f'{self.word} "{name}" is registered already, for {there.__module__}.{there.__qualname__}; choose '
                "another name"
            )
        self._kinds[name] = kind

    def __getitem__(self, name: str) -> type[Thing]:
        if name not in self._kinds:
            _import_installed()
        return self._kinds[name]

    def __delitem__(self, name: str) -> None:
        del self._kinds[name]

    def __iter__(self) -> Iterator[str]:
        _import_installed()
        return iter(dict(self._kinds))

    def __len__(self) -> int:
        _import_installed()
        return len(self._kinds)

    def name_of(self, kind: type[Thing]) -> str | None:
        """Return the name of an object in tables, or None."""
        return next((name for name, each in self.items() if each is kind), None)

    def from_table(self, table: Mapping[str, object]) -> Thing:
        """Make the object that a table's ``law`` names, with the table's other keys as parameters. Raises UserError."""
        require_table(table, self.word)
        name = table.get("law")
        if not isinstance(name, str) or name not in self:
            raise UserError(f'{self.word} "{name}" is unknown; {self.there_are(name)}')
        try:
            return made(self[name], {key: value for key, value in table.items() if key != "law"})
        except ValueError as error:
            raise UserError(f"parameters of {self.word} {name}: {error}") from error

    def with_units(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """``table`` with every parameter that is text, such as "1nA", as the number it stands for. Raises UserError."""
        kind = self.get(str(table.get("law")))
        units = {name: unit for name, unit in getattr(kind, "units", {}).items() if unit in UNITS}
        return {
            name: in_file(value, units[name], name=name) if name in units else value for name, value in table.items()
        }

    def there_are(self, wanted: object) -> str:
        """Return a sentence on the known names, the closest one, and how to register others."""
        near = suggestion(wanted, self)
        return (
            "there are "
            f"{', '.join(self)}{near or f'; register your own {self.word} by --import FILE.py, or by importing its module'}"
        )

    def table_of(self, thing: Thing) -> dict[str, object]:
        """Return the table from which ``from_table`` makes this object.

        Raises UserError if its class is not registered.
        """
        name = self.name_of(type(thing))
        if name is None:
            raise UserError(
                f"{type(thing).__name__} is not registered, so that it has no name by which a file can state the "
                f"{self.word}; there are {', '.join(self)}. Register your own class (devices.register_law), or save "
                "only the arrays (np.savez, network.arrays())"
            )
        return {"law": name, **parameters_of(thing)}

    def folders(self) -> dict[str, Path]:
        """Return the folder of the source file of each class from outside this package, by name."""
        files = {name: getattr(sys.modules.get(kind.__module__), "__file__", None) for name, kind in self._outside()}
        return {name: Path(file).parent for name, file in files.items() if file}

    def _outside(self) -> list[tuple[str, type[Thing]]]:
        return [(name, kind) for name, kind in self.items() if kind.__module__.partition(".")[0] != OWN]

    def modules(self) -> list[str]:
        """Return the modules of classes from outside this package that another process can import, too."""
        return sorted({kind.__module__ for _, kind in self._outside()} - {"__main__"})


REGISTRIES: list[Registry[Any]] = []
"""All registries."""


def modules_outside() -> list[str]:
    """Return the modules from outside this package that registered devices, which worker processes import, too."""
    return sorted({module for registry in REGISTRIES for module in registry.modules()})


_begun = threading.Event()


def _import_installed() -> None:
    """Import the modules that installed packages name for a registry, once per process.

    Failures are logged and skipped.
    """
    if _begun.is_set():
        return
    _begun.set()
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:  # noqa: BLE001 - code of others; its classes stay unknown
            log.warning(
                "entry point %s = %s: %s: %s", entry.name, entry.value, type(error).__name__, in_one_line(error)
            )


def made(kind: type[Thing], parameters: Mapping[str, object]) -> Thing:
    """Make the dataclass with these parameters. Raises UserError for an unknown, missing or invalid one."""
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for name in parameters:
        if name not in known:
            raise UserError(f'"{name}" is unknown; there are {", ".join(known)}{suggestion(name, known)}')
    for name, field in known.items():
        if name not in parameters and field.default is MISSING and field.default_factory is MISSING:
            raise UserError(f'"{name}" is missing')
    return kind(**parameters)


def parameters_of(thing: Any) -> dict[str, object]:
    """Return the parameters from which ``made`` makes this dataclass; None is left out, because TOML has no null."""
    return {name: value for name, value in asdict(thing).items() if value is not None}
