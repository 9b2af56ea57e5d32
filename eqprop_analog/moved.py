"""Old names of modules that have moved since 0.1.0, for one version: they give the contents and say where these are now."""

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

PACKAGE = __package__ or "eqprop_analog"
MOVED: Mapping[str, str] = {
    "energy": "power",
    "energy_report": "power_report",
}
"""New names by old ones, inside the package."""


class _Alias(Loader):
    """A module whose names are those of another one."""

    def __init__(self, old: str, new: str) -> None:
        self._old, self._new = old, new

    def create_module(self, spec: ModuleSpec) -> None:  # noqa: ARG002 - the loader's own signature
        """An ordinary one."""
        return

    def exec_module(self, module: ModuleType) -> None:
        """Warn, and look names up in the new module."""
        warnings.warn(f"{self._old} is now {self._new}; the old name goes in the next version", DeprecationWarning, 2)
        found = import_module(self._new)
        module.__getattr__ = lambda name: getattr(found, name)  # type: ignore[method-assign]


class _Finder(MetaPathFinder):
    """Finds what has moved, after everything that has not."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the finder's own signature
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """That of an old name."""
        package, _, name = fullname.partition(".")
        if package != PACKAGE or name not in MOVED:
            return None
        return ModuleSpec(fullname, _Alias(fullname, f"{PACKAGE}.{MOVED[name]}"))


def install() -> None:
    """Make old names importable; once is enough."""
    if not any(type(finder).__name__ == _Finder.__name__ for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
