"""One worker process: a Python of its own, started by ``subprocess`` (which may be done everywhere), and a channel to it."""

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
"""What an interpreter may take to start: on a slow disk, on a busy machine."""
POLLED = 2e6
"""Seconds that an operating system waits for an answer, at most: a poll counts milliseconds in 32 bits."""
DEFERRED = (signal.SIGINT, signal.SIGTERM)


class ChildLostError(Exception):
    """The process ended before it answered; the text says how."""


class Child:
    """A running worker process. Any thread may kill it; one at a time may ask."""

    def __init__(self, brought: Brought | None = None) -> None:
        """Start it, with these modules or those of this process.

        OSError for what the operating system refuses, ChildLostError for a process that ends at once.
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
        """What it answers. TimeLimitExceeded if it takes more than ``seconds``, ChildLostError if it ends before."""
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
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End it, whatever it is doing, and wait for its end."""
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """``kill``, and let go of the channel, which nobody may be using."""
        self.kill()
        self.channel.close()

    def end(self) -> str:
        """How the process ended, which has let go of its channel."""
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
    """Its two ends, neither of which has the number of a standard stream, as it would where a daemon has closed these."""
    ends = socket.socketpair()
    try:
        ours, theirs = (Connection(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3)) for end in ends)
    finally:
        for end in ends:
            end.close()
    return ours, theirs


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Let ^C and SIGTERM wait meanwhile, for this thread and for a process that it starts, which is then never half known."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, DEFERRED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
