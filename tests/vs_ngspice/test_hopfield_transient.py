"""A Hopfield circuit's ``.tran`` in ngspice against its differential equation integrated by SciPy, at every moment."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from eqprop_analog import HopfieldNetwork, LeakyIntegratorSolver, Nudge, Status, UserError
from eqprop_analog.devices.buffer import Buffer, HardSigmoid, Sigmoid
from eqprop_analog.networks.hopfield import transient as hopfield_transient
from eqprop_analog.networks.hopfield.equations import HopfieldEquations
from eqprop_analog.networks.hopfield.transient import HopfieldWaveforms, _arrival, settle_hopfield

FULL_SCALE = 1.0
"""Volts, of a state."""
FARADS = 2e-12
UNIT = FARADS / 1e-6
"""Seconds: a node's own time constant."""
INPUTS = np.array([0.8, 0.1, 0.6, 0.4])
TARGETS = np.array([[1.0, 0.0, 0.0]])
CASES = ["hard", "untied", "current", "cross-entropy"]
RunNgspice = Callable[[str], Any]


def case(name: str) -> tuple[HopfieldNetwork, Nudge]:
    buffer: Buffer = HardSigmoid() if name == "hard" else Sigmoid()
    classes = 3 if name == "cross-entropy" else None
    net = HopfieldNetwork.dense([4, 6, 5, 3], 3, buffer=buffer, untied=name == "untied", classes=classes)
    random = np.random.default_rng(0)
    for bias in net.biases:
        bias[...] = random.uniform(0, 0.6, bias.shape)
    if name == "current":
        return net, Nudge(TARGETS, 0.4, "current")
    if name == "cross-entropy":
        return net, Nudge(TARGETS, 0.8, "feedback", "cross-entropy")
    return net, Nudge(TARGETS, 0.5)


@cache
def simulated(name: str) -> HopfieldWaveforms:
    return settle_hopfield(case(name)[0], INPUTS, case(name)[1], FARADS)


def written_out(name: str, result: HopfieldWaveforms) -> np.ndarray:
    """C du/dt = g(-u + W ρ(u) + b + pull), term by term, by an implicit method, at the times of ``result``."""
    net, nudge = case(name)
    sizes = np.cumsum(net.layers[1:-1])
    free = HopfieldEquations.of(net, INPUTS[None])
    rest = LeakyIntegratorSolver().solve(net, INPUTS[None])
    constant = free.nudged([nudge], rest).constant

    def slope(time: float, u: np.ndarray) -> np.ndarray:
        s = [net.buffer.output(part) for part in np.split(u, sizes)]
        on = float(np.clip((time - result.switch) / result.rise_time, 0, 1))
        into = [INPUTS @ net.weights[0] + net.biases[0]]
        into += [
            before @ weights + bias for before, weights, bias in zip(s, net.weights[1:], net.biases[1:], strict=False)
        ]
        for layer, back in enumerate(net.back):
            into[layer] = into[layer] + back @ s[layer + 1]
        readout = net.readout(s[-1][None])[0]
        if constant is not None:
            into[-1] = into[-1] + on * constant[0]
        elif nudge.cost == "cross-entropy":
            expected = np.exp(readout) / np.exp(readout).sum()
            into[-1] = into[-1] + net.head[0] @ (on * nudge.beta * (TARGETS[0] - expected))  # type: ignore[index]
        else:
            into[-1] = into[-1] + on * nudge.beta * (TARGETS[0] - readout)
        return (np.concatenate(into) - u) / UNIT

    parts, u = [], np.zeros(sum(net.layers[1:]))
    ends = (0.0, result.switch, result.switch + result.rise_time, result.time[-1])
    for begin, end in pairwise(ends):
        solution = solve_ivp(slope, (begin, end), u, "LSODA", dense_output=True, rtol=1e-9, atol=1e-11)
        within = (result.time >= begin) & ((result.time < end) | (end == ends[-1]))
        parts.append(solution.sol(result.time[within]).T)
        u = solution.y[:, -1]
    return np.concatenate(parts)


@pytest.mark.parametrize("name", CASES)
def test_ngspice_is_within_a_thousandth_of_full_scale_at_every_moment(name: str):
    result = simulated(name)
    assert len(result.time) > 100
    nodes = np.concatenate(result.nodes, axis=1)
    assert np.abs(nodes - written_out(name, result)).max() < 1e-3 * FULL_SCALE
    assert result.deviation < 1e-3 * FULL_SCALE
    assert np.abs(nodes).max() > 0.5


@pytest.mark.parametrize("name", CASES)
def test_each_phase_ends_at_its_operating_point(name: str):
    result = simulated(name)
    net, nudge = case(name)
    solver = LeakyIntegratorSolver(step=0.1)
    free = solver.solve(net, INPUTS)
    for phase, expected in ((result.free, free), (result.nudged, solver.solve(net, INPUTS, nudge, free))):
        assert phase.status.tolist() == [Status.CONVERGED]
        for s, t in zip(phase.voltages, expected.voltages, strict=True):
            np.testing.assert_allclose(s, t, rtol=0, atol=1e-5)


def test_the_error_reaches_earlier_layers_later():
    arrivals = simulated("current").arrivals
    assert len(arrivals) == 3
    assert arrivals[0] > 1.2 * arrivals[1] > 2 * arrivals[2] > 0


def test_nothing_moves_between_rest_and_nudge_and_before_it_the_start_is_at_zero():
    result = simulated("current")
    assert not any(u[0].any() for u in result.nodes)
    at_rest = (result.time > 0.9 * result.switch) & (result.time <= result.switch)
    assert at_rest.any()
    for u in result.nodes:
        assert np.ptp(u[at_rest], axis=0).max() < 1e-6


def test_time_scales_with_the_capacitance_and_voltages_do_not():
    net, nudge = case("hard")
    slower = settle_hopfield(net, INPUTS, nudge, 10 * FARADS)
    result = simulated("hard")
    np.testing.assert_allclose(slower.time_constants, 10 * np.array(result.time_constants), rtol=1e-6)
    np.testing.assert_allclose(slower.arrivals, 10 * np.array(result.arrivals), rtol=1e-3)
    np.testing.assert_allclose(slower.nudged.outputs, result.nudged.outputs, atol=1e-5)


def test_a_layer_that_nothing_reaches_has_no_arrival():
    time = np.linspace(0, 1, 11)
    assert np.isnan(_arrival(time, np.ones((11, 3))))
    assert _arrival(time, time[:, None] ** 2) == pytest.approx(np.sqrt(0.5), abs=0.01)


def test_the_written_netlist_runs_in_plain_ngspice(run_ngspice: RunNgspice):
    result = simulated("hard")
    done = run_ngspice(result.netlist)
    assert done.code == 0
    lines = (line.split("=") for line in done.text.splitlines() if line.startswith("op_"))
    values = {name.strip(): float(value) for name, value in lines}
    swing = float(result.netlist.split("swing=")[-1].split()[0])
    for number, phase in enumerate((result.free, result.nudged)):
        for k, volts in enumerate(phase.outputs[0].tolist()):
            assert values[f"op_{k}_{number}"] == pytest.approx(swing * volts, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"capacitance": 0.0}, "capacitance: expected 1e-21 to"),
        ({"free_time": -1.0}, "free_time"),
        ({"nudged_time": 0.0}, "nudged_time"),
        ({"inputs": np.zeros((2, 4))}, "one sample"),
        ({"nudge": Nudge(np.zeros((1, 2)), 0.1)}, "expected a target of shape"),
        ({"swing": 0.1}, "no leak"),
    ],
)
def test_bad_values_are_named(change: dict[str, Any], message: str):
    net, nudge = case("hard")
    with pytest.raises(UserError, match=message):
        settle_hopfield(net, **{"inputs": INPUTS, "nudge": nudge, "capacitance": FARADS, **change})


def test_a_circuit_that_oscillates_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hopfield_transient, "MOST", 40.0)
    net = replace(
        HopfieldNetwork.dense([1, 2, 2], buffer=Sigmoid(), untied=True),
        weights=(np.zeros((1, 2)), 2.5 * np.eye(2)),
        biases=(np.array([-0.75, 1.75]), np.array([-0.75, -0.75])),
        returning=(2.5 * np.array([[0.0, 1.0], [-1.0, 0.0]]),),
    )
    with pytest.raises(UserError, match="free_time"):
        settle_hopfield(net, np.zeros(1), Nudge(np.zeros((1, 2)), 0.1))
