"""Power: every part device by device; the delivered power is dissipated or charges the nodes."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import eigh, eigvals

from eqprop_analog import Clamp, Nudge, ResistiveNetwork, SurrogateSolver, UserError
from eqprop_analog.devices import Antiparallel, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.networks.resistive.equations import NodalEquations
from eqprop_analog.networks.resistive.newton import newton_step
from eqprop_analog.networks.resistive.power import power
from eqprop_analog.networks.resistive.time_constants import slowest_time_constants
from eqprop_analog.networks.resistive.transient import time_constant
from eqprop_analog.spice.elements import Injection

SHAPES = pytest.mark.parametrize(
    ("layers", "gains"), [((3, 2), ()), ((3, 4, 2), (1.0,)), ((3, 4, 2), (5.0,)), ((3, 4, 5, 2), (3.0, 0.5))]
)
DIODES = pytest.mark.parametrize(
    "diode",
    [
        NgspiceDiode(),
        Clamp(),
        Clamp(rail=0.1),
        Clamp(rail=0.1, on_resistance=1e4),
        Clamp(rail=0.1, on_resistance=1e-6),
        PiecewiseLinear(),
        Antiparallel(Shockley(rail=-0.1)),
        Antiparallel(Clamp(rail=-0.1)),
    ],
    ids=["ngspice", "ideal", "ideal-rail", "clamp", "stand-in", "piecewise", "pair", "ideal-pair"],
)
NUDGES = pytest.mark.parametrize("kind", ["free", "plus", "minus", "current"])


def example(
    random_network, layers, gains, diode, kind: str, batch: int = 6
) -> tuple[ResistiveNetwork, np.ndarray, NodalEquations, Nudge | None]:
    network = random_network(1, layers, gains=gains, diode=diode, bias=1e-7, bias_row=-1.5)
    random = np.random.default_rng(2)
    inputs, target = random.normal(size=(batch, layers[0])), random.normal(size=(batch, layers[-1]))
    beta = {"plus": 0.5, "minus": -0.5, "current": 1.0}.get(kind, 0) * np.linalg.eigvalsh(network.output_stiffness())[0]
    nudge = Nudge(target, beta, kind="current" if kind == "current" else "conductance") if beta else None
    free = NodalEquations.of(network, inputs)
    if nudge is None:
        return network, inputs, free, None
    return network, inputs, free.nudged([nudge], SurrogateSolver().solve(network, inputs)), nudge


def voltages_anywhere(network: ResistiveNetwork, batch: int) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(3)
    return tuple(0.3 * random.normal(size=(batch, size)) for size in network.layers[1:])


def by_devices(network: ResistiveNetwork, x: np.ndarray, voltages: list[np.ndarray], injection: Injection) -> dict:
    """Every part of one sample's power, device by device."""
    parts: dict = dict.fromkeys(["rows", "rails", "biases", "nudge", "amplifiers", "diodes", "nudge_conductances"], 0.0)
    parts["crossbars"] = []
    drive, gain = np.array([*(network.input_gain * x), *(-network.input_gain * x), network.bias_row]), 0.0
    for layer, (matrix, v) in enumerate(zip(network.conductances, voltages, strict=True), start=1):
        currents = matrix * (drive[:, None] - v[None, :])
        parts["crossbars"].append((currents * (drive[:, None] - v[None, :])).sum())
        for a, i in zip(drive, currents.sum(axis=1), strict=True):
            if layer == 1:
                parts["rows"] += a * i
            else:
                parts["amplifiers"] += a * i - (a / gain) * (i / gain)
        parts["biases"] += (network.biases[layer - 1] * v).sum()
        if layer < network.depth:
            paired = isinstance(network.diode, Antiparallel)
            law = network.diode.law if paired else network.diode
            for volts, polarity in zip(v, network.polarity(layer), strict=True):
                for sign in (1, -1) if paired else (polarity,):
                    through = -float(law.current(np.array(sign * volts)))  # from the upper to the lower net
                    parts["rails"] += law.rail * through
                    parts["diodes"] += (law.rail - sign * volts) * through
            gain = network.amplifier_gain[layer - 1]
            drive = gain * v
    (g,), c = injection
    for volts, current in zip(voltages[-1], c, strict=True):
        if g:
            parts["nudge"] += current / g * (current - g * volts)
            parts["nudge_conductances"] += g * (current / g - volts) ** 2
        else:
            parts["nudge"] += volts * current
    return parts


@SHAPES
@NUDGES
@pytest.mark.parametrize("diode", [NgspiceDiode(), Antiparallel(NgspiceDiode())], ids=["single", "pair"])
def test_power_is_the_sum_over_all_devices(random_network, layers, gains, kind, diode):
    network, inputs, equations, _ = example(random_network, layers, gains, diode, kind, batch=2)
    voltages = voltages_anywhere(network, 2)
    result = power(network, inputs, voltages, equations.injection)
    for k in range(2):
        injection = tuple(part[min(k, len(part) - 1)] for part in equations.injection)
        if kind == "free":
            injection = (np.zeros(1), np.zeros(layers[-1]))
        for name, watts in by_devices(network, inputs[k], [v[k] for v in voltages], injection).items():
            np.testing.assert_allclose(getattr(result, name)[k], watts, rtol=1e-10, atol=1e-18, err_msg=name)


@SHAPES
@DIODES
@NUDGES
def test_at_equilibrium_all_that_is_delivered_is_dissipated(random_network, layers, gains, diode, kind):
    network, inputs, equations, nudge = example(random_network, layers, gains, diode, kind)
    free = SurrogateSolver().solve(network, inputs)
    equilibrium = SurrogateSolver().solve(network, inputs, nudge, free) if nudge else free
    result = power(network, inputs, equilibrium.require().voltages, equations.injection)
    np.testing.assert_allclose(result.delivered, result.dissipated, rtol=1e-9)
    assert result.imbalance.max() <= 1e-9
    assert (result.crossbars >= 0).all()
    assert (result.diodes >= 0).all()


@SHAPES
@NUDGES
def test_elsewhere_the_rest_flows_into_the_nodes(random_network, layers, gains, kind):
    """Delivered - dissipated = Σ v F(v), the power that would charge node capacitances."""
    diode = Clamp(rail=0.1, on_resistance=1e4)
    network, inputs, equations, _ = example(random_network, layers, gains, diode, kind)
    voltages = voltages_anywhere(network, len(inputs))
    result = power(network, inputs, voltages, equations.injection)
    into_nodes = sum((v * i).sum(axis=1) for v, i in zip(voltages, equations.residuals(voltages), strict=True))
    np.testing.assert_allclose(result.delivered - result.dissipated, into_nodes, atol=1e-12 * result.delivered.max())


def test_free_phase_needs_no_injection(random_network):
    network, inputs, equations, _ = example(random_network, (3, 4, 2), (5.0,), NgspiceDiode(), "free")
    voltages = voltages_anywhere(network, len(inputs))
    without, zeros = power(network, inputs, voltages), power(network, inputs, voltages, equations.injection)
    np.testing.assert_array_equal(without.delivered, zeros.delivered)
    assert not without.nudge.any()


@pytest.mark.parametrize("pair", [False, True], ids=["single", "pair"])
def test_an_ideal_clamp_takes_the_power_of_a_steep_one(random_network, pair):
    """At a rail that is not 0 V it exchanges power, by a current that follows only from Kirchhoff's current law."""
    powers = []
    for ohms in (0.0, 1.0):
        law = Clamp(rail=-0.2 if pair else 0.2, on_resistance=ohms)
        diode = Antiparallel(law) if pair else law
        network, inputs, _, _ = example(random_network, (3, 4, 2), (5.0,), diode, "free")
        powers.append(power(network, inputs, SurrogateSolver().solve(network, inputs).voltages))
    ideal, steep = powers
    assert np.abs(ideal.rails).max() > 1e-8
    np.testing.assert_allclose(ideal.rails, steep.rails, rtol=1e-4)
    np.testing.assert_allclose(ideal.diodes, 0, atol=1e-18)


def test_voltages_beyond_an_ideal_clamp_are_refused(random_network):
    network = random_network(0, (3, 4, 2), diode=Clamp(rail=0.2))
    with pytest.raises(UserError, match="beyond its ideal clamp"):
        power(network, np.zeros((1, 3)), voltages_anywhere(network, 1))


def test_parts_by_name_are_all_that_is_delivered_and_dissipated(random_network):
    network, inputs, equations, _ = example(random_network, (3, 4, 5, 2), (3.0, 0.5), NgspiceDiode(), "plus")
    result = power(network, inputs, voltages_anywhere(network, len(inputs)), equations.injection)
    delivered = result.rows + result.rails + result.biases + result.nudge + result.amplifiers
    np.testing.assert_allclose(result.delivered, delivered)
    np.testing.assert_allclose(
        result.dissipated, result.crossbars.sum(axis=-1) + result.diodes + result.nudge_conductances
    )
    assert list(result.sinks)[:3] == ["crossbar 1", "crossbar 2", "crossbar 3"]
    np.testing.assert_array_equal(result.sinks["crossbar 2"], result.crossbars[:, 1])


def conductance_matrix(equations: NodalEquations, voltages: tuple[np.ndarray, ...]) -> np.ndarray:
    """J = -∂F/∂v, siemens: the inverse of the response of Newton's step to each unit current."""
    sizes = equations.network.layers[1:]
    columns = []
    for unit in np.eye(sum(sizes)):
        step = newton_step(equations, voltages, tuple(np.split(unit[None], np.cumsum(sizes)[:-1], axis=1)))
        columns.append(np.concatenate(step, axis=1)[0])
    return np.linalg.inv(np.array(columns).T)


@SHAPES
@pytest.mark.parametrize("kind", ["free", "plus", "minus"])
@pytest.mark.parametrize("diode", [NgspiceDiode(), Antiparallel(Shockley(rail=-0.5))], ids=["single", "pair"])
def test_time_constant_bounds_every_mode_whatever_the_diodes_do(random_network, layers, gains, kind, diode):
    """Against eigenvalues: tight if all diodes block, and otherwise no mode is slower."""
    network, _, equations, _ = example(random_network, layers, gains, diode, kind, batch=1)
    farads = np.linspace(1e-12, 3e-12, network.depth)
    every = np.repeat(farads, layers[1:])
    bound = time_constant(equations, farads.tolist())
    single = isinstance(diode, NgspiceDiode)  # a pair blocks between its rails
    blocking = tuple(100 * single * v for v in (*(p[None] for p in equations.polarity), equations.initial()[-1]))
    for voltages, tight in ((blocking, True), (voltages_anywhere(network, 1), False), (equations.initial(), False)):
        slowest = (1 / eigvals(conductance_matrix(equations, voltages) / every[:, None]).real).max()
        assert slowest <= bound * (1 + 1e-6)
        if tight:
            assert bound < 1.05 * slowest


def nodal_matrices(equations: NodalEquations, voltages: list[np.ndarray], farads: np.ndarray) -> tuple:
    """γJ (S, symmetric) and γC (F) of one sample, entry by entry."""
    network = equations.network
    ends = np.cumsum([0, *network.layers[1:]])
    part = [slice(*pair) for pair in pairwise(ends)]
    stiffness = np.zeros((ends[-1], ends[-1]))
    for l, (slopes, gamma) in enumerate(
        zip(equations.slopes(tuple(v[None] for v in voltages)), network.gammas, strict=True)
    ):
        stiffness[part[l], part[l]] = np.diag(gamma * slopes[0])
        if l:
            between = -network.gammas[l - 1] / network.drive_gains[l] * network.conductances[l]
            stiffness[part[l - 1], part[l]], stiffness[part[l], part[l - 1]] = between, between.T
    return stiffness, np.diag(np.repeat(farads * network.gammas, network.layers[1:]))


@SHAPES
@DIODES
@pytest.mark.parametrize("kind", ["free", "plus", "minus"])
def test_slowest_time_constants_are_generalised_eigenvalues(random_network, layers, gains, kind, diode):
    network, inputs, equations, nudge = example(random_network, layers, gains, diode, kind, batch=3)
    free = SurrogateSolver().solve(network, inputs)
    voltages = (SurrogateSolver().solve(network, inputs, nudge, free) if nudge else free).voltages
    farads = np.linspace(1e-12, 3e-12, network.depth)
    bound = time_constant(equations, farads.tolist())
    for k, found in enumerate(slowest_time_constants(equations, voltages, farads.tolist())):
        stiffness, storage = nodal_matrices(equations.select(np.array([k])), [v[k] for v in voltages], farads)
        moves = np.isfinite(np.diag(stiffness))
        moving = np.ix_(moves, moves)
        slowest = eigh(storage[moving], stiffness[moving], eigvals_only=True)[-1]
        assert found == pytest.approx(slowest, rel=1e-8)
        assert found <= bound * (1 + 1e-9)


def test_time_constant_of_one_node_is_its_capacitance_over_its_conductance(random_network):
    network = random_network(0, (2, 1))
    equations = NodalEquations.of(network, np.ones((1, 2)))
    (found,) = slowest_time_constants(equations, equations.initial(), [3e-12])
    assert found == pytest.approx(3e-12 / network.conductances[0].sum(), rel=1e-12)
