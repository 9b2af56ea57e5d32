"""In-situ learning: measured phases of the real circuit are converted to pulses on the real devices."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.network import Network
from eqprop_analog.learning.trainer import Learner, PhaseSolver, Rule, count_statuses, required

Array = np.ndarray


class Hardware(Protocol):
    """A chip as the learner uses it."""

    @property
    def network(self) -> Network:
        """The nominal network, for the contrast of measured voltages."""
        ...

    def circuit(self) -> Any:
        """The circuit in its present state, which the solver solves."""
        ...

    def measured(self, equilibrium: Equilibrium) -> Equilibrium:
        """Return an equilibrium as it is measured."""
        ...

    def change(self, wanted: Mapping[str, Array]) -> None:
        """Apply pulses for the wanted changes."""
        ...


@dataclass
class InSituLearner(Learner):
    """wanted ΔG = -η dC/dG from measured voltages, batch by batch; the devices determine the actual change.

    An equilibrium that neither converged nor was deliberately truncated raises PhaseError before the update.
    """

    hardware: Hardware
    solver: PhaseSolver[Any]
    rule: Rule

    def learn(
        self,
        inputs: Float[Array, "batch inputs"],
        targets: Float[Array, "batch outputs"],
        *examples: Any,  # noqa: ARG002 - nothing is kept of them
    ) -> tuple[int, Counter[str]]:
        """See Learner."""
        hardware, rule = self.hardware, self.rule
        with np.errstate(all="ignore"):  # an equilibrium that overflows is marked by its status
            phases = self.solver.solve_phases(hardware.circuit(), inputs, rule.nudges(targets))
        statuses: Counter[str] = Counter()
        for phase in phases:
            count_statuses(required(phase), statuses)
        free, *nudged = (hardware.measured(phase) for phase in phases)
        plus, minus = (*nudged, free)[:2]
        wanted = dict(hardware.network.contrast(inputs, plus, minus))
        for name, slope in wanted.items():
            np.multiply(slope, slope.dtype.type(-rule.rates.of(name)), out=slope)
        hardware.change(wanted)
        return self.judged(hardware.network.readout(free.outputs), targets, rule.tolerance), statuses
