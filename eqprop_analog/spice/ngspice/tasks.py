"""Whoever does tasks, child processes of this machine (workers) or of a cluster (cluster), and what tasks consist of."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from eqprop_analog.errors import UserError

WHOLE = math.inf
"""Seconds after which a task is to return PAUSED, where it is done in one piece."""


class Paused(Enum):
    """See PAUSED."""

    PAUSED = "paused"


PAUSED = Paused.PAUSED
"""What a task in a folder returns that has left its state there and wants to be given out again."""


class ClusterError(UserError):
    """The cluster as a whole cannot be reached, or not be used: no other task on it will do better."""


@dataclass(frozen=True, eq=False)
class Shared:
    """An argument that many tasks have in common, such as a data set: the value of ``function(*arguments)``.

    It is computed where the task is done; for a cluster once, here, and sent to every worker once.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def value(self) -> Any:
        """Compute it."""
        return self.function(*self.arguments)


def called(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """What ``function`` returns, with the values of shared arguments."""
    return function(*(each.value() if isinstance(each, Shared) else each for each in arguments))


class Work(Protocol):
    """Takes tasks, from any thread, and has them done elsewhere."""

    @property
    def piece(self) -> float:
        """Seconds after which a task in a folder is to return PAUSED."""
        ...

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Give out ``function(*arguments)``; what ``result`` and ``cancel`` take."""
        ...

    def submit_in(self, folder: Path, names: Sequence[str], function: Callable[..., Any], /, *arguments: Any) -> Any:
        """Give out ``function(folder, *arguments)``, which writes files into ``folder``.

        ``names``: of the files there that it reads, by path within; those that do not exist are left out.
        """
        ...

    def result(self, job: Any) -> Any:
        """What a task returned, or raised. Raises TimeoutError after its time limit, WorkerLostError if workers die of it."""
        ...

    def cancel(self, job: Any) -> None:
        """Nobody wants its result any more: it is not begun, and stopped if it has been."""
        ...

    def close(self) -> None:
        """Cancel all tasks that are not done."""
        ...
