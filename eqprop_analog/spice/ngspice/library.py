"""Analyses by libngspice in this process. It can end the process that loads it, so call these in worker processes only."""

import ctypes.util
import logging
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.errors import UserError
from eqprop_analog.isolated import command
from eqprop_analog.spice.circuit import Circuit
from eqprop_analog.spice.netlist import SPARSE, sweep_netlist

Array = np.ndarray

MISSING = (
    "libngspice is not installed, and the circuit simulator needs it. Debian/Ubuntu: apt-get install ngspice libngspice0; "
    "Fedora: dnf install ngspice libngspice; macOS: brew install libngspice; elsewhere set NGSPICE_LIBRARY_PATH"
)
_ONE_AT_A_TIME = threading.Lock()


class SimulationError(RuntimeError):
    """ngspice did not solve the circuit; the text contains ngspice's messages."""


def library_path() -> str:
    """File name of libngspice; NGSPICE_LIBRARY_PATH has priority. Raises UserError, with instructions, if there is none."""
    named = os.environ.get("NGSPICE_LIBRARY_PATH")
    path = named or ctypes.util.find_library("ngspice")
    if named and not Path(named).exists():
        raise UserError(f"{named}: no such library (NGSPICE_LIBRARY_PATH). {MISSING}")
    if not path:
        _require_processes()
        raise UserError(MISSING)
    return path


def _require_processes() -> None:
    """Raise UserError if no process can be started: find_library runs ldconfig, and finds nothing without a message then."""
    try:
        subprocess.run(command(""), stdin=subprocess.DEVNULL, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(
            f"libngspice cannot be searched for, because no process can be started: {error}; raise that limit (`ulimit -a` "
            "shows all limits) or close other programs"
        ) from error


def sweep(
    circuit: Circuit, options: Mapping[str, float] = MappingProxyType({}), guess: Float[Array, " probes"] | None = None
) -> Float[Array, "points vectors"]:
    """The circuit's probes (V) and meters (A) at each of its points, by one ``.dc`` sweep (see ``sweep_netlist``).

    Raises SimulationError, with ngspice's error messages, if it cannot read the circuit or does not finish the sweep.
    """
    vectors = [*circuit.probes, *(f"{name}#branch" for name in circuit.meters)]
    with _ONE_AT_A_TIME:
        if circuit.mesh and not library().has_klu:
            options = {**SPARSE, **options}
        factors = np.array([*(circuit.factors or [1.0] * len(circuit.probes)), *([1.0] * len(circuit.meters))])
        begin = None if guess is None else guess / factors[: len(guess)]
        netlist = sweep_netlist(circuit, options, begin)
        return library().sweep(netlist, vectors, circuit.points, jumps=circuit.jumps) * factors


def measure(netlist: str, vectors: Sequence[str], points: int) -> Float[Array, " vectors"]:
    """``vectors`` at the last of the ``points`` of the netlist's ``.dc`` sweep. Raises SimulationError as ``sweep`` does."""
    with _ONE_AT_A_TIME:
        return library().sweep(netlist, vectors, points)[-1]


def sweep_text(netlist: str, vectors: Sequence[str], points: int, mode: str = "") -> Float[Array, "points vectors"]:
    """``vectors`` at every one of the ``points`` of the netlist's ``.dc`` sweep. Raises SimulationError as ``sweep`` does.

    ``mode``: ngspice's compatibility mode (ngbehavior) for this netlist.
    """
    with _ONE_AT_A_TIME, library().behaving(mode):
        return library().sweep(netlist, vectors, points)


def transient(
    netlist: str, nets: Sequence[str], end: float
) -> tuple[Float[Array, " samples"], Float[Array, "samples nets"]]:
    """Time (s) and voltages of ``nets`` (V) along the netlist's ``.tran`` analysis, up to ``end`` (s).

    Raises SimulationError, with ngspice's error messages, if it cannot read the circuit or does not finish the transient.
    """
    with _ONE_AT_A_TIME:
        return library().transient(netlist, nets, end)


def load() -> int:
    """Load libngspice into this process, and return its major version."""
    with _ONE_AT_A_TIME:
        return int(library().ngspice_version or 0)


def has_klu() -> bool:
    """Whether this process's libngspice was compiled with KLU."""
    with _ONE_AT_A_TIME:
        return bool(library().has_klu)


@cache
def library() -> Any:
    """The only ngspice instance of this process (spice.ngspice.shared.Ngspice). Raises UserError if it is not installed."""
    logging.getLogger("PySpice").setLevel(logging.CRITICAL)  # "Unsupported Ngspice version 39" is harmless
    from eqprop_analog.spice.ngspice.shared import Ngspice, default_settings

    Ngspice.setup_platform()
    # PySpice itself looks for libngspice.so, which Debian's package does not have
    Ngspice.LIBRARY_PATH = library_path()
    try:
        with default_settings():
            return Ngspice.new_instance()
    except OSError as error:
        advice = f". {MISSING}" if "No such file" in str(error) and error.errno is None else ""
        raise UserError(f"{Ngspice.LIBRARY_PATH}: cannot be loaded as libngspice ({error}){advice}") from error
