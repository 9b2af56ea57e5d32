"""Energy: Kirchhoff's law is its stationarity, and the equilibrium its minimum."""

import numpy as np
import pytest
from scipy.optimize import minimize

from eqprop_analog import ResistiveNetwork, SurrogateSolver
from eqprop_analog.devices import Antiparallel, Clamp, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.networks.resistive.equations import NodalEquations

SHAPES = pytest.mark.parametrize(("layers", "gains"), [((2, 2), ()), ((2, 3, 2), (3.0,)), ((2, 3, 4, 2), (3.0, 2.0))])
SMOOTH = pytest.mark.parametrize(
    "diode",
    [
        *(NgspiceDiode(), Clamp(rail=0.1, on_resistance=1e5), Shockley(), PiecewiseLinear(0.1, 1e5, 1e9)),
        Antiparallel(Shockley(rail=-0.3)),
    ],
    ids=["ngspice", "clamp", "shockley", "piecewise-linear", "pair"],
)


def energy_by_devices(network: ResistiveNetwork, x: np.ndarray, voltages: list[np.ndarray]) -> float:
    """γ_l × (½GΔ² of every resistor + ∫i dv of every diode - b·v of every bias) of one sample, device by device."""
    total = 0.0
    volts = network.input_gain * x
    gamma, rows = 1.0, np.array([*volts, *-volts, *([network.bias_row] if network.bias_row else [])])
    for layer, (matrix, bias, v) in enumerate(
        zip(network.conductances, network.biases, voltages, strict=True), start=1
    ):
        total += gamma * (0.5 * (matrix * (rows[:, None] - v[None, :]) ** 2).sum() - (bias * v).sum())
        if layer < network.depth:
            total += gamma * network.diode.cocontent(network.polarity(layer) * v).sum()
            rows = network.amplifier_gain[layer - 1] * v
            gamma /= network.amplifier_gain[layer - 1] ** 2
    return total


def split(network: ResistiveNetwork, flat: np.ndarray) -> list[np.ndarray]:
    return np.split(flat, np.cumsum(network.layers[1:-1]))


@SHAPES
@SMOOTH
def test_energy_is_the_sum_over_all_devices(random_network, layers, gains, diode):
    network = random_network(4, layers, gains=gains, diode=diode, bias=1e-6, bias_row=2.0)
    random = np.random.default_rng(5)
    x = random.uniform(-10, 10, (3, layers[0]))
    voltages = [random.uniform(-0.2, 1, (3, size)) for size in layers[1:]]
    expected = [energy_by_devices(network, x[k], [v[k] for v in voltages]) for k in range(3)]
    np.testing.assert_allclose(network.energy(x, tuple(voltages)), expected, rtol=1e-12)


@SHAPES
@SMOOTH
def test_residual_current_is_minus_the_slope_of_the_energy_over_gamma(random_network, layers, gains, diode):
    """Fourth-order central differences at voltages where the diodes carry currents like the resistors'."""
    network = random_network(6, layers, gains=gains, diode=diode, bias=1e-6, bias_row=-1.0)
    random = np.random.default_rng(7)
    x = random.uniform(-3, 3, (1, layers[0]))
    sides = [network.polarity(layer) for layer in range(1, network.depth)]
    voltages = [side * random.uniform(0, 1, (1, len(side))) for side in sides] + [
        random.uniform(-1, 1, (1, layers[-1]))
    ]
    residuals = NodalEquations.of(network, x).residuals(tuple(voltages))
    largest = max(np.abs(current).max() for current in residuals)
    step = 2e-4
    for layer, (v, gamma) in enumerate(zip(voltages, network.gammas, strict=True)):
        for j in range(v.shape[1]):

            def energy(shift: float, layer: int = layer, j: int = j) -> float:
                moved = [u.copy() for u in voltages]
                moved[layer][0, j] += shift
                return network.energy(x, tuple(moved))[0]

            slope = (8 * (energy(step) - energy(-step)) - (energy(2 * step) - energy(-2 * step))) / (12 * step)
            assert residuals[layer][0, j] * gamma == pytest.approx(-slope, rel=1e-6, abs=1e-7 * largest * gamma)


@SHAPES
@pytest.mark.parametrize("diode", [NgspiceDiode(), Clamp(rail=-0.1)], ids=["ngspice", "clamp"])
def test_equilibrium_is_where_a_general_minimiser_ends(random_network, layers, gains, diode):
    network = random_network(8, layers, gains=gains, diode=diode, bias=1e-6)
    x = np.random.default_rng(9).uniform(-5, 5, layers[0])
    found = np.concatenate([v[0] for v in SurrogateSolver().solve(network, x).require().voltages])
    ideal = isinstance(diode, Clamp)
    bounds = [
        ((diode.rail, None) if side > 0 else (None, -diode.rail)) if ideal else (None, None)
        for layer in range(1, network.depth)
        for side in network.polarity(layer)
    ] + [(None, None)] * layers[-1]
    weights = np.concatenate([np.full(size, gamma) for size, gamma in zip(layers[1:], network.gammas, strict=True)])
    best = minimize(
        lambda u: 1e6 * energy_by_devices(network, x, split(network, u / np.sqrt(weights))),
        np.zeros(len(found)) + 0.0,
        method="L-BFGS-B",
        bounds=[
            tuple(None if b is None else b * w for b in pair) for pair, w in zip(bounds, np.sqrt(weights), strict=True)
        ],
        options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 2000},
    )
    np.testing.assert_allclose(found, best.x / np.sqrt(weights), atol=2e-4 * max(1, np.abs(found).max()))
    assert energy_by_devices(network, x, split(network, found)) <= 1e-6 * best.fun * (1 + 1e-12)


@SHAPES
@pytest.mark.parametrize("diode", [NgspiceDiode(), Clamp()], ids=["ngspice", "clamp"])
def test_every_step_away_from_equilibrium_costs_energy(random_network, layers, gains, diode):
    network = random_network(10, layers, gains=gains, diode=diode, bias=1e-6)
    random = np.random.default_rng(11)
    x = random.uniform(-5, 5, (1, layers[0]))
    free = SurrogateSolver().solve(network, x).require()
    lowest = network.energy(x, free.voltages)
    for size in (1e-2, 1e-1, 1.0):
        moved = [np.tile(v, (50, 1)) + size * random.normal(size=(50, v.shape[1])) for v in free.voltages]
        assert (network.energy(np.tile(x, (50, 1)), tuple(moved)) > lowest).all()
