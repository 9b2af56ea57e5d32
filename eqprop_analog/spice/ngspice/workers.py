"""Worker processes for code that may end its process, as libngspice does; they are restarted when they end or hang.

A thread supervises each process. They are ordinary child processes, so a solver also works in daemons and in the processes of
other pools. A fork of this process, and a copy of a solver in another process, start their own workers.
"""

import contextlib
import logging
import os
import pickle
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Executor, Future, InvalidStateError
from concurrent.futures import TimeoutError as TimeLimitExceeded
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eqprop_analog.errors import UserError
from eqprop_analog.extensions import Brought
from eqprop_analog.incoming import seconds_of
from eqprop_analog.spice.ngspice.child import POLLED, Child, ChildLostError
from eqprop_analog.spice.ngspice.tasks import WHOLE, called

log = logging.getLogger(__name__)

TRIES = 5
"""Number of workers that a task may end before it is given up as the cause."""
START_PAUSES = (0.0, 0.1, 0.4)
"""Seconds before each attempt to start a process; the operating system may refuse it now and allow it soon."""
PATIENCE = 10.0
"""Seconds within which a thread whose process was killed must end."""


def guarded(function: Callable[..., Any], *arguments: Any) -> tuple[Exception | None, Any]:
    """(None, result) or (exception, None), so that every exception raised by an executor means the loss of a worker."""
    try:
        return None, called(function, arguments)
    except Exception as error:  # noqa: BLE001 - it is raised again for the caller of result
        return error, None


class WorkerLostError(UserError):
    """Every worker that ran a task ended during it."""


class WorkerStartError(UserError):
    """The operating system does not start a worker process; the text gives the reason."""


@dataclass(eq=False)
class Job:
    """A submitted task."""

    task: tuple[Any, ...]
    """The function and its arguments."""
    future: "Future[Any]" = field(default_factory=Future)
    ours: bool = True
    """Whether the task runs in a process of this package; its future then always gets a result."""
    lost: int = 0
    """Number of workers that ended during the task."""
    child: Child | None = None
    """The process that runs it now."""


class Workers:
    """Processes of this package, or any executor; a task whose worker is lost is repeated bit-identically.

    Any number of threads may use an instance.
    """

    piece = WHOLE

    def __init__(
        self, count: int, time_limit: float, executor: Executor | None = None, brought: Brought | None = None
    ) -> None:
        """Up to ``count`` processes, at most one per processor, started at the first task; ``time_limit`` in seconds.

        ``brought``: modules that the processes import first (default: those that this process has imported).
        """
        time_limit = seconds_of(time_limit, "time limit")
        self._count = min(count, os.cpu_count() or 1)
        self._time_limit = min(time_limit, POLLED)
        self._executor = executor
        self._brought = brought
        self._lock = threading.RLock()
        self._pool: _Pool | None = None
        self._at_exit: weakref.finalize[Any, Any] | None = None
        _KNOWN.add(self)

    def forget(self) -> None:
        """After a fork: drop all processes without ending them, because they belong to the parent."""
        if self._at_exit is not None:
            self._at_exit.detach()
        if self._pool is not None:
            self._pool.disown()
        self._lock = threading.RLock()
        self._pool = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self._executor is not None:
            raise UserError(
                "a solver with an executor cannot be sent to another process; create a solver there, without the executor"
            )
        return type(self), (self._count, self._time_limit)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Job:
        """Submit a function with its arguments."""
        task = (function, *arguments)
        if self._executor is not None:
            return Job(task, self._executor.submit(guarded, *task), ours=False)
        job = Job(task)
        with self._lock:
            if self._pool is None:
                self._pool = _Pool(self._count, self._time_limit, self._brought)
                self._at_exit = weakref.finalize(self, self._pool.stop)
            self._pool.put(job)
        return job

    def submit_in(self, folder: Path, names: Sequence[str], function: Callable[..., Any], *arguments: Any) -> Job:
        """See tasks.Work; here the task works directly in ``folder``."""
        del names
        return self.submit(function, folder, *arguments)

    def result(self, job: Job) -> Any:
        """Return what the task returned, or raise what it raised.

        Raises TimeoutError, WorkerStartError, and WorkerLostError after the loss of TRIES workers.
        """
        if not job.ours:
            return self._from_executor(job)
        try:
            return job.future.result()
        except CancelledError as error:
            raise UserError("the workers were closed before their task was done; submit it again") from error

    def _from_executor(self, job: Job) -> Any:
        for _ in range(TRIES):
            try:
                raised, value = job.future.result(timeout=self._time_limit)
            except TimeLimitExceeded:
                job.future.cancel()
                raise
            except Exception as error:  # noqa: BLE001 - every executor has its own exception for a lost worker
                log.warning("a worker was lost (%s: %s)", type(error).__name__, error)
                lost = error
            else:
                if raised is not None:
                    raise raised
                return value
            job = self.submit(*job.task)
        raise _given_up(lost) from lost

    def cancel(self, job: Job) -> None:
        """Cancel a task: it is not started, or stopped if it is running."""
        job.future.cancel()
        if job.ours and self._pool is not None:
            self._pool.drop(job)

    def close(self) -> None:
        """Stop the processes, and any task that they are running; the next task starts new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if self._at_exit is not None:
            self._at_exit.detach()
        if pool is not None:
            pool.stop()


_KNOWN: "weakref.WeakSet[Workers]" = weakref.WeakSet()


def _forked() -> None:
    """After a fork: the processes of the parent do not belong to this process."""
    for workers in list(_KNOWN):
        workers.forget()


os.register_at_fork(after_in_child=_forked)


class _Pool:
    """Waiting jobs, and threads that run them, each by one process."""

    def __init__(self, count: int, time_limit: float, brought: Brought | None) -> None:
        self._count = count
        self._time_limit = time_limit
        self._brought = brought
        self._change = threading.Condition(threading.RLock())  # a finalizer may stop the pool at any point of a thread
        self._waiting: deque[Job] = deque()
        self._threads: set[threading.Thread] = set()
        self.children: set[Child] = set()
        """Running processes."""
        self._idle = 0
        self._stopped = False

    def put(self, job: Job) -> None:
        """Add a job. If no thread can be started, this is an error only if there is no other thread."""
        with self._change:
            self._waiting.append(job)
            if self._idle < len(self._waiting) and len(self._threads) < self._count:
                thread = threading.Thread(target=self._serve, daemon=True, name="eqprop-analog worker")
                self._threads.add(thread)
                try:
                    thread.start()
                except RuntimeError as error:
                    self._threads.remove(thread)
                    if not self._threads:
                        self._waiting.remove(job)
                        raise _not_started(error) from error
                    log.debug("another worker cannot be started (%s)", error)
            self._change.notify()

    def drop(self, job: Job) -> None:
        """Remove a cancelled job, or end the process that runs it."""
        with self._change:
            if job in self._waiting:
                self._waiting.remove(job)
            if job.child is not None:
                job.child.kill()

    def stop(self) -> None:
        """End all processes, and wait until they have ended."""
        with self._change:
            self._stopped = True
            for job in self._waiting:
                job.future.cancel()
            self._waiting.clear()
            for child in self.children:
                child.kill()
            self._change.notify_all()
            threads = self._threads - {threading.current_thread()}
        for thread in threads:
            thread.join(PATIENCE)

    def disown(self) -> None:
        """In the child after a fork: close the copies of the parent's channels, and wait for nothing."""
        for child in self.children:
            child.channel.close()

    def _serve(self) -> None:
        """Main function of a thread: runs jobs one after another by its process."""
        child: Child | None = None
        while (job := self._next()) is not None:
            try:
                child = self._do(job, child)
            except WorkerStartError as error:
                child = None
                if self._fewer(job, error):
                    return
        self._end(child)

    def _next(self) -> Job | None:
        with self._change:
            while not self._waiting:
                if self._stopped:
                    return None
                self._idle += 1
                self._change.wait()
                self._idle -= 1
            return self._waiting.popleft()

    def _fewer(self, job: Job, error: WorkerStartError) -> bool:
        """Whether other workers take over ``job`` and this thread ends, because no more processes can be started."""
        with self._change:
            if not self.children or self._stopped:
                _finish(job, error)
                return False
            log.warning("%d workers instead of %d: %s", len(self.children), self._count, error)
            self._count = len(self.children)
            self._threads.discard(threading.current_thread())
            self._waiting.appendleft(job)
            self._change.notify()
            return True

    def _do(self, job: Job, child: Child | None) -> Child | None:
        """Run a job by ``child`` or a replacement of it, and return the process that remains. Raises WorkerStartError."""
        try:
            content = pickle.dumps(job.task, protocol=5)
        except Exception as error:  # noqa: BLE001 - a task that cannot be pickled raises its error for the caller of result
            _finish(job, error)
            return child
        while True:
            if child is not None and not child.alive():
                log.debug("a worker ended while it was idle (%s)", child.end())
                self._end(child)
                child = None
            if child is None:
                child = self._start()
            try:
                raised, value = pickle.loads(self._asked(job, child, content))  # noqa: S301 - from our own process
            except TimeLimitExceeded as error:
                _finish(job, error)
                self._end(child)
                return None
            except ChildLostError as error:
                self._end(child)
                child = None
                if not self._again(job, error):
                    return None
            except Exception as error:  # noqa: BLE001 - likewise an answer that cannot be read
                _finish(job, error)
                self._end(child)
                return None
            else:
                _finish(job, raised, value)
                return child

    def _asked(self, job: Job, child: Child, content: bytes) -> bytes:
        with self._change:
            if self._stopped or job.future.cancelled():
                raise ChildLostError("the task was cancelled")
            job.child = child
        try:
            return child.ask(content, self._time_limit)
        finally:
            with self._change:
                job.child = None

    def _again(self, job: Job, error: ChildLostError) -> bool:
        """Whether a job whose process was lost should be tried again."""
        if self._stopped or job.future.cancelled():
            job.future.cancel()
            return False
        job.lost += 1
        log.warning("a worker was lost (%s)", error)
        if job.lost == TRIES:
            _finish(job, _given_up(error))
        return job.lost < TRIES

    def _start(self) -> Child:
        for pause in START_PAUSES:
            time.sleep(pause)
            try:
                child = Child(self._brought)
            except (OSError, ChildLostError) as error:
                log.debug("a worker process was not started (%s)", error)
                reason = error
                continue
            with self._change:
                self.children.add(child)
                if self._stopped:
                    child.kill()
            return child
        raise _not_started(reason) from reason

    def _end(self, child: Child | None) -> None:
        if child is not None:
            child.close()
            with self._change:
                self.children.discard(child)


def _finish(job: Job, raised: Exception | None, value: Any = None) -> None:
    """Set the result of a job, unless it was cancelled meanwhile, and release the memory of its task."""
    job.task = ()
    with contextlib.suppress(InvalidStateError):
        if raised is None:
            job.future.set_result(value)
        else:
            job.future.set_exception(raised)


def _given_up(last: Exception) -> WorkerLostError:
    return WorkerLostError(f"{TRIES} workers were lost during one task (the last one: {last})")


def _not_started(error: Exception) -> WorkerStartError:
    return WorkerStartError(
        f"a worker process cannot be started: {error}; raise that limit (`ulimit -a` shows all limits), close other "
        "programs, or use fewer workers"
    )
