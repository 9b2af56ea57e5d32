"""Solvers by the names that configurations and --solver give them: the solvers of this package and registered ones."""

from collections.abc import Callable
from inspect import signature
from typing import Annotated, Any

from pydantic import AfterValidator

from eqprop_analog.core.solver import Solver
from eqprop_analog.devices.registry import Registry
from eqprop_analog.errors import UserError
from eqprop_analog.spice.ngspice.solver import REDUCED, NgspiceSolver

SURROGATE = "surrogate"
"""Name of the built-in solver of each kind of network."""


class _TrainingInNgspice(NgspiceSolver):
    """NgspiceSolver on reduced circuits."""

    def __init__(self, workers: int = 1) -> None:
        """``workers``: number of processes."""
        super().__init__(workers, REDUCED)


SOLVERS: Registry[Any] = Registry("solver", {"ngspice": _TrainingInNgspice})
"""Other solvers by name: classes with the protocol core.Solver that converge, for any network that they accept."""


def register_solver(name: str) -> Callable[[type[Any]], type[Any]]:
    """A class decorator that registers a solver as ``name``. Raises UserError if the name is taken.

    The class is instantiated without arguments, or with ``workers``, the number of processes, if it accepts that
    argument.
    """
    if name == SURROGATE:
        raise UserError(
            f'solver "{name}" is reserved for the built-in solver of each kind of network; choose another name'
        )
    return SOLVERS.register(name)


def takes_workers(name: str) -> bool:
    """Return whether the solver of this name has worker processes."""
    return name in SOLVERS and "workers" in signature(SOLVERS[name]).parameters


def _known(name: str) -> str:
    if name != SURROGATE and name not in SOLVERS:
        raise ValueError(
            f'"{name}" is unknown; there are {SURROGATE}, {SOLVERS.there_are(name).removeprefix("there are ")}'
        )
    return name


SolverName = Annotated[str, AfterValidator(_known)]
"""Type of a setting that names a solver."""


def solver_of(name: str, workers: int = 1) -> Solver:
    """Return the solver of this name, with ``workers`` processes if it has any.

    Raises UserError for an unknown name.
    """
    try:
        kind = SOLVERS[_known(name)]
    except ValueError as error:
        raise UserError(f"solver {error}") from error
    made: Solver = kind(workers=workers) if takes_workers(name) else kind()
    return made
