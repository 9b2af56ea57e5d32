"""What runs on the workers of a cluster: a task that has come as bytes, in a child process as on the user's own machine.

The worker itself sees bytes alone. A simulator that ends its process, a time limit and modules of the user's own concern the
child alone, and a worker serves any number of users, each with modules of their own.
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
"""Warnings of one task that are told, at most."""
LOOK = 0.5
"""Seconds after which a worker looks whether anybody still wants the result of its task."""
LEFT_THERE = frozenset({".lock", "live.html"})
"""Files of a folder that do not travel: they are about the machine where they are."""


@dataclass(frozen=True)
class Received:
    """A shared argument (tasks.Shared), which has been sent by itself."""

    digest: str


@dataclass(frozen=True)
class Parcel:
    """A task."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    folder: str | None = None
    """Name of the folder that ``function`` gets as its first argument."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What is in it, by path within."""


@dataclass(frozen=True)
class Reply:
    """What has become of a task."""

    raised: Exception | None
    value: Any = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What is new or other in the folder."""
    messages: Sequence[tuple[int, str]] = ()
    """Warnings meanwhile: their levels and texts."""

    def packed(self) -> bytes:
        """As bytes; of what cannot be sent, its text."""
        try:
            return pickle.dumps(self, protocol=5)
        except Exception as error:  # noqa: BLE001 - of what cannot be sent its text can be
            raised = RuntimeError(f"{error} (of {self.raised or self.value!r:.200})")
            return pickle.dumps(replace(self, raised=raised, value=None), protocol=5)


@dataclass(frozen=True)
class Installed:
    """What the bits of a result depend on."""

    package: str
    """Version of eqprop-analog, and a digest of its files."""
    ngspice: str
    """Major version of libngspice, or why there is none."""
    libraries: str
    """Versions of Python, NumPy and SciPy."""

    def other(self, there: "Installed") -> str:
        """What a worker has that makes results depend on who computes them; empty if nothing."""
        pairs = {"eqprop-analog": (there.package, self.package), "ngspice": (there.ngspice, self.ngspice)}
        return "; ".join(f"{what} {one}, and this machine {two}" for what, (one, two) in pairs.items() if one != two)


@cache
def installed() -> Installed:
    """On this machine; asks a child process for ngspice."""
    work = _work(Brought(()))
    try:
        ngspice = str(work.result(work.submit(libngspice.load)))
    except UserError as error:
        ngspice = str(error)
    libraries = [f"{name} {version(name)}" for name in ("numpy", "scipy")]
    return Installed(_package(), ngspice, ", ".join([f"Python {platform.python_version()}", *libraries]))


def _package() -> str:
    """Checkouts of the same version number differ, too."""
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
    """On a worker: the Reply, packed, to a Parcel, packed, which its child works on for ``time_limit`` seconds at most.

    ``sources``: files of the user's modules (extensions.sources), pickled. ``names``: of these modules. ``here``: on the user's
    machine. ``values``: shared arguments, pickled, with their ``digests``.
    """
    from distributed import get_worker

    worker = get_worker()
    if other := here.other(installed()):  # a worker that has come later
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
    """Whether a task has not been cancelled."""
    state = worker.state.tasks.get(key)
    return state is not None and state.state != "cancelled"


def _unpacked(folder: Path, sources: bytes | None, names: tuple[str, ...]) -> Brought:
    """The user's modules, in a folder of their own."""
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
"""Pools of children with different modules that a worker keeps at most."""


def _work(brought: Brought) -> Workers:
    """The children with these modules, as many as are needed at once."""
    with _lock:
        work = _pools.pop(brought, None) or Workers(os.cpu_count() or 1, LONGEST, brought=brought)
        _pools[brought] = work
        while len(_pools) > KEPT:
            _pools.pop(next(iter(_pools)))  # its children end when nobody waits for them any more
        return work


def end_children() -> None:
    """End those that there are in this process."""
    with _lock:
        while _pools:
            _pools.popitem()[1].close()


def carried_out(content: bytes, place: Path) -> bytes:
    """In a child: work on a Parcel; the Reply to it. ``place``: where shared arguments are, and folders are made."""
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
    """A task that reads and writes files, in a folder of its own, which is gone afterwards; its files come back if it fails."""
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
    """What this package warns of meanwhile."""
    handler, logger = BufferingHandler(MESSAGES + 1), logging.getLogger("eqprop_analog")
    handler.setLevel(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield handler.buffer
    finally:
        logger.removeHandler(handler)
