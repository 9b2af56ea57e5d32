"""A board whose conductances change by pulses that nobody verifies: what learning in situ needs of it."""

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

    ``pulse(counts, biases)``: send each cell of each crossbar this number of pulses, positive up, and set the bias currents
    (A). A wanted change of a conductance becomes pulses as ``technology`` says; what they really did is seen in the next
    phases' voltages alone. The contrast asks for voltages and gains, and not for conductances, so that ``network`` need not
    know them.
    """

    network: Any
    """Layers, gains and window; its bias currents are those that are set."""
    pulse: Pulse
    technology: Technology
    seed: int = 0
    """Of what is drawn where pulses are rounded at random."""
    log: BenchLog | None = None
    _random: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Begin to draw."""
        self._random = np.random.default_rng(self.seed)

    def circuit(self) -> Any:
        """What the solver drives and reads."""
        return self.network

    def measured(self, equilibrium: Equilibrium) -> Equilibrium:
        """Itself: it was measured."""
        return equilibrium

    def change(self, wanted: Mapping[str, Array]) -> None:
        """Pulses for the wanted changes of conductances (S), and the changes of bias currents (A)."""
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
