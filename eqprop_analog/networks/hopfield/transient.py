"""C du/dt = g(-u + W ρ(u) + b + pull): transient of a Hopfield circuit through the free phase, then the nudged phase."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp

from eqprop_analog.core.certificate import certified
from eqprop_analog.core.equilibrium import Equilibrium, Layers, by_layer
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.errors import UserError
from eqprop_analog.incoming import real_number
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.netlist import CONDUCTANCE, compile_hopfield, with_capacitances
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.hopfield.stability import growth
from eqprop_analog.networks.resistive.transient import simulate
from eqprop_analog.spice.elements import CAPACITANCES
from eqprop_analog.spice.netlist import transient_netlist
from eqprop_analog.spice.ngspice import library as libngspice

Array = np.ndarray

RISE = 0.01
"""Rise time of the nudge, in time constants of a node."""
REST = 1e-8
"""Largest KCL residual at the end of a phase in the integrated equations, volts."""
LEAST, MOST = 5.0, 500.0
"""Shortest and longest duration of a phase, in time constants of a node."""
TOLERANCE = 1e-6
"""Largest KCL residual at a settled node in ngspice, volts."""
CHARGE = 1e-6
"""Truncation errors of a node's charge below this voltage times its capacitance do not shorten ngspice's steps, volts."""


@dataclass(frozen=True, eq=False)
class HopfieldWaveforms:
    """The waveforms of one sample through both phases."""

    time: Float[Array, " samples"]
    """The time steps of ngspice, seconds."""
    nodes: tuple[Float[Array, "samples nodes"], ...]
    """u of layers 1..L in ngspice, volts."""
    integrated: tuple[Float[Array, "samples nodes"], ...]
    """u at the same times from SciPy, volts."""
    switch: float
    """Time at which the nudge starts to rise, seconds."""
    rise_time: float
    """Rise time of the nudge, seconds."""
    time_constants: tuple[float, float]
    """Slowest time constants of the circuit around the free and the nudged equilibrium, seconds."""
    arrivals: tuple[float, ...]
    """Time from ``switch`` until layers 1..L reach half of their rms response, seconds; NaN without a response."""
    free: Equilibrium
    """Status at the end of the free phase: CONVERGED if Kirchhoff's current law holds there without the capacitors."""
    nudged: Equilibrium
    netlist: str
    """The netlist that ngspice simulated."""

    @property
    def deviation(self) -> float:
        """Largest |u(ngspice) - u(SciPy)| over all nodes and times, volts."""
        return max(float(np.abs(u - v).max()) for u, v in zip(self.nodes, self.integrated, strict=True))


def settle_hopfield(
    network: HopfieldNetwork,
    inputs: ArrayLike,
    nudge: Nudge,
    capacitance: float = 1e-12,
    free_time: float | None = None,
    nudged_time: float | None = None,
    swing: float | None = None,
) -> HopfieldWaveforms:
    """C du/dt = g(-u + W ρ(u) + b + pull) from u = 0 V: the inputs switch on at t = 0, ``nudge`` after ``free_time``.

    ``inputs`` (inputs,) is one sample. ``capacitance`` is C of every node, farads; the time constant of an isolated node is C/g,
    1 µs for 1 pF. The phases last ``free_time`` and ``nudged_time`` seconds, by default until the integrated equations have
    settled to within 10 nV. ``swing`` is that of compile_hopfield. Raises UserError if network, sample and nudge do not define a
    circuit, if the circuit does not settle, or if ngspice does not finish the transient.
    """
    network.validate()
    libngspice.library_path()
    network = network.astype(np.float64)
    sample = network.check_inputs(inputs)
    if len(sample) != 1:
        raise UserError(f"inputs: expected one sample for a transient, got {len(sample)}")
    capacitance = real_number(capacitance, "capacitance", "farads")
    if not CAPACITANCES[0] <= capacitance <= CAPACITANCES[1]:
        raise UserError(f"capacitance: expected {CAPACITANCES[0]:g} to {CAPACITANCES[1]:g} farads, got {capacitance:g}")
    unit = capacitance / CONDUCTANCE
    free = HopfieldEquations.of(network, sample)
    course = Course(unit, np.zeros(sum(network.layers[1:])))
    course.follow(free, "free_time", free_time)
    operating = certified(free, course.now(network), 10 * REST, None)
    nudged = free.nudged([nudge], operating)
    switch, rise = course.end, RISE * unit
    course.follow(nudged, "rise", rise, lambda time: min((time - switch) / rise, 1))
    course.follow(nudged, "nudged_time", nudged_time)
    both = compile_hopfield(network, np.tile(sample, (2, 1)), _switching(nudged), swing=swing)
    circuit = with_capacitances(both, network, capacitance)
    points = [(0.0, 0.0), (switch, 0.0), (switch + rise, 1.0)]
    netlist = transient_netlist(circuit, points, course.end, unit, CHARGE * capacitance)
    time, nodes = simulate(netlist, circuit.probes, network.layers, course.end)
    middle = int(np.abs(time - switch).argmin())
    ends = tuple(u[middle : middle + 1] for u in nodes), tuple(u[-1:] for u in nodes)
    return HopfieldWaveforms(
        time=time,
        nodes=nodes,
        integrated=course.at(time, network),
        switch=switch,
        rise_time=rise,
        time_constants=(_slowest(free, ends[0], unit), _slowest(nudged, ends[1], unit)),
        arrivals=tuple(_arrival(time[middle:] - time[middle], u[middle:]) for u in nodes),
        free=certified(free, ends[0], TOLERANCE, None),
        nudged=certified(nudged, ends[1], TOLERANCE, nudge),
        netlist=netlist,
    )


class Course:
    """u(t) of one sample by SciPy's Runge-Kutta method of order 8, integrated in consecutive intervals."""

    def __init__(self, unit: float, start: Float[Array, " nodes"]) -> None:
        """``unit``: C/g, seconds; ``start``: u at t = 0, volts."""
        self.unit = unit
        self.end = 0.0
        self._u = start
        self._stretches: list[Any] = []

    def follow(
        self,
        equations: HopfieldEquations,
        name: str,
        seconds: float | None,
        strength: Callable[[float], float] | None = None,
    ) -> None:
        """Integrate for ``seconds``, or until settled; ``strength`` of the nudge against time (default 1). Raises UserError."""
        if seconds is not None and not 0 < seconds < np.inf:
            raise UserError(f"{name}: expected more than 0 s, got {seconds}")

        def surplus(time: float, u: Float[Array, " nodes"]) -> Float[Array, " nodes"]:
            states = tuple(equations.network.buffer.output(v) for v in by_layer(u[None], equations.network.layers))
            now = equations if strength is None else _scaled(equations, strength(time))
            return np.concatenate(now.forces(states), axis=1)[0] - u

        def unrest(time: float, u: Float[Array, " nodes"]) -> float:
            least = self.end + LEAST * self.unit
            return 1.0 if time < least else float(np.abs(surplus(time, u)).max()) - REST

        unrest.terminal = seconds is None  # type: ignore[attr-defined]
        last = self.end + (MOST * self.unit if seconds is None else seconds)
        found = solve_ivp(
            lambda time, u: surplus(time, u) / self.unit,
            (self.end, last),
            self._u,
            "DOP853",
            dense_output=True,
            events=unrest,
            rtol=1e-9,
            atol=1e-12,
        )
        if seconds is None and unrest(last, found.y[:, -1]) > REST:
            raise UserError(
                f"the circuit does not settle within {last - self.end:.3g} s; set {name}, or use other weights"
            )
        self._stretches.append(found.sol)
        self.end, self._u = float(found.t[-1]), found.y[:, -1]

    def at(self, time: Float[Array, " samples"], network: HopfieldNetwork) -> Layers:
        """Voltages u of layers 1..L at each ``time`` (s, ascending), volts."""
        u = np.empty((len(time), len(self._u)))
        for sol in self._stretches:
            within = time >= sol.t_min
            u[within] = sol(np.minimum(time[within], sol.t_max)).T
        return by_layer(u, network.layers)

    def now(self, network: HopfieldNetwork) -> Layers:
        """Voltages u of layers 1..L at the end, volts, (1, nodes) each."""
        return by_layer(self._u[None], network.layers)


def _scaled(nudged: HopfieldEquations, strength: float) -> HopfieldEquations:
    """The same equations with the nudge scaled by ``strength``."""
    return replace(
        nudged,
        beta=None if nudged.beta is None else strength * nudged.beta,
        constant=None if nudged.constant is None else strength * nudged.constant,
    )


def _switching(nudged: HopfieldEquations) -> HopfieldEquations:
    """The equations of two samples, one without and one with the nudge."""

    def both(off: Array | None, on: Array | None) -> Array | None:
        return None if off is None or on is None else np.concatenate([off, on])

    off = _scaled(nudged, 0)
    return replace(
        nudged,
        drive=np.concatenate([nudged.drive, nudged.drive]),
        beta=both(off.beta, nudged.beta),
        constant=both(off.constant, nudged.constant),
        target=both(nudged.target, nudged.target),
    )


def _slowest(equations: HopfieldEquations, nodes: Layers, unit: float) -> float:
    """Slowest time constant around ``nodes``, seconds; infinite if the operating point is unstable."""
    left = 1 - growth(equations, nodes).item()
    return unit / left if left > 0 else np.inf


def _arrival(time: Float[Array, " samples"], u: Float[Array, "samples nodes"]) -> float:
    """First time at which the response is half of its final value, by linear interpolation; NaN if there is no response."""
    response = np.linalg.norm(u - u[0], axis=1)
    if response[-1] < TOLERANCE:
        return np.nan
    k = int(np.argmax(response >= response[-1] / 2))
    return float(np.interp(response[-1] / 2, response[k - 1 : k + 1], time[k - 1 : k + 1]))
