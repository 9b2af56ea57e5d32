"""Sweep the curve of a user's SPICE device in ngspice, and check that it is a two-terminal device."""

from collections.abc import Mapping, Sequence
from concurrent.futures import TimeoutError as TimeLimitExceeded
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.characterization.curve import Curve
from eqprop_analog.characterization.spice_library import Device
from eqprop_analog.devices import Tabulated
from eqprop_analog.devices.tabulated import DEVICE_TOLERANCES
from eqprop_analog.errors import UserError
from eqprop_analog.spice.dialects import pairs
from eqprop_analog.spice.elements import series
from eqprop_analog.spice.netlist import TOLERANCES
from eqprop_analog.spice.ngspice import library
from eqprop_analog.spice.ngspice.workers import Workers

Array = np.ndarray

COMPLIANCE = 1e-2
"""Amperes; the curve ends where the device carries more, as with the compliance of a measuring instrument."""
COMMON_MODES = (-0.6, 0.7)
"""Cathode voltages, volts, at which a two-terminal device carries the same current."""
PART = 1e-6
"""Largest relative difference between the currents of a two-terminal device."""
LEAST = 1e-13
"""Difference of currents, amperes, that is ignored: the current of gmin at every internal junction."""
TIME_LIMIT = 600.0
"""Time limit of a sweep, seconds, including the reading of the library."""
POINTS = 2000
"""Largest number of points of a sweep."""
MODES = ("all", "ps", "hs", "spe", "lt", "ki", "ltps", "psa", "hsa", "lta", "ltpsa", "eg", "spea")
"""ngspice's compatibility modes (ngbehavior)."""


@dataclass(frozen=True)
class Sweeper:
    """ngspice in a separate process, for sweeps of one device."""

    work: Workers
    celsius: float
    mode: str = ""
    """ngspice's compatibility mode, in that process only."""

    def curve(self, device: Device, voltages: Float[Array, " points"], cathode: float = 0.0) -> tuple[Array, Array]:
        """Return the currents into the anode and out of the cathode, amperes; ``cathode`` in volts.

        Raises UserError with ngspice's message.
        """
        text = netlist(device, self.celsius, voltages, cathode)
        vectors = ("vmeter#branch", "vreturn#branch")
        try:
            job = self.work.submit(library.sweep_text, text, vectors, len(voltages), self.mode)
            found = self.work.result(job)
        except library.SimulationError as error:
            advice = (
                "" if self.mode else "; a library for PSpice, LTspice or HSPICE may need --compatibility ps, lt or hs"
            )
            raise UserError(f"{device.name}: ngspice could not sweep it: {error}{advice}") from error
        except TimeLimitExceeded as error:
            raise UserError(f"{device.name}: ngspice did not finish its sweep within {TIME_LIMIT:g} s") from error
        return found[:, 0], found[:, 1]


def netlist(device: Device, celsius: float, voltages: Float[Array, " points"], cathode: float) -> str:
    """Netlist of the device between two sources, with ``voltages`` across it in turn and its cathode at ``cathode`` (volts)."""
    scale = {} if device.scale == 1 else {"scale": device.scale}
    options = {**TOLERANCES, **DEVICE_TOLERANCES, "temp": celsius, **scale}
    return "\n".join(
        [
            f"* {device.name} by itself",
            ".options " + pairs(options),
            device.text,
            "Vpoint point 0 0",
            f"Bacross across 0 V={series(voltages)}",
            f"Vcathode low 0 {cathode!r}",
            "Eanode high low across 0 1",
            "Vmeter high anode 0",
            f"Xdevice anode cathode {device.name}",
            "Vreturn cathode low 0",
            f".dc Vpoint 0 {len(voltages) - 1} 1",
            ".save i(vmeter) i(vreturn)",
            ".end",
            "",
        ]
    )


def alone(law: Tabulated, across: Float[Array, "..."]) -> Float[Array, "..."]:
    """Current of the device from which a table was made, at the voltages ``across`` it, by ngspice, amperes."""
    ascending, back = np.unique(across, return_inverse=True)
    device = Device(law.spice_name, law.spice_text, law.spice_scale)
    work = Workers(1, TIME_LIMIT)
    sweeper = Sweeper(work, law.celsius)
    try:
        pieces = np.array_split(ascending, max(1, len(ascending) // POINTS))
        found = np.concatenate([sweeper.curve(device, np.append(piece, piece[-1:]))[0][:-1] for piece in pieces])
    finally:
        work.close()
    return np.asarray(found[back].reshape(np.shape(across)))


def swept(
    devices: Sequence[Device],
    low: float,
    high: float,
    step: float,
    celsius: float,
    *,
    mode: str = "",
    compliance: float = COMPLIANCE,
) -> tuple[Curve, Device]:
    """Sweep the first of ``devices`` whose curve equals that of the last one; return the curve and that device.

    The sweep goes from ``low`` to ``high`` volts in steps of ``step`` and ends where the device carries more than
    ``compliance`` (A). Raises UserError for a device
    whose current depends on more than the voltage across it.
    """
    points = round((high - low) / step) + 1
    voltages = low + (high - low) / (points - 1) * np.arange(points)
    work = Workers(1, TIME_LIMIT)
    sweeper = Sweeper(work, celsius, mode)
    try:
        whole, returned = sweeper.curve(devices[-1], voltages)
        chosen = devices[-1]
        for device in devices[:-1]:
            if _same(sweeper, device, voltages, whole):
                chosen = device
                break
        _require_two_terminals(sweeper, chosen, voltages, whole, returned)
    finally:
        work.close()
    carried = np.abs(whole) <= compliance
    if carried.sum() < len(voltages):
        around = int(np.argmin(np.abs(voltages)))
        refused = np.flatnonzero(~carried)
        below, above = refused[refused < around], refused[refused > around]
        first, last = (below[-1] + 1 if below.size else 0), (above[0] if above.size else len(voltages))
    else:
        first, last = 0, len(voltages)
    if last - first < 10:
        raise UserError(
            f"{chosen.name}: it carries more than {compliance:g} A at almost every voltage from {low:g} to {high:g} "
            "V; give --range and --compliance"
        )
    return Curve(voltages[first:last], whole[first:last], np.zeros(last - first, int), chosen.name), chosen


def _same(sweeper: Sweeper, device: Device, voltages: Array, wanted: Array) -> bool:
    """Return whether the device without the bins that it cannot use is bit-identical."""
    try:
        found, _ = sweeper.curve(device, voltages)
    except UserError:
        return False
    return bool((found == wanted).all())


def _require_two_terminals(sweeper: Sweeper, device: Device, voltages: Array, into: Array, out: Array) -> None:
    _compare(device, voltages, into, out, "into its anode", "out of its cathode")
    few = slice(None, None, max(1, len(voltages) // 40))
    for volts in COMMON_MODES:
        other, _ = sweeper.curve(device, voltages[few], volts)
        _compare(device, voltages[few], into[few], other, "with its cathode at 0 V", f"with its cathode at {volts:g} V")


def _compare(device: Device, voltages: Array, one: Array, other: Array, here: str, there: str) -> None:
    apart = np.abs(one - other) - PART * np.maximum(np.abs(one), np.abs(other)) - LEAST * (1 + np.abs(voltages))
    if (apart > 0).any():
        k = int(np.argmax(apart))
        raise UserError(
            f"{device.name} is not a two-terminal device: at {voltages[k]:.3g} V across it, it carries {one[k]:.4g} "
            f"A {here} and {other[k]:.4g} A {there}. An internal node is connected to ground or to a supply; connect "
            "a bulk to the cathode"
        )


def options_of(device: Device) -> Mapping[str, Any]:
    """What a table stores of the device: its text, its name and its scale."""
    return MappingProxyType({"spice_text": device.text, "spice_name": device.name, "spice_scale": device.scale})
