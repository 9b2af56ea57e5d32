"""C dv/dt = F(v) in ngspice's ``.tran``: settling of a circuit with capacitors in the free and then the nudged phase."""

from collections.abc import Sequence
from concurrent.futures import TimeoutError as TimeLimitExceeded
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.core.certificate import certified
from eqprop_analog.core.equilibrium import Equilibrium, Layers, by_layer
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.errors import UserError
from eqprop_analog.incoming import real_array
from eqprop_analog.networks.resistive.equations import NodalEquations
from eqprop_analog.networks.resistive.netlist import compile_network, nodes, with_capacitances
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.newton import newton_step
from eqprop_analog.networks.resistive.power import Power, power
from eqprop_analog.networks.resistive.surrogate import SurrogateSolver
from eqprop_analog.spice.netlist import transient_netlist
from eqprop_analog.spice.ngspice import library as libngspice
from eqprop_analog.spice.ngspice.workers import Workers

Array = np.ndarray

TIME_CONSTANTS = 20
"""Default duration of a phase in time constants: the slowest mode decays to e^-20 = 2e-9."""
RISE = 0.01
"""Rise time of the nudge, as a fraction of the slowest time constant."""
TOLERANCE = 1e-7
"""Largest KCL residual of a settled node (core.certificate)."""
CHARGE = 1e-6
"""Truncation errors of charge below this voltage times the smallest capacitance do not shorten ngspice's steps, volts."""
POWER_ITERATIONS = 20
BLOCKING = 1e3
"""Voltage at which the diode of a node certainly blocks, volts."""
LONGEST_CONSTANT = 1e4
"""Longest time constant, seconds; above it, ngspice's steps fall below the resolution of its time and it does not finish."""
TIME_LIMIT = 600.0
"""Time limit of ngspice, seconds."""


@dataclass(frozen=True, eq=False)
class Phase:
    """One phase, from one switching event to the next."""

    begin: float
    """Seconds."""
    end: float
    settling_time: float
    """Time from ``begin`` after which every node stays within the given distance of its final voltage, seconds."""
    energy: Power
    """Energy of every part, joules, scalars."""
    stored: float
    """Increase of the energy in the capacitors, joules."""
    equilibrium: Equilibrium
    """Final voltages, (1, nodes) for each layer; CONVERGED if Kirchhoff's current law holds without the capacitors."""
    power: Power
    """Power of every part at the end, watts, one sample."""
    deviation: float
    """Largest |ΔV| between final voltages and the surrogate's operating point, volts."""


@dataclass(frozen=True, eq=False)
class Waveforms:
    """The waveforms of one sample through both phases."""

    time: Float[Array, " samples"]
    """The time steps of ngspice, seconds."""
    voltages: tuple[Float[Array, "samples nodes"], ...]
    """Voltages of layers 1..L, volts."""
    beta: Float[Array, " samples"]
    """The nudge's strength: siemens, or amperes for cross-entropy."""
    rise_time: float
    """Rise time of the nudge, which starts at ``nudged.begin``, seconds."""
    time_constant: float
    """Upper bound of the slowest time constant, seconds (see ``time_constant``)."""
    free: Phase
    nudged: Phase
    netlist: str
    """The netlist that ngspice simulated."""


def settle(
    network: ResistiveNetwork,
    inputs: ArrayLike,
    nudge: Nudge,
    capacitance: float | Sequence[float] = 1e-12,
    free_time: float | None = None,
    nudged_time: float | None = None,
    settled: float = 1e-3,
) -> Waveforms:
    """C dv/dt = F(v) from v = 0 V: the inputs switch on at t = 0, ``nudge`` after ``free_time``.

    ``inputs`` (inputs,) is one sample. ``capacitance`` to ground at every hidden and output node, farads, is one number or one
    for each layer. The phases last ``free_time`` and ``nudged_time`` seconds, by default 20 times the slowest time constant.
    ``settled`` is in volts. The Norton form is simulated, whose voltages equal those of the flat form at all times; energies are
    those of the flat form. Raises UserError if network, sample and nudge do not define a circuit, or if ngspice does not finish
    the transient.
    """
    network.validate()
    libngspice.library_path()
    network = network.in_spice().astype(np.float64)
    sample = network.check_inputs(inputs)
    if len(sample) != 1:
        raise UserError(f"inputs: expected one sample for a transient, got {len(sample)}")
    given = real_array(capacitance, "capacitance (farads)", float)
    farads = tuple(np.broadcast_to(given, given.shape or (network.depth,)).tolist())
    operating = SurrogateSolver().solve_phases(network, sample, [nudge])
    free = NodalEquations.of(network, sample)
    nudged = free.nudged([nudge], operating[0])
    circuit = with_capacitances(compile_network(network, sample, [None, nudged.injection]), network, farads)
    slowest = time_constant(free, farads)
    if slowest > LONGEST_CONSTANT:
        raise UserError(
            f"capacitance: the slowest node needs {slowest:.3g} s to settle, and transients are simulated up to "
            f"{LONGEST_CONSTANT:g} s; use less capacitance or larger conductances"
        )
    rise = RISE * slowest
    switch = _duration("free_time", free_time, slowest, 0)
    end = switch + _duration("nudged_time", nudged_time, time_constant(nudged, farads), rise)
    course = [(0.0, 0.0), (switch, 0.0), (switch + rise, 1.0)]
    netlist = transient_netlist(circuit, course, end, slowest, CHARGE * min(farads))
    nets = [net for layer in range(1, network.depth + 1) for net in nodes(network, layer)]
    time, voltages = simulate(netlist, nets, network.layers, end)
    strength = np.clip((time - switch) / rise, 0, 1)[:, None]
    flow = power(network, sample, voltages, (strength * nudged.nudge_conductance, strength * nudged.nudge_current))
    middle = int(np.abs(time - switch).argmin())
    before, after = slice(0, middle + 1), slice(middle, None)

    def phase(equations: NodalEquations, target: Equilibrium, part: slice) -> Phase:
        within = tuple(v[part] for v in voltages)
        return _phase(equations, target, farads, time[part], within, flow.select(part), settled)

    return Waveforms(
        time=time,
        voltages=voltages,
        beta=nudge.beta * strength[:, 0],
        rise_time=rise,
        time_constant=slowest,
        free=phase(free, operating[0], before),
        nudged=phase(nudged, operating[1], after),
        netlist=netlist,
    )


def time_constant(equations: NodalEquations, capacitance: Sequence[float]) -> float:
    """max_i (J⁻¹C x)_i / x_i, an upper bound of the slowest time constant, seconds; tight if x is the slowest mode.

    J is -∂F/∂v with every diode blocking. It is an M-matrix, and conducting diodes only increase its diagonal. Voltages
    therefore approach their equilibrium at least as fast as exp(-t/bound) from any initial state. x is found by power iteration.
    ``capacitance`` in farads, one value for each layer. Source: Collatz 1942; Wielandt 1950.
    """
    blocking = (*(BLOCKING * polarity[None] for polarity in equations.polarity), equations.initial()[-1][:1])
    equations = equations.select(np.array([0]))
    network: Any = equations.network
    equations = replace(equations, network=replace(network, diode=network.single_diode))
    mode = tuple(np.ones_like(v) for v in blocking)
    for _ in range(POWER_ITERATIONS):
        charges = tuple(farads * v for farads, v in zip(capacitance, mode, strict=True))
        slower = newton_step(equations, blocking, charges)
        bound = max(float((v / u).max()) for v, u in zip(slower, mode, strict=True))
        mode = tuple(v / bound for v in slower)
    return bound


def _duration(name: str, asked: float | None, slowest: float, least: float) -> float:
    seconds = TIME_CONSTANTS * slowest if asked is None else float(asked)
    if not least < seconds < np.inf:
        raise UserError(f"{name}: expected more than {least:g} s, got {seconds}")
    return seconds


def simulate(
    netlist: str, nets: Sequence[str], layers: Sequence[int], end: float
) -> tuple[Float[Array, " samples"], Layers]:
    """Time and voltages of each layer, from 0 V at all nodes at t = 0, computed by ngspice in a separate process.

    ``nets``: the nets of layers 1..L in order. Raises UserError if ngspice does not finish the transient.
    """
    work = Workers(1, TIME_LIMIT)
    try:
        time, values = work.result(work.submit(libngspice.transient, netlist, nets, end))
    except (libngspice.SimulationError, TimeLimitExceeded) as error:
        raise UserError(f"ngspice did not finish the transient: {type(error).__name__}: {error}") from error
    finally:
        work.close()
    voltages = np.concatenate([np.zeros((1, values.shape[1])), values])
    return np.concatenate([[0.0], time]), by_layer(voltages, layers)


def _phase(
    equations: NodalEquations,
    operating: Equilibrium,
    capacitance: Sequence[float],
    time: Float[Array, " samples"],
    voltages: Layers,
    flow: Power,
    settled: float,
) -> Phase:
    """Results over ``time``, and the deviation of the final voltages from the network's equations and operating point."""
    first, last = (tuple(v[k][None] for v in voltages) for k in (0, -1))
    gains = zip(capacitance, first, last, strict=True)
    return Phase(
        begin=float(time[0]),
        end=float(time[-1]),
        settling_time=_settling_time(time - time[0], voltages, settled),
        energy=flow.integral(time),
        stored=float(sum(farads / 2 * (after @ after.T - before @ before.T).item() for farads, before, after in gains)),
        equilibrium=certified(equations, last, TOLERANCE, operating.nudge),
        power=flow.select(slice(-1, None)),
        deviation=max(float(np.abs(v - w).max()) for v, w in zip(last, operating.voltages, strict=True)),
    )


def _settling_time(time: Float[Array, " samples"], voltages: Layers, settled: float) -> float:
    """First time after which all nodes stay within ``settled`` of their last voltage, by linear interpolation."""
    distance = np.max([np.abs(v - v[-1]).max(axis=1) for v in voltages], axis=0)
    outside = np.flatnonzero(distance > settled)
    if not outside.size:
        return 0.0
    k = int(outside[-1])
    return float(np.interp(-settled, -distance[k : k + 2], time[k : k + 2]))
