"""ngspice's ``.tran`` against the same equations integrated by SciPy, and against what the network settles to."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from eqprop_analog import Clamp, Nudge, ResistiveNetwork, Status, SurrogateSolver, UserError
from eqprop_analog.devices import Law
from eqprop_analog.networks.resistive.equations import NodalEquations
from eqprop_analog.networks.resistive.netlist import compile_network, with_capacitances
from eqprop_analog.networks.resistive.power import power
from eqprop_analog.networks.resistive.transient import Waveforms, settle
from eqprop_analog.spice.netlist import static_netlist, transient_netlist

INPUTS = np.array([[0.8, -0.3, 0.1, 0.6]])
TARGETS = np.array([[0.5, -0.2]])
FARADS = (0.5e-12, 1e-12, 2e-12)
CASES = ["plus", "minus", "current", "clamp"]
RunNgspice = Callable[[str], Any]


def network(diode: Law | None = None) -> ResistiveNetwork:
    return ResistiveNetwork.dense([4, 6, 5, 2], 3, diode=diode, amplifier_gain=[3.0, 2.0], input_gain=5.0, bias=1e-8)


def case(name: str) -> tuple[ResistiveNetwork, Nudge]:
    net = network(Clamp(rail=0.1, on_resistance=1e4) if name == "clamp" else None)
    if name == "current":
        return net, Nudge(TARGETS, 1e-7, kind="current", cost="cross-entropy")
    return net, Nudge(TARGETS, (-0.5 if name == "minus" else 0.5) * net.stiffness_bound())


@cache
def simulated(name: str) -> Waveforms:
    net, nudge = case(name)
    return settle(net, INPUTS, nudge, FARADS)


def integrated(name: str, result: Waveforms) -> np.ndarray:
    """C dv/dt = F(v) at the times of ``result``, by an implicit Runge-Kutta method of order 5."""
    net, nudge = case(name)
    free = NodalEquations.of(net, INPUTS)
    nudged = free.nudged([nudge], SurrogateSolver().solve(net, INPUTS))
    splits = np.cumsum(net.layers[1:-1])
    farads = np.repeat(FARADS, net.layers[1:])

    def slope(time: float, v: np.ndarray) -> np.ndarray:
        on = np.clip((time - result.nudged.begin) / result.rise_time, 0, 1)
        now = replace(nudged, nudge_conductance=on * nudged.nudge_conductance, nudge_current=on * nudged.nudge_current)
        return np.concatenate(now.residuals(tuple(np.split(v[None], splits, axis=1))), axis=1)[0] / farads

    begin, switch, end = result.time[0], result.nudged.begin, result.time[-1]
    v, parts = np.zeros(len(farads)), []
    for start, stop in ((begin, switch), (switch, switch + result.rise_time), (switch + result.rise_time, end)):
        solution = solve_ivp(slope, (start, stop), v, "Radau", dense_output=True, rtol=1e-8, atol=1e-10)
        within = (result.time >= start) & ((result.time < stop) | (stop == end))
        parts.append(solution.sol(result.time[within]).T)
        v = solution.y[:, -1]
    return np.concatenate(parts)


@pytest.mark.parametrize("name", CASES)
def test_waveforms_are_the_solution_of_the_differential_equation(name: str):
    result = simulated(name)
    voltages = np.concatenate(result.voltages, axis=1)
    assert np.abs(voltages - integrated(name, result)).max() < 1e-3 * np.abs(voltages).max()


@pytest.mark.parametrize("name", CASES)
def test_each_phase_ends_at_its_operating_point(name: str):
    result = simulated(name)
    net, nudge = case(name)
    free = SurrogateSolver().solve(net, INPUTS)
    for phase, expected in (
        (result.free, free),
        (result.nudged, SurrogateSolver().solve(net, INPUTS, nudge, free)),
    ):
        assert phase.equilibrium.status.tolist() == [Status.CONVERGED]
        differences = [np.abs(v - w).max() for v, w in zip(phase.equilibrium.voltages, expected.voltages, strict=True)]
        assert max(differences) < 1e-8
        assert phase.deviation == pytest.approx(max(differences), rel=1e-3, abs=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_delivered_energy_is_dissipated_and_stored(name: str):
    for phase in (simulated(name).free, simulated(name).nudged):
        lost = phase.energy.delivered - phase.energy.dissipated - phase.stored
        assert abs(lost) < 1e-3 * abs(phase.stored)
        assert abs(lost) < 1e-6 * phase.energy.delivered


@pytest.mark.parametrize("name", CASES)
def test_every_node_is_settled_after_the_settling_time_and_not_before(name: str):
    result = simulated(name)
    for phase in (result.free, result.nudged):
        distance = np.max(
            [np.abs(v - w).max(axis=1) for v, w in zip(result.voltages, phase.equilibrium.voltages, strict=True)],
            axis=0,
        )
        settled = phase.begin + phase.settling_time
        later = (result.time > settled) & (result.time <= phase.end)
        earlier = (result.time >= phase.begin) & (result.time < settled)
        assert (distance[later] <= 1e-3).all()
        assert distance[earlier][-1] > 1e-3


def test_circuit_starts_at_zero_and_the_nudge_switches_on_within_the_rise_time():
    result = simulated("plus")
    assert result.time[0] == 0
    assert not any(v[0].any() for v in result.voltages)
    assert (np.diff(result.time) > 0).all()
    full = case("plus")[1].beta
    np.testing.assert_allclose(result.beta[result.time <= result.nudged.begin], 0, atol=1e-9 * full)
    np.testing.assert_allclose(result.beta[result.time >= result.nudged.begin + result.rise_time], full, rtol=1e-6)


def test_time_scales_with_the_capacitance_and_voltages_do_not():
    net, nudge = case("plus")
    result, slower = simulated("plus"), settle(net, INPUTS, nudge, [10 * farads for farads in FARADS])
    assert slower.time_constant == pytest.approx(10 * result.time_constant)
    for one, other in ((result.free, slower.free), (result.nudged, slower.nudged)):
        assert other.settling_time == pytest.approx(10 * one.settling_time, rel=1e-3)
        assert other.stored == pytest.approx(10 * one.stored, rel=1e-6)


def test_a_phase_that_is_cut_short_says_so():
    net, nudge = case("plus")
    whole = simulated("plus")
    cut = settle(net, INPUTS, nudge, FARADS, free_time=whole.time_constant, nudged_time=whole.time_constant)
    assert cut.nudged.end == pytest.approx(2 * whole.time_constant)
    for phase in (cut.free, cut.nudged):
        assert phase.equilibrium.status.tolist() == [Status.STALLED]
        assert phase.deviation > 1e-3


def printed(done: Any) -> dict[str, float]:
    """Results of ``.meas`` lines, by name."""
    lines = (line.split("=") for line in done.text.splitlines() if line.startswith("o_"))
    return {name.strip(): float(value) for name, value in lines}


def test_written_netlist_runs_in_plain_ngspice(run_ngspice: RunNgspice):
    result = simulated("plus")
    done = run_ngspice(result.netlist)
    assert done.code == 0
    values = printed(done)
    for number, phase in enumerate((result.free, result.nudged)):
        for k, volts in enumerate(phase.equilibrium.outputs[0].tolist()):
            assert values[f"o_{k}_{number}"] == pytest.approx(volts, rel=1e-6)


def test_flat_and_norton_form_move_alike(run_ngspice: RunNgspice):
    """At four times during the settling."""
    net, nudge = case("plus")
    times = simulated("plus").time_constant * np.array([0.1, 0.5, 1, 4, 5])
    course = [(0.0, 0.0), *((float(time), 0.0) for time in times[:-1]), (float(times[-1]), 1.0)]
    values = []
    for form in ("flat", "norton"):
        circuit = compile_network(net, INPUTS, [None, nudge.injection(None)], form)
        text = transient_netlist(with_capacitances(circuit, net, FARADS), course, times[-1], times[2], 1e-18)
        values.append(printed(run_ngspice(text)))
    assert len(values[0]) == 10
    assert values[0] == pytest.approx(values[1], rel=1e-4)


def test_power_is_what_ngspices_sources_deliver(run_ngspice: RunNgspice):
    """-v·i of every ideal source in the flat netlist, and of both halves of every amplifier."""
    net, nudge = case("plus")
    nudged = SurrogateSolver().solve(net, INPUTS, nudge)
    rows = [f"{name}_{i}" for name in ("xp", "xn") for i in range(4)]
    hidden = [(layer, j) for layer in (1, 2) for j in range(net.layers[layer])]
    asked = [f"i(v{net})" for net in (*rows, "rail_p", "rail_n", "y_0", "y_1")]
    asked += [f"i(v.xa{layer}_{j}.vsense)" for layer, j in hidden]
    text = static_netlist(compile_network(net, INPUTS, [nudge.injection(None)], "flat"))
    values = run_ngspice(text.replace("\nop\n", "\nop\n" + "".join(f"print {name}\n" for name in asked))).values
    assert set(asked) <= set(values)
    result = power(net, INPUTS, nudged.voltages, nudge.injection(None))
    volts = net.rows(INPUTS)[0]
    by_rows = -sum(v * values[f"i(v{name})"] for v, name in zip(volts, rows, strict=True))
    by_rails = -net.diode.rail * (values["i(vrail_p)"] - values["i(vrail_n)"])
    by_nudge = -sum(TARGETS[0, k] * values[f"i(vy_{k})"] for k in range(2))
    gains = {layer: net.amplifier_gain[layer - 1] for layer in (1, 2)}
    by_amplifiers = sum(
        (gains[layer] - 1 / gains[layer]) * nudged.voltages[layer - 1][0, j] * values[f"i(v.xa{layer}_{j}.vsense)"]
        for layer, j in hidden
    )
    found = [result.rows[0], result.rails[0], result.nudge[0], result.amplifiers[0]]
    np.testing.assert_allclose(found, [by_rows, by_rails, by_nudge, by_amplifiers], rtol=1e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"capacitance": 0.0}, "expected a capacitance of"),
        ({"capacitance": [1e-12, 1e-12]}, "one for each of 3 layers"),
        ({"free_time": -1.0}, "free_time"),
        ({"nudged_time": 0.0}, "nudged_time"),
        ({"inputs": np.zeros((2, 4))}, "one sample"),
        ({"nudge": Nudge(TARGETS, -1.0)}, "indefinite"),
    ],
)
def test_bad_values_are_named(change: dict[str, Any], message: str):
    net, nudge = case("plus")
    with pytest.raises(UserError, match=message):
        settle(net, **{"inputs": INPUTS, "nudge": nudge, **change})
