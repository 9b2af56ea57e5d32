"""Worker processes for code that may take its process down with it (libngspice does): restarted when they die or hang."""

import multiprocessing.spawn
import threading
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.popen_spawn_posix import Popen
from multiprocessing.process import BaseProcess
from typing import Any
from unittest import mock

from pebble import ProcessPool

_START = threading.Lock()
_preparation = multiprocessing.spawn.get_preparation_data


def _without_main(name: str) -> dict[str, Any]:
    """What a new worker is told, less the user's script: a worker must not run it, so it needs no ``__main__`` guard."""
    return {key: value for key, value in _preparation(name).items() if not key.startswith("init_main")}


class _Process(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Popen:  # noqa: N802 - multiprocessing's name
        with _START, mock.patch.object(multiprocessing.spawn, "get_preparation_data", _without_main):
            return Popen(process_obj)


class _Context(SpawnContext):
    Process = _Process


def process_pool(workers: int) -> ProcessPool:
    """A pebble pool of fresh (spawned) processes; a task that dies or runs out of time costs its worker, not the pool."""
    return ProcessPool(max_workers=workers, context=_Context())
