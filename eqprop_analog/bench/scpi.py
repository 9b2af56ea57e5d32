"""A board that speaks SCPI (IEEE 488.2 commands in plain text), over VISA or a TCP socket.

Crossbars count from 1, rows and columns from 0; numbers are in SI units, written with all their digits::

    *IDN?                                     identification
    *RST                                      all conductances and currents to 0
    CROSsbar:DATA l,row,column,siemens,...    set cells of crossbar l
    CROSsbar:PULSe l,row,column,number,...    send numbers of pulses to cells of crossbar l (positive: up)
    SOURce:BIAS l,amperes,...                 bias currents into all nodes of layer l
    SOURce:VOLTage volts,...                  voltages of all rows of crossbar 1
    SOURce:CURRent amperes,...                currents into all output nodes
    MEASure:VOLTage?                          voltages of all nodes, layers 1..L in order
    SYSTem:ERRor?                             0,"No error", or the error of an earlier command
"""

import contextlib
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, Self

import numpy as np
from jaxtyping import Float

from eqprop_analog.bench.log import Matrices
from eqprop_analog.errors import UserError
from eqprop_analog.incoming import seconds_of
from eqprop_analog.text import in_one_line, sentence

Array = np.ndarray

CELLS = 500
"""Largest number of cells in one command, because instruments have short input buffers."""
ERRORS = 100
"""Largest length of an instrument's error queue; it is emptied, so that no error is attributed to a later command."""
TIMEOUT = 10.0
"""Seconds to wait for an answer."""
NUMBER = re.compile(r"[+-]?\d{1,9}(?=,|$)", re.ASCII)
"""Pattern of the number at the beginning of an answer to SYST:ERR?."""
LONGEST = 10_000_000
"""Largest number of characters of an answer."""
INFINITY = 9.9e37
"""SCPI's number for an overload; 9.91e37 means not a number (SCPI-1999, volume 1, 7.2.1)."""


class Resource(Protocol):
    """A connection to an instrument, such as a pyvisa resource."""

    def write(self, message: str) -> Any:
        """Send a command."""
        ...

    def query(self, message: str) -> str:
        """Send a command and return its answer."""
        ...


class SocketResource:
    """An instrument on a TCP port, reached without VISA; lines end with a line feed."""

    def __init__(self, host: str, port: int, timeout: float = TIMEOUT) -> None:
        """Raises UserError if no instrument answers at this address."""
        self._where = f"{host}:{port}"
        try:
            self._socket = socket.create_connection((host, port), seconds_of(timeout, "timeout"))
        except OSError as error:
            raise UserError(f"{self._where}: no instrument answers ({error}); check address, port and power") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self._socket.makefile("r", encoding="ascii", newline="\n")

    def write(self, message: str) -> None:
        """Send a command."""
        try:
            self._socket.sendall(message.encode("ascii") + b"\n")
        except OSError as error:
            raise UserError(f"{self._where}: the connection is lost ({error}); connect again") from error

    def query(self, message: str) -> str:
        """Send a command and return its answer. Raises UserError if there is no answer in time."""
        self.write(message)
        try:
            answer = self._lines.readline(LONGEST)
        except UnicodeDecodeError as error:
            self.close()  # the rest of this answer must not be taken for the next one
            raise UserError(
                f"{self._where}: the answer to {message:.40} is no text ({error}); connect again"
            ) from error
        except (OSError, ValueError) as error:
            raise UserError(f"{self._where}: no answer to {message:.40} ({error}); check the instrument") from error
        if not answer.endswith("\n"):
            self.close()
            if len(answer) == LONGEST:
                raise UserError(f"{self._where}: the answer to {message:.40} does not end; connect again")
            raise UserError(f"{self._where}: the instrument closed the connection after {message:.40}; connect again")
        return answer.strip()

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._lines.close()
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def open_visa(name: str, timeout: float = TIMEOUT) -> Any:
    """The VISA resource of this name, such as "TCPIP::192.168.0.7::5025::SOCKET" or "GPIB0::12::INSTR".

    Needs pyvisa and a VISA library (or pyvisa-py). Raises UserError if they are missing or the resource cannot be
    opened.
    """
    try:
        import pyvisa
    except ImportError as error:
        raise UserError(
            'pyvisa is not installed: pip install "eqprop-analog[bench]"; an instrument on a TCP port does not need '
            "it, see bench.SocketResource"
        ) from error
    try:
        resource = pyvisa.ResourceManager().open_resource(name)
        resource.timeout = 1e3 * seconds_of(timeout, "timeout")  # VISA takes milliseconds
        if name.upper().endswith("SOCKET"):
            resource.read_termination = resource.write_termination = "\n"
    except Exception as error:
        raise UserError(f"{name}: VISA cannot open it ({type(error).__name__}: {error})") from error
    return resource


class ScpiBoard:
    """The three functions of a BenchSolver, and pulses, for a board with the commands above."""

    def __init__(self, resource: Resource) -> None:
        """Connect without a reset; the board keeps its state."""
        self.resource = resource
        self._written: tuple[list[Array], list[Array]] | None = None

    def identity(self) -> str:
        """The answer to ``*IDN?``."""
        return self._asked("*IDN?")

    def write(self, conductances: Matrices, biases: Matrices) -> None:
        """Set the cells (S) and bias currents (A) that changed since the last call.

        Raises UserError with the board's error.
        """
        before = self._written
        self._written = None  # until everything is written
        for number, matrix in enumerate(conductances, start=1):
            last = None if before is None else before[0][number - 1]
            changed = np.ones(matrix.shape, bool) if last is None or last.shape != matrix.shape else matrix != last
            self._cells("CROS:DATA", number, matrix, changed)
        self._biases(biases)
        self._check("setting conductances")
        self._written = [np.array(m) for m in conductances], [np.array(b) for b in biases]

    def pulse(self, counts: Matrices, biases: Matrices) -> None:
        """Send pulses to the cells (a positive number increases the conductance) and set the bias currents (A)."""
        self._written = None
        for number, matrix in enumerate(counts, start=1):
            self._cells("CROS:PULS", number, matrix, matrix != 0)
        self._biases(biases)
        self._check("sending pulses")

    def drive(self, rows: Float[Array, " rows"], currents: Float[Array, " outputs"]) -> None:
        """Apply voltages (V) to the rows of crossbar 1 and currents (A) to the output nodes."""
        self._send(f"SOUR:VOLT {_list(rows)}")
        self._send(f"SOUR:CURR {_list(currents)}")
        self._check("driving rows")

    def read(self) -> Float[Array, " nodes"]:
        """Read the voltages of all nodes, volts; NaN if the instrument reports no value or an overload."""
        answer = self._asked("MEAS:VOLT?")
        try:
            voltages = np.array([float(each) for each in answer.split(",")])
            return np.where(np.abs(voltages) < INFINITY, voltages, np.nan)
        except ValueError:
            self._check("measuring")
            raise UserError(
                f"MEAS:VOLT?: expected voltages separated by commas, got {sentence(answer)[:80]!r}"
            ) from None

    def _send(self, message: str) -> None:
        with _told(message):
            self.resource.write(message)

    def _asked(self, message: str) -> str:
        with _told(message):
            return str(self.resource.query(message)).strip()

    def _cells(self, command: str, crossbar: int, values: Array, changed: Array) -> None:
        rows, columns = np.nonzero(changed)
        for begin in range(0, rows.size, CELLS):
            part = slice(begin, begin + CELLS)
            triples = zip(
                rows[part].tolist(), columns[part].tolist(), values[rows[part], columns[part]].tolist(), strict=True
            )
            self._send(f"{command} {crossbar}," + ",".join(f"{i},{j},{value!r}" for i, j, value in triples))

    def _biases(self, biases: Sequence[Array]) -> None:
        for number, bias in enumerate(biases, start=1):
            self._send(f"SOUR:BIAS {number},{_list(bias)}")

    def _check(self, doing: str) -> None:
        """Raise UserError with the board's error message, if there is one."""
        said: list[str] = []
        while len(said) < ERRORS:
            answer = self._asked("SYST:ERR?")
            if (number := NUMBER.match(answer)) is None:
                raise UserError(
                    f'SYST:ERR?: expected a number and a text, such as 0,"No error", got {sentence(answer)[:80]!r}; does this '
                    "instrument speak SCPI?"
                )
            if int(number[0]) == 0:
                break
            said.append(answer)
        if said:
            raise UserError(f"the board refused {doing}: {sentence(said[0])[:200]}")


@contextmanager
def _told(message: str) -> Iterator[None]:
    """Raise UserError if the instrument does not answer, whichever exception the library of its connection raises."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{message.partition(' ')[0]}: the instrument does not answer ({type(error).__name__}: {in_one_line(error)}); check "
            "cable and power, or allow more time (timeout)"
        ) from error


def _list(values: Iterable[float]) -> str:
    return ",".join(repr(float(value)) for value in values)
