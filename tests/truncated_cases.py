"""Networks and training settings for truncated phases, for every learner that supports them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eqprop_analog import ResistiveNetwork
from eqprop_analog.devices import Antiparallel, Clamp, Law, NgspiceDiode, Shockley
from eqprop_analog.learning.trainer import Rule
from eqprop_analog.learning.update import Rates

RATE = 3e-14
"""Large enough that conductances reach both ends of their window within a few batches."""
SWEEPS = 3


@dataclass(frozen=True)
class Case:
    """A network and settings of its training."""

    layers: tuple[int, ...] = (7, 6, 3)
    diode: Law = field(default_factory=Clamp)
    gains: float | tuple[float, ...] = 1.0
    batches: tuple[int, ...] = (4, 4, 3)
    window: tuple[float, float] = (1e-8, 4e-7)
    bias_row: float = 0.0
    outputs: Any = "single"
    nudging: Any = "centred"
    kind: Any = "conductance"
    cost: Any = "squared-error"
    image: tuple[int, ...] = ()
    """With connections: a convolutional network with these layers instead."""
    connections: tuple[dict[str, int], ...] = ()

    def network(self, dtype: str) -> ResistiveNetwork:
        random = np.random.default_rng(1)
        shape: Any = (self.image, self.connections) if self.image else (self.layers,)
        make = ResistiveNetwork.convolutional if self.image else ResistiveNetwork.dense
        return make(
            *shape,
            2,
            diode=self.diode,
            amplifier_gain=self.gains,
            input_gain=3.0,
            conductance_window=self.window,
            bias=[1e-8 * random.normal(size=size) for size in self.layers[1:]],
            bias_row=self.bias_row,
            outputs=self.outputs,
        ).astype(dtype)

    def rule(self) -> Rule:
        crossbars = range(1, len(self.layers))
        rates = Rates(tuple(RATE / k for k in crossbars), tuple(2 * RATE / k for k in crossbars))
        return Rule(rates, 2e-9, self.nudging, self.kind, self.cost)

    def data(self, dtype: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """Batches of inputs of which half are 0, whole columns among them, and one-hot targets."""
        random = np.random.default_rng(3)
        classes = self.layers[-1] // 2 if self.outputs == "pairs" else self.layers[-1]
        batches = []
        for size in self.batches:
            inputs = random.normal(size=(size, self.layers[0])) * random.integers(0, 2, (size, self.layers[0]))
            inputs[:, 1] = 0
            batches.append((inputs.astype(dtype), np.eye(classes, dtype=dtype)[random.integers(0, classes, size)]))
        return batches


CASES = {
    "ideal clamps": Case(),
    "clamps on a rail": Case(diode=Clamp(rail=0.1), gains=4.0),
    "ngspice diodes": Case(diode=NgspiceDiode(), gains=10.0),
    "one-sided": Case(nudging="one-sided", batches=(5, 1)),
    "current nudges": Case(kind="current", cost="cross-entropy"),
    "pairs and a bias row": Case((7, 6, 4), outputs="pairs", kind="current", bias_row=-0.5),
    "three hidden layers": Case((5, 7, 4, 6, 3), gains=(2.0, 0.5, 3.0), batches=(3, 3)),
    "wide": Case((9, 37, 45, 33, 34), gains=(1.0, 2.0, 1.0), batches=(70, 9), window=(0.0, 1e-6)),
    "no hidden layer": Case((7, 3), gains=()),
    "a law that is not compiled": Case(diode=Antiparallel(Shockley())),
}

CONVOLUTIONS = {
    "convolution": Case(
        (30, 16, 3), image=(1, 6, 5), connections=({"channels": 4, "kernel": 3, "stride": 2}, {"outputs": 3})
    ),
    "convolution, padding, colours, bias row": Case(
        (40, 24, 4),
        outputs="pairs",
        kind="current",
        cost="cross-entropy",
        bias_row=-0.5,
        gains=3.0,
        diode=NgspiceDiode(),
        image=(2, 5, 4),
        connections=({"channels": 4, "kernel": 3, "stride": 2, "padding": 1}, {"outputs": 4}),
    ),
    "convolutions and pooling": Case(
        (36, 64, 16, 16, 3),
        gains=2.0,
        image=(1, 6, 6),
        connections=({"channels": 4, "kernel": 3}, {"pool": 2}, {"channels": 4, "kernel": 1}, {"outputs": 3}),
    ),
}


def distance(one: ResistiveNetwork, other: ResistiveNetwork) -> float:
    """Largest difference of a parameter over the largest of its array."""
    pairs = zip(one.arrays().values(), other.arrays().values(), strict=True)
    return max(float(np.abs(a.astype(float) - b).max() / np.abs(b).max()) for a, b in pairs if b.size)
