"""PySpice 1.5's binding of libngspice, with its messages classified correctly: PySpice mistakes information for errors.

Only this module depends on the peculiarities of PySpice and libngspice. It is imported in worker processes only.
"""

import contextlib
import functools
import os
import re
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PySpice.Spice.NgSpice import Shared

from eqprop_analog.spice.ngspice.library import SimulationError

Array = np.ndarray

COMPLAINT = re.compile(
    r"^(?!.*(vector .* not found|circuits? loaded))"
    r"(warning.*can't|error|fatal|doanalyses|.*(singular|no such|overflow|abort|fail|no convergence|too (many|few)))",
    re.IGNORECASE,
)
"""Lines of ngspice's output that name the cause of a failure; consequential errors and information do not match."""
SETTINGS = Path(__file__).with_name("settings")
"""A folder with initialization files that set nothing."""
ENDED = 70
"""Exit code of a worker whose libngspice requested the end of the process."""


@contextlib.contextmanager
def default_settings() -> Iterator[None]:
    """Within this block, libngspice starts with its own defaults, whatever the current folder, the user and the system set.

    It executes ``spinit`` (in SPICE_SCRIPTS), then ``.spiceinit`` in the current folder or, if there is none, in the user's home
    folder, and not every version has an option to skip this. Therefore it is started in a folder whose initialization files are
    empty.
    """
    named = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("SPICE_")}
    handler = signal.getsignal(signal.SIGINT)
    back = os.open(".", getattr(os, "O_PATH", os.O_RDONLY))
    try:
        os.environ["SPICE_SCRIPTS"] = str(SETTINGS)
        os.chdir(SETTINGS)
        try:
            yield
        finally:
            os.fchdir(back)
    finally:
        os.close(back)
        os.environ.pop("SPICE_SCRIPTS", None)
        os.environ.update(named)
        with contextlib.suppress(ValueError, TypeError):  # not the main thread; a handler that is not Python's
            signal.signal(signal.SIGINT, handler)  # later versions replace this handler


ALL_WAYS, NEWTON_ALONE = "optran 1 1 1 100n 10u 0", "optran 1 0 0 0 0 0"
"""Methods for an operating point: ngspice's default (Newton's iteration, then gmin and source stepping, then a transient
analysis), and Newton's iteration alone."""


class Ngspice(Shared.NgSpiceShared):  # type: ignore[misc]
    """Keeps every message, and decides by the number of points whether a run succeeded."""

    ended = False

    @contextlib.contextmanager
    def behaving(self, mode: str) -> Iterator[None]:
        """Within this block, netlists are read in ngspice's compatibility mode ``mode`` (ngbehavior); "" is ngspice's own."""
        if mode:
            self.exec_command(f"set ngbehavior={mode}")
        try:
            yield
        finally:
            if mode:
                self.exec_command("unset ngbehavior")

    def sweep(
        self, netlist: str, nets: Sequence[str], points: int, *, jumps: bool = False
    ) -> Float[Array, "points nets"]:
        """Voltages of ``nets`` at each point of the netlist's ``.dc`` sweep, volts; SimulationError if any is missing.

        ``jumps``: use Newton's iteration alone. The methods that ngspice tries next do not use the starting point of the
        iteration, and may never end if sources jump.
        """
        voltages = self._run(netlist, nets, NEWTON_ALONE if jumps else ALL_WAYS)
        solved = min(map(len, voltages))
        if solved != points:
            raise SimulationError(f"{solved} of {points} points solved. {self._complaints()}")
        return np.stack(voltages, axis=1)

    def transient(
        self, netlist: str, nets: Sequence[str], end: float
    ) -> tuple[Float[Array, " samples"], Float[Array, "samples nets"]]:
        """Time (s) and voltages (V) along the netlist's ``.tran``; SimulationError if it stops before ``end`` (s)."""
        time, *voltages = self._run(netlist, ["time", *nets])
        if not time.size or time[-1] < (1 - 1e-9) * end:
            raise SimulationError(f"stopped at {time[-1:]} of {end} s. {self._complaints()}")
        return time, np.stack(voltages, axis=1)

    def _run(self, netlist: str, vectors: Sequence[str], optran: str = ALL_WAYS) -> list[Float[Array, " points"]]:
        if self.ended:
            os._exit(ENDED)  # the worker is replaced, and its task is repeated
        self.messages.clear()
        try:
            self.load_circuit(netlist)
            with contextlib.suppress(NameError):  # versions before 35 have neither this command nor this analysis
                self.exec_command(optran)
            self.exec_command("run")
            return [self.vector(name) for name in vectors]
        except NameError as error:  # what PySpice raises where ngspice returns an error code
            raise SimulationError(self._complaints() or str(error)) from error
        finally:
            self._forget_circuit()

    @functools.cached_property
    def has_klu(self) -> bool:
        """Whether ngspice reports that it was compiled with KLU."""
        self.messages.clear()
        self.exec_command("version -f")
        return any("KLU" in line for line in self.messages)

    @functools.cached_property
    def messages(self) -> list[str]:
        """All messages of ngspice since the last netlist."""
        return []

    @staticmethod
    def _send_char(message_c: Any, ngspice_id: int, user_data: Any) -> int:  # noqa: ARG004
        self = Shared.ffi.from_handle(user_data)
        stream, _, content = Shared.ffi.string(message_c).decode("utf8", "replace").partition(" ")
        (self._stderr if stream == "stderr" else self._stdout).append(content)
        self.messages.append(content)
        return 0

    @staticmethod
    def _exit(status: int, *rest: Any) -> int:
        """Called when the ngspice program would end; the library's memory may be corrupt after this."""
        Shared.ffi.from_handle(rest[-1]).ended = True
        return status

    def vector(self, name: str) -> Float[Array, " points"]:
        """Values of one vector of the last analysis; empty if there is none."""
        info = self._ngspice_shared.ngGet_Vec_Info(name.lower().encode())
        if info == Shared.ffi.NULL:
            return np.zeros(0)
        return np.frombuffer(Shared.ffi.buffer(info.v_realdata, info.v_length * 8), dtype=np.float64).copy()

    def _forget_circuit(self) -> None:
        for command in ("destroy all", "remcirc"):
            with contextlib.suppress(NameError):  # after an invalid circuit there is none to remove
                self.exec_command(command)

    def _complaints(self) -> str:
        said = []
        for k, line in enumerate(self.messages):
            if COMPLAINT.match(line):
                cites = line.rstrip().endswith("on line:")  # the line and the reason follow
                quoted = self.messages[k + 1 : k + 3] if cites else []
                said.append(" ".join([line, *(" ".join(each.split()) for each in quoted)]))
        return "; ".join(said)[:500]
