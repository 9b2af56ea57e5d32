"""Toy networks that compare the updates of equilibrium propagation with BPTT's gradients, also as a function of β."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from eqprop_analog.core.nudge import Kind, Nudge
from eqprop_analog.devices.buffer import Sigmoid
from eqprop_analog.networks.hopfield.connections import Connection, Convolution, Dense
from eqprop_analog.networks.hopfield.descent import HopfieldDescentSolver
from eqprop_analog.networks.hopfield.discrete_time import DiscreteTimeSolver
from eqprop_analog.networks.hopfield.gradient_flow import GradientFlowSolver
from eqprop_analog.networks.hopfield.matching import Match, Nudging, estimate_errors, match
from eqprop_analog.networks.hopfield.network import HopfieldNetwork
from eqprop_analog.networks.hopfield.relaxation import Relaxation

Array = np.ndarray
Errors = dict[Nudging, list[float]]
"""One value for each of BETAS."""

BATCH, CLASSES = 2, 5
BETAS = tuple(float(f"{beta:.3g}") for beta in np.logspace(-5, -0.5, 10))
MEASURED = (1e-4, 1e-2)
"""The range of β in which slopes are measured: above rounding, and mostly below the first node that passes a corner."""
DISCRETE, FLOW = "discrete time", "gradient flow, ε = 0.5"
NUDGINGS: tuple[Nudging, ...] = ("one-sided", "centred")


@dataclass(frozen=True)
class Case:
    """A toy network with its dynamics and its nudge."""

    name: str
    dynamics: str
    network: HopfieldNetwork
    solver: Relaxation
    exact: bool = True
    """Whether the theorem holds exactly."""
    kind: Kind = "conductance"
    """The kind of the nudge."""


def toys(seed: int) -> list[Case]:
    """The cases in which the theorem holds, and those in which it does not."""

    def dense(**settings: Any) -> HopfieldNetwork:
        return HopfieldNetwork.dense([10, 30, 20, CLASSES], seed, initial="fan-in", **settings)

    connections: list[Connection] = [
        Convolution((2, 8, 8), 4, kernel=3, pool=2),
        Convolution((4, 3, 3), 6, kernel=2),
        Dense(24, CLASSES),
    ]
    convolutional = HopfieldNetwork.build(connections, seed, initial="fan-in")
    discrete, flow = DiscreteTimeSolver(), GradientFlowSolver(step=0.5)
    return [
        Case("dense", DISCRETE, dense(), discrete),
        Case("dense", FLOW, dense(), flow),
        Case("smooth", DISCRETE, dense(buffer=Sigmoid()), discrete),
        Case("convolutional", DISCRETE, convolutional, discrete),
        Case("convolutional", FLOW, convolutional, flow),
        Case("behind", DISCRETE, dense(buffer=Sigmoid()), discrete, exact=False, kind="output"),
        Case("untied", DISCRETE, dense(untied=True), discrete, exact=False),
        Case("dense", "coordinate descent", dense(), HopfieldDescentSolver(), exact=False),
    ]


def data(case: Case, seed: int) -> tuple[Float[Array, "batch inputs"], Float[Array, "batch classes"]]:
    """Random inputs in [0, 1] V and targets of 1 V at one class, 0 V at the others."""
    random = np.random.default_rng(seed)
    inputs = random.uniform(size=(BATCH, case.network.layers[0]))
    return inputs, np.eye(CLASSES)[random.integers(CLASSES, size=BATCH)]


def compared(case: Case, seed: int, beta: float, steps: int, nudging: Nudging) -> Match:
    """Both sides of the theorem for the random data of the case."""
    inputs, targets = data(case, seed)
    betas = (beta, -beta) if nudging == "centred" else (beta,)
    return match(case.network, case.solver, inputs, [Nudge(targets, b, case.kind) for b in betas], steps)


def against_beta(case: Case, seed: int, steps: int) -> tuple[Errors, Errors, dict[str, dict[Nudging, float]]]:
    """Largest difference between updates and gradients, bias of the gradient of converged phases, and both slopes."""
    by_step: Errors = {}
    for nudging in NUDGINGS:
        matches = (compared(case, seed, beta, steps, nudging) for beta in BETAS)
        by_step[nudging] = [max(each.differences().values()) for each in matches]
    settling = HopfieldDescentSolver()  # converges where discrete time alternates
    biases = [estimate_errors(case.network, settling, *data(case, seed), beta) for beta in BETAS]
    of_estimate: Errors = {nudging: [bias[nudging] for bias in biases] for nudging in NUDGINGS}
    slopes = {
        what: {nudging: slope(errors[nudging]) for nudging in NUDGINGS}
        for what, errors in (("steps", by_step), ("estimates", of_estimate))
    }
    return by_step, of_estimate, slopes


def slope(errors: Sequence[float]) -> float:
    """The median slope between neighbouring β of MEASURED; a single node that passes a corner does not change it."""
    betas = np.log(BETAS)
    inside = (np.array(BETAS) > 0.99 * MEASURED[0]) & (np.array(BETAS) < 1.01 * MEASURED[1])
    return float(np.median(np.diff(np.log(errors)[inside]) / np.diff(betas[inside])))
