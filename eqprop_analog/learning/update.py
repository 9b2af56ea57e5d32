"""The update of a network's parameters from a gradient."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from eqprop_analog.errors import UserError
from eqprop_analog.incoming import numbers

Array = np.ndarray


class Parameters(Protocol):
    """A network as the update uses it."""

    def arrays(self) -> dict[str, Array]:
        """Return every parameter by name."""
        ...

    def confine(self) -> int:
        """Clip every parameter to its allowed range, in place; return the number of reinitialized columns."""
        ...


class LearningRates(Protocol):
    """One learning rate per parameter array."""

    def scaled(self, factor: float) -> Self:
        """Return all rates multiplied by ``factor``."""
        ...

    def of(self, name: str) -> float:
        """Return the rate of the parameter ``name``."""
        ...


@dataclass(frozen=True)
class Rates:
    """Learning rates of each layer of a resistive network.

    >>> import eqprop_analog as ea
    >>> ea.Rates(conductances=(1e-14, 1e-15), biases=(1e-13, 1e-14)).scaled(0.5).conductances
    (5e-15, 5e-16)
    """

    conductances: tuple[float, ...]
    """Rates η_G of the conductances, S²/V²."""
    biases: tuple[float, ...]
    """Rates η_b of the bias currents, A²/V²."""

    def __post_init__(self) -> None:
        """Raise UserError unless the rates are lists of finite numbers."""
        object.__setattr__(self, "conductances", numbers(self.conductances, "rates of conductances", unit="S²/V²"))
        object.__setattr__(self, "biases", numbers(self.biases, "rates of biases", unit="A²/V²"))

    def scaled(self, factor: float) -> "Rates":
        """Return all rates multiplied by ``factor``."""
        return Rates(tuple(factor * rate for rate in self.conductances), tuple(factor * rate for rate in self.biases))

    def of(self, name: str) -> float:
        """Return the rate of ``conductance_<l>`` or ``bias_<l>``."""
        kind, _, layer = name.partition("_")
        return _rate(self.conductances if kind == "conductance" else self.biases, int(layer), name)


@dataclass(frozen=True)
class UniformRates:
    """One learning rate for every parameter.

    >>> import eqprop_analog as ea
    >>> ea.UniformRates(2e-11).of("conductances")
    2e-11
    """

    rate: float
    """The rate η; S²/V² for conductances."""

    def scaled(self, factor: float) -> "UniformRates":
        """Return the rate multiplied by ``factor``."""
        return UniformRates(factor * self.rate)

    def of(self, name: str) -> float:  # noqa: ARG002 - the protocol's signature
        """Return the rate."""
        return self.rate


@dataclass(frozen=True)
class WeightRates:
    """Learning rates of a Hopfield network's connections 1..L, followed by that of its external read-out, if it has one.

    >>> import eqprop_analog as ea
    >>> ea.WeightRates(weights=(0.4, 0.1), biases=(0.4, 0.1)).of("weight_2")
    0.1
    """

    weights: tuple[float, ...]
    """Rates of the weights, including feedback weights, 1/V²."""
    biases: tuple[float, ...]
    """Rates of the biases, dimensionless."""

    def __post_init__(self) -> None:
        """Raise UserError unless the rates are lists of finite numbers."""
        object.__setattr__(self, "weights", numbers(self.weights, "rates of weights", unit="1/V²"))
        object.__setattr__(self, "biases", numbers(self.biases, "rates of biases"))

    def scaled(self, factor: float) -> "WeightRates":
        """Return all rates multiplied by ``factor``."""
        return WeightRates(tuple(factor * rate for rate in self.weights), tuple(factor * rate for rate in self.biases))

    def of(self, name: str) -> float:
        """Return the rate of ``weight_<l>``, ``returning_<l>``, ``bias_<l>``, ``head_weight`` or ``head_bias``."""
        kind, _, which = name.partition("_")
        if kind == "head":
            return (self.weights if which == "weight" else self.biases)[-1]
        return _rate(self.biases if kind == "bias" else self.weights, int(which), name)


def _rate(rates: tuple[float, ...], layer: int, name: str) -> float:
    if layer > len(rates):
        raise UserError(
            f"rates: expected one rate for every array of the network, got {len(rates)}, and none for {name}"
        )
    return rates[layer - 1]


def check_rates(rates: LearningRates, network: Parameters) -> None:
    """Raise UserError unless there is a rate for every parameter of ``network``."""
    for name in network.arrays():
        rates.of(name)


class Momentum:
    """m ← μ m + (dC/dθ + λ θ), and θ descends along m: stochastic gradient descent as in PyTorch."""

    def __init__(self, network: Parameters, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        self.momentum, self.weight_decay = momentum, weight_decay
        self._mean = {name: np.zeros_like(values) for name, values in network.arrays().items() if momentum}

    def direction(self, name: str, slope: Array, values: Array) -> Array:
        """Return m after a gradient ``slope`` of the parameter ``values``; ``slope`` is overwritten."""
        if self.weight_decay:
            slope += self.weight_decay * values
        if not self.momentum:
            return slope
        mean = self._mean[name]
        mean *= self.momentum
        mean += slope
        np.copyto(slope, mean)
        return slope

    def arrays(self) -> dict[str, Array]:
        """Return m by its names in checkpoints, ``momentum_<parameter>``; the arrays can be written in place."""
        return {f"momentum_{name}": values for name, values in self._mean.items()}


def descend(
    network: Parameters, gradient: Mapping[str, Array], rates: LearningRates, momentum: Momentum | None = None
) -> int:
    """θ ← θ - η dC/dθ, or along ``momentum``, in place, and clip to the network's bounds; ``gradient`` is overwritten.

    Returns the number of columns without conductances that were reinitialized (networks.resistive.initial.renew).
    """
    slopes = dict(gradient)
    for name, values in network.arrays().items():
        slope = slopes[name] if momentum is None else momentum.direction(name, slopes[name], values)
        np.multiply(slope, rates.of(name), out=slope)
        np.subtract(values, slope, out=values)
    return network.confine()
