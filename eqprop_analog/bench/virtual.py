"""A virtual board: an SCPI instrument on a TCP port of this machine, with ngspice behind it.

It serves to try a bench before the hardware exists. Converters have a resolution and a range, readings have noise,
commands have latency, and voltages have a time constant. The cells can be the devices of one chip of a technology.
"""

import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.conductance import ChipDevices, Technology
from eqprop_analog.errors import UserError
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.spice.ngspice.solver import NgspiceSolver

Array = np.ndarray


@dataclass(frozen=True)
class Converter:
    """x̂ = LSB·round(x/LSB) between -range and range, LSB = 2·range/2^bits; ``bits=None`` is ideal and has no range."""

    bits: int | None = None
    range: float = 1.0

    def converted(self, values: Float[Array, " some"]) -> Float[Array, " some"]:
        """Return the converted values."""
        if self.bits is None:
            return values
        step, half = 2 * self.range / 2**self.bits, 2 ** (self.bits - 1)
        return np.clip(np.rint(values / step), -half, half - 1) * step


@dataclass(eq=False)
class VirtualBoard:
    """``with VirtualBoard(network) as board:`` serves a virtual board at ``board.host``, ``board.port`` until the block ends.

    The circuit is that of ``network``: layers, diodes, amplifiers. Conductances and bias currents are 0 until they are
    set.
    """

    network: ResistiveNetwork
    adc: Converter = Converter()
    """Converter of the node voltages, volts."""
    dac: Converter = Converter()
    """Converter of the row voltages, volts."""
    current_dac: Converter = Converter()
    """Converter of the bias and nudge currents, amperes."""
    noise: float = 0.0
    """Noise of a reading before its conversion, volts rms."""
    latency: float = 0.0
    """Duration of every command, seconds."""
    time_constant: float = 0.0
    """Time constant τ, seconds: after a source is set, voltages approach their equilibrium as exp(-t/τ)."""
    technology: Technology | None = None
    """Technology of the cells, which are written and pulsed like the devices of one chip. None gives ideal cells
    without pulses."""
    seed: int = 0
    solver: Any = None
    """Solver of the equilibria; None is ngspice at full precision."""
    host: str = field(default="127.0.0.1", init=False)
    port: int = field(default=0, init=False)
    conductances: list[Array] = field(init=False)
    """Present conductances of the cells, siemens."""
    biases: list[Array] = field(init=False)

    def __post_init__(self) -> None:
        """Prepare cells and sources."""
        self._shapes = [matrix.shape for matrix in self.network.conductances]
        self._random = np.random.default_rng(self.seed)
        self._cells = None
        if self.technology is not None:
            self._cells = ChipDevices.drawn(self.technology, self._shapes, self.seed).crossbars
        self._solver = NgspiceSolver(repeats=3) if self.solver is None else self.solver
        self._lock = threading.Lock()
        self._server: socketserver.ThreadingTCPServer | None = None
        self._writes = 0
        self.reset()

    def reset(self) -> None:
        """Set all conductances to the lowest value and all sources to 0."""
        self.conductances = [np.zeros(shape) for shape in self._shapes]
        for cells, matrix in zip(self._cells or (), self.conductances, strict=False):
            cells.within(matrix)
        self.biases = [np.zeros(shape[1]) for shape in self._shapes]
        self._rows, self._currents = np.zeros(self._shapes[0][0]), np.zeros(self._shapes[-1][1])
        self._nodes: Array | None = None
        self._before, self._since = np.zeros(sum(shape[1] for shape in self._shapes)), 0.0
        self._errors: list[str] = []

    def __enter__(self) -> Self:
        board = self
        with suppress(UserError):  # so that the first reading need not wait for the simulator to start
            self._solver.solve(self.network, np.zeros((1, self.network.layers[0])))

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for line in self.rfile:
                    answer = board.answer(line.decode("ascii", "replace").strip())
                    if answer is not None:
                        self.wfile.write(answer.encode("ascii") + b"\n")

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads, allow_reuse_address = True, True

        self._server = Server((self.host, 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def answer(self, message: str) -> str | None:
        """Return the answer to a command, or None; an error is kept for SYSTem:ERRor?."""
        with self._lock:
            time.sleep(self.latency)
            header, _, arguments = message.partition(" ")
            try:
                return self._commands[_short(header)](self, arguments)
            except KeyError:
                self._errors.append(f'-113,"Undefined header; {header[:40]}"')
            except (ValueError, IndexError) as error:
                text = str(error).replace('"', "'")
                self._errors.append(f'-224,"Illegal parameter value; {text[:200]}"')
            return "" if "?" in header else None

    def _identity(self, _arguments: str) -> str:
        return f"eqprop-analog,virtual board,{'-'.join(map(str, self.network.layers))},1"

    def _reset(self, _arguments: str) -> None:
        self.reset()

    def _error(self, _arguments: str) -> str:
        return self._errors.pop(0) if self._errors else '0,"No error"'

    def _data(self, arguments: str) -> None:
        number, rows, columns, values = self._listed(arguments)
        if (values < 0).any():
            raise ValueError("a conductance is negative")
        if self._cells is not None:
            wanted = self.conductances[number].copy()
            wanted[rows, columns] = values
            self._writes += 1
            values = self._cells[number].programmed(wanted, self._writes)[rows, columns]
        self.conductances[number][rows, columns] = values
        self._changed()

    def _pulse(self, arguments: str) -> None:
        number, rows, columns, counts = self._listed(arguments)
        if self._cells is None or self.technology is None:
            raise ValueError("these cells cannot be pulsed")
        cells, pulses = self._cells[number], np.zeros(self._shapes[number])
        pulses[rows, columns] = counts
        if cells.factor.ndim:
            pulses *= cells.factor
        self.technology.pulses.apply(self.conductances[number], pulses, cells.lowest, cells.highest, self._random)
        cells.within(self.conductances[number])
        self._changed()

    def _bias(self, arguments: str) -> None:
        number, *values = arguments.split(",")
        layer = self._crossbar(number)
        self.biases[layer] = self.current_dac.converted(_sized(values, len(self.biases[layer])))
        self._changed()

    def _voltage(self, arguments: str) -> None:
        self._rows = self.dac.converted(_sized(arguments.split(","), len(self._rows)))
        self._changed()

    def _current(self, arguments: str) -> None:
        self._currents = self.current_dac.converted(_sized(arguments.split(","), len(self._currents)))
        self._changed()

    def _measure(self, _arguments: str) -> str:
        seen = self._voltages()
        if self.noise:
            seen = seen + self.noise * self._random.standard_normal(len(seen))
        return ",".join(repr(float(value)) for value in self.adc.converted(seen))

    def _changed(self) -> None:
        if self._nodes is not None:
            self._before = self._voltages()
            self._nodes = None
        self._since = time.monotonic()

    def _voltages(self) -> Float[Array, " nodes"]:
        """Return the present node voltages, volts."""
        if self._nodes is None:
            self._nodes = self._equilibrium()
        if not self.time_constant:
            return self._nodes
        left = np.exp(-(time.monotonic() - self._since) / self.time_constant)
        return self._nodes + left * (self._before - self._nodes)

    def _equilibrium(self) -> Float[Array, " nodes"]:
        """Solve the circuit at these row voltages; every row is an input of its own, without a mirrored row."""
        first, *others = self.conductances
        biases = [*self.biases[:-1], self.biases[-1] + self._currents]
        circuit = replace(
            self.network,
            conductances=(np.concatenate([first, np.zeros_like(first)]), *others),
            biases=tuple(biases),
            input_gain=1.0,
            bias_row=0.0,
        )
        found = self._solver.solve(circuit, self._rows[None])
        try:
            found.require()
        except UserError as error:
            raise ValueError(f"no equilibrium: {error}") from error
        return np.concatenate([layer[0] for layer in found.voltages])

    def _listed(self, arguments: str) -> tuple[int, Array, Array, Array]:
        """(crossbar from 0, rows, columns, values)."""
        number, *rest = arguments.split(",")
        layer = self._crossbar(number)
        if not rest or len(rest) % 3:
            raise ValueError("expected row,column,value, ...")
        table = np.array([float(each) for each in rest]).reshape(-1, 3)
        rows, columns = (table[:, k].astype(int) for k in range(2))
        places = table[:, :2]
        if not np.isfinite(table).all() or (places < 0).any() or (places >= self._shapes[layer]).any():
            raise ValueError(f"a cell is not in crossbar {layer + 1}")
        return layer, rows, columns, table[:, 2]

    def _crossbar(self, number: str) -> int:
        layer = int(number) - 1
        if not 0 <= layer < len(self._shapes):
            raise ValueError(f"there is no crossbar {number}")
        return layer

    _commands: Mapping[str, Callable[["VirtualBoard", str], str | None]] = field(
        default_factory=lambda: {
            "*IDN?": VirtualBoard._identity,
            "*RST": VirtualBoard._reset,
            "SYST:ERR?": VirtualBoard._error,
            "CROS:DATA": VirtualBoard._data,
            "CROS:PULS": VirtualBoard._pulse,
            "SOUR:BIAS": VirtualBoard._bias,
            "SOUR:VOLT": VirtualBoard._voltage,
            "SOUR:CURR": VirtualBoard._current,
            "MEAS:VOLT?": VirtualBoard._measure,
        },
        init=False,
        repr=False,
    )


def _short(header: str) -> str:
    """SCPI's short form of a header: at most four letters a word, and no vowel as the fourth."""
    if header.startswith("*"):
        return header.upper()
    query = "?" * header.endswith("?")
    words = [word.upper() for word in header.strip("?:").split(":")]
    return ":".join(word if len(word) <= 4 else word[: 3 if word[3] in "AEIOU" else 4] for word in words) + query


def _sized(values: list[str], size: int) -> Float[Array, " size"]:
    numbers = np.array([float(each) for each in values])
    if len(numbers) != size or not np.isfinite(numbers).all():
        raise ValueError(f"expected {size} finite numbers, got {len(numbers)}")
    return numbers
