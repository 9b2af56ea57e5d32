"""Modules of the user, which register laws, buffers and other devices when they are imported.

Data files, configurations and saved networks never import code. Modules are named on the command line (``--import``),
imported by the user's program, or named by an installed package's entry points (devices.registry).
"""

import importlib
import importlib.util
import logging
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from eqprop_analog.errors import UserError
from eqprop_analog.text import in_one_line

log = logging.getLogger(__name__)

SUBCIRCUIT = 100_000
"""Largest size of a subcircuit's file, bytes."""
_loaded: set[str] = set()
"""Names of the modules that ``load`` has imported."""


def load(named: str) -> ModuleType:
    """Import a Python file (its name ends in .py) or a module by its dotted name.

    From then on, the folder of a file is searched last for modules, here and in worker processes. Raises UserError if
    the import fails.
    """
    name = _of_file(Path(named)) if named.endswith(".py") else named
    try:
        module = importlib.import_module(name)
    except UserError as error:
        raise UserError(f"--import {named}: {error}") from error
    except Exception as error:
        raise UserError(
            f"--import {named}: the module cannot be imported ({type(error).__name__}: {in_one_line(error)})"
        ) from error
    _loaded.add(name)
    return module


@dataclass(frozen=True)
class Brought:
    """Modules of the user that another process imports, too."""

    names: tuple[str, ...]
    folder: str = ""
    """Folder that is searched after those of that process; empty for none."""


def brought_along() -> Brought:
    """Return the modules that have registered something in this process."""
    from eqprop_analog.devices.registry import modules_outside  # this package needs NumPy, which may be broken

    return Brought(tuple(modules_outside()))


def sources() -> dict[str, bytes]:
    """Return the files, by name, from which another machine imports the same modules, with their subcircuits.

    A package or an installed module must be installed there.
    """
    from eqprop_analog.devices.registry import modules_outside

    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib")}
    files = {name: Path(file).resolve() for name, module in list(sys.modules.items()) if (file := _file_of(module))}
    folders = {files[name].parent for name in {*modules_outside(), *_loaded} & files.keys()} - installed
    beside = [file for name, file in files.items() if file.parent in folders and file.name == f"{name}.py"]
    texts = [file for folder in folders for file in folder.glob("*.lib") if file.stat().st_size <= SUBCIRCUIT]
    return {file.name: file.read_bytes() for file in sorted([*beside, *texts])}


def _file_of(module: ModuleType) -> str | None:
    return getattr(module, "__file__", None)


def load_in_worker(names: Sequence[str], folder: str = "") -> None:
    """Import the parent process's modules. Failures are logged; a missing law is reported when it is needed."""
    if folder:
        sys.path.append(folder)
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - a worker may not need it
            log.warning("a worker process cannot import %s (%s: %s)", name, type(error).__name__, in_one_line(error))


def _of_file(path: Path) -> str:
    """Return the name by which a file's module can be imported from its folder."""
    path, name = path.resolve(), path.stem
    if not path.is_file():
        raise UserError(f"--import {path}: no such file")
    if not name.isidentifier():
        raise UserError(f"--import {path}: expected the name of a Python module (letters, digits and _), got {name}")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    loaded = sys.modules.get(name)
    there = getattr(loaded, "__file__", None) if loaded else getattr(importlib.util.find_spec(name), "origin", None)
    if there is None or Path(there).resolve() != path:
        raise UserError(f"--import {path}: there is another module {name} ({there}); rename the file")
    return name
