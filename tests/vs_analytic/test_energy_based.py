"""The energy-based dynamics of 2019 against its explicit equations, and against the gradient of the energy that it decreases."""

import numpy as np

from eqprop_analog import HopfieldNetwork, Nudge
from eqprop_analog.devices.buffer import Sigmoid
from eqprop_analog.networks.hopfield.energy_based import EnergyBasedSolver


def rho(v: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-4 * (v - 0.5)))


def problem() -> tuple[HopfieldNetwork, np.ndarray, np.ndarray]:
    network = HopfieldNetwork.dense([5, 6, 4, 3], 1, buffer=Sigmoid(), initial="fan-in")
    random = np.random.default_rng(2)
    for values in network.arrays().values():
        np.multiply(values, 2, out=values)
    return network, random.uniform(size=(4, 5)), np.eye(3)[[0, 2, 1, 0]]


def drift(
    network: HopfieldNetwork, inputs: np.ndarray, v: list[np.ndarray], beta: float, targets: np.ndarray
) -> list[np.ndarray]:
    """dv/dt as in the published code (EPcont): no ρ′ at the outputs, and the nudge at v."""
    w, b, s = network.weights, network.biases, [rho(each) for each in v]
    slopes = [4 * each * (1 - each) for each in s]
    return [
        -v[0] + slopes[0] * (inputs @ w[0] + b[0] + s[1] @ w[1].T),
        -v[1] + slopes[1] * (s[0] @ w[1] + b[1] + s[2] @ w[2].T),
        -v[2] + s[1] @ w[2] + b[2] + beta * (targets - v[2]),
    ]


def test_steps_are_those_of_the_published_equations():
    network, inputs, targets = problem()
    free, plus = EnergyBasedSolver(free_steps=30, nudged_steps=7).solve_phases(network, inputs, [Nudge(targets, 0.5)])
    v = [np.zeros((4, size)) for size in network.layers[1:]]
    for phase, steps, beta in ((free, 30, 0.0), (plus, 7, 0.5)):
        for _ in range(steps):
            v = [np.clip(x + 0.2 * dx, 0, 1) for x, dx in zip(v, drift(network, inputs, v, beta, targets), strict=True)]
        for found, x in zip(phase.voltages, v, strict=True):
            np.testing.assert_allclose(found, rho(x), atol=1e-14)


def test_hidden_voltages_go_downhill_on_the_energy_until_they_rest():
    """E = ½Σv² - Σ ρ(v)·(W ρ(v′) + b), by central differences; at rest dv/dt is zero, or v is at 0 or 1."""
    network, inputs, targets = problem()
    random = np.random.default_rng(3)
    v = [random.uniform(0.1, 0.9, (4, size)) for size in network.layers[1:]]

    def energy() -> np.ndarray:
        before, total = inputs, np.zeros(4)
        for weights, bias, x in zip(network.weights, network.biases, v, strict=True):
            total += (x**2 / 2).sum(axis=1) - ((before @ weights + bias) * rho(x)).sum(axis=1)
            before = rho(x)
        return total

    downhill = drift(network, inputs, v, 0.0, targets)
    for layer in (0, 1):
        for node in range(v[layer].shape[1]):
            value, ends = v[layer][:, node].copy(), []
            for shift in (1e-6, -1e-6):
                v[layer][:, node] = value + shift
                ends.append(energy())
            v[layer][:, node] = value
            np.testing.assert_allclose(downhill[layer][:, node], -(ends[0] - ends[1]) / 2e-6, atol=1e-8)
    free = EnergyBasedSolver().solve(network, inputs).require()
    rest = [np.log(s / (1 - s)) / 4 + 0.5 for s in free.voltages]
    for x, dx in zip(rest, drift(network, inputs, rest, 0.0, targets), strict=True):
        assert (np.abs(dx)[(x > 1e-9) & (x < 1 - 1e-9)] < 1e-11).all()
        assert (dx[x <= 1e-9] < 1e-9).all()
        assert (dx[x >= 1 - 1e-9] > -1e-9).all()
