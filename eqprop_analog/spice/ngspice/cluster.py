"""Workers on other machines: those of a running Dask cluster (``distributed``), with the interface of ``workers.Workers``.

A task is sent with everything it needs, and all its results are sent back, so the machines need no common file system.
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
"""Seconds within which a scheduler must answer."""
LOOK = 1.0
"""Interval in seconds at which a caller that waits for a result checks that the cluster is still connected."""
COUNTED = 5
"""Number of these checks after which the workers are counted, too."""
DESERTED = 120.0
"""Longest time in seconds that a cluster may have no worker."""
PIECE = 60.0
"""Seconds after which a long task in a folder returns its checkpoint and is submitted again."""
LARGE = 1_000_000
"""Size in bytes above which the data of a task are sent directly to a worker, not through the scheduler's memory."""


@dataclass(eq=False)
class ClusterJob:
    """A task that was submitted to the cluster."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    folder: Path | None = None
    """The user's folder."""
    names: tuple[str, ...] = ()
    """Names of the files in it that are sent with the task, if they exist."""
    future: "Future[Any]" = field(default_factory=Future)
    asked: Any = None
    """Dask's future."""
    lost: int = 0


class Cluster:
    """A connection to the scheduler of a running cluster, whose workers have the same software as this machine."""

    def __init__(self, address: str) -> None:
        """Raises ClusterError if no scheduler answers at ``address``, if it has no workers, or if a worker has other versions."""
        try:
            from distributed import Client
        except ImportError as error:
            raise ClusterError(MISSING) from error
        self.address = address
        self.sent = self.received = 0
        """Bytes of tasks and of their results."""
        self._deserted: float | None = None
        """Time since which the cluster has had no workers."""
        for name in ("distributed", "tornado"):  # their messages are replaced by one sentence of our own
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if failure := self._connect(address, Client):
            gc.collect()  # the failed client: Dask's Client waits for itself if it is collected while another one starts
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
        """Connect; the reason for a failure in one line (the exception itself would keep the failed client alive)."""
        try:
            with ThreadPoolExecutor(1) as other:  # this thread may already run an event loop, as in a notebook
                other.submit(asyncio.run, _greeted(address)).result()
            self.client = client(address, timeout=CONNECT, set_as_default=False)
        except Exception as error:  # noqa: BLE001 - Dask raises many kinds of errors for an invalid address
            return in_one_line(error) or type(error).__name__
        return None

    def close(self) -> None:
        """Disconnect from the cluster, which continues to run."""
        if self.sent:
            log.info("%s: %.3g MB sent, %.3g MB received", self.address, self.sent / 1e6, self.received / 1e6)
        with contextlib.suppress(Exception):  # it may be lost already
            self.client.close(timeout=LOOK)

    @property
    def threads(self) -> int:
        """Number of tasks that the cluster can run at the same time."""
        return sum(self.client.nthreads().values())

    def _require_alike(self) -> None:
        if not self.threads:
            raise ClusterError(
                f"--cluster {self.address}: the cluster has no workers; start some by `dask worker {self.address} --nthreads 1`"
            )
        try:
            found: dict[str, remote.Installed] = self.client.run(remote.installed)
        except Exception as error:
            raise ClusterError(
                f"--cluster {self.address}: its workers cannot run eqprop-analog ({type(error).__name__}: {in_one_line(error)}); "
                "install the version of this machine on every machine of the cluster"
            ) from error
        here = remote.installed()
        for address, there in found.items():
            if other := here.other(there):
                raise ClusterError(
                    f"--cluster {self.address}: its worker {address} has {other}; results would depend on which worker computes "
                    "them, so install the same versions on every machine"
                )
            if here.libraries != there.libraries:
                log.warning(
                    "worker %s has %s, and this machine %s: the last bits may depend on which worker computes them",
                    address,
                    there.libraries,
                    here.libraries,
                )

    def scattered(self, content: bytes) -> Any:
        """Dask's future of ``content``, which is sent to a worker, or to another one if that worker is lost meanwhile.

        Raises ClusterError if the scheduler is lost, if there has been no worker for DESERTED seconds, and after TRIES failures
        while there are workers.
        """
        failures = 0
        while True:
            try:
                return self.client.scatter(content, hash=False)
            except Exception as error:
                # CommClosedError, KeyError, ...: the scheduler has not yet noticed the loss; TimeoutError: there are no workers
                log.debug(
                    "%s: no worker accepted the data (%s: %s)", self.address, type(error).__name__, in_one_line(error)
                )
                self.require_there()
                failures += self.require_workers()
                if failures == TRIES:
                    raise ClusterError(
                        f"--cluster {self.address}: its workers did not accept the data of a task in {TRIES} attempts "
                        f"({type(error).__name__}: {in_one_line(error)})"
                    ) from error
            time.sleep(LOOK)

    def require_there(self) -> None:
        """Raise ClusterError if the connection is lost."""
        if self.client.status != "running":
            raise ClusterError(
                f"--cluster {self.address}: the connection to its scheduler was lost; start the cluster again, and then run the "
                "same command, which continues with the results that exist already"
            )

    def require_workers(self) -> bool:
        """Whether there are workers. Raises ClusterError if there have been none for DESERTED seconds."""
        now = time.monotonic()
        try:
            threads = self.threads
        except OSError:  # the scheduler does not answer; require_there raises the error as soon as this is certain
            return False
        if threads:
            self._deserted = None
            return True
        if self._deserted is None:
            self._deserted = now
            log.warning("%s has no workers any more; waiting for new ones", self.address)
        elif now - self._deserted >= DESERTED:
            raise ClusterError(
                f"--cluster {self.address}: it has had no workers for {DESERTED:g} s; start some by `dask worker "
                f"{self.address}`, and then run the same command, which continues with the results that exist already"
            )
        return False


async def _greeted(address: str) -> None:
    """Connect and disconnect; Dask's Client would wait for ever for a server that accepts the connection and does not answer."""
    from distributed.comm import connect
    from distributed.security import Security

    arguments = Security().get_connection_args("client")
    comm = await asyncio.wait_for(connect(address, timeout=CONNECT, **arguments), CONNECT + 1)
    comm.abort()


class ClusterWorkers:
    """Submits tasks to a cluster and receives their results; a task whose worker is lost is repeated bit-identically."""

    def __init__(self, cluster: Cluster, time_limit: float) -> None:
        """``time_limit``: longest time in seconds for one task."""
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
            "a solver on a cluster cannot be sent to another process; create a solver there, outside of on_cluster"
        )

    def submit(self, function: Callable[..., Any], *arguments: Any) -> ClusterJob:
        """See tasks.Work."""
        return self._given_out(ClusterJob(function, arguments))

    def submit_in(
        self, folder: Path, names: Sequence[str], function: Callable[..., Any], *arguments: Any
    ) -> ClusterJob:
        """See tasks.Work; the task gets a separate folder, and the files that it writes there are copied into ``folder``."""
        return self._given_out(ClusterJob(function, arguments, folder, tuple(names)))

    def result(self, job: ClusterJob) -> Any:
        """See tasks.Work. Raises ClusterError if the cluster is lost."""
        looks = 0
        while True:
            try:
                return job.future.result(LOOK)
            except CancelledError as error:
                raise UserError("the workers were closed before their task was done; submit it again") from error
            except TimeLimitExceeded:
                if job.future.done():  # it was done just now, or the error is the result of the task itself
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
                with contextlib.suppress(Exception):  # a lost cluster runs no tasks any more
                    job.asked.cancel()

    def close(self) -> None:
        """Cancel all tasks that are not done."""
        for job in list(self._jobs):
            self.cancel(job)
        self._sent.clear()

    def _given_out(self, job: ClusterJob) -> ClusterJob:
        if os.getpid() != self._process:
            raise UserError("a fork of a process cannot use its cluster; create a solver there, outside of on_cluster")
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
            if job.future.cancelled():  # meanwhile; a cancelled task is not submitted again
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
        """Digest, and Dask's future of the content. Workers copy it from each other; it is sent again if all of them are lost."""
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
        """Called in a thread of Dask when a task has ended."""
        if job.future.cancelled():
            return
        try:
            self._settle(job, asked)
        except Exception as error:  # noqa: BLE001 - it is raised again in the thread that waits for the result
            _finish(job, error)

    def _settle(self, job: ClusterJob, asked: Any) -> None:
        if asked.status == "error":
            _finish(job, _failure(asked.exception()))
            return
        try:
            answer = asked.result() if asked.status == "finished" else b""
        except CancelledError:
            answer = b""
        if not answer:  # its data were lost with a worker, or the connection was lost
            self._cluster.require_there()
            job.lost += 1
            if job.lost == TRIES:
                raise WorkerLostError(f"the data of a task were lost with its workers {TRIES} times")
            self._given_out(job)
            return
        self._cluster.received += len(answer)
        reply: remote.Reply = pickle.loads(answer)  # noqa: S301 - from the user's own cluster
        job.asked = None  # so that the cluster does not keep the result
        for level, text in reply.messages:
            log.log(level, "%s", text)
        for name, content in reply.files.items():
            if job.folder is not None:
                write_bytes(job.folder / name, content)
        if reply.value is PAUSED and not job.future.cancelled():
            job.lost = 0  # its checkpoint makes up for earlier losses
            self._given_out(job)
        else:
            _finish(job, reply.raised, reply.value)


def _failure(error: BaseException) -> Exception:
    """The error for a task that Dask could not complete."""
    if type(error).__name__ == "KilledWorker":
        return WorkerLostError(f"several workers of the cluster were lost during one task ({error})")
    return ClusterError(f"the cluster could not run a task ({type(error).__name__}: {in_one_line(error)})")


def _finish(job: ClusterJob, raised: Exception | None, value: Any = None) -> None:
    with contextlib.suppress(InvalidStateError):
        if raised is None:
            job.future.set_result(value)
        else:
            job.future.set_exception(raised)


_current: Cluster | None = None


def current_cluster() -> Cluster | None:
    """The cluster of the enclosing ``on_cluster``, if there is one."""
    return _current


def _forked() -> None:
    """After a fork the connection belongs to the parent process only."""
    global _current  # noqa: PLW0603 - there is one program
    _current = None


os.register_at_fork(after_in_child=_forked)


@contextmanager
def on_cluster(address: str) -> Iterator[Cluster]:
    """Within this ``with`` block, a Dask cluster runs the tasks that child processes of this machine run otherwise.

    ``address``: address of its scheduler, such as "tcp://10.0.0.1:8786". Everybody who can connect to the scheduler can run
    programs on all these machines, so use it in a trusted network or with TLS only. Raises UserError if no scheduler answers,
    or if a worker has other versions. See docs/cluster.md.

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
    """What runs the tasks here: ``count`` child processes of this machine, or the cluster of the enclosing ``on_cluster``."""
    return Workers(count, time_limit) if _current is None else ClusterWorkers(_current, time_limit)
