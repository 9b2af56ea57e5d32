"""The agreement study: random circuits with every feature that SPICE supports, solved in ngspice and the surrogate."""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from eqprop_analog.core.equilibrium import Equilibrium, Layers, Status
from eqprop_analog.core.gradient import Gradient
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.core.solver import Solver
from eqprop_analog.devices import LAWS, Antiparallel, Law, table_of
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.records import Circuit, read_record
from eqprop_analog.files import write_text
from eqprop_analog.learning.contrast import contrast
from eqprop_analog.networks.resistive.equations import NodalEquations
from eqprop_analog.networks.resistive.layered import LayeredNetwork
from eqprop_analog.networks.resistive.network import ResistiveNetwork
from eqprop_analog.networks.resistive.surrogate import SurrogateSolver
from eqprop_analog.spice.ngspice.solver import NgspiceSolver

Array = np.ndarray

LARGEST_DIFFERENCE = 1e-9
"""Bound on |ΔV| / max(1 V, largest |V| of the circuit)."""
MEDIAN_DIFFERENCE = 1e-13
"""Bound on the median over circuits of their largest difference."""
LARGEST_GRADIENT_DIFFERENCE = 1e-7
"""Bound on |Δ dC/dθ| relative to the largest gradient of the layer."""
ROUNDINGS = 100
"""Multiple of the effect of rounding on a circuit, which is the bound if it is larger than the fixed bound."""
SAMPLES = 3
WIDEST = 200
CONDUCTANCES = 10_000
"""Largest number of resistors beyond crossbar 1; ngspice needs many seconds to factorise more."""
SHARE = 0.3
"""|β| as a fraction of the value that makes the circuit indefinite."""
MESSAGES = 1000
"""Largest number of samples of a circuit."""
REPEATS = 3
"""Tolerances of ngspice for which only rounding remains (spice.ngspice.solver)."""


def kinds() -> list[tuple[str, bool]]:
    """Registered laws that define ``drawn`` (devices.capabilities), with one diode or a pair at each node, used in turn."""
    return [(name, pair) for name, law in LAWS.items() if hasattr(law, "drawn") for pair in (False, True)]


@dataclass(frozen=True, eq=False)
class Case:
    """A random circuit."""

    seed: int
    number: int
    network: LayeredNetwork
    inputs: Float[Array, "samples inputs"]
    nudges: tuple[Nudge, Nudge]
    """+β and -β."""

    @property
    def surrogate(self) -> Solver:
        """The solver that is compared with ngspice."""
        return SurrogateSolver()

    def two_orders(self, equations: Any, voltages: Layers) -> tuple[Layers, Layers, float]:
        """The linearised circuit solved in two orders of elimination, and its condition number; see ``_two_orders``."""
        return _two_orders(equations, voltages)

    def description(self) -> dict[str, Any]:
        """Description of the circuit for JSON."""
        network, nudge = self.network, self.nudges[0]
        return {
            "seed": self.seed,
            "number": self.number,
            "layers": list(network.layers),
            "diode": table_of(network.diode),
            "amplifier_gain": list(network.amplifier_gain),
            "input_gain": network.input_gain,
            "bias_row": network.bias_row,
            "outputs": network.outputs,
            "nudge": nudge.kind,
            "cost": nudge.cost,
            "beta": nudge.beta,
        }


Draw = Callable[[int, int, Sequence[tuple[str, bool]]], Case]


def draw(seed: int, number: int, among: Sequence[tuple[str, bool]] = ()) -> Case:
    """Circuit ``number`` of the study with ``seed``, independent of all others, with a diode ``among`` kinds().

    1-4 hidden layers; 1-200 nodes in a layer, log-uniform, but no more than 10,000 conductances beyond crossbar 1;
    conductances log-uniform from 10 nS to 100 µS, a fifth of them missing; gains 1 or 1-20; bias currents up to 1 µA; a bias
    row in half of the circuits; inputs up to ±10 V.
    """
    random = np.random.default_rng([seed, number])
    law = random_law(random, *(among or kinds())[number % len(among or kinds())])
    hidden = int(random.integers(1, 5))
    layers = [0] + [WIDEST] * (hidden + 1)
    while np.dot(layers[1:-1], layers[2:]) > CONDUCTANCES:
        layers = np.exp(random.uniform(0, np.log(WIDEST + 1), hidden + 2)).astype(int).tolist()
        paired_outputs = random.random() < 0.25 and 2 * layers[-1] <= WIDEST
        layers[-1] *= 1 + paired_outputs
    level = 10 ** random.uniform(-9, -6)
    network = ResistiveNetwork.dense(
        layers,
        seed=number,
        diode=law,
        amplifier_gain=(random.uniform(1, 20, hidden) ** random.integers(0, 2, hidden)).tolist(),
        input_gain=float(10 ** random.uniform(-1, 1)),
        bias=[random.normal(0, level, size) for size in layers[1:]],
        bias_row=float(random.uniform(-5, 5)) if random.random() < 0.5 else 0.0,
        outputs="pairs" if paired_outputs else "single",
    )
    for matrix in network.conductances:
        rows, columns = matrix.shape
        kept = random.random(matrix.shape) < 0.8
        kept[random.integers(rows, size=columns), np.arange(columns)] = True
        matrix[...] = kept * 10 ** random.uniform(-8, -4, matrix.shape)
    inputs = random.uniform(-1, 1, (SAMPLES, layers[0]))
    beta = SHARE * float(np.linalg.eigvalsh(network.output_stiffness())[0])
    return Case(seed, number, network, inputs, nudges(network, beta, random))


def random_law(random: np.random.Generator, name: str, pair: bool) -> Law:
    """A random diode of a registered law."""
    law: Law = LAWS[name].drawn(random, pair)  # type: ignore[attr-defined]
    return Antiparallel(law) if pair else law


def nudges(network: LayeredNetwork, beta: float, random: np.random.Generator) -> tuple[Nudge, Nudge]:
    """Nudge by a conductance, or by the current of a squared error or a cross-entropy, as the read-out allows."""
    targets = random.uniform(-1, 1, (SAMPLES, network.classes))
    kind = random.choice(["conductance", "current", "cross-entropy"])
    if kind == "cross-entropy" and network.classes > 1:
        targets = np.eye(network.classes)[random.integers(network.classes, size=SAMPLES)]
        return Nudge(targets, beta, "current", "cross-entropy"), Nudge(targets, -beta, "current", "cross-entropy")
    if kind == "conductance" and network.outputs == "single":
        return Nudge(targets, beta), Nudge(targets, -beta)
    return Nudge(targets, beta, "current"), Nudge(targets, -beta, "current")


class _Here(Executor):
    """Runs tasks immediately in this process, which is a worker and may crash."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def measure(
    seed: int, number: int, among: Sequence[tuple[str, bool]] = (), drawn: Draw | None = None
) -> dict[str, Any]:
    """All figures of one circuit for JSON; ``drawn``: its generator, by default ``draw``.

    It loads libngspice into this process and is for workers only.
    """
    case = (drawn or draw)(seed, number, among)
    with threadpool_limits(1), _messages() as messages:
        begin = time.perf_counter()
        measured = NgspiceSolver(executor=_Here(), repeats=REPEATS).solve_phases(case.network, case.inputs, case.nudges)
        middle = time.perf_counter()
        computed = case.surrogate.solve_phases(case.network.in_spice(), case.inputs, case.nudges)
        seconds = {"ngspice": middle - begin, "surrogate": time.perf_counter() - middle}
        figures = case.description() | {
            "statuses": {"ngspice": _statuses(measured), "surrogate": _statuses(computed)},
            "seconds": seconds,
            "messages": [record.getMessage() for record in messages],
        }
        if not all(phase.good.all() for phase in (*measured, *computed)):
            return figures | {"met": False}
        return figures | _agreement(case, measured, computed)


@contextmanager
def _messages() -> Iterator[list[logging.LogRecord]]:
    """Log messages of the solvers: samples that ngspice retried, with the reasons."""
    handler, logger = BufferingHandler(MESSAGES), logging.getLogger("eqprop_analog")
    logger.addHandler(handler)
    try:
        yield handler.buffer
    finally:
        logger.removeHandler(handler)


def measure_into(
    folder: Path, seed: int, number: int, among: Sequence[tuple[str, bool]] = (), drawn: Draw | None = None
) -> None:
    """Write the result of ``measure`` to a separate file."""
    write_text(path_of(folder, number), json.dumps(measure(seed, number, among, drawn)) + "\n")


def give_up(
    folder: Path,
    seed: int,
    number: int,
    reason: str,
    among: Sequence[tuple[str, bool]] = (),
    drawn: Draw | None = None,
) -> None:
    """Write the file of a circuit whose worker crashed or exceeded its time limit."""
    figures = (drawn or draw)(seed, number, among).description() | {"failure": reason, "met": False}
    figures["statuses"] = {"ngspice": {Status.SIMULATOR_FAILED.name: 3 * SAMPLES}, "surrogate": {}}
    write_text(path_of(folder, number), json.dumps(figures) + "\n")


def read(
    folder: Path,
    seed: int,
    count: int,
    numbers: Iterable[int] | None = None,
    among: Sequence[tuple[str, bool]] = (),
) -> dict[int, dict[str, Any]]:
    """Measured circuits with numbers below ``count``. Raises UserError for files of another study."""
    among = among or kinds()
    found = {}
    for number in range(count) if numbers is None else numbers:
        path = path_of(folder, number)
        if not path.exists():
            continue
        figures = read_record(path, Circuit, "a circuit of an agreement study", "; delete it to measure it again")
        if (figures["seed"], figures["number"]) != (seed, number):
            raise UserError(f"{path} belongs to seed {figures['seed']}, not {seed}; choose another --output")
        law, _ = among[number % len(among)]
        if figures["diode"].get("law") != law:
            raise UserError(
                f"{path} has diodes of law {figures['diode'].get('law')}, but a study of {_named(among)} has {law}; choose "
                f"another --output, or the same --laws"
            )
        found[number] = figures
    return found


def _named(among: Sequence[tuple[str, bool]]) -> str:
    return ", ".join(dict.fromkeys(name for name, _ in among))


def path_of(folder: Path, number: int) -> Path:
    """The file of circuit ``number``."""
    return folder / "circuits" / f"{number:05d}.json"


def summary(circuits: Sequence[dict[str, Any]], median_difference: float = MEDIAN_DIFFERENCE) -> dict[str, Any]:
    """Distributions, counts and whether all bounds are met; ``median_difference``: bound on the median over circuits."""
    solved = [circuit for circuit in circuits if "relative_difference" in circuit]
    differences = np.array([circuit["relative_difference"] for circuit in solved])
    gradients = np.array([circuit["gradient_difference"] for circuit in solved])
    statuses = {
        solver: dict(sum((Counter(circuit["statuses"][solver]) for circuit in circuits), Counter()))
        for solver in ("ngspice", "surrogate")
    }
    median = float(np.median(differences)) if solved else np.nan
    return {
        "circuits": len(circuits),
        "equilibria": sum(sum(counts.values()) for counts in statuses.values()) // 2,
        "statuses": statuses,
        "circuits_asked_again": [circuit["number"] for circuit in circuits if circuit.get("messages")],
        "relative_difference": _quantiles(differences),
        "gradient_difference": _quantiles(gradients),
        "condition": _quantiles(np.array([circuit["condition"] for circuit in solved])),
        "circuits_bound_by_rounding": sum(circuit["voltage_bound"] > LARGEST_DIFFERENCE for circuit in solved),
        "gradients": sum(circuit["gradients"] for circuit in solved),
        "gradients_bound_by_rounding": sum(circuit["gradients_bound_by_rounding"] for circuit in solved),
        "gradient_roundings": max((circuit["gradient_roundings"] for circuit in solved), default=0.0),
        "circuits_not_met": [circuit["number"] for circuit in circuits if not circuit["met"]],
        "met": all(circuit["met"] for circuit in circuits) and median <= median_difference,
    }


def _quantiles(values: Float[Array, " circuits"]) -> dict[str, float]:
    if not values.size:
        return {}
    names = {"median": 0.5, "90 %": 0.9, "99 %": 0.99, "largest": 1.0}
    return {name: float(np.quantile(values, share)) for name, share in names.items()}


def _statuses(phases: Sequence[Equilibrium]) -> dict[str, int]:
    return dict(Counter(status.name for phase in phases for status in phase.status.tolist()))


def _agreement(case: Case, measured: Sequence[Equilibrium], computed: Sequence[Equilibrium]) -> dict[str, Any]:
    """Differences of voltages and gradients, and of what two float64 orders of elimination make of the same circuit."""
    free: Any = case.network.in_spice().equations(case.inputs)
    orders: list[tuple[Equilibrium, Equilibrium]] = []
    conditions = []
    for phase in computed:
        equations = free if phase.nudge is None else free.nudged([phase.nudge], computed[0])
        forward, backward, condition = case.two_orders(equations, phase.voltages)
        orders.append((replace(phase, voltages=forward), replace(phase, voltages=backward)))
        conditions.append(condition)
    difference, relative = _difference(measured, computed)
    _, between_orders = _difference(*zip(*orders, strict=True))
    bound = max(LARGEST_DIFFERENCE, ROUNDINGS * between_orders)
    ours = _gradient(case, computed)
    by_array = _apart(_gradient(case, measured), ours)
    orders_apart = _apart(*(_gradient(case, phases) for phases in zip(*orders, strict=True)))
    rounded_apart = _apart(_gradient(case, [_rounded(case.network, phase) for phase in computed]), ours)
    rounding = np.maximum(orders_apart, rounded_apart)
    bounds = np.maximum(LARGEST_GRADIENT_DIFFERENCE, ROUNDINGS * rounding)
    rounded = bounds > LARGEST_GRADIENT_DIFFERENCE
    return {
        "nodes": sum(case.network.layers[1:]),
        "largest_difference": difference,
        "relative_difference": relative,
        "condition": max(conditions),
        "between_elimination_orders": between_orders,
        "voltage_bound": bound,
        "gradients": len(by_array),
        "gradient_difference": float(by_array[~rounded].max(initial=0)),
        "gradients_bound_by_rounding": int(rounded.sum()),
        "gradient_roundings": float((by_array[rounded] / rounding[rounded]).max(initial=0)),
        "met": bool(relative <= bound and (by_array <= bounds).all()),
    }


def _two_orders(equations: NodalEquations, voltages: Layers) -> tuple[Layers, Layers, float]:
    """J v = J v₀ + F(v₀), solved from the inputs to the outputs and in reverse order, and its condition number.

    Rows are divided by their slope. The condition number is Skeel's, ‖|J⁻¹||J|‖_∞, the largest over the samples.
    """
    network = equations.network
    sizes = network.layers[1:]
    ends = np.cumsum(sizes)
    columns = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    slopes = np.concatenate(equations.slopes(voltages), axis=1)
    v = np.concatenate(voltages, axis=1)
    couplings = np.zeros((ends[-1], ends[-1]))
    for layer in range(1, network.depth):
        below, above, matrix = columns[layer - 1], columns[layer], network.crossbars[layer].matrix()
        couplings[below, above] = matrix / network.drive_gains[layer]
        couplings[above, below] = matrix.T * network.drive_gains[layer]
    jacobian = np.eye(ends[-1]) - couplings / slopes[:, :, None]
    right = (jacobian @ v[..., None])[..., 0] + np.concatenate(equations.residuals(voltages), axis=1) / slopes
    forward = np.linalg.solve(jacobian, right[..., None])[..., 0]
    backward = np.linalg.solve(jacobian[:, ::-1, ::-1], right[:, ::-1, None])[:, ::-1, 0]
    condition = (np.abs(np.linalg.inv(jacobian)) @ np.abs(jacobian)).sum(axis=2).max()
    split = ends[:-1].tolist()
    return tuple(np.split(forward, split, axis=1)), tuple(np.split(backward, split, axis=1)), float(condition)


def _difference(ones: Sequence[Equilibrium], others: Sequence[Equilibrium]) -> tuple[float, float]:
    """Largest |ΔV| of all phases, in volts and relative to max(1 V, largest |V| of the sample in the phase)."""
    one, other = (np.stack([np.concatenate(p.voltages, axis=1) for p in phases]) for phases in (ones, others))
    difference = np.abs(one - other).max(axis=-1)
    return float(difference.max()), float((difference / np.maximum(1, np.abs(one).max(axis=-1))).max())


def _gradient(case: Case, phases: Sequence[Equilibrium]) -> tuple[Array, ...]:
    gradient: Gradient = contrast(case.network, case.inputs, phases[1], phases[2])
    return (*gradient.conductances, *gradient.biases)


def _apart(ones: Sequence[Array], others: Sequence[Array]) -> Float[Array, " arrays"]:
    """|Δ| of each array relative to its largest element; if that is zero, only another zero agrees."""
    largest = [max(np.abs(one).max(), np.abs(other).max()) for one, other in zip(ones, others, strict=True)]
    pairs = zip(ones, others, largest, strict=True)
    return np.array([np.abs(one - other).max() / size if size > 0 else 0.0 for one, other, size in pairs])


def _rounded(network: LayeredNetwork, phase: Equilibrium) -> Equilibrium:
    """Voltages changed by one rounding of v or of the diode voltage, with alternating signs by layer and for ±β."""
    sign = 1 if phase.nudge is not None and phase.nudge.beta > 0 else -1
    rails = [abs(network.diode.rail)] * (network.depth - 1) + [0.0]
    voltages = []
    for v, rail in zip(phase.voltages, rails, strict=True):
        voltages.append(v + sign * np.spacing(np.maximum(np.abs(v), rail)))
        sign = -sign
    return replace(phase, voltages=tuple(voltages))
