"""What runs on the workers of a cluster: each task is received as bytes and runs in a child process, as on the user's machine.

The worker process itself only handles bytes. A simulator that ends its process, a time limit and the user's own modules affect
only the child process, so one worker can serve any number of users with different modules.
"""

import hashlib
import logging
import os
import pickle
import platform
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import TimeoutError as TimeLimitExceeded
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from importlib.metadata import version
from importlib.resources import files as resources
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

from eqprop_analog.errors import UserError
from eqprop_analog.extensions import Brought
from eqprop_analog.files import packaged_circuits, write_bytes
from eqprop_analog.incoming import LONGEST
from eqprop_analog.spice.ngspice import library as libngspice
from eqprop_analog.spice.ngspice.tasks import ClusterError
from eqprop_analog.spice.ngspice.workers import Workers, guarded

MESSAGES = 1000
"""Largest number of warnings of one task that are reported."""
LOOK = 0.5
"""Interval in seconds at which a worker checks whether its task has been cancelled."""
LEFT_THERE = frozenset({".lock", "live.html"})
"""Files of a folder that are not sent, because they concern only the machine where they are."""


@dataclass(frozen=True)
class Received:
    """A shared argument (tasks.Shared), which was sent separately."""

    digest: str


@dataclass(frozen=True)
class Parcel:
    """A task as it is sent to a worker."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    folder: str | None = None
    """Name of the folder that ``function`` gets as its first argument."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Contents of its files, by relative path."""


@dataclass(frozen=True)
class Reply:
    """The result of a task as it is sent back."""

    raised: Exception | None
    value: Any = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    """New and changed files of the folder."""
    messages: Sequence[tuple[int, str]] = ()
    """Warnings during the task: levels and texts."""

    def packed(self) -> bytes:
        """As bytes; a value that cannot be pickled is replaced by an error with its text."""
        try:
            return pickle.dumps(self, protocol=5)
        except Exception as error:  # noqa: BLE001 - a value that cannot be pickled raises errors of any kind
            raised = RuntimeError(f"{error} (of {self.raised or self.value!r:.200})")
            return pickle.dumps(replace(self, raised=raised, value=None), protocol=5)


@dataclass(frozen=True)
class Installed:
    """The software on which the bits of a result depend."""

    package: str
    """Version of eqprop-analog, and a digest of its files."""
    ngspice: str
    """Major version of libngspice, or the reason why it cannot be loaded."""
    libraries: str
    """Versions of Python, NumPy and SciPy."""

    def other(self, there: "Installed") -> str:
        """Differences of a worker that would make results depend on where they are computed; empty if there are none."""
        pairs = {"eqprop-analog": (there.package, self.package), "ngspice": (there.ngspice, self.ngspice)}
        return "; ".join(f"{what} {one}, and this machine {two}" for what, (one, two) in pairs.items() if one != two)


@cache
def installed() -> Installed:
    """The software of this machine; a child process loads ngspice to get its version."""
    work = _work(Brought(()))
    try:
        ngspice = str(work.result(work.submit(libngspice.load)))
    except UserError as error:
        ngspice = str(error)
    libraries = [f"{name} {version(name)}" for name in ("numpy", "scipy")]
    return Installed(_package(), ngspice, ", ".join([f"Python {platform.python_version()}", *libraries]))


def _package() -> str:
    """Version and digest, because checkouts with the same version number can differ."""
    digest = hashlib.sha256()
    for folder, pattern in ((Path(str(resources("eqprop_analog"))), "**/*.py"), (packaged_circuits(), "**/*.lib")):
        for path in sorted(folder.glob(pattern)):
            digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return f"{version('eqprop-analog')} ({digest.hexdigest()[:10]})"


def do(
    content: bytes,
    sources: bytes | None,
    names: tuple[str, ...],
    time_limit: float,
    here: Installed,
    digests: Sequence[str],
    values: Sequence[bytes],
) -> bytes:
    """On a worker: the packed Reply to a packed Parcel, whose task runs in a child process for at most ``time_limit`` seconds.

    ``sources``: files of the user's modules (extensions.sources), pickled. ``names``: names of these modules. ``here``: the
    software of the user's machine. ``values``: shared arguments, pickled, with their ``digests``.
    """
    from distributed import get_worker

    worker = get_worker()
    if other := here.other(installed()):  # a worker that joined later
        return Reply(ClusterError(f"worker {worker.address} has {other}")).packed()
    folder = Path(worker.local_directory) / "eqprop-analog"
    folder.mkdir(exist_ok=True)
    brought = _unpacked(folder, sources, names)
    for digest, value in zip(digests, values, strict=True):
        if not (folder / digest).exists():
            write_bytes(folder / digest, value)
    key, end = worker.get_current_task(), time.monotonic() + time_limit
    work = _work(brought)
    job = work.submit(carried_out, content, folder)
    try:
        while True:
            try:
                return job.future.result(LOOK)
            except TimeLimitExceeded:
                if time.monotonic() >= end:
                    return Reply(TimeLimitExceeded()).packed()
                if not _wanted(worker, key):
                    return b""
    except UserError as error:  # its children were lost or cannot be started
        return Reply(error).packed()
    finally:
        work.cancel(job)


def _wanted(worker: Any, key: Any) -> bool:
    """Whether a task is still wanted, that is, not cancelled."""
    state = worker.state.tasks.get(key)
    return state is not None and state.state != "cancelled"


def _unpacked(folder: Path, sources: bytes | None, names: tuple[str, ...]) -> Brought:
    """Write the user's modules into a separate folder."""
    if sources is None:
        return Brought(names)
    place = folder / hashlib.sha256(sources).hexdigest()
    for name, text in pickle.loads(sources).items():  # noqa: S301 - a cluster trusts its users, see docs/cluster.md
        if not (place / name).exists():
            write_bytes(place / name, text)
    return Brought(names, str(place))


_pools: dict[Brought, Workers] = {}
_lock = threading.Lock()
KEPT = 3
"""Largest number of pools of child processes, with different modules, that a worker keeps."""


def _work(brought: Brought) -> Workers:
    """The pool of child processes that have imported these modules."""
    with _lock:
        work = _pools.pop(brought, None) or Workers(os.cpu_count() or 1, LONGEST, brought=brought)
        _pools[brought] = work
        while len(_pools) > KEPT:
            _pools.pop(next(iter(_pools)))  # its child processes end when no task uses them any more
        return work


def end_children() -> None:
    """End all child processes of this process."""
    with _lock:
        while _pools:
            _pools.popitem()[1].close()


def carried_out(content: bytes, place: Path) -> bytes:
    """In a child process: run the task of a Parcel, and return the packed Reply. ``place``: folder of the shared arguments."""
    with _warnings() as records:
        failure, reply = guarded(_reply, content, place)
        reply = reply or Reply(failure)
    if (raised := reply.raised) is not None:
        raised.add_note(f"on {platform.node()}, process {os.getpid()}:\n{''.join(traceback.format_exception(raised))}")
    messages = [(record.levelno, record.getMessage()) for record in records[:MESSAGES]]
    return replace(reply, messages=messages).packed()


def _reply(content: bytes, place: Path) -> Reply:
    parcel = _understood(content)
    arguments = [_value(place / each.digest) if isinstance(each, Received) else each for each in parcel.arguments]
    if parcel.folder is None:
        return Reply(*guarded(parcel.function, *arguments))
    return _in_folder(parcel, arguments, place)


def _understood(content: bytes) -> Parcel:
    try:
        parcel: Parcel = pickle.loads(content)  # noqa: S301 - a cluster trusts its users, see docs/cluster.md
    except Exception as error:
        raise UserError(
            f"a worker of the cluster, on {platform.node()}, cannot import what the task needs "
            f"({type(error).__name__}: {error}); name its file by --import, or install it there"
        ) from error
    return parcel


@lru_cache(maxsize=1)
def _value(path: Path) -> Any:
    return pickle.loads(path.read_bytes())  # noqa: S301 - likewise


def _in_folder(parcel: Parcel, arguments: Sequence[Any], place: Path) -> Reply:
    """Run a task that reads and writes files in a temporary folder; its files are returned even if it fails."""
    with tempfile.TemporaryDirectory(dir=place) as made:
        folder = Path(made) / str(parcel.folder)
        for name, text in parcel.files.items():
            write_bytes(folder / name, text)
        folder.mkdir(exist_ok=True)
        raised, value = guarded(parcel.function, folder, *arguments)
        found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
        texts = {name: path.read_bytes() for name, path in found.items() if path.name not in LEFT_THERE}
        return Reply(raised, value, {name: text for name, text in texts.items() if text != parcel.files.get(name)})


@contextmanager
def _warnings() -> Any:
    """Collect the warnings of this package."""
    handler, logger = BufferingHandler(MESSAGES + 1), logging.getLogger("eqprop_analog")
    handler.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield handler.buffer
    finally:
        logger.removeHandler(handler)
