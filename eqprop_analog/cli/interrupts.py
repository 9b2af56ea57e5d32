"""^C and SIGTERM end a command, whatever code they meet.

Python turns a signal into one exception, raised wherever the program happens to be. Code that a C library calls back (LLVM's,
while numba compiles) and code that catches everything drop it, and the program goes on. So it is raised again until it is
underway to where the command ends.
"""

import signal
import sys
from types import FrameType, TracebackType
from typing import Any, Self

AGAIN = 0.2
"""Seconds until an interrupt that was dropped is raised again."""
IMPATIENT = 3
"""Signals after which what is cleaning up is interrupted as well."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """A context in which every one of SIGNALS raises KeyboardInterrupt, until that leaves the context.

    Where signals cannot be handled (not the main thread), or were ignored before (``nohup``), they stay as they are.
    """

    def __init__(self, *, last: bool = False) -> None:
        """``last``: the program ends with the context, so no signal may change its exit code any more."""
        self._last = last
        self.arrived = 0
        """Signals so far."""
        self._before: dict[int, Any] = {}
        self._over = False

    def __enter__(self) -> Self:
        handlers: dict[int, Any] = {**dict.fromkeys(SIGNALS, self._arrive), signal.SIGALRM: self._remind}
        try:
            for number, handler in handlers.items():
                if number == signal.SIGALRM or signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, handler)
        except ValueError:  # not the main thread: somebody else looks after signals
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
        """What C code drops; an interrupt is not lost by that, so there is nothing to say."""
        if not (self.arrived and isinstance(dropped.exc_value, KeyboardInterrupt)):
            self._hook(dropped)


def _underway() -> bool:
    """Whether the code that is running cleans up after a KeyboardInterrupt, which then goes on by itself."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
