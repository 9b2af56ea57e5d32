"""What a worker process runs: tasks from its parent, one after another, until the parent closes the channel or has ended."""

import contextlib
import os
import pickle
import signal
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

from eqprop_analog.errors import UserError
from eqprop_analog.extensions import load_in_worker
from eqprop_analog.spice.ngspice.tasks import called

READY = b"ready"


def main(handle: int, parent: int, modules: list[str], folder: str) -> None:
    """Run tasks for process ``parent`` over the socket ``handle``.

    ``modules`` are imported first; ``folder`` is the last entry of the search path.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent handles them, and ends this process
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the parent blocked them while it started this process
    for stream in (1, 2):
        try:
            os.fstat(stream)
        except OSError:  # closed; the next file that is opened would get its number
            os.open(os.devnull, os.O_WRONLY)
    os.dup2(2, 1)  # standard output is for the parent's results
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    load_in_worker(modules, folder)
    channel = Connection(handle)
    with contextlib.suppress(EOFError, OSError):  # the parent has ended, or has closed the channel
        channel.send_bytes(READY)
        while True:
            channel.send_bytes(_answer(channel.recv_bytes()))


def _end_with(parent: int) -> None:
    """End this process when its parent has ended, so that a killed run leaves no simulator behind."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _answer(content: bytes) -> bytes:
    """(None, what the task returns) or (what it raises, None), pickled."""
    try:
        function, *arguments = _understood(content)
        reply: tuple[Exception | None, Any] = None, called(function, arguments)
    except Exception as error:  # noqa: BLE001 - it is raised again in the parent
        error.add_note("in a worker process:\n" + traceback.format_exc())
        reply = error, None
    try:
        return pickle.dumps(reply, protocol=5)
    except Exception as error:  # noqa: BLE001 - a value that cannot be pickled raises errors of any kind
        return pickle.dumps((RuntimeError(f"{error} (of {reply!r:.200})"), None))


def _understood(content: bytes) -> tuple[Any, ...]:
    try:
        task: tuple[Any, ...] = pickle.loads(content)  # noqa: S301 - from this process's parent
    except Exception as error:
        raise UserError(
            f"a worker process cannot import what it needs ({type(error).__name__}: {error}); functions and classes of your own "
            "must be in a module, not in the script or notebook itself"
        ) from error
    return task
