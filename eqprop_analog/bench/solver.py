"""A board as a solver: the user's three functions write conductances, apply row voltages and nudges, and read nodes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.bench.log import BenchLog, Matrices, Write
from eqprop_analog.core.equilibrium import Equilibrium, Status
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.errors import UserError
from eqprop_analog.incoming import real_array, real_number, whole_number

Array = np.ndarray
Nodes = Float[Array, " nodes"]
PILOT = 16
"""Number of readings of the first state, from which the noise of a single reading is estimated if states are read once."""
ATTEMPTS = 50
"""Largest number of pairs of readings compared until a state counts as settled."""


class Buildable(Protocol):
    """A network as a bench needs it: layers of conductances."""

    conductances: Matrices
    biases: Matrices

    @property
    def layers(self) -> tuple[int, ...]:
        """(inputs, n_1, ..., n_L)."""
        ...

    def validate(self) -> None:
        """Raise UserError if the network is invalid."""
        ...

    def check_inputs(self, inputs: ArrayLike) -> Float[Array, "batch inputs"]:
        """Return inputs of the network's shape, or raise UserError."""
        ...

    def rows(self, inputs: Float[Array, "batch inputs"]) -> Float[Array, "batch rows"]:
        """Return the row voltages, volts."""
        ...

    def readout(self, outputs: Float[Array, "batch nodes"]) -> Float[Array, "batch classes"]:
        """Return the read-outs of output voltages, volts."""
        ...

    def along_readout(self, currents: Float[Array, "batch classes"]) -> Float[Array, "batch nodes"]:
        """Return the currents into the output nodes, amperes."""
        ...


@dataclass
class BenchSolver:
    """A solver that reads equilibria from a board: status MEASURED, with a noise estimate and without a residual.

    ``write(conductances, biases)`` gives the board's crossbars these conductances (siemens; [l][i, j] joins
    drive row i to column j) and its nodes these bias currents (amperes). It is called when a network's values differ
    from those written last. ``drive(rows, currents)`` applies voltages to all rows of crossbar 1 (+x, then -x, then the
    bias row) and injects currents into the output nodes. ``read()`` returns the voltages of all nodes, layers 1..L in
    order, before any amplifier. Nudges are currents (Kendall et al. 2020) computed at the measured free phase, because
    a bench has no negative conductances.
    """

    write: Write | None
    """Writes conductances and bias currents; None if something else changes the conductances (PulsedBoard)."""
    drive: Callable[[Float[Array, " rows"], Float[Array, " outputs"]], Any]
    read: Callable[[], ArrayLike]
    readings: int = 1
    """Number of readings that are averaged for each state."""
    settle: float = 0.0
    """Seconds between driving and reading."""
    agreement: float | None = None
    """Volts; a state has settled when two averages, ``settle`` apart, agree within this at every node.

    None takes the first one.
    """
    log: BenchLog | None = None
    _written: tuple[Matrices, Matrices] | None = field(default=None, init=False, repr=False)
    _sigma: Nodes | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Raise UserError for invalid settings."""
        whole_number(self.readings, "readings", 1)
        if real_number(self.settle, "settle", "seconds") < 0:
            raise UserError(f"settle: expected at least 0 seconds, got {self.settle}")
        if self.agreement is not None and real_number(self.agreement, "agreement", "volts") <= 0:
            raise UserError(f"agreement: expected more than 0 V, got {self.agreement}")
        for name in ("drive", "read"):
            if not callable(getattr(self, name)):
                raise UserError(f"{name}: expected a function, got {type(getattr(self, name)).__name__}")

    @property
    def noise(self) -> Nodes | None:
        """Standard deviation of a single reading of each node, volts, as estimated so far; None before the first reading."""
        return self._sigma

    def program(self, network: Any) -> None:
        """Write the network's conductances and bias currents if they differ from those written last.

        Solving does this automatically; it remains to be done after the last update of a training.
        """
        network.validate()
        if self.write is None:
            raise UserError("program: this bench has no write function, because its conductances change by pulses")
        self._have(network)

    def solve(
        self, network: Any, inputs: ArrayLike, nudge: Nudge | None = None, start: Equilibrium | None = None
    ) -> Equilibrium:
        """Read the voltages for each row of ``inputs``; a nudge is computed at the free phase ``start``.

        Raises UserError for a nudge by conductances, and for readings that are not voltages of this network.
        """
        batch = self._begun(network, inputs)
        currents = np.zeros((len(batch), network.layers[-1]))
        if nudge is not None:
            _require_current(nudge)
            free = None if start is None else network.readout(start.outputs)
            currents = currents + network.along_readout(nudge.injection(free)[1])
        measured = [
            self._state(network, row, current) for row, current in zip(network.rows(batch), currents, strict=True)
        ]
        return _phase(network, measured, nudge)

    def solve_phases(self, network: Any, inputs: ArrayLike, nudges: Sequence[Nudge]) -> tuple[Equilibrium, ...]:
        """Measure the free and all nudged phases sample by sample, so that slow drift of the board affects them equally."""
        for nudge in nudges:
            _require_current(nudge)
        batch = self._begun(network, inputs)
        phases: list[list[_Measured]] = [[] for _ in range(1 + len(nudges))]
        for k, row in enumerate(network.rows(batch)):
            free = self._state(network, row, np.zeros(network.layers[-1]))
            phases[0].append(free)
            readout = network.readout(free.voltages[None, -network.layers[-1] :])
            for number, nudge in enumerate(nudges, start=1):
                target = nudge.target if len(nudge.target) == 1 else nudge.target[k : k + 1]
                one = Nudge(target, nudge.beta, nudge.kind, nudge.cost)
                current = network.along_readout(one.injection(readout)[1])[0]
                phases[number].append(self._state(network, row, current))
        return tuple(_phase(network, measured, nudge) for measured, nudge in zip(phases, (None, *nudges), strict=True))

    def _begun(self, network: Buildable, inputs: ArrayLike) -> Float[Array, "batch inputs"]:
        network.validate()
        batch = network.check_inputs(inputs)
        if self.write is not None:
            self._have(network)
        return np.asarray(batch, float)

    def _have(self, network: Buildable) -> None:
        """Write what changed since the last call."""
        wanted = (
            tuple(np.array(m, float) for m in network.conductances),
            tuple(np.array(b, float) for b in network.biases),
        )
        before = self._written
        same = before is not None and [m.shape for m in before[0]] == [m.shape for m in wanted[0]]
        changed = [(m != before[0][l]) if same and before else np.ones(m.shape, bool) for l, m in enumerate(wanted[0])]
        biases = not (same and before and all((a == b).all() for a, b in zip(wanted[1], before[1], strict=True)))
        if not (biases or any(cells.any() for cells in changed)):
            return
        self.write(*wanted)  # type: ignore[misc]
        self._written = wanted
        if self.log is not None:
            if biases:
                self.log.arrays("biases", *wanted[1])
            for crossbar, (matrix, cells) in enumerate(zip(wanted[0], changed, strict=True), start=1):
                self.log.cells("write", crossbar, matrix, cells)

    def _state(
        self, network: Buildable, rows: Float[Array, " rows"], currents: Float[Array, " outputs"]
    ) -> "_Measured":
        """Apply the sources, wait until the voltages settle, and read them."""
        self.drive(rows, currents)
        if self.log is not None:
            self.log.arrays("drive", rows, currents)
        nodes = sum(network.layers[1:])
        time.sleep(self.settle)
        found = self._average(nodes)
        settled = self.agreement is None
        for _ in range(0 if settled else ATTEMPTS):
            time.sleep(self.settle)
            again = self._average(nodes)
            settled = bool(np.abs(again.voltages - found.voltages).max() <= (self.agreement or 0))
            found = again
            if settled:
                break
        if self.log is not None:
            self.log.arrays("read", found.voltages)
        finite = bool(np.isfinite(found.voltages).all())
        status = Status.SIMULATOR_FAILED if not finite else Status.MEASURED if settled else Status.STALLED
        return _Measured(found.voltages, found.error, status)

    def _average(self, nodes: int) -> "_Measured":
        pilot = self._sigma
        if pilot is None:  # once, to estimate the noise of a reading
            pilot = np.std([self._read(nodes) for _ in range(PILOT)], axis=0, ddof=1)
            self._sigma = pilot if np.isfinite(pilot).all() else None
        readings = np.array([self._read(nodes) for _ in range(self.readings)])
        sigma = pilot if self.readings == 1 else np.std(readings, axis=0, ddof=1)
        error = float(np.max(sigma, initial=0)) / np.sqrt(self.readings)
        return _Measured(readings.mean(axis=0), error, Status.MEASURED)

    def _read(self, nodes: int) -> Nodes:
        found = real_array(self.read(), "read: voltages of the nodes", float, finite=False)
        if found.shape != (nodes,):
            raise UserError(
                f"read: expected {nodes} voltages, one for each node of layers 1..L, got shape {found.shape}"
            )
        return found


@dataclass(frozen=True, eq=False)
class _Measured:
    voltages: Nodes
    error: float
    status: Status


def _require_current(nudge: Nudge) -> None:
    if nudge.kind != "current":
        raise UserError(
            f'nudge: a bench has no negative conductances; expected kind="current" (Rule(..., kind="current")), got '
            f'"{nudge.kind}"'
        )


def _phase(network: Any, measured: Sequence[_Measured], nudge: Nudge | None) -> Equilibrium:
    voltages = np.array([each.voltages for each in measured], network.conductances[0].dtype)
    layers = tuple(np.split(voltages, np.cumsum(network.layers[1:-1]), axis=1))
    status = np.array([each.status for each in measured], dtype=object)
    noise = np.array([each.error for each in measured])
    return Equilibrium(layers, np.full(len(measured), np.nan), status, nudge, noise)
