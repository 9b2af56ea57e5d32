"""^C and SIGTERM reliably end a command.

Python turns a signal into a single exception, raised at the current point of the program. The exception is lost in code
that a C library calls back (such as LLVM's, while numba compiles) and in code that catches all exceptions. It is
therefore raised again until it propagates to the end of the command.
"""

import signal
import sys
from types import FrameType, TracebackType
from typing import Any, Self

AGAIN = 0.2
"""Seconds until a lost interrupt is raised again."""
IMPATIENT = 3
"""Number of signals after which clean-up is interrupted as well."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """A context in which each of SIGNALS raises KeyboardInterrupt until the exception leaves the context.

    Signals that cannot be handled (outside the main thread) or that were ignored before (``nohup``) are left alone.
    """

    def __init__(self, *, last: bool = False) -> None:
        """``last``: the program ends with the context, so that later signals must not change its exit code."""
        self._last = last
        self.arrived = 0
        """Number of signals so far."""
        self._before: dict[int, Any] = {}
        self._over = False

    def __enter__(self) -> Self:
        handlers: dict[int, Any] = {**dict.fromkeys(SIGNALS, self._arrive), signal.SIGALRM: self._remind}
        try:
            for number, handler in handlers.items():
                if number == signal.SIGALRM or signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, handler)
        except ValueError:  # not the main thread, which handles signals
            return self
        self._hook, sys.unraisablehook = sys.unraisablehook, self._report
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        if not self._before:
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = self._hook
        for number, handler in self._before.items() if not self._last else ():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _arrive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signal's own signature
        self.arrived += 1
        if self._over:
            return
        signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
        if self.arrived >= IMPATIENT or not _underway():
            raise KeyboardInterrupt

    def _remind(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signal's own signature
        if not self._over and not _underway():
            raise KeyboardInterrupt

    def _report(self, dropped: Any) -> None:
        """Ignore an exception that C code drops, because the interrupt is raised again."""
        if not (self.arrived and isinstance(dropped.exc_value, KeyboardInterrupt)):
            self._hook(dropped)


def _underway() -> bool:
    """Return whether the running code handles a KeyboardInterrupt, which then continues to propagate."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
