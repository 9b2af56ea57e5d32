"""The interface of what runs tasks, child processes of this machine (workers) or a cluster (cluster), and the parts of a task."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from eqprop_analog.errors import UserError

WHOLE = math.inf
"""Value of ``Work.piece`` for tasks that are not interrupted."""


class Paused(Enum):
    """See PAUSED."""

    PAUSED = "paused"


PAUSED = Paused.PAUSED
"""Returned by a task in a folder that has saved its state there and is to be submitted again."""


class ClusterError(UserError):
    """The whole cluster cannot be reached or used, so every other task on it would fail as well."""


@dataclass(frozen=True, eq=False)
class Shared:
    """An argument that many tasks have in common, such as a data set: the value of ``function(*arguments)``.

    It is computed in the process that runs the task. For a cluster it is computed once, on this machine, and sent to every worker
    once.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def value(self) -> Any:
        """Compute it."""
        return self.function(*self.arguments)


def called(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """Result of ``function``, called with the values of shared arguments."""
    return function(*(each.value() if isinstance(each, Shared) else each for each in arguments))


class Work(Protocol):
    """Accepts tasks from any thread and runs them in other processes."""

    @property
    def piece(self) -> float:
        """Seconds after which a task in a folder should return PAUSED."""
        ...

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Submit ``function(*arguments)``; returns the job, the argument of ``result`` and ``cancel``."""
        ...

    def submit_in(self, folder: Path, names: Sequence[str], function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Submit ``function(folder, *arguments)``, which writes files into ``folder``.

        ``names``: relative paths of the files that it reads there; those that do not exist are left out.
        """
        ...

    def result(self, job: Any) -> Any:
        """Return what a task returned, or raise what it raised.

        Raises TimeoutError after its time limit, and WorkerLostError if it ends several workers.
        """
        ...

    def cancel(self, job: Any) -> None:
        """Cancel a task: it is not started, or stopped if it is running."""
        ...

    def close(self) -> None:
        """Cancel all tasks that are not done."""
        ...
