"""Worker processes for code that may take its process down with it (libngspice does): restarted when they die or hang."""

import contextlib
import logging
import multiprocessing.spawn
import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures import TimeoutError as TimeLimitExceeded
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.popen_spawn_posix import Popen
from multiprocessing.process import BaseProcess
from typing import Any
from unittest import mock

from pebble import CONSTS, ProcessPool

from eqprop_analog.errors import UserError

log = logging.getLogger(__name__)

TRIES = 5
"""A task that takes its worker down this often is to blame itself."""
GRACE = 5.0
"""Seconds that workers have to leave by themselves."""
LOCK_TIMEOUT = 2.0
"""Seconds that pebble waits for a lock which a killed worker may have taken with it (its own default is a minute)."""

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
    CONSTS.channel_lock_timeout = LOCK_TIMEOUT
    return ProcessPool(max_workers=workers, initializer=_begin, initargs=(os.getpid(),), context=_Context())


def _begin(parent: int) -> None:
    CONSTS.channel_lock_timeout = LOCK_TIMEOUT
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process, whatever it is doing, when its parent is gone: a killed run leaves no simulator behind."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def guarded(function: Callable[..., Any], *arguments: Any) -> tuple[Exception | None, Any]:
    """(None, what the function returns) or (what it raises, None): what an executor raises is then a worker's death."""
    try:
        return None, function(*arguments)
    except Exception as error:  # noqa: BLE001 - it is raised again where the result is wanted
        return error, None


class WorkerLostError(UserError):
    """Every worker that was given a task died over it."""


@dataclass(frozen=True)
class Job:
    """A task on its way."""

    task: tuple[Any, ...]
    """The function and its arguments."""
    future: "Future[Any]"
    pool: ProcessPool | None
    """The pool that has it; None for an executor of the caller's."""


class Workers:
    """Processes of our own, or any executor; a task whose worker is lost is given out again, the same to the bit."""

    def __init__(self, count: int, time_limit: float, executor: Executor | None = None) -> None:
        """Up to ``count`` processes, no more than processors, started at the first task; ``time_limit`` in seconds."""
        self._count = min(count, os.cpu_count() or 1)
        self._time_limit = time_limit
        self._executor = executor
        self._pool: ProcessPool | None = None

    def submit(self, *task: Any) -> Job:
        """Give out a function with its arguments."""
        if self._executor is not None:
            return Job(task, self._executor.submit(guarded, *task), None)
        while True:
            if self._pool is None:
                self._pool = process_pool(self._count)
                self._at_exit = weakref.finalize(self, _stop, self._pool)
            try:
                return Job(task, self._pool.schedule(guarded, args=task, timeout=self._time_limit), self._pool)
            except RuntimeError as error:  # pebble gives up a pool when a worker dies that has no task
                log.warning("the workers are replaced (%s)", error)
                self.close(grace=0)

    def result(self, job: Job) -> Any:
        """What the task returned, or raised. Raises TimeoutError, and WorkerLostError after TRIES workers."""
        if job.pool is not None and job.pool is not self._pool and not job.future.done():
            job = self.submit(*job.task)  # a pool that was replaced never finishes its futures
        for _ in range(TRIES):
            try:
                raised, value = job.future.result(timeout=self._time_limit)
            except TimeLimitExceeded:
                job.future.cancel()
                raise
            except Exception as error:  # noqa: BLE001 - every executor has its own name for a worker that died
                log.warning("a worker was lost (%s: %s)", type(error).__name__, error)
                lost = error
            else:
                if raised is not None:
                    raise raised
                return value
            # A worker that is killed may take the pool's locks with it, so the pool is replaced whole.
            if job.pool is not None and job.pool is self._pool:
                self.close(grace=0)
            job = self.submit(*job.task)
        raise WorkerLostError(f"{TRIES} workers were lost over one task, the last by {lost}") from lost

    def close(self, grace: float = GRACE) -> None:
        """Stop the processes, after up to ``grace`` seconds for what they are doing; the next task starts new ones."""
        if self._pool is not None:
            self._at_exit.detach()
            _stop(self._pool, grace)
            self._pool = None


def _stop(pool: ProcessPool, grace: float = GRACE) -> None:
    if grace and pool.active:
        pool.close()  # type: ignore[no-untyped-call]
        with contextlib.suppress(TimeLimitExceeded):
            pool.join(grace)
            return
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()
