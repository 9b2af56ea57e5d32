"""Python processes that find the same modules as this one, and import nothing from the current folder.

``python -c`` and ``python -m`` search the current folder first, so that a ``signal.py`` in it would replace that of the
standard library. This module uses only the standard library.
"""

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path


def command(code: str) -> list[str]:
    """Return the command line that runs Python ``code``.

    Raises FileNotFoundError if an embedding program names no interpreter.
    """
    if not sys.executable:
        raise FileNotFoundError("this program embeds Python and does not name an interpreter (sys.executable)")
    flags = [*(["-B"] if sys.dont_write_bytecode else []), *(["-X", "utf8"] if sys.flags.utf8_mode else [])]
    package = str(Path(__file__).with_name("__init__.py"))
    return [sys.executable, "-I", *flags, __file__, code, package, *places()]


def places() -> list[str]:
    """Return the module search path of this process, with the current folder last, so that it cannot hide installed modules."""
    try:
        here = str(Path.cwd().resolve())
    except OSError:  # the folder was removed
        here = os.devnull
    absolute = [str(Path(here, place)) for place in map(str, sys.path) if "\0" not in place]
    return sorted(absolute, key=lambda place: os.path.realpath(place) == here)


def prepare(package: str, given: list[str]) -> None:
    """Set the search path to the standard library and the folders ``given``; find this package only by its file ``package``."""
    library = {os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    sys.path[:] = dict.fromkeys([*(place for place in sys.path if _of_library(place, library)), *given])
    spec = importlib.util.spec_from_file_location("eqprop_analog", package)
    if spec is None or spec.loader is None:
        raise ImportError(f"{package} is not a Python package")
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def _of_library(place: str, library: set[str]) -> bool:
    """Return whether an entry of sys.path holds the standard library: its folder, its archive, its compiled modules."""
    real = os.path.realpath(place)
    above, name = os.path.split(real)
    return real in library or name.endswith(".zip") or (above in library and name == "lib-dynload")


if __name__ == "__main__":
    _, code, package, *given = sys.argv
    prepare(package, given)
    exec(code)  # noqa: S102 - the code is from `command` of this package
