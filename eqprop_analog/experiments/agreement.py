"""The comparison of the surrogate with the circuit: one network, both solvers, every node voltage."""

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace

import numpy as np
from jaxtyping import Float

from eqprop_analog.core import Network, family_of
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.core.readouts import decided_otherwise
from eqprop_analog.errors import UserError
from eqprop_analog.learning.contrast import contrast
from eqprop_analog.learning.trainer import Stage, silent
from eqprop_analog.spice.ngspice import library as libngspice
from eqprop_analog.spice.ngspice.solver import NgspiceSolver
from eqprop_analog.spice.ngspice.sweeps import TIME_LIMIT

Array = np.ndarray
log = logging.getLogger(__name__)

REPEATS = 3
"""Repeated solutions (spice.ngspice.solver) that reduce ngspice's error to rounding, if its first answer misses the bound."""
SAMPLES = 20
"""Number of test images on which a trained network is compared."""
FLAT_LIMIT = 250_000
"""Number of connections above which the flat netlist takes minutes."""
NORTON_LIMIT = 100_000
"""Number of connections after the first array above which ngspice takes hours in any form."""
SPARSE_LIMIT, KLU_LIMIT = 5_000, 50_000
"""Numbers of wire segments above which ngspice takes minutes for SAMPLES samples; SPARSE fills a mesh's matrix, KLU hardly."""
LARGEST_DIFFERENCE = 1e-9
"""Bound on the difference between surrogate and circuit, volts."""
LARGEST_GRADIENT_DIFFERENCE = 1e-6
"""Bound on the difference of gradients, relative to the layer's largest."""
ELSEWHERE = 1e-3
"""Distance, volts, above which two states of a network count as different."""
ROUNDINGS = 100
"""Multiple of the change of a layer's gradient when every voltage is rounded once. If this is more than the bound, as when the
targets are already met, it replaces the bound, and a layer within it counts as equal."""


@dataclass(frozen=True)
class Agreement:
    """Comparison of the surrogate with ngspice for a set of samples, in the free phase and under nudges of +β and -β."""

    form: str
    samples: int
    nodes: int
    beta: float
    """Nudge, siemens; dimensionless for a Hopfield network."""
    statuses: dict[str, int]
    """ngspice's equilibria by status."""
    largest_difference: float
    """Largest |ΔV| over samples, phases and nodes, volts."""
    median_difference: float
    """Median over samples and phases of the largest |ΔV|, volts."""
    relative_difference: float
    """Largest |ΔV| over max(1 V, largest |V| of that circuit)."""
    largest_residual: float
    """Largest residual of ngspice's voltages in the network's equations, amperes; volts for a Hopfield network."""
    gradient_difference: float
    """Largest over layers of |Δ dC/dθ| over the layer's largest |dC/dθ|; see ROUNDINGS."""
    same_predictions: bool
    """Whether the free phases predict the same classes, except for ties within the bound on |ΔV|."""
    ngspice_seconds: float
    surrogate_seconds: float
    cold_starts: dict[str, int] | None = None
    """For a network with pooling (not ``continuous``), the number of free phases in which ngspice, started from rest, finds the
    ``same`` state as the surrogate, another one (``elsewhere``), or no stable one (``none``)."""
    other_winners: int = 0
    """For such a network, the number of pooling windows, over all samples and phases, with another winner in ngspice."""
    pairs: tuple[Array, Array] = field(repr=False, compare=False, default=(np.zeros(0), np.zeros(0)))
    """All node voltages of the surrogate and of ngspice, volts."""
    phases: tuple[Equilibrium, ...] = field(repr=False, compare=False, default=())
    """ngspice's equilibria: free, +β, -β."""

    @property
    def met(self) -> bool:
        """Whether voltages, gradients, predictions and winners agree within the stated bounds."""
        return (
            self.relative_difference <= LARGEST_DIFFERENCE
            and self.gradient_difference <= LARGEST_GRADIENT_DIFFERENCE
            and self.same_predictions
            and not self.other_winners
        )

    @property
    def equilibria(self) -> int:
        """Number of equilibria that each solver found."""
        return 3 * self.samples

    def figures(self) -> dict[str, object]:
        """Return every figure, for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.repr} | {"met": self.met}


def confirmed(
    network: Network,
    inputs: Float[Array, "batch inputs"],
    targets: Float[Array, "batch classes"],
    beta: float,
    workers: int = 1,
    time_limit: float = TIME_LIMIT,
    *,
    flat: bool = True,
    stage: Stage = silent,
) -> list[Agreement]:
    """Apply ``compare`` to all samples in the network's first form; with ``flat``, also to the first sample in flat form.

    The flat form is left out if it is too large. Raises UserError as ``compare`` and ``require_possible`` do.
    """
    require_possible(network)
    log.info("solving %d samples in ngspice, free and nudged", len(inputs))
    first, *others = network.forms
    with stage(f"ngspice, {first} form", len(inputs)):
        agreements = [compare(network, inputs, targets, beta, first, workers, time_limit)]
    if flat and "flat" in others and sum(network.connections_by_layer) <= FLAT_LIMIT:
        log.info("solving the first sample in the flat form, with all %d resistors", sum(network.connections_by_layer))
        with stage("ngspice, flat form", 1):
            agreements.append(compare(network, inputs[:1], targets[:1], beta, "flat", time_limit=time_limit))
    return agreements


def require_possible(network: Network) -> None:
    """Raise UserError if ngspice is missing, or would take hours for the network."""
    libngspice.library_path()
    form = network.forms[0]
    if sum(network.connections_by_layer[1:]) > NORTON_LIMIT:
        raise UserError(
            "ngspice would take hours for this number of connections between nodes; to solve it anyway, use verify --form "
            f"{form}"
        )
    segments = network.wire_segments
    if segments > SPARSE_LIMIT and segments > (KLU_LIMIT if libngspice.has_klu() else SPARSE_LIMIT):
        raise UserError(
            f"ngspice would take long for {segments:,} segments of wires; to solve it anyway, use verify --form {form} "
            "--samples 1, preferably with an ngspice that has KLU (version 42 or later)"
        )


def compare(
    network: Network,
    inputs: Float[Array, "batch inputs"],
    targets: Float[Array, "batch classes"],
    beta: float,
    form: str | None = None,
    workers: int = 1,
    time_limit: float = TIME_LIMIT,
    start: Equilibrium | None = None,
) -> Agreement:
    """Solve ``inputs`` with both solvers, free and nudged towards ``targets`` (V) by ±``beta`` (S), and compare.

    ``form`` of the circuit; None is the first one of the network. ``workers``: number of ngspice processes;
    ``time_limit``: time limit of one sweep, seconds. A network with several equilibria starts from rest or from ``start`` in
    both solvers, because the initial state determines which one is found. Raises UserError if the network, the inputs or
    beta do not form a circuit, or if an equilibrium fails its certificate.

    >>> import eqprop_analog as ea
    >>> network = ea.ResistiveNetwork.dense([2, 3, 2])
    >>> agreement = ea.compare(network, [[0.1, 0.2]], [[1.0, 0.0]], beta=1e-8)  # doctest: +SKIP
    >>> agreement.largest_difference < 1e-9, agreement.met  # volts  # doctest: +SKIP
    (True, True)
    """
    network.validate()
    inputs = network.check_inputs(inputs)
    form = network.forms[0] if form is None else form
    nudges = [Nudge(targets, b, network.nudge_kind) for b in (beta, -beta)]
    measured, ngspice_seconds = _measured(NgspiceSolver(workers, form, time_limit), network, inputs, nudges, start)
    begin = time.perf_counter()
    begun = () if start is None else (start,)  # a convex network's solver takes none
    computed = family_of(network).surrogate().solve_phases(network.in_spice(), inputs, nudges, *begun)
    surrogate_seconds = time.perf_counter() - begin
    for phase in computed:
        phase.require()
    gradient_difference = _worst_layer(network, inputs, computed, measured)
    if gradient_difference > LARGEST_GRADIENT_DIFFERENCE:  # of a gradient that ngspice's tolerance may hide
        repeated = NgspiceSolver(workers, form, time_limit, repeats=REPEATS)
        measured, _ = _measured(repeated, network, inputs, nudges, start)
        gradient_difference = _worst_layer(network, inputs, computed, measured)
    statuses = Counter(status.name for phase in measured for status in phase.status.tolist())
    ours, theirs = _stack(computed), _stack(measured)
    worst = np.abs(ours - theirs).max(axis=-1)
    scale = np.maximum(1.0, np.abs(theirs).max(axis=-1))
    return Agreement(
        form=form,
        samples=len(inputs),
        nodes=ours.shape[-1],
        beta=beta,
        statuses=dict(statuses),
        largest_difference=float(worst.max()),
        median_difference=float(np.median(worst)),
        relative_difference=float((worst / scale).max()),
        largest_residual=float(max(phase.residual.max() for phase in measured)),
        gradient_difference=gradient_difference,
        same_predictions=not decided_otherwise(
            network.readout(computed[0].outputs),
            network.readout(measured[0].outputs),
            LARGEST_DIFFERENCE * scale[0] * network.readout_reach,
        ).any(),
        ngspice_seconds=ngspice_seconds,
        surrogate_seconds=surrogate_seconds,
        cold_starts=None
        if network.continuous
        else _cold_starts(network, inputs, computed[0], form, workers, time_limit),
        other_winners=_other_winners(network, inputs, computed, measured),
        pairs=(ours.ravel(), theirs.ravel()),
        phases=measured,
    )


def _cold_starts(
    network: Network,
    inputs: Float[Array, "batch inputs"],
    free: Equilibrium,
    form: str,
    workers: int,
    time_limit: float,
) -> dict[str, int]:
    """Agreement.cold_starts."""
    with closing(NgspiceSolver(workers, form, time_limit, cold=True)) as solver:
        found = solver.solve(network, inputs)
    away = np.max([np.abs(v - w).max(axis=1) for v, w in zip(found.voltages, free.voltages, strict=True)], axis=0)
    same = found.good & (away <= ELSEWHERE)
    return {"same": int(same.sum()), "elsewhere": int((found.good & ~same).sum()), "none": int((~found.good).sum())}


def _other_winners(
    network: Network, inputs: Float[Array, "batch inputs"], ours: Sequence[Equilibrium], theirs: Sequence[Equilibrium]
) -> int:
    """Agreement.other_winners."""
    found = ([network.winners(inputs, phase.voltages) for phase in phases] for phases in (ours, theirs))
    pairs = ((a, b) for each in zip(*found, strict=True) for a, b in zip(*each, strict=True))
    return sum(int(np.count_nonzero(a != b)) for a, b in pairs)


def _measured(
    solver: NgspiceSolver,
    network: Network,
    inputs: Float[Array, "batch inputs"],
    nudges: Sequence[Nudge],
    start: Equilibrium | None,
) -> tuple[tuple[Equilibrium, ...], float]:
    """Solve all phases in ngspice; return them and the seconds taken. Raises UserError if one fails its certificate."""
    try:
        solver.start()
        begin = time.perf_counter()
        phases = solver.solve_phases(network, inputs, nudges, start)
        seconds = time.perf_counter() - begin
    finally:
        solver.close()
    return tuple(phase.require() for phase in phases), seconds


def _stack(phases: tuple[Equilibrium, ...]) -> Float[Array, "phases batch nodes"]:
    return np.stack([np.concatenate(phase.voltages, axis=1) for phase in phases])


def _gradient(
    network: Network, inputs: Float[Array, "batch inputs"], phases: Sequence[Equilibrium]
) -> Mapping[str, Array]:
    _, plus, minus = phases
    return contrast(network, inputs, plus, minus)


def _worst_layer(
    network: Network, inputs: Float[Array, "batch inputs"], ours: Sequence[Equilibrium], theirs: Sequence[Equilibrium]
) -> float:
    """Agreement.gradient_difference."""
    one, other = (_gradient(network, inputs, phases) for phases in (ours, theirs))
    rounded = _gradient(network, inputs, [_rounded(network, phase) for phase in ours])
    worst = 0.0
    for name in one:
        largest = max(np.abs(each[name]).max(initial=0) for each in (one, other))
        difference = np.abs(one[name] - other[name]).max(initial=0)
        rounding = ROUNDINGS * np.abs(rounded[name] - one[name]).max(initial=0)
        if difference > rounding or rounding <= LARGEST_GRADIENT_DIFFERENCE * largest:
            worst = max(worst, float(difference / largest) if largest else 0.0)
    return worst


def _rounded(network: Network, phase: Equilibrium) -> Equilibrium:
    """Return the voltages, each changed by one rounding of the largest, with opposite signs at neighbours and for ±β.

    The change is the surrogate's error instead, if a residual in volts states it.
    """
    away = np.spacing(np.max([np.abs(v).max(axis=1) for v in phase.voltages], axis=0))
    if network.residual_unit == "V":
        away = np.maximum(away, phase.residual)
    away = away[:, None] * (1 if phase.beta > 0 else -1)
    signs = [(-1.0) ** (layer + np.arange(v.shape[1])) for layer, v in enumerate(phase.voltages)]
    return replace(phase, voltages=tuple(v + sign * away for v, sign in zip(phase.voltages, signs, strict=True)))
