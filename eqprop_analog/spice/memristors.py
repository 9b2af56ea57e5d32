"""A crossbar of memristors, programmed by pulses in ngspice's ``.tran``: one cell at a time, half the voltage on each line."""

from collections.abc import Sequence
from concurrent.futures import TimeoutError as TimeLimitExceeded
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.conductance.yakopcic2011 import RAMP, Yakopcic2011
from eqprop_analog.errors import UserError
from eqprop_analog.incoming import real_array, real_number
from eqprop_analog.spice.netlist import library
from eqprop_analog.spice.ngspice import library as libngspice
from eqprop_analog.spice.ngspice.workers import Workers

Array = np.ndarray
Write = tuple[int, int, int]
"""Row, column and sign of a pulse; +1 increases the cell's conductance."""

GAP = 0.1
"""Gap between two pulses, as a fraction of a pulse's width."""
STEPS = 100
"""Smallest number of time steps in a pulse."""
TIME_LIMIT = 600.0
"""Time limit of ngspice, seconds."""
OPTIONS = ".options reltol=1e-7 vntol=1e-9 abstol=1e-12 method=trap"


@dataclass(frozen=True, eq=False)
class PulsedCrossbar:
    """Cells between row and column lines; a write applies +V/2 to the cell's row and -V/2 to its column, 0 V to all others.

    Other cells of the same row or column therefore have V/2 across them, which must be below the threshold, and all
    others 0 V.
    """

    device: Yakopcic2011
    states: Float[Array, "rows columns"]
    """Initial states of the cells, 0 ... 1."""
    volts: float
    """V."""
    width: float
    """Width of a pulse, seconds."""
    line_resistance: float = 0.0
    """Resistance between each line and its driver, ohms."""

    def __post_init__(self) -> None:
        """Raise UserError for pulses that would also change other cells, or would change no cell."""
        states = real_array(self.states, "states", float)
        if states.ndim != 2 or not states.size or states.min() <= 0 or states.max() >= 1:
            raise UserError("states: expected a matrix of numbers between 0 and 1")
        object.__setattr__(self, "states", states)
        for name in ("volts", "width"):
            if real_number(getattr(self, name), name) <= 0:
                raise UserError(f"{name}: expected a number above 0, got {getattr(self, name):g}")
        if real_number(self.line_resistance, "line_resistance", "ohms") < 0:
            raise UserError(f"line_resistance: expected at least 0 ohm, got {self.line_resistance:g}")
        low, high = sorted((self.device.vp, self.device.vn))
        if not high < self.volts <= 2 * low:
            raise UserError(
                f"volts: expected above {high:g} V, so that the cell changes, and at most {2 * low:g} V, so that "
                f"half of it changes no other cell, got {self.volts:g} V"
            )

    @property
    def slot(self) -> float:
        """Time from one pulse to the next, seconds."""
        return self.width * (1 + 2 * RAMP + GAP)

    def netlist(self, writes: Sequence[Write]) -> str:
        """Return a self-contained netlist for ``ngspice -b``; the state of cell (i, j) is the voltage of net x<i>_<j>."""
        rows, columns = self.states.shape
        waves: dict[tuple[str, int], list[tuple[float, float]]] = {
            **{("r", i): [] for i in range(rows)},
            **{("c", j): [] for j in range(columns)},
        }
        for number, (row, column, sign) in enumerate(writes):
            if not (0 <= row < rows and 0 <= column < columns and sign in (1, -1)):
                raise UserError(
                    f"write {number}: expected a cell of {rows} x {columns} and +1 or -1, got {(row, column, sign)}"
                )
            begin, ramp = number * self.slot, RAMP * self.width
            half = 0.5 * self.device.eta * sign * self.volts
            for line, level in ((("r", row), half), (("c", column), -half)):
                corners = (begin, 0.0), (begin + ramp, level), (begin + ramp + self.width, level)
                waves[line] += [*corners, (begin + 2 * ramp + self.width, 0.0)]
        name, parameters = self.device.spice
        settings = " ".join(f"{key}={value!r}" for key, value in parameters.items())
        cells = [
            f"X{i}_{j} r{i} c{j} x{i}_{j} {name} {settings} x0={float(self.states[i, j])!r}"
            for i, j in np.ndindex(rows, columns)
        ]
        nets = [f".save v(x{i}_{j})" for i, j in np.ndindex(rows, columns)]
        end, longest = len(writes) * self.slot, self.width / STEPS
        return "\n".join(
            [
                f"* {rows} x {columns} memristors, {len(writes)} pulses of {self.volts:g} V and {self.width:g} s",
                library(name),
                *(line for key, wave in waves.items() for line in self._driver(*key, wave)),
                *cells,
                OPTIONS,
                *nets,
                f".tran {longest / 10!r} {end!r} 0 {longest!r} uic",
                ".end\n",
            ]
        )

    def _driver(self, kind: str, number: int, wave: Sequence[tuple[float, float]]) -> list[str]:
        knots = " ".join(f"{float(time)!r} {float(volts)!r}" for time, volts in wave)
        source = f"PWL({knots})" if wave else "0"
        if not self.line_resistance:
            return [f"V{kind}{number} {kind}{number} 0 {source}"]
        return [
            f"V{kind}{number} drive_{kind}{number} 0 {source}",
            f"R{kind}{number} drive_{kind}{number} {kind}{number} {float(self.line_resistance)!r}",
        ]

    def written(self, writes: Sequence[Write]) -> Float[Array, "moments rows columns"]:
        """Return the states of all cells before the first of ``writes`` and after each of them, by ngspice in a separate process.

        Raises UserError if ngspice does not finish the transient.
        """
        rows, columns = self.states.shape
        nets = [f"x{i}_{j}" for i, j in np.ndindex(rows, columns)]
        end = len(writes) * self.slot
        work = Workers(1, TIME_LIMIT)
        try:
            time, values = work.result(work.submit(libngspice.transient, self.netlist(writes), nets, end))
        except (libngspice.SimulationError, TimeLimitExceeded) as error:
            raise UserError(f"ngspice did not finish the transient: {type(error).__name__}: {error}") from error
        finally:
            work.close()
        moments = self.slot * (1 + np.arange(len(writes))) - 0.5 * GAP * self.width
        after = np.stack([np.interp(moments, time, column) for column in values.T], axis=1)
        return np.concatenate([self.states[None], after.reshape(-1, rows, columns)])
