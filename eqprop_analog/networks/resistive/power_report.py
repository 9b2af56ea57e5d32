"""Energy of an inference and of a training sample: power of every part at each equilibrium times its settling time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.errors import UserError
from eqprop_analog.networks.resistive.equations import NodalEquations
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.ngspice_power import measured_power
from eqprop_analog.networks.resistive.power import Power, power, relative_difference
from eqprop_analog.networks.resistive.surrogate import SurrogateSolver
from eqprop_analog.networks.resistive.time_constants import slowest_time_constants
from eqprop_analog.networks.resistive.transient import time_constant
from eqprop_analog.spice.ngspice.sweeps import TIME_LIMIT

Array = np.ndarray

PHASES = ("free", "plus", "minus")
NOT_COUNTED = (
    "bias currents of real amplifiers (their ideal supply is counted), converters, drivers of the rows, read-out, "
    "the pulses that update conductances, and the additional power before the equilibrium is reached"
)
"""Contributions that are not included, in words."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Power in ngspice and in the surrogate for the same circuit, in which a SPICE device replaces each ideal clamp."""

    power: Power
    """Power in ngspice, v·i of every device of the flat netlist, watts, (batch,)."""
    computed: Power
    """Power in the surrogate, watts, (batch,)."""

    @property
    def differences(self) -> dict[str, Float[Array, " batch"]]:
        """Difference of every part by its name, relative to the power of this part."""
        ours = self.computed.sources | self.computed.sinks
        return {part: relative_difference(ours[part], w) for part, w in (self.power.sources | self.power.sinks).items()}


@dataclass(frozen=True, eq=False)
class PhaseCost:
    """One phase of every sample; arrays are (batch,)."""

    equilibrium: Equilibrium
    power: Power
    """Power at the equilibrium in the surrogate, watts."""
    time_constant: Float[Array, " batch"]
    """Slowest time constant of the circuit linearised at the equilibrium, seconds."""
    settling_time: Float[Array, " batch"]
    """time_constant · ln(1/fraction), seconds."""
    longest: float
    """Upper bound of ``settling_time`` for any states of the diodes, seconds."""
    measured: Measured | None
    """Power measured in ngspice, if requested."""

    @property
    def energy(self) -> Float[Array, " batch"]:
        """Dissipated power times settling time, joules; a negative nudge conductance counts as a supply."""
        return self.power.heat * self.settling_time


@dataclass(frozen=True, eq=False)
class EnergyReport:
    """Free phase, +β and -β of every sample."""

    beta: float
    """Nudge, siemens (amperes for the current nudge of a cross-entropy)."""
    capacitance: tuple[float, ...]
    """Capacitance at every node by layer, farads."""
    fraction: float
    """Fraction of the change of a phase, measured as √(Σ γ C ΔV²), that remains after the settling time."""
    phases: tuple[PhaseCost, ...]
    """The phases, by the names in PHASES."""
    stored: Float[Array, " batch"]
    """½ Σ C v² at the free equilibrium, joules: stored in the node capacitances and not part of the energies."""

    @property
    def inference(self) -> Float[Array, " batch"]:
        """Energy of the free phase, joules."""
        return self.phases[0].energy

    @property
    def training(self) -> Float[Array, " batch"]:
        """Energy of all phases in succession, joules."""
        return np.sum([phase.energy for phase in self.phases], axis=0)

    @property
    def imbalance(self) -> float:
        """Largest relative difference of delivered and dissipated power over all samples and phases, including ngspice."""
        powers = [phase.power for phase in self.phases]
        powers += [phase.measured.power for phase in self.phases if phase.measured]
        return max(float(each.imbalance.max()) for each in powers)

    @property
    def difference(self) -> float | None:
        """Largest relative difference of any part between ngspice and the surrogate; None without ngspice."""
        found = [d.max() for phase in self.phases if phase.measured for d in phase.measured.differences.values()]
        return float(max(found)) if found else None


def energy_report(
    network: ResistiveNetwork,
    inputs: Float[Array, "batch inputs"],
    targets: Float[Array, "batch classes"],
    beta: float,
    capacitance: Sequence[float] = (1e-12,),
    fraction: float = 1e-3,
    *,
    ngspice: bool = False,
    time_limit: float = TIME_LIMIT,
) -> EnergyReport:
    """Power, settling times and energies of ``inputs``, free and nudged towards ``targets`` (V) by ±``beta`` (S).

    ``capacitance`` in farads, one number or one for each layer; with ``ngspice``, every power is also measured in the flat
    netlist. Raises UserError for invalid arguments, a phase that does not converge, and a circuit that ngspice does not solve.
    """
    network.validate()
    network = network.astype(np.float64)
    batch = network.check_inputs(inputs)
    farads = _farads(network, capacitance)
    if not 0 < fraction < 1:
        raise UserError(f"settled fraction: expected a number between 0 and 1, got {fraction:g}")
    nudges = [Nudge(targets, b, network.nudge_kind) for b in (beta, -beta)]
    equilibria, equations = _solved(network, batch, nudges)
    powers = _powers(network, batch, equilibria, equations)
    measured: list[Measured | None] = [None] * len(PHASES)
    if ngspice:
        twin = network.in_spice()
        twins, held = _solved(twin, batch, nudges)
        found = measured_power(batch, held, time_limit)
        both = zip(found, _powers(twin, batch, twins, held), strict=True)
        measured = [Measured(theirs, ours) for (theirs, _), ours in both]
    decay = float(np.log(1 / fraction))
    phases = []
    for equilibrium, each, watts, other in zip(equilibria, equations, powers, measured, strict=True):
        tau = slowest_time_constants(each, equilibrium.voltages, farads)
        phases.append(PhaseCost(equilibrium, watts, tau, decay * tau, decay * time_constant(each, farads), other))
    held_charge = [c / 2 * (v * v).sum(axis=1) for c, v in zip(farads, equilibria[0].voltages, strict=True)]
    return EnergyReport(beta, farads, fraction, tuple(phases), np.sum(held_charge, axis=0))


def _farads(network: ResistiveNetwork, capacitance: Sequence[float]) -> tuple[float, ...]:
    farads = tuple(map(float, capacitance)) * (network.depth if len(capacitance) == 1 else 1)
    if len(farads) != network.depth:
        raise UserError(
            f"capacitance: expected one number or one for each of {network.depth} layers, got {len(farads)}"
        )
    if not all(0 < c < np.inf for c in farads):
        raise UserError(f"capacitance: expected positive numbers in farads, got {', '.join(f'{c:g}' for c in farads)}")
    return farads


def _solved(
    network: ResistiveNetwork, inputs: Float[Array, "batch inputs"], nudges: Sequence[Nudge]
) -> tuple[list[Equilibrium], list[NodalEquations]]:
    free = NodalEquations.of(network, inputs)
    equilibria = [each.require() for each in SurrogateSolver().solve_phases(network, inputs, nudges)]
    return equilibria, [free, *(free.nudged([nudge], equilibria[0]) for nudge in nudges)]


def _powers(
    network: ResistiveNetwork,
    inputs: Float[Array, "batch inputs"],
    equilibria: Sequence[Equilibrium],
    equations: Sequence[NodalEquations],
) -> list[Power]:
    pairs = zip(equilibria, equations, strict=True)
    return [power(network, inputs, at.voltages, each.injection) for at, each in pairs]
