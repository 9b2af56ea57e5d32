"""The proof that the surrogate and the circuit are the same thing: one network, both solvers, every node, volt by volt."""

import time
from dataclasses import dataclass, field, fields

import numpy as np
from jaxtyping import Float

from eqprop_analog.circuit.resistive import Form
from eqprop_analog.equilibrium import Equilibrium
from eqprop_analog.learning.contrast import Gradient, contrast
from eqprop_analog.learning.trainer import predictions
from eqprop_analog.models import ResistiveNetwork
from eqprop_analog.nudging import Nudge
from eqprop_analog.solvers import NgspiceSolver, SurrogateSolver
from eqprop_analog.solvers.ngspice import TIME_LIMIT

Array = np.ndarray


LARGEST_DIFFERENCE = 1e-9
"""Volts, for the surrogate and the circuit to be called the same thing."""
LARGEST_GRADIENT_DIFFERENCE = 1e-6
"""Of the layer's largest."""


@dataclass(frozen=True)
class Agreement:
    """How surrogate and ngspice compare on some samples, in the free phase and under nudges of +β and -β."""

    form: Form
    samples: int
    nodes: int
    beta: float
    """Siemens."""
    statuses: dict[str, int]
    """ngspice's equilibria by status."""
    largest_difference: float
    """Largest |ΔV| over samples, phases and nodes, volts."""
    median_difference: float
    """Median over samples and phases of the largest |ΔV|, volts."""
    relative_difference: float
    """Largest |ΔV| over max(1 V, largest |V| of that circuit)."""
    largest_residual: float
    """Of ngspice's voltages in the network's own equations, amperes."""
    gradient_difference: float
    """Largest over layers of |Δ dC/dθ| over the layer's largest |dC/dθ|."""
    same_predictions: bool
    ngspice_seconds: float
    surrogate_seconds: float
    pairs: tuple[Array, Array] = field(repr=False, compare=False, default=(np.zeros(0), np.zeros(0)))
    """All node voltages, surrogate's and ngspice's, volts."""
    phases: tuple[Equilibrium, ...] = field(repr=False, compare=False, default=())
    """ngspice's equilibria: free, +β, -β."""

    @property
    def met(self) -> bool:
        """Whether voltages, gradients and predictions agree within the stated bounds."""
        return (
            self.relative_difference <= LARGEST_DIFFERENCE
            and self.gradient_difference <= LARGEST_GRADIENT_DIFFERENCE
            and self.same_predictions
        )

    @property
    def equilibria(self) -> int:
        """How many equilibria each solver found."""
        return 3 * self.samples

    def figures(self) -> dict[str, object]:
        """Every figure, for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.repr} | {"met": self.met}


def compare(
    network: ResistiveNetwork,
    inputs: Float[Array, "batch inputs"],
    targets: Float[Array, "batch classes"],
    beta: float,
    form: Form = "norton",
    workers: int = 1,
    time_limit: float = TIME_LIMIT,
) -> Agreement:
    """Solve ``inputs`` with both solvers, free and nudged towards ``targets`` (V) by ±``beta`` (S), and compare.

    Raises UserError where the network, the inputs or beta make no circuit, or an equilibrium fails its certificate.
    """
    network.validate()
    inputs = network.check_inputs(inputs)
    nudges = [Nudge(targets, b, network.nudge_kind) for b in (beta, -beta)]
    ngspice = NgspiceSolver(workers, form, time_limit)
    try:
        ngspice.start()
        begin = time.perf_counter()
        measured = ngspice.solve_phases(network, inputs, nudges)
        middle = time.perf_counter()
        computed = SurrogateSolver().solve_phases(network.in_spice(), inputs, nudges)
        end = time.perf_counter()
    finally:
        ngspice.close()
    statuses: dict[str, int] = {}
    for phase in measured:
        for status in phase.status.tolist():
            statuses[status.name] = statuses.get(status.name, 0) + 1
    for phase in (*measured, *computed):
        phase.require()
    ours, theirs = _stack(computed), _stack(measured)
    worst = np.abs(ours - theirs).max(axis=-1)
    scale = np.maximum(1.0, np.abs(theirs).max(axis=-1))
    return Agreement(
        form=form,
        samples=len(inputs),
        nodes=ours.shape[-1],
        beta=beta,
        statuses=statuses,
        largest_difference=float(worst.max()),
        median_difference=float(np.median(worst)),
        relative_difference=float((worst / scale).max()),
        largest_residual=float(max(phase.residual.max() for phase in measured)),
        gradient_difference=_worst_layer(
            contrast(network, inputs, computed[1], computed[2]), contrast(network, inputs, measured[1], measured[2])
        ),
        same_predictions=bool(
            np.equal(*(predictions(network.readout(p[0].outputs)) for p in (computed, measured))).all()
        ),
        ngspice_seconds=middle - begin,
        surrogate_seconds=end - middle,
        pairs=(ours.ravel(), theirs.ravel()),
        phases=measured,
    )


def _stack(phases: tuple[Equilibrium, ...]) -> Float[Array, "phases batch nodes"]:
    return np.stack([np.concatenate(phase.voltages, axis=1) for phase in phases])


def _worst_layer(one: Gradient, other: Gradient) -> float:
    pairs = zip((*one.conductances, *one.biases), (*other.conductances, *other.biases), strict=True)
    return max(float(np.abs(a - b).max() / max(np.abs(a).max(), np.finfo(float).tiny)) for a, b in pairs)
