"""libngspice in this process: the one place that knows PySpice 1.5's and ngspice's quirks. Run it in worker processes only."""

import ctypes.util
import logging
import os
import re
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.errors import UserError

Array = np.ndarray

MISSING = (
    "libngspice is not installed, and the circuit simulator needs it. Debian/Ubuntu: apt-get install ngspice libngspice0; "
    "Fedora: dnf install ngspice libngspice; macOS: brew install libngspice; elsewhere set NGSPICE_LIBRARY_PATH"
)
FAILURE = re.compile(
    r"^(error|fatal|doAnalyses|.*(singular matrix|no such|overflow|aborted|can't|could not|failed))", re.IGNORECASE
)
HARMLESS = re.compile(r"^(note:|using |trying |supplies |.*can't find (the )?init)", re.IGNORECASE)


class SimulationError(RuntimeError):
    """ngspice did not solve the circuit; the text is ngspice's own."""


def library_path() -> str:
    """File name of libngspice, or UserError with what to type. NGSPICE_LIBRARY_PATH comes first."""
    named = os.environ.get("NGSPICE_LIBRARY_PATH")
    path = named or ctypes.util.find_library("ngspice")
    if not path or (named and not Path(named).exists()):
        raise UserError(f"{named}: no such library (NGSPICE_LIBRARY_PATH). {MISSING}" if named else MISSING)
    return path


def sweep(netlist: str, nets: Sequence[str]) -> Float[Array, "points nets"]:
    """Voltages of ``nets`` at every point of the netlist's ``.dc`` sweep, volts. Raises SimulationError."""
    return _library()(netlist, nets)


def load() -> None:
    """Load libngspice into this process."""
    _library()


@cache
def _library() -> Any:
    return _adapter()


def _adapter() -> Any:
    """PySpice's NgSpiceShared with its judgement of messages replaced, as a function (netlist, nets) -> voltages."""
    logging.getLogger("PySpice").setLevel(logging.CRITICAL)  # "Unsupported Ngspice version 39" is harmless
    os.environ.setdefault("NGSPICE_LIBRARY_PATH", library_path())
    from PySpice.Spice.NgSpice import Shared

    class Ngspice(Shared.NgSpiceShared):  # type: ignore[misc]
        """Keeps every message and calls a failure only what ngspice itself calls one."""

        messages: list[str]

        @staticmethod
        def _send_char(message_c: Any, ngspice_id: int, user_data: Any) -> int:  # noqa: ARG004
            self = Shared.ffi.from_handle(user_data)
            stream, _, content = Shared.ffi.string(message_c).decode("utf8", "replace").partition(" ")
            (self._stderr if stream == "stderr" else self._stdout).append(content)
            self.__dict__.setdefault("messages", []).append(content)
            return 0

        def voltages(self, netlist: str, nets: Sequence[str]) -> Float[Array, "points nets"]:
            self.messages = []
            self.load_circuit(netlist)
            try:
                self.exec_command("run")
                return np.stack([self._vector(net) for net in nets], axis=1)
            finally:
                self.exec_command("destroy all")
                self.exec_command("remcirc")

        def _vector(self, net: str) -> Float[Array, " points"]:
            info = self._ngspice_shared.ngGet_Vec_Info(net.lower().encode())
            if info == Shared.ffi.NULL:
                raise SimulationError(self.complaint() or f"ngspice gave no voltage for net {net}")
            raw = Shared.ffi.buffer(info.v_realdata, info.v_length * 8)
            return np.frombuffer(raw, dtype=np.float64).copy()

        def complaint(self) -> str:
            lines = [line for line in self.messages if FAILURE.match(line) and not HARMLESS.match(line)]
            return "; ".join(lines[:4])

    Ngspice.setup_platform()
    instance = Ngspice.new_instance()
    return instance.voltages


def executable_version() -> str | None:
    """Path of the ``ngspice`` program, or None."""
    return shutil.which("ngspice")
