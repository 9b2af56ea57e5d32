"""Measurement of a network with diodes from a SPICE device: in ngspice on the device itself, and with its table."""

import logging
from collections import Counter
from dataclasses import dataclass, fields
from typing import cast

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.characterization.device_sweep import alone
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.readouts import predictions
from eqprop_analog.devices import Tabulated
from eqprop_analog.learning.trainer import Progress
from eqprop_analog.networks.resistive.equations import NodalEquations
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.surrogate import SurrogateSolver
from eqprop_analog.spice.ngspice.solver import NgspiceSolver
from eqprop_analog.spice.ngspice.sweeps import TIME_LIMIT

Array = np.ndarray
log = logging.getLogger(__name__)

CHUNK = 200
"""Number of samples between two progress reports."""


@dataclass(frozen=True)
class OnDevices:
    """Free phases of some samples in ngspice with the devices themselves, and in the surrogate with their table."""

    samples: int
    error: float
    """Fraction of wrong predictions with the devices themselves; a sample without a certified equilibrium counts as wrong."""
    error_by_table: float
    """The same with the table."""
    decided_otherwise: int
    """Number of samples for which the two predict different classes."""
    largest_difference: float
    """Largest |ΔV| of any node, volts."""
    median_difference: float
    """Median over samples of the largest |ΔV|, volts."""
    largest_residual: float
    """Largest KCL residual with the device currents of ngspice in the network, amperes."""
    largest_residual_alone: float
    """The same with the current of each device at its voltage when ngspice sweeps it separately, amperes."""
    largest_current: float
    """Largest current of any device, amperes."""
    statuses: dict[str, int]
    """Numbers of equilibria in ngspice by status."""
    outside: float
    """Fraction of hidden nodes beyond the ends of the table, where it is extrapolated linearly."""

    @property
    def certified(self) -> bool:
        """Whether every equilibrium is certified."""
        return self.statuses.get("CONVERGED", 0) == self.samples

    def figures(self) -> dict[str, object]:
        """All figures, for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self)} | {"certified": self.certified}


def measure_on_devices(
    network: ResistiveNetwork,
    inputs: Float[Array, "samples inputs"],
    labels: Int[Array, " samples"],
    workers: int = 1,
    time_limit: float = TIME_LIMIT,
    progress: Progress = lambda _done, _error: None,
) -> OnDevices:
    """Test error and node voltages of ``network`` on its own devices. Raises UserError if its diodes are not SPICE devices."""
    devices = network.with_own_devices()
    with_table = SurrogateSolver().solve(network, inputs).require()
    measured: list[Equilibrium] = []
    solver = NgspiceSolver(workers, time_limit=time_limit)
    wrong = np.zeros(0, bool)
    try:
        for begin in range(0, len(inputs), CHUNK):
            part = slice(begin, begin + CHUNK)
            measured.append(solver.solve(devices, inputs[part]))
            read = network.readout(measured[-1].outputs)
            wrong = np.append(wrong, ~measured[-1].good | (predictions(read) != labels[part]))
            progress(len(wrong), float(wrong.mean()))
    finally:
        solver.close()
    good = np.concatenate([phase.good for phase in measured])
    own = [np.concatenate(layer) for layer in zip(*(phase.voltages for phase in measured), strict=True)]
    apart = np.max([np.abs(a - b).max(axis=1) for a, b in zip(own, with_table.voltages, strict=True)], axis=0)[good]
    by_table = predictions(network.readout(with_table.outputs))
    other = predictions(network.readout(own[-1])) != by_table
    alone_residual, current = _alone(network, inputs[good], [v[good] for v in own])
    statuses = Counter(status.name for phase in measured for status in phase.status.tolist())
    return OnDevices(
        samples=len(inputs),
        error=float(wrong.mean()),
        error_by_table=float((by_table != labels).mean()),
        decided_otherwise=int((other & good).sum()),
        largest_difference=float(apart.max(initial=0)),
        median_difference=float(np.median(apart)) if apart.size else float("nan"),
        largest_residual=float(np.max(np.concatenate([phase.residual for phase in measured])[good], initial=0)),
        largest_residual_alone=alone_residual,
        largest_current=current,
        statuses=dict(statuses),
        outside=_outside(network, own),
    )


def _table(network: ResistiveNetwork) -> Tabulated:
    """The law of each diode, which is a table (checked by ``with_own_devices``)."""
    return cast("Tabulated", getattr(network.diode, "law", network.diode))


def _alone(network: ResistiveNetwork, inputs: Array, voltages: list[Array]) -> tuple[float, float]:
    """OnDevices.largest_residual_alone and largest_current: Kirchhoff's current law from two independent simulations."""
    law = _table(network)
    equations = NodalEquations.of(network.astype(np.float64), inputs)
    worst = most = 0.0
    for layer, v in enumerate(voltages[:-1], start=1):
        into = equations.inflow(layer, tuple(voltages)) - equations.total(layer) * v
        for side in network.diode_sides(layer):
            carried = alone(law, law.rail - side * v)
            into += side * carried
            most = max(most, float(np.abs(carried).max(initial=0)))
        worst = max(worst, float(np.abs(into).max(initial=0)))
    return worst, most


def _outside(network: ResistiveNetwork, voltages: list[Array]) -> float:
    """See OnDevices.outside."""
    law = _table(network)
    low, high = law.voltages[0], law.voltages[-1]
    beyond = []
    for layer, v in enumerate(voltages[:-1], start=1):
        for side in network.diode_sides(layer):
            across = network.diode.rail - side * v
            beyond.append(((across < low) | (across > high)).ravel())
    return float(np.concatenate(beyond).mean()) if beyond else 0.0
