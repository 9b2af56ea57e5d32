"""Updates at every step of the nudged phase, while the network relaxes (Ernoult et al. 2020)."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from eqprop_analog.core.equilibrium import Equilibrium, Layers, Status
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.errors import UserError
from eqprop_analog.learning.local import learning_signal
from eqprop_analog.learning.persistent import PersistentStates
from eqprop_analog.learning.trainer import Learner, Rule, count_statuses, required, taken
from eqprop_analog.learning.update import Momentum, check_rates, descend
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.hopfield.relaxation import Relaxation

Array = np.ndarray


@dataclass
class ContinualLearner(Learner):
    """θ ← θ - η·signal(s_{t+1}, s_t) after every step t of the nudged phase; see Rule.signal.

    For rates towards zero, the updates of a phase add up to that of its end. Raises UserError for a centred rule, whose
    two phases exclude each other, for a nudged phase without a number of steps, and for an external read-out.
    """

    network: HopfieldNetwork
    solver: Relaxation
    rule: Rule
    momentum: Momentum | None = None
    random: np.random.Generator | None = None
    """The random generator for the signs of random-sign nudging."""
    persistent: PersistentStates | None = None
    """Initial and final states of the free phases."""

    def __post_init__(self) -> None:
        """See the class."""
        check_rates(self.rule.rates, self.network)
        if self.rule.nudging == "centred":
            raise UserError('nudging: continual updates need "one-sided" or "random-sign", got "centred"')
        if self.solver.nudged_steps is None:
            raise UserError("nudged_steps: continual updates need a fixed number of steps for the nudged phase")
        if self.network.head is not None:
            raise UserError("read-out: continual updates need a network that is read at its last layer")

    def learn(
        self,
        inputs: Float[Array, "batch inputs"],
        targets: Float[Array, "batch classes"],
        examples: Int[Array, " batch"] | None = None,
    ) -> tuple[int, Counter[str]]:
        """Update at every nudged step of one batch; see Learner."""
        inputs, targets = taken(self.network, inputs, targets)
        (nudge,) = self.rule.nudges(targets, self.random)
        start = None if self.persistent is None else self.persistent.start(examples)
        equations = HopfieldEquations.of(self.network, inputs)
        free = required(self.solver.settle(equations, start, self.solver.free_steps, None))
        if self.persistent is not None:
            self.persistent.keep(examples, free)
        wrong = self.judged(self.network.readout(free.outputs), targets, self.rule.tolerance)
        nudged = self._relax(inputs, equations.nudged([nudge], free), free.voltages, nudge)
        statuses: Counter[str] = Counter()
        for phase in (free, nudged):
            count_statuses(required(phase), statuses)
        return wrong, statuses

    def _relax(
        self, inputs: Float[Array, "batch inputs"], equations: HopfieldEquations, start: Layers, nudge: Nudge
    ) -> Equilibrium:
        """Run the nudged phase with an update at every step."""
        network, batch = self.network, self.solver.begin(equations, start)
        earlier = _moment(batch.states, None)
        for _ in range(self.solver.nudged_steps or 0):
            self.solver.advance(batch)
            later = _moment(batch.states, nudge)
            signal = learning_signal(self.rule.signal, network, inputs, later, earlier)
            descend(network, signal, self.rule.rates, self.momentum)
            equations.drive[...] = network.drive(inputs)
            earlier = _moment(later.voltages, None)
        return _moment(batch.states, nudge)


def _moment(states: Layers, nudge: Nudge | None) -> Equilibrium:
    """Return the present ``states`` as one of two phases; the earlier one has β = 0, so that differences are divided by β."""
    size = len(states[0])
    status = np.full(size, Status.TRUNCATED, dtype=object)
    return Equilibrium(tuple(s.copy() for s in states), np.full(size, np.nan), status, nudge)
