"""Modules of one's own, which make laws, buffers and other devices known by being imported.

Nothing that is read from a data file, a configuration or a saved network imports code: modules are named on the command line
(``--import``), imported by the user's own program, or named by an installed package's entry points (devices.registry).
"""

import importlib
import importlib.util
import logging
import sys
from pathlib import Path
from types import ModuleType

from eqprop_analog.errors import UserError
from eqprop_analog.text import in_one_line

log = logging.getLogger(__name__)


def load(named: str) -> ModuleType:
    """Import a Python file (its name ends in .py) or a module by its dotted name.

    The folder of a file is looked in last for modules from then on, here and in worker processes. Raises UserError for what
    cannot be imported.
    """
    name = _of_file(Path(named)) if named.endswith(".py") else named
    try:
        return importlib.import_module(name)
    except UserError as error:
        raise UserError(f"--import {named}: {error}") from error
    except Exception as error:
        raise UserError(
            f"--import {named}: it cannot be imported ({type(error).__name__}: {in_one_line(error)})"
        ) from error


def load_in_worker(names: list[str]) -> None:
    """What the parent process has imported, too. What cannot be is said; whoever needs it then says that it is unknown."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - a worker may well do without
            log.warning("a worker process cannot import %s (%s: %s)", name, type(error).__name__, in_one_line(error))


def _of_file(path: Path) -> str:
    """The name by which a file's module can be imported, its folder being among those looked in."""
    path, name = path.resolve(), path.stem
    if not path.is_file():
        raise UserError(f"--import {path}: no such file")
    if not name.isidentifier():
        raise UserError(f"--import {path}: expected the name of a Python module, letters, digits and _, got {name}")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    loaded = sys.modules.get(name)
    there = getattr(loaded, "__file__", None) if loaded else getattr(importlib.util.find_spec(name), "origin", None)
    if there is None or Path(there).resolve() != path:
        raise UserError(f"--import {path}: there is another module {name} ({there}); rename the file")
    return name
