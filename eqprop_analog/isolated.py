"""Python processes of our own that find the modules this one finds, and take nothing else from where they are started.

``python -c`` and ``python -m`` look into the current folder first, so a ``signal.py`` that lies there would be imported in place
of the standard library's. This module stands on the standard library alone.
"""

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path


def command(code: str) -> list[str]:
    """The command line that runs Python ``code``. FileNotFoundError in a program that embeds Python and names no interpreter."""
    if not sys.executable:
        raise FileNotFoundError("this program embeds Python and does not say where an interpreter is (sys.executable)")
    flags = [*(["-B"] if sys.dont_write_bytecode else []), *(["-X", "utf8"] if sys.flags.utf8_mode else [])]
    package = str(Path(__file__).with_name("__init__.py"))
    return [sys.executable, "-I", *flags, __file__, code, package, *places()]


def places() -> list[str]:
    """Where this process finds modules, the current folder last: nothing that lies there is taken for an installed module."""
    try:
        here = str(Path.cwd().resolve())
    except OSError:  # it has been removed
        here = os.devnull
    absolute = [str(Path(here, place)) for place in map(str, sys.path) if "\0" not in place]
    return sorted(absolute, key=lambda place: os.path.realpath(place) == here)


def prepare(package: str, given: list[str]) -> None:
    """Find modules in the standard library, then in the folders ``given``; this package by its file ``package`` alone."""
    library = {os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    sys.path[:] = dict.fromkeys([*(place for place in sys.path if _of_library(place, library)), *given])
    spec = importlib.util.spec_from_file_location("eqprop_analog", package)
    if spec is None or spec.loader is None:
        raise ImportError(f"{package} is no Python package")
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def _of_library(place: str, library: set[str]) -> bool:
    """Whether an entry of sys.path holds the standard library: its folder, its archive, its compiled modules."""
    real = os.path.realpath(place)
    above, name = os.path.split(real)
    return real in library or name.endswith(".zip") or (above in library and name == "lib-dynload")


if __name__ == "__main__":
    _, code, package, *given = sys.argv
    prepare(package, given)
    exec(code)  # noqa: S102 - it is this package's own, from `command`
