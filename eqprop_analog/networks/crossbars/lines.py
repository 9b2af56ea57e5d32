"""(B - D A⁻¹ D) v = right: voltages of arrays too large to factorize, with wires, by Newton's method.

With all other nodes held, a row wire is a tridiagonal system, and so is a column wire. Rows are eliminated line by line. The
remaining Schur complement of the columns, S = B - D A⁻¹ D (A rows, B columns, D cells), is solved by conjugate gradients
preconditioned with the column lines. Nothing larger than a line is factorized. Arrays with r G N² > 1, for which plain sweeps
over cells diverge, only need more iterations.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Shaped
from scipy.linalg import lapack

from eqprop_analog.core.equilibrium import Status
from eqprop_analog.devices.cells import CellLaw
from eqprop_analog.errors import UserError
from eqprop_analog.incoming import real_array, require_tolerance, whole_number
from eqprop_analog.networks.crossbars.wired import WiredCrossbar

Array = np.ndarray
Cells = Float[Array, "rows columns"]

STEP_ACCURACY = 1e-4
"""Relative residual of conjugate gradients in a Newton step."""
FALL = 0.5
"""Largest slope of the co-content at the end of a step, relative to that at its start."""
HALVINGS = 40
PATIENCE = 8
"""Largest number of Newton steps without a reduction of the bound."""
MOST_LINES = 10_000
"""Largest number of iterations of conjugate gradients for a step."""
ROUNDINGS = 8
"""Rounding error of the current into a node, in units of rounding of the sum of its currents."""
UNIT = float(np.finfo(np.float64).eps) / 2


@dataclass(frozen=True, eq=False)
class ArrayEquilibrium:
    """Voltages of the wires of an array for given port voltages, with proven error bounds."""

    row_wires: Float[Array, "batch rows columns"]
    """At every cell, volts."""
    column_wires: Float[Array, "batch rows columns"]
    """At every cell, volts."""
    residual: Float[Array, " batch"]
    """Largest KCL residual at a node, amperes."""
    bound: Float[Array, " batch"]
    """Upper bound of the distance of any voltage from the equilibrium, volts."""
    status: Shaped[Array, " batch"]
    """CONVERGED if the bound is within the tolerance, otherwise STALLED."""
    newton_steps: int
    """Number of Newton steps of all samples and tiles."""
    line_solves: int
    """Number of iterations of conjugate gradients, each of which solves every line once."""

    def require(self) -> "ArrayEquilibrium":
        """Return this result; UserError if a sample has no certified equilibrium."""
        failed = [sample for sample, status in enumerate(self.status.tolist()) if status is not Status.CONVERGED]
        if failed:
            raise UserError(
                f"array: sample {failed[0]} ended {self.status[failed[0]].name}, proven within {self.bound[failed[0]]:.2g} V; "
                f"{self.status[failed[0]].value}"
            )
        return self


@dataclass(frozen=True)
class LineSolver:
    """Newton's method on the wires of arrays of any size; the proof that it has converged costs one evaluation.

    The bound: the mean slope J of Kirchhoff's current law between a solution and the equilibrium is an M-matrix for every
    increasing cell law. There is a z > 0 with J z >= 1 that is equal at both wires of a cell, so cells do not contribute to J z.
    Therefore the error of any voltage is at most max z, about r (N² + M²)/2 ohms, times the largest KCL residual.
    """

    tolerance: float = 1e-8
    """Largest bound of a converged sample, relative to the largest port voltage (at least 1 V)."""
    max_iterations: int = 200
    """Largest number of Newton steps of a sample in a tile."""

    def __post_init__(self) -> None:
        """Raise UserError for an invalid tolerance or number of steps."""
        require_tolerance(self.tolerance)
        whole_number(self.max_iterations, "max_iterations")

    def solve(self, crossbar: WiredCrossbar, ports: Float[Array, "batch ports"]) -> ArrayEquilibrium:
        """The equilibrium for the port voltages (rows, then columns). Raises UserError for ideal wires and invalid voltages."""
        given = real_array(ports, "ports (volts)", float)
        count, columns = crossbar.shape
        if given.ndim != 2 or given.shape[1] != count + columns:
            raise UserError(f"ports: expected voltages (samples, {count + columns}), got shape {given.shape}")
        if crossbar.wire_resistance == 0:
            raise UserError(
                "wire_resistance: with ideal wires every cell has the voltages of its ports; expected a resistance above 0 ohms"
            )
        on_rows, on_columns = np.empty((2, len(given), count, columns))
        residual, bound = np.zeros((2, len(given)))
        steps = lines = 0
        for some, others in crossbar.tiles():
            tile = _Tile(
                crossbar.conductance[some, others], crossbar.cell, crossbar.wire_resistance, crossbar.link_resistance
            )
            for sample, volts in enumerate(given):
                found = tile.settle(
                    volts[:count][some], volts[count:][others], self, float(np.abs(volts).max(initial=1))
                )
                on_rows[sample, some, others], on_columns[sample, some, others] = found.rows, found.columns.T
                residual[sample] = max(residual[sample], found.residual)
                bound[sample] = max(bound[sample], found.bound)
                steps, lines = steps + found.steps, lines + found.lines
        within = bound <= self.tolerance * np.maximum(1, np.abs(given).max(axis=1))
        status = np.array([Status.STALLED, Status.CONVERGED], dtype=object)[within.astype(int)]
        return ArrayEquilibrium(on_rows, on_columns, residual, bound, status, steps, lines)


@dataclass
class _State:
    """The iterate of one sample in one tile."""

    rows: Cells
    columns: Float[Array, "columns rows"]
    """Transposed, so that lines are contiguous."""
    residual: float = np.inf
    bound: float = np.inf
    steps: int = 0
    lines: int = 0


class _Lines:
    """Lines of nodes connected by 1/r, by ``cells`` to held nodes, and at the end ``port`` by 1/(r + link); other end open."""

    def __init__(self, cells: Float[Array, "lines nodes"], wire: float, end: float, port: int) -> None:
        total = cells + 2 * wire
        total[:, port] += end - wire
        total[:, -1 - port] -= wire
        if cells.shape[1] == 1:
            total[:] = cells + end
        along = np.full(cells.shape, -wire)
        along[:, -1] = 0  # lines are not coupled to each other
        self.total, self.wire = total, wire
        self._factors = lapack.dpttrf(total.ravel(), along.ravel()[: max(along.size - 1, 1)])[:2]

    def solve(self, currents: Float[Array, "lines nodes"]) -> Float[Array, "lines nodes"]:
        """Voltages of the lines for given currents."""
        return np.asarray(lapack.dpttrs(*self._factors, currents.ravel())[0].reshape(currents.shape))

    def times(self, volts: Float[Array, "lines nodes"]) -> Float[Array, "lines nodes"]:
        """Currents of the lines for given voltages."""
        currents = self.total * volts
        currents[:, 1:] -= self.wire * volts[:, :-1]
        currents[:, :-1] -= self.wire * volts[:, 1:]
        return currents


class _Tile:
    """One array: its cells, and its wires with their ports."""

    def __init__(self, matrix: Cells, cell: CellLaw | None, wire_resistance: float, link: float) -> None:
        self.matrix, self.cell = matrix, cell
        self.ohms, self.wire, self.end = wire_resistance, 1 / wire_resistance, 1 / (wire_resistance + link)
        self.link = link

    @cached_property
    def reach(self) -> float:
        """Max z, ohms: sum of the separate responses at the end of a row and of a column to one ampere into every node."""
        rows, columns = self.matrix.shape
        lifted = sum(n * (n + 1) / 2 * self.ohms + n * self.link for n in (columns, rows))
        return float(lifted)

    def settle(
        self,
        row_ports: Float[Array, " rows"],
        column_ports: Float[Array, " columns"],
        wanted: LineSolver,
        largest: float,
    ) -> _State:
        """Solve from the solution for linear cells until the bound is met or no step reduces it any more."""
        count, columns = self.matrix.shape
        state = _State(np.repeat(row_ports[:, None], columns, 1), np.repeat(column_ports[:, None], count, 1))
        with np.errstate(over="ignore", invalid="ignore"):
            missing = self.missing(state, row_ports, column_ports, linear=True)
            self._step(state, missing, self.matrix)
            missing = self._judge(state, row_ports, column_ports)
            best, idle = replace(state), 0
            while idle < PATIENCE and state.steps < wanted.max_iterations and np.isfinite(state.bound):
                if not self._descend(state, missing, row_ports, column_ports):
                    break
                state.steps += 1
                missing = self._judge(state, row_ports, column_ports)
                enough = best.bound <= wanted.tolerance * largest
                idle = 0 if state.bound < best.bound else PATIENCE if enough else idle + 1
                if state.bound < best.bound:
                    best = replace(state)
        return replace(best, steps=state.steps, lines=state.lines)

    def _drop(self, state: _State) -> Cells:
        return np.asarray(state.rows - state.columns.T)

    def missing(
        self,
        state: _State,
        row_ports: Float[Array, " rows"],
        column_ports: Float[Array, " columns"],
        *,
        linear: bool = False,
    ) -> tuple[Cells, Float[Array, "columns rows"]]:
        """Net currents into the nodes of rows and columns, amperes; ``linear``: with linear cells."""
        drop = self._drop(state)
        through = self.matrix * (drop if self.cell is None or linear else self.cell.volts(drop))
        into_rows, into_columns = -through, through.T.copy()
        along = self.wire * np.diff(state.rows, axis=1)
        into_rows[:, 0] += self.end * (row_ports - state.rows[:, 0])
        into_rows[:, :-1] += along
        into_rows[:, 1:] -= along
        down = self.wire * np.diff(state.columns, axis=1)
        into_columns[:, -1] += self.end * (column_ports - state.columns[:, -1])
        into_columns[:, :-1] += down
        into_columns[:, 1:] -= down
        return into_rows, into_columns

    def _judge(
        self, state: _State, row_ports: Float[Array, " rows"], column_ports: Float[Array, " columns"]
    ) -> tuple[Cells, Float[Array, "columns rows"]]:
        """Residual and bound of ``state``, and the net currents into its nodes."""
        missing = self.missing(state, row_ports, column_ports)
        worst = 0.0
        state.residual = 0.0
        drop = self._drop(state)
        carried = np.abs(self.matrix * (drop if self.cell is None else self.cell.volts(drop)))
        parts = (
            (missing[0], state.rows, row_ports, 0, carried),
            (missing[1], state.columns, column_ports, -1, carried.T),
        )
        for currents, volts, ports, at, cells in parts:
            flowing = cells + self.end * np.abs(ports - volts[:, at])[:, None]
            along = self.wire * np.abs(np.diff(volts, axis=1))
            flowing[:, :-1] += along
            flowing[:, 1:] += along
            state.residual = max(state.residual, float(np.abs(currents).max()))
            worst = max(worst, float((np.abs(currents) + ROUNDINGS * UNIT * flowing).max()))
        state.bound = worst * self.reach if np.isfinite(worst) else np.inf
        return missing

    def _step(
        self, state: _State, missing: tuple[Cells, Float[Array, "columns rows"]], slopes: Cells
    ) -> tuple[Cells, Array]:
        """Take a full Newton step for ``slopes`` of the cells; returns the step."""
        rows = _Lines(slopes, self.wire, self.end, 0)
        turned = np.ascontiguousarray(slopes.T)
        columns = _Lines(turned, self.wire, self.end, -1)

        def onto(volts: Float[Array, "columns rows"]) -> Float[Array, "columns rows"]:
            """D A⁻¹ D applied to column voltages, amperes."""
            return turned * rows.solve(np.ascontiguousarray((turned * volts).T)).T

        right = missing[1] + turned * rows.solve(missing[0]).T
        found, state.lines = _conjugate_gradients(columns, onto, right, state.lines)
        on_rows = rows.solve(missing[0] + np.ascontiguousarray((turned * found).T))
        state.rows, state.columns = state.rows + on_rows, state.columns + found
        return on_rows, found

    def _descend(
        self,
        state: _State,
        missing: tuple[Cells, Float[Array, "columns rows"]],
        row_ports: Float[Array, " rows"],
        column_ports: Float[Array, " columns"],
    ) -> bool:
        """Take a Newton step, halved until the slope of the co-content along it has decreased; returns whether one exists."""
        drop = self._drop(state)
        slopes = self.matrix if self.cell is None else self.matrix * self.cell.slope(drop)
        if not np.isfinite(slopes).all():
            return False
        begun = state.rows, state.columns
        step = self._step(state, missing, slopes)
        downhill = _along(missing, step)
        length = 1.0
        for _ in range(HALVINGS):
            if abs(_along(self.missing(state, row_ports, column_ports), step)) <= FALL * downhill:
                return True
            length /= 2
            state.rows, state.columns = begun[0] + length * step[0], begun[1] + length * step[1]
        state.rows, state.columns = begun
        return False


def _along(missing: tuple[Cells, Array], step: tuple[Cells, Array]) -> float:
    """Rate of decrease of the co-content along ``step``, watts."""
    slope = sum(float(np.vdot(currents, moved)) for currents, moved in zip(missing, step, strict=True))
    return slope if np.isfinite(slope) else np.inf


def _conjugate_gradients(
    columns: _Lines, onto: Callable[[Array], Array], right: Float[Array, "columns rows"], done: int
) -> tuple[Float[Array, "columns rows"], int]:
    """(B - D A⁻¹ D) v = right, preconditioned by B; also returns ``done`` with the iterations added."""
    volts, residual = np.zeros_like(right), right.copy()
    turned = columns.solve(residual)
    direction, left = turned.copy(), float(np.vdot(residual, turned))
    goal = STEP_ACCURACY**2 * left
    for _ in range(MOST_LINES):
        if not left > goal:
            break
        image = columns.times(direction) - onto(direction)
        length = left / float(np.vdot(direction, image))
        volts += length * direction
        residual -= length * image
        turned = columns.solve(residual)
        left, before = float(np.vdot(residual, turned)), left
        direction *= left / before
        direction += turned
        done += 1
    return volts, done
