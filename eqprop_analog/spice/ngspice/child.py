"""One worker process: a separate Python interpreter, started by ``subprocess``, which works everywhere, and a channel to it."""

import fcntl
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import TimeoutError as TimeLimitExceeded
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

from eqprop_analog.extensions import Brought, brought_along
from eqprop_analog.isolated import command

START_SECONDS = 120.0
"""Longest time in seconds for an interpreter to start, on a slow disk and a busy machine."""
POLLED = 2e6
"""Longest time in seconds that can be waited for an answer: a poll counts milliseconds in 32 bits."""
DEFERRED = (signal.SIGINT, signal.SIGTERM)


class ChildLostError(Exception):
    """The process ended before it answered; the text says how."""


class Child:
    """A running worker process. Any thread may kill it; only one at a time may call ``ask``."""

    def __init__(self, brought: Brought | None = None) -> None:
        """Start the process, with these modules or those of this process.

        Raises OSError if the operating system refuses to start it, and ChildLostError if it ends at once.
        """
        ours, theirs = _channel()
        try:
            with deferred_signals():
                brought = brought_along() if brought is None else brought
                arguments = f"{theirs.fileno()}, {os.getpid()}, {list(brought.names)}, {brought.folder!r}"
                code = f"from eqprop_analog.spice.ngspice.worker import main; main({arguments})"
                self.process = subprocess.Popen(command(code), pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
                self.channel = ours
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        try:
            self._receive(START_SECONDS)
        except BaseException:
            self.close()
            raise

    def ask(self, content: bytes, seconds: float) -> bytes:
        """Send a task and return the answer.

        Raises TimeLimitExceeded after ``seconds``, and ChildLostError if the process ends before it answers.
        """
        try:
            self.channel.send_bytes(content)
        except ConnectionError as error:
            raise ChildLostError(self.end()) from error
        return self._receive(seconds)

    def _receive(self, seconds: float) -> bytes:
        try:
            if not self.channel.poll(seconds):
                raise TimeLimitExceeded
            return self.channel.recv_bytes()
        except (EOFError, ConnectionError) as error:
            raise ChildLostError(self.end()) from error

    def alive(self) -> bool:
        """Whether the process is still running."""
        return self.process.poll() is None

    def kill(self) -> None:
        """Kill the process, and wait until it has ended."""
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Kill the process and close the channel, which no thread may be using."""
        self.kill()
        self.channel.close()

    def end(self) -> str:
        """How a process that closed its channel ended."""
        try:
            code = self.process.wait(1)
        except subprocess.TimeoutExpired:
            return "it closed its channel"
        if code >= 0:
            return f"it ended with exit code {code}"
        try:
            return f"it was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"it was ended by signal {-code}"


def _channel() -> tuple[Connection, Connection]:
    """Two ends of a channel. Neither has the number of a standard stream, even where a daemon has closed these."""
    ends = socket.socketpair()
    try:
        ours, theirs = (Connection(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3)) for end in ends)
    finally:
        for end in ends:
            end.close()
    return ours, theirs


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Defer ^C and SIGTERM for this thread and for a process that it starts, so that every started process is recorded."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, DEFERRED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
