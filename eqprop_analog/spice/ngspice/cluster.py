"""Workers on other machines: those of a Dask cluster that is running (``distributed``), with the calls of ``workers.Workers``.

Everything a task needs travels with it, and everything it makes travels back: machines need no common file system.
"""

import asyncio
import contextlib
import gc
import logging
import os
import pickle
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TimeLimitExceeded
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from eqprop_analog import extensions
from eqprop_analog.devices.registry import modules_outside
from eqprop_analog.errors import UserError
from eqprop_analog.files import write_bytes
from eqprop_analog.incoming import seconds_of
from eqprop_analog.spice.ngspice import remote
from eqprop_analog.spice.ngspice.tasks import PAUSED, ClusterError, Shared, Work
from eqprop_analog.spice.ngspice.workers import TRIES, WorkerLostError, Workers
from eqprop_analog.text import in_one_line

log = logging.getLogger(__name__)

MISSING = "--cluster needs Dask's distributed, which is not installed: pip install 'eqprop-analog[cluster]'"
CONNECT = 10.0
"""Seconds in which a scheduler has to answer."""
LOOK = 1.0
"""Seconds after which somebody who waits for a result looks whether the cluster is still there."""
COUNTED = 5
"""Looks after which it also counts the workers."""
DESERTED = 120.0
"""Seconds that a cluster may be without any worker."""
PIECE = 60.0
"""Seconds after which a long task in a folder sends what it has reached, and is given out again."""
LARGE = 1_000_000
"""Bytes from which on what a task needs goes to a worker by itself, and not through the scheduler's memory."""


@dataclass(eq=False)
class ClusterJob:
    """A task on its way."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    folder: Path | None = None
    """The user's."""
    names: tuple[str, ...] = ()
    """Of files in it that travel to the task, if they are there."""
    future: "Future[Any]" = field(default_factory=Future)
    asked: Any = None
    """Dask's future."""
    lost: int = 0


class Cluster:
    """A connection to the scheduler of a running cluster, whose workers have what this machine has."""

    def __init__(self, address: str) -> None:
        """Raises ClusterError where nobody answers at ``address``, no worker is there, or one has other versions."""
        try:
            from distributed import Client
        except ImportError as error:
            raise ClusterError(MISSING) from error
        self.address = address
        self.sent = self.received = 0
        """Bytes of tasks and of what became of them."""
        self._deserted: float | None = None
        """Since when it has had no workers."""
        for name in ("distributed", "tornado"):  # what they would say is said here, in one sentence
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if failure := self._connect(address, Client):
            gc.collect()  # what did not connect; Dask's Client waits for itself if it is collected while another one starts
            raise ClusterError(
                f"--cluster {address}: no Dask scheduler answers there within {CONNECT:g} s ({failure}); start one by "
                "`dask scheduler` and name the address that it prints, such as tcp://10.0.0.1:8786"
            )
        try:
            self._require_alike()
        except BaseException:
            self.close()
            raise
        finally:
            remote.end_children()
        log.info("%s: %d workers with %d threads in all", address, len(self.client.nthreads()), self.threads)

    def _connect(self, address: str, client: Any) -> str | None:
        """Why nobody answers, in one line; the exception itself would keep what did not connect."""
        try:
            with ThreadPoolExecutor(1) as other:  # this thread may have a loop of its own, as in a notebook
                other.submit(asyncio.run, _greeted(address)).result()
            self.client = client(address, timeout=CONNECT, set_as_default=False)
        except Exception as error:  # noqa: BLE001 - of an address that is none, whatever Dask makes of it
            return in_one_line(error) or type(error).__name__
        return None

    def close(self) -> None:
        """Let go of the cluster, which goes on running."""
        if self.sent:
            log.info("%s: %.3g MB sent, %.3g MB received", self.address, self.sent / 1e6, self.received / 1e6)
        with contextlib.suppress(Exception):  # it may be gone
            self.client.close(timeout=LOOK)

    @property
    def threads(self) -> int:
        """Tasks that the cluster can work on at once."""
        return sum(self.client.nthreads().values())

    def _require_alike(self) -> None:
        if not self.threads:
            raise ClusterError(
                f"--cluster {self.address}: it has no workers; start some by `dask worker {self.address} --nthreads 1`"
            )
        try:
            found: dict[str, remote.Installed] = self.client.run(remote.installed)
        except Exception as error:
            raise ClusterError(
                f"--cluster {self.address}: its workers cannot run eqprop-analog ({type(error).__name__}: {in_one_line(error)}); "
                "install on every machine of the cluster the version that this machine has"
            ) from error
        here = remote.installed()
        for address, there in found.items():
            if other := here.other(there):
                raise ClusterError(
                    f"--cluster {self.address}: its worker {address} has {other}; results would depend on which worker computes "
                    "them, so install the same on every machine"
                )
            if here.libraries != there.libraries:
                log.warning(
                    "worker %s has %s, and this machine %s: last bits may depend on which worker computes them",
                    address,
                    there.libraries,
                    here.libraries,
                )

    def scattered(self, content: bytes) -> Any:
        """Dask's future of ``content``, put on a worker. Where that worker is lost meanwhile, another one gets it.

        Raises ClusterError where the scheduler is lost, where no worker has been there for DESERTED seconds, and after TRIES
        failures while there are some.
        """
        failures = 0
        while True:
            try:
                return self.client.scatter(content, hash=False)
            except Exception as error:
                # CommClosedError, KeyError, ...: the scheduler has not yet noticed the loss; TimeoutError: there are no workers
                log.debug("%s: bytes were not taken (%s: %s)", self.address, type(error).__name__, in_one_line(error))
                self.require_there()
                failures += self.require_workers()
                if failures == TRIES:
                    raise ClusterError(
                        f"--cluster {self.address}: its workers did not take what a task needs in {TRIES} attempts "
                        f"({type(error).__name__}: {in_one_line(error)})"
                    ) from error
            time.sleep(LOOK)

    def require_there(self) -> None:
        """Raise ClusterError if the connection is lost."""
        if self.client.status != "running":
            raise ClusterError(
                f"--cluster {self.address}: the connection to its scheduler was lost; start the cluster again, and then the same "
                "command, which goes on with what is there already"
            )

    def require_workers(self) -> bool:
        """Whether there are any. Raises ClusterError if there have been none for DESERTED seconds."""
        now = time.monotonic()
        try:
            threads = self.threads
        except OSError:  # the scheduler does not answer, which require_there says as soon as it is certain
            return False
        if threads:
            self._deserted = None
            return True
        if self._deserted is None:
            self._deserted = now
            log.warning("%s has no workers any more; waiting for some", self.address)
        elif now - self._deserted >= DESERTED:
            raise ClusterError(
                f"--cluster {self.address}: no worker has been there for {DESERTED:g} s; start some by `dask worker "
                f"{self.address}`, and then the same command, which goes on with what is there already"
            )
        return False


async def _greeted(address: str) -> None:
    """Connect and let go; Dask's Client would wait for ever for something that takes the connection and says nothing."""
    from distributed.comm import connect
    from distributed.security import Security

    arguments = Security().get_connection_args("client")
    comm = await asyncio.wait_for(connect(address, timeout=CONNECT, **arguments), CONNECT + 1)
    comm.abort()


class ClusterWorkers:
    """Gives out tasks to a cluster, and takes what comes back; one whose worker is lost goes to another, the same to the bit."""

    def __init__(self, cluster: Cluster, time_limit: float) -> None:
        """``time_limit``: seconds that a worker may work on one task."""
        self._cluster, self._time_limit = cluster, seconds_of(time_limit, "time limit")
        sources, self._names = extensions.sources(), tuple(modules_outside())
        self._sources = Shared(dict, (sources,)) if sources else None
        self._sent: dict[Shared, tuple[str, Any]] = {}
        self._process = os.getpid()
        self._jobs: weakref.WeakSet[ClusterJob] = weakref.WeakSet()
        self._lock = threading.RLock()
        self._sharing = threading.Lock()
        self.piece = PIECE

    def __reduce__(self) -> tuple[Any, ...]:
        raise UserError(
            "a solver on a cluster cannot be sent to another process; make a solver there, outside of on_cluster"
        )

    def submit(self, function: Callable[..., Any], *arguments: Any) -> ClusterJob:
        """See tasks.Work."""
        return self._given_out(ClusterJob(function, arguments))

    def submit_in(
        self, folder: Path, names: Sequence[str], function: Callable[..., Any], *arguments: Any
    ) -> ClusterJob:
        """See tasks.Work; the task has a folder of its own, and what it leaves there is written into ``folder``."""
        return self._given_out(ClusterJob(function, arguments, folder, tuple(names)))

    def result(self, job: ClusterJob) -> Any:
        """See tasks.Work; ClusterError for a cluster that is gone."""
        looks = 0
        while True:
            try:
                return job.future.result(LOOK)
            except CancelledError as error:
                raise UserError("the workers were closed before they had done their task; ask again") from error
            except TimeLimitExceeded:
                if job.future.done():  # just now, or the time limit is the task's own
                    return job.future.result()
            self._cluster.require_there()
            looks += 1
            if looks % COUNTED == 0:
                self._cluster.require_workers()

    def cancel(self, job: ClusterJob) -> None:
        """See tasks.Work."""
        with self._lock:
            job.future.cancel()
            if job.asked is not None and not job.asked.done():
                with contextlib.suppress(Exception):  # a cluster that is gone does nothing any more
                    job.asked.cancel()

    def close(self) -> None:
        """Cancel what is not done."""
        for job in list(self._jobs):
            self.cancel(job)
        self._sent.clear()

    def _given_out(self, job: ClusterJob) -> ClusterJob:
        if os.getpid() != self._process:
            raise UserError("a fork of a process cannot use its cluster; make a solver there, outside of on_cluster")
        shared = {each: self._shared(each) for each in job.arguments if isinstance(each, Shared)}
        parcel = remote.Parcel(
            job.function,
            tuple(remote.Received(shared[each][0]) if isinstance(each, Shared) else each for each in job.arguments),
            None if job.folder is None else job.folder.name,
            {name: path.read_bytes() for name in job.names if job.folder and (path := job.folder / name).is_file()},
        )
        sources = None if self._sources is None else self._shared(self._sources)[1]
        content: Any = pickle.dumps(parcel, protocol=5)
        self._cluster.require_there()
        self._cluster.sent += len(content)
        if len(content) > LARGE:
            content = self._cluster.scattered(content)
        with self._lock:
            if job.future.cancelled():  # meanwhile; a task that nobody waits for is not given out again
                return job
            self._jobs.add(job)
            job.asked = self._cluster.client.submit(
                remote.do,
                content,
                sources,
                self._names,
                self._time_limit,
                remote.installed(),
                [digest for digest, _ in shared.values()],
                [future for _, future in shared.values()],
                pure=False,
            )
        job.asked.add_done_callback(lambda asked: self._arrived(job, asked))
        return job

    def _shared(self, value: Shared) -> tuple[str, Any]:
        """Digest, and Dask's future of the content, which workers get from each other; sent again if all of them are lost."""
        with self._sharing:
            digest, future = self._sent.get(value, ("", None))
            if future is None or future.status in ("cancelled", "lost", "error"):
                content = pickle.dumps(value.value(), protocol=5)
                digest = sha256(content).hexdigest()
                future = self._cluster.scattered(content)
                self._cluster.sent += len(content)
                self._sent[value] = digest, future
            return digest, future

    def _arrived(self, job: ClusterJob, asked: Any) -> None:
        """In a thread of Dask's: what has become of a task."""
        if job.future.cancelled():
            return
        try:
            self._settle(job, asked)
        except Exception as error:  # noqa: BLE001 - it is raised where the result is waited for
            _finish(job, error)

    def _settle(self, job: ClusterJob, asked: Any) -> None:
        if asked.status == "error":
            _finish(job, _failure(asked.exception()))
            return
        try:
            answer = asked.result() if asked.status == "finished" else b""
        except CancelledError:
            answer = b""
        if not answer:  # data that it needs were lost with a worker, or the connection
            self._cluster.require_there()
            job.lost += 1
            if job.lost == TRIES:
                raise WorkerLostError(f"what a task needs was lost with its workers {TRIES} times")
            self._given_out(job)
            return
        self._cluster.received += len(answer)
        reply: remote.Reply = pickle.loads(answer)  # noqa: S301 - from the user's own cluster
        job.asked = None  # the cluster need not keep it
        for level, text in reply.messages:
            log.log(level, "%s", text)
        for name, content in reply.files.items():
            if job.folder is not None:
                write_bytes(job.folder / name, content)
        if reply.value is PAUSED and not job.future.cancelled():
            job.lost = 0  # what was lost before has been made up for
            self._given_out(job)
        else:
            _finish(job, reply.raised, reply.value)


def _failure(error: BaseException) -> Exception:
    """What Dask says of a task that it did not get done."""
    if type(error).__name__ == "KilledWorker":
        return WorkerLostError(f"several workers of the cluster were lost over one task ({error})")
    return ClusterError(f"the cluster did not do a task ({type(error).__name__}: {in_one_line(error)})")


def _finish(job: ClusterJob, raised: Exception | None, value: Any = None) -> None:
    with contextlib.suppress(InvalidStateError):
        if raised is None:
            job.future.set_result(value)
        else:
            job.future.set_exception(raised)


_current: Cluster | None = None


def current_cluster() -> Cluster | None:
    """The one of the ``on_cluster`` that the program is in."""
    return _current


def _forked() -> None:
    """The parent's connection serves the parent alone."""
    global _current  # noqa: PLW0603 - there is one program
    _current = None


os.register_at_fork(after_in_child=_forked)


@contextmanager
def on_cluster(address: str) -> Iterator[Cluster]:
    """Have a Dask cluster do, within this ``with``, what otherwise child processes of this machine do.

    ``address``: of its scheduler, such as "tcp://10.0.0.1:8786". Whoever reaches the scheduler can run programs on all these
    machines, so it belongs into a network of one's own, or behind TLS. Raises UserError where no scheduler answers, or a
    worker has other versions. See docs/cluster.md.

    >>> import eqprop_analog as ea
    >>> with ea.on_cluster("tcp://10.0.0.1:8786"):  # doctest: +SKIP
    ...     measured = ea.NgspiceSolver(workers=8).solve(ea.ResistiveNetwork.dense([2, 3, 2]), [[0.1, 0.2]])
    """
    global _current  # noqa: PLW0603 - there is one program
    before, made = _current, Cluster(address)
    _current = made
    try:
        yield made
    finally:
        _current = before
        made.close()


def workers_for(count: int, time_limit: float) -> Work:
    """Whoever does tasks here: ``count`` child processes of this machine, or the cluster that the program is on."""
    return Workers(count, time_limit) if _current is None else ClusterWorkers(_current, time_limit)
