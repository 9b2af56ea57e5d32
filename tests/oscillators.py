"""A family of networks as in a user's package: that of docs/extending/model.md, with a circuit, files and training.

Layers of phase oscillators: E = -Σ_l Σ_ij W_l[i,j] cos(φ_{l-1,i} - φ_{l,j}), phases in radians (a node's voltage), inputs
held. Nothing else of the package knows it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np

from eqprop_analog.core import Equations, Family, Network
from eqprop_analog.core.certificate import certified
from eqprop_analog.core.checks import checked_inputs, checked_start, fitted_nudges
from eqprop_analog.core.equilibrium import Equilibrium
from eqprop_analog.core.nudge import Nudge
from eqprop_analog.experiments.config import TrainConfig
from eqprop_analog.experiments.findings import Finding
from eqprop_analog.files import loaded_arrays, real, save_arrays
from eqprop_analog.learning.trainer import Rule
from eqprop_analog.learning.update import UniformRates
from eqprop_analog.spice.circuit import Circuit, Section
from eqprop_analog.spice.elements import POINT, SAMPLE, Element, NudgeSources, VoltageSources
from eqprop_analog.spice.saturating import Holds

Array = np.ndarray
Layers = tuple[Array, ...]
FORMAT = "oscillators 1"


@dataclass(frozen=True, eq=False)
class OscillatorNetwork(Network):
    """Layers of phase oscillators."""

    family: ClassVar[str] = "oscillators"
    convex: ClassVar[bool] = False
    weights: tuple[Array, ...]

    @classmethod
    def fresh(cls, layers: Sequence[int], seed: int = 0) -> Self:
        random = np.random.default_rng(seed)
        return cls(tuple(random.uniform(0.2, 1, shape) for shape in pairwise(layers)))

    @property
    def layers(self) -> tuple[int, ...]:
        return (len(self.weights[0]), *(W.shape[1] for W in self.weights))

    def usual_beta(self) -> float:
        return 0.05

    def validate(self) -> None:
        """All weights are valid."""

    def check_inputs(self, inputs: Any) -> Array:
        return checked_inputs(inputs, self.layers[0], self.weights[0].dtype, "radians")

    def astype(self, dtype: Any) -> Self:
        return replace(self, weights=tuple(W.astype(dtype) for W in self.weights))

    def arrays(self) -> dict[str, Array]:
        return {f"weight_{l}": W for l, W in enumerate(self.weights, start=1)}

    def equations(self, inputs: Array) -> "OscillatorEquations":
        return OscillatorEquations(self, inputs)

    def contrast(self, inputs: Array, plus: Equilibrium, minus: Equilibrium) -> dict[str, Array]:
        span = (plus.beta - minus.beta) * len(inputs)
        named: dict[str, Array] = {name: np.zeros_like(W) for name, W in self.arrays().items()}
        for sign, phase in ((1, plus), (-1, minus)):
            before = (inputs, *phase.voltages[:-1])
            for name, a, b in zip(named, before, phase.voltages, strict=True):
                named[name] -= sign * np.cos(a[:, :, None] - b[:, None, :]).sum(axis=0) / span
        return named

    def gradient(self, inputs: Array, voltages: Layers, response: Layers) -> dict[str, Array]:
        before, moved = (inputs, *voltages[:-1]), (np.zeros_like(inputs), *response[:-1])
        each = zip(self.arrays(), before, voltages, moved, response, strict=True)
        return {
            name: (np.sin(a[:, :, None] - b[:, None, :]) * (da[:, :, None] - db[:, None, :])).mean(axis=0)
            for name, a, b, da, db in each
        }

    def circuit(
        self,
        inputs: Array,
        phases: Sequence[Any] = (None,),
        form: str = "flat",  # noqa: ARG002 - it has one
        *,
        validate: bool = True,
        start: Layers | None = None,
    ) -> Circuit:
        (phase,) = phases
        held = 1 if start is None else 2
        names = [tuple(f"p{l}_{j}" for j in range(size)) for l, size in enumerate(self.layers)]
        probes = tuple(name for layer in names[1:] for name in layer)
        batch = len(inputs)
        beta, target = (np.zeros((1, 1)), np.zeros((1, self.layers[-1]))) if phase is None else phase.injection
        nudges = NudgeSources(
            tuple((name, "0") for name in names[-1]),
            np.repeat(np.broadcast_to(beta[:, 0], batch), held),
            np.repeat(np.broadcast_to(target, (batch, self.layers[-1])), held, axis=0),
        )
        counter = POINT if start is None else SAMPLE
        sections = [
            Section("held inputs", (VoltageSources(names[0], inputs, counter),)),
            Section("couplings", (Couplings(tuple(names), self.weights),)),
        ]
        if beta.any():
            sections.append(Section("nudge", (nudges,)))
        if start is not None:
            sections.append(Section("hold", (Holds(probes, np.concatenate(start, axis=1), 1e3),)))
        circuit = Circuit(
            title="oscillators",
            notes=("A node's voltage is its phase in radians.",),
            sections=tuple(sections),
            models=(),
            options={},
            probes=probes,
            outputs=names[-1],
            points=batch * held,
            phases=held,
        )
        circuit.validate(whole=validate)
        return circuit

    def save(self, path: str | Path) -> None:
        save_arrays(Path(path), FORMAT, {"depth": len(self.weights)}, self.arrays())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        with loaded_arrays(Path(path), FORMAT) as (description, file):
            return cls(tuple(real(file[f"weight_{l}"]) for l in range(1, description["depth"] + 1)))


@dataclass(frozen=True, eq=False)
class Couplings(Element):
    """I = W sin(V(before) - V(after)) from one to the other: behavioural sources that conduct."""

    names: tuple[tuple[str, ...], ...]
    weights: tuple[Array, ...]

    def _each(self) -> Iterator[tuple[str, str, str, float]]:
        for l, W in enumerate(self.weights):
            for (i, j), value in np.ndenumerate(W):
                yield f"Bw{l + 1}_{i}_{j}", self.names[l][i], self.names[l + 1][j], float(value)

    def devices(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        return ((name, (one, other)) for name, one, other, _ in self._each())

    def dc_paths(self) -> Iterable[tuple[str, str]]:
        return ((one, other) for _, one, other, _ in self._each())

    def lines(self) -> Iterable[str]:
        for name, one, other, value in self._each():
            yield f"{name} {one} {other} I={value!r}*sin(V({one})-V({other}))"

    def check(self) -> None:
        """Every network can be written."""


@dataclass(frozen=True, eq=False)
class OscillatorEquations(Equations):
    """F = -∂E/∂φ + β(y - φ_L) = 0."""

    network: OscillatorNetwork
    inputs: Array
    beta: Array | None = None
    target: Array | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def injection(self) -> tuple[Array, Array]:
        if self.beta is None or self.target is None:
            return np.zeros((1, 1)), np.zeros((1, self.network.layers[-1]))
        return self.beta, self.beta * self.target

    def nudged(self, nudges: Sequence[Nudge], free: Equilibrium | None) -> Self:
        batch, classes = len(self), self.network.classes
        fitted = fitted_nudges(nudges, batch, classes, free, float)
        target = np.concatenate([np.broadcast_to(nudge.target, (batch, classes)) for nudge in fitted])
        beta = np.repeat([nudge.beta for nudge in fitted], batch)[:, None]
        return replace(self, inputs=np.tile(self.inputs, (len(nudges), 1)), beta=beta, target=target)

    def select(self, samples: Array) -> Self:
        nudge = (None if each is None else each[samples] for each in (self.beta, self.target))
        return replace(self, inputs=self.inputs[samples], **dict(zip(("beta", "target"), nudge, strict=True)))

    def begun(self, start: Equilibrium | None) -> Equilibrium | None:
        return checked_start(start, len(self), self.network.layers[1:], float)

    def initial(self) -> Layers:
        return tuple(np.zeros((len(self), size)) for size in self.network.layers[1:])

    def measured(self, probes: Array) -> Layers:
        return tuple(np.split(probes, np.cumsum(self.network.layers[1:-1]), axis=1))

    def forces(self, phases: Layers) -> list[Array]:
        all_phases = (self.inputs, *phases)
        forces = [np.zeros_like(phase) for phase in all_phases]
        for l, W in enumerate(self.network.weights):
            pull = W * np.sin(all_phases[l][:, :, None] - all_phases[l + 1][:, None, :])
            forces[l + 1] += pull.sum(axis=1)
            forces[l] -= pull.sum(axis=2)
        if self.beta is not None:
            forces[-1] += self.beta * (self.target - phases[-1])
        return forces[1:]

    def imbalance(self, nodes: Layers) -> tuple[Array, Array]:
        residual = np.max([np.abs(force).max(axis=1) for force in self.forces(nodes)], axis=0)
        return residual, residual

    def jacobian(self, phases: Layers) -> Array:
        """-∂F/∂φ of every sample."""
        sizes = self.network.layers[1:]
        ends = np.cumsum((0, *sizes))
        J = np.zeros((len(self), ends[-1], ends[-1]))
        all_phases = (self.inputs, *phases)
        for l, W in enumerate(self.network.weights):
            slope = W * np.cos(all_phases[l][:, :, None] - all_phases[l + 1][:, None, :])
            after = np.arange(ends[l], ends[l + 1])
            J[:, after, after] += slope.sum(axis=1)
            if l:
                before = np.arange(ends[l - 1], ends[l])
                J[:, before, before] += slope.sum(axis=2)
                J[:, before[:, None], after] -= slope
                J[:, after[:, None], before] -= slope.transpose(0, 2, 1)
        if self.beta is not None:
            last = np.arange(ends[-2], ends[-1])
            J[:, last, last] += self.beta
        return J

    def stable(self, nodes: Layers) -> Array:
        return np.linalg.eigvalsh(self.jacobian(nodes))[:, 0] > 0

    def adjoint(self, voltages: Layers, pull: Array) -> Layers:
        right = np.concatenate([*(np.zeros_like(v) for v in voltages[:-1]), pull], axis=1)
        return self.measured(np.linalg.solve(self.jacobian(voltages), right[:, :, None])[:, :, 0])


@dataclass(frozen=True)
class Locking:
    """dφ/dt = F, by Euler steps."""

    def solve(self, network: Any, inputs: Any, nudge: Nudge | None = None, start: Equilibrium | None = None) -> Any:
        equations = network.equations(network.check_inputs(inputs))
        equations = equations if nudge is None else equations.nudged([nudge], start)
        phases = equations.initial() if start is None else tuple(v.copy() for v in start.voltages)
        for _ in range(20_000):
            forces = equations.forces(phases)
            if max(np.abs(force).max() for force in forces) < 1e-13:
                break
            phases = tuple(phase + 0.1 * force for phase, force in zip(phases, forces, strict=True))
        return certified(equations, phases, 1e-11, nudge)

    def solve_phases(self, network: Any, inputs: Any, nudges: Sequence[Nudge]) -> tuple[Equilibrium, ...]:
        free = self.solve(network, inputs)
        return free, *(self.solve(network, inputs, nudge, free) for nudge in nudges)


class OscillatorConfig(TrainConfig):
    """Training of such a network on images."""

    model: Literal["oscillators"]
    shape: list[int]
    rate: float

    def network(self) -> OscillatorNetwork:
        return OscillatorNetwork.fresh(self.shape, self.seed)

    def rule(self, epoch: int) -> Rule:
        return Rule(UniformRates(self.rate).scaled(self.annealed(epoch)), self.beta)


class Fresh:
    """Creation of a network by --layers; see cli.options.Fresh."""

    what = "oscillators that pull at each other's phases"
    names = ("coupling",)
    of_netlists = ()

    def add_options(self, group: Any) -> None:
        """The size of the weights."""
        group.add_argument(
            "--coupling", type=float, metavar="X", help="of fresh oscillators: factor on weights (default 1)"
        )

    def make(self, layers: Sequence[int], seed: int, coupling: float = 1.0) -> OscillatorNetwork:
        """A network of random weights."""
        made = OscillatorNetwork.fresh(list(layers), seed)
        for weights in made.weights:
            np.multiply(weights, coupling, out=weights)
        return made


def findings(_config: Any, network: OscillatorNetwork) -> tuple[list[Finding], dict[str, Any]]:
    """The largest weight; a finding if it is above 100."""
    largest = max(float(np.abs(weights).max()) for weights in network.weights)
    found = [Finding("stiff", f"the largest weight is {largest:g}")] if largest > 100 else []
    return found, {"largest_weight": largest}


FAMILY = Family(
    "oscillators",
    OscillatorNetwork,
    FORMAT,
    Locking,
    tolerance=1e-8,
    dynamics=Locking,
    config=lambda: OscillatorConfig,
    features={"fresh": Fresh, "findings": lambda: findings},
)
