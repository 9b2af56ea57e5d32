"""A board whose conductances change by unverified pulses, as in-situ learning uses it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eqprop_analog.bench.log import BenchLog, Pulse
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.devices.conductance import Technology

Array = np.ndarray


@dataclass(eq=False)
class PulsedBoard:
    """The hardware of an InSituLearner whose solver is a BenchSolver with ``write=None``.

    ``pulse(counts, biases)`` sends each cell of each crossbar this number of pulses (a positive number
    increases the conductance) and sets the bias currents (A). ``technology`` turns a wanted change of a conductance
    into pulses; their true effect is seen only in the voltages of the next phases. The contrast needs voltages and
    gains but no conductances, so that ``network`` need not know the conductances.
    """

    network: Any
    """Gives layers, gains and conductance window; its bias currents are those set on the board."""
    pulse: Pulse
    technology: Technology
    seed: int = 0
    """Seed of the stochastic rounding of pulses."""
    log: BenchLog | None = None
    _random: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Seed the random generator."""
        self._random = np.random.default_rng(self.seed)

    def circuit(self) -> Any:
        """The network that the solver drives and reads."""
        return self.network

    def measured(self, equilibrium: Equilibrium) -> Equilibrium:
        """Return the equilibrium itself, because it was measured."""
        return equilibrium

    def change(self, wanted: Mapping[str, Array]) -> None:
        """Send the pulses for the wanted changes of conductances (S), and apply the changes of bias currents (A)."""
        law, span = self.technology.pulses, self.technology.window.span
        counts = []
        for layer, bias in enumerate(self.network.biases, start=1):
            change = np.array(wanted[f"conductance_{layer}"], float)
            counts.append(law.count(change, span, self._random))
            np.add(bias, wanted[f"bias_{layer}"], out=bias)
        biases = tuple(np.array(bias, float) for bias in self.network.biases)
        self.pulse(tuple(counts), biases)
        if self.log is not None:
            self.log.arrays("biases", *biases)
            for crossbar, matrix in enumerate(counts, start=1):
                self.log.cells("pulses", crossbar, matrix, matrix != 0)
