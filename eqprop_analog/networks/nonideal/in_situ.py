"""In-situ training through the wires of the crossbars: every phase of every update is solved in the circuit with wires."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.devices.cells import CellLaw
from eqprop_analog.errors import UserError
from eqprop_analog.learning.trainer import Learner, Rule, count_statuses, required, taken
from eqprop_analog.learning.update import check_rates, descend
from eqprop_analog.networks.crossbars.wired import TILE
from eqprop_analog.networks.nonideal.network import NonidealNetwork
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.whole_chip.network import chip_of
from eqprop_analog.networks.whole_chip.newton import newton_for

Array = np.ndarray
ReadAt = Literal["nodes", "cells"]
"""Places at which the voltages of the contrast are read: the ends of rows and columns, or every cell."""

TRAINING_TOLERANCE = 1e-10
"""Tolerance of node voltages in training, relative to the circuit's largest voltage."""
REACHED = 1e-12
"""The same, as limited by rounding if all nodes of a whole chip are solved."""
CHECK_EVERY = 1000
"""Number of updates between two contrasts that are computed a second time."""
WORTH_COMPILING = 8192
"""Smallest number of cells of crossbar 1 for which compilation is worthwhile."""
TINY = float(np.finfo(np.float64).tiny)
LARGEST_DEVIATION = 1e-6
"""Largest accepted deviation of such a contrast, relative to its largest entry."""


@dataclass
class WiredSolver:
    """Equilibria of a layered network whose crossbars have wires, by elimination of the wires and Newton's method."""

    wire_resistance: float
    """Resistance of one wire segment, ohms."""
    tile: tuple[int, int] = TILE
    """Largest numbers of rows and columns of one array."""
    tolerance: float = 1e-13
    """See NonidealNewtonSolver."""
    compiled: bool = False
    """See WiredCrossbar."""
    link_resistance: float = 0.0
    """Resistance of the wire from each port of an array to its node, ohms."""
    cell: CellLaw | None = None
    """Current-voltage law of the cells; None is linear."""
    _last: NonidealNetwork | None = field(default=None, init=False, repr=False)

    def chip(self, network: ResistiveNetwork) -> NonidealNetwork:
        """``network`` with wires for its present conductances; the result is reused while these are unchanged."""
        now, last = network.astype(np.float64).arrays(), self._last
        if last is None or any(not np.array_equal(now[name], values) for name, values in last.arrays().items()):
            last = chip_of(
                network,
                cell=self.cell,
                wire_resistance=self.wire_resistance,
                tile=self.tile,
                link_resistance=self.link_resistance,
                compiled=self.compiled,
            )
            self._last = last
        return last

    def solve(
        self, network: ResistiveNetwork, inputs: ArrayLike, nudge: Nudge | None = None, start: Equilibrium | None = None
    ) -> Equilibrium:
        """See core.Solver."""
        return self.newton.solve(self.chip(network), inputs, nudge, start)

    def solve_phases(
        self, network: ResistiveNetwork, inputs: ArrayLike, nudges: Sequence[Nudge]
    ) -> tuple[Equilibrium, ...]:
        """See NonidealNewtonSolver."""
        return self.newton.solve_phases(self.chip(network), inputs, nudges)

    @property
    def newton(self) -> Any:
        """The solver of ``chip``; if its cells have a law, all nodes are solved with a tolerance of at least REACHED."""
        return newton_for(self.cell, self.tolerance if self.cell is None else max(self.tolerance, REACHED))


class WiredLearner(Learner):
    """Learner that solves the phases of the circuit with wires and descends their contrast; all phases must converge.

    The contrast is that of the node voltages, which omits the drops along the wires, or that of each cell's own voltage. At the
    first update and after every CHECK_EVERY updates, it is computed a second time with the wires eliminated column by column and
    the phases solved to full precision. Raises UserError if the two differ by more than LARGEST_DEVIATION.
    """

    def __init__(self, network: ResistiveNetwork, solver: WiredSolver, rule: Rule, read_at: ReadAt = "nodes") -> None:
        check_rates(rule.rates, network)
        self.network, self.solver, self.rule, self.read_at = network, solver, rule, read_at
        self._count = np.zeros(2, np.int64)
        self._deviation = np.zeros(1)

    def learn(
        self, inputs: Float[Array, "batch inputs"], targets: Float[Array, "batch classes"], *_examples: object
    ) -> tuple[int, Counter[str]]:
        """See Learner."""
        inputs, targets = taken(self.network, inputs, targets)
        free, gradient, statuses = self._contrast(self.solver, inputs, targets)
        if self._count[0] % CHECK_EVERY == 0:
            self._check(inputs, targets, gradient)
        self._count[0] += 1
        wrong = self.judged(self.network.readout(free.outputs), targets, self.rule.tolerance)
        self.renewed += descend(self.network, gradient, self.rule.rates)
        return wrong, statuses

    def _contrast(
        self, solver: WiredSolver, inputs: Float[Array, "batch inputs"], targets: Float[Array, "batch classes"]
    ) -> tuple[Equilibrium, Mapping[str, Array], Counter[str]]:
        chip = solver.chip(self.network)
        with np.errstate(all="ignore"):  # the status reports an equilibrium that overflows
            phases = solver.newton.solve_phases(chip, inputs, self.rule.nudges(targets))
        statuses: Counter[str] = Counter()
        for phase in phases:
            count_statuses(required(phase), statuses)
        free, plus, *minus = phases
        other = minus[0] if minus else free
        contrast = chip.contrast if self.read_at == "nodes" else chip.cell_contrast
        return free, contrast(inputs, plus, other), statuses

    def _check(
        self, inputs: Float[Array, "batch inputs"], targets: Float[Array, "batch classes"], found: Mapping[str, Array]
    ) -> None:
        witness = replace(self.solver, tolerance=WiredSolver.tolerance, compiled=False)
        _, again, _ = self._contrast(witness, inputs, targets)
        off = [
            float(np.abs(found[name] - values).max()) / max(float(np.abs(values).max()), TINY)
            for name, values in again.items()
        ]
        worst = max(off)
        self._count[1] += 1
        self._deviation[0] = max(self._deviation[0], worst)
        if not worst <= LARGEST_DEVIATION:
            name, remedy = ("cell", "cells that are closer to linear")
            if self.solver.wire_resistance:
                name, remedy = ("wire_resistance", "a smaller wire resistance or smaller tiles")
            raise UserError(
                f"{name}: after {self._count[0]} updates of the epoch the error of the contrast is {worst:.2g} of its "
                f"largest entry, expected at most {LARGEST_DEVIATION:g}: the circuit is too ill-conditioned; use {remedy}"
            )

    def arrays(self) -> Mapping[str, Array]:
        """Numbers of updates of the epoch and of contrasts computed twice; the largest deviation of these."""
        return {"wires_count": self._count, "wires_deviation": self._deviation}

    def figures(self) -> Mapping[str, float]:
        """See Learner."""
        return {"contrast_checks": int(self._count[1]), "contrast_deviation": float(self._deviation[0])}


def worth_compiling(layers: Sequence[int]) -> bool:
    """Whether numba is installed and crossbar 1 is so large that about ten seconds of compilation are worthwhile."""
    return find_spec("numba") is not None and 2 * int(np.prod(layers[:2])) >= WORTH_COMPILING
