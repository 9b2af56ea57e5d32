"""Kinds of devices by the names that tables and files give them: those of this package, and everybody's own."""

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
"""This package; what other modules register comes from outside."""


def require_table(table: object, what: str) -> None:
    """UserError unless ``table``, which describes ``what``, is one."""
    if not isinstance(table, Mapping):
        raise UserError(f'{what}: expected a table such as {{"law": "ngspice"}}, got {table!r:.60}')


class Registry(MutableMapping[str, type[Thing]], Generic[Thing]):
    """Classes by their names in tables. Modules of installed packages are imported when a name is asked for that is not here."""

    def __init__(self, word: str, kinds: Mapping[str, type[Thing]]) -> None:
        """``word``: what messages call one of them, such as "law"."""
        self.word = word
        self._kinds = dict(kinds)
        REGISTRIES.append(self)

    def register(self, name: str) -> Callable[[type[Thing]], type[Thing]]:
        """A class decorator that makes the class known by ``name``. Raises UserError if another class has it."""

        def known(kind: type[Thing]) -> type[Thing]:
            self[name] = kind
            return kind

        return known

    def __setitem__(self, name: str, kind: type[Thing]) -> None:
        """Make ``kind`` known by ``name``. Raises UserError if another class has the name."""
        there = self._kinds.get(name)
        if there is not None and (there.__module__, there.__qualname__) != (kind.__module__, kind.__qualname__):
            raise UserError(
                f'{self.word} "{name}" is registered already, for {there.__module__}.{there.__qualname__}; choose another name'
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
        """Its name in tables, or None."""
        return next((name for name, each in self.items() if each is kind), None)

    def from_table(self, table: Mapping[str, object]) -> Thing:
        """That one which a table's ``law`` names, with the table's other keys as parameters. Raises UserError."""
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
        """What names there are, which is near, and how others become known."""
        near = suggestion(wanted, self)
        return (
            f"there are {', '.join(self)}{near or f'; a {self.word} of your own needs --import FILE.py, or its import'}"
        )

    def table_of(self, thing: Thing) -> dict[str, object]:
        """The table from which ``from_table`` makes this again. Raises UserError for what is not registered."""
        name = self.name_of(type(thing))
        if name is None:
            raise UserError(
                f"{type(thing).__name__} is not registered, so it has no name by which a file could "
                f"state the {self.word}; there are "
                f"{', '.join(self)}. Register your own class (devices.register_law), or save the arrays alone (np.savez, "
                f"network.arrays())"
            )
        return {"law": name, **parameters_of(thing)}

    def folders(self) -> dict[str, Path]:
        """By name the folder of the file in which each class from outside this package is written."""
        files = {name: getattr(sys.modules.get(kind.__module__), "__file__", None) for name, kind in self._outside()}
        return {name: Path(file).parent for name, file in files.items() if file}

    def _outside(self) -> list[tuple[str, type[Thing]]]:
        return [(name, kind) for name, kind in self.items() if kind.__module__.partition(".")[0] != OWN]

    def modules(self) -> list[str]:
        """Modules of classes from outside this package that another process can import too."""
        return sorted({kind.__module__ for _, kind in self._outside()} - {"__main__"})


REGISTRIES: list[Registry[Any]] = []
"""All that there are."""


def modules_outside() -> list[str]:
    """Modules from outside this package that registered devices; what a worker process imports, too."""
    return sorted({module for registry in REGISTRIES for module in registry.modules()})


_begun = threading.Event()


def _import_installed() -> None:
    """Import the modules that installed packages name for it, once a process. One that fails is said and left out."""
    if _begun.is_set():
        return
    _begun.set()
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:  # noqa: BLE001 - another's code; what it would have registered stays unknown
            log.warning(
                "entry point %s = %s: %s: %s", entry.name, entry.value, type(error).__name__, in_one_line(error)
            )


def made(kind: type[Thing], parameters: Mapping[str, object]) -> Thing:
    """The dataclass with these parameters. Raises UserError for an unknown or missing one, or what it refuses itself."""
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for name in parameters:
        if name not in known:
            raise UserError(f'"{name}" is unknown; there are {", ".join(known)}{suggestion(name, known)}')
    for name, field in known.items():
        if name not in parameters and field.default is MISSING and field.default_factory is MISSING:
            raise UserError(f'"{name}" is missing')
    return kind(**parameters)


def parameters_of(thing: Any) -> dict[str, object]:
    """The parameters from which ``made`` makes this dataclass again; what is None is left out, as TOML has no word for it."""
    return {name: value for name, value in asdict(thing).items() if value is not None}
