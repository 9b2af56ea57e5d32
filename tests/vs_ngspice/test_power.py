"""Power that ngspice measures at every device, against the balance and against the surrogate; settling against ``.tran``."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from eqprop_analog import Clamp, Nudge, ResistiveNetwork, UserError
from eqprop_analog.devices import Antiparallel, Law, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.networks.resistive.netlist import compile_network
from eqprop_analog.networks.resistive.ngspice_power import meters
from eqprop_analog.networks.resistive.power_report import EnergyReport, energy_report
from eqprop_analog.networks.resistive.transient import Waveforms, _settling_time, settle

CASES: dict[str, tuple[list[int], dict[str, Any]]] = {
    "diode": ([16, 12, 4], {"amplifier_gain": 3.0, "bias": 1e-7, "bias_row": -1.5}),
    "linear": ([5, 3], {"bias": 1e-7}),
    "deep": ([6, 8, 5, 3], {"amplifier_gain": [3.0, 0.5], "diode": Shockley()}),
    "pairs": ([6, 8, 4], {"outputs": "pairs", "amplifier_gain": 4.0, "diode": Antiparallel(NgspiceDiode(rail=-0.1))}),
    "ideal": ([6, 8, 3], {"diode": Clamp(), "amplifier_gain": 2.0}),
    "piecewise": ([6, 8, 3], {"diode": PiecewiseLinear(), "amplifier_gain": 2.0}),
}


@cache
def reported(name: str, **settings: Any) -> EnergyReport:
    layers, options = CASES[name]
    network = ResistiveNetwork.dense(layers, 1, input_gain=3.0, **options)
    random = np.random.default_rng(4)
    inputs, targets = random.uniform(-1, 1, (2, layers[0])), random.normal(size=(2, network.classes))
    return energy_report(network, inputs, targets, 0.4 * network.stiffness_bound(), **settings)


@pytest.mark.parametrize("name", CASES)
def test_every_part_is_what_ngspice_measures_and_all_of_them_balance(name: str):
    report = reported(name, ngspice=True)
    assert report.imbalance <= 1e-9
    assert report.difference <= 1e-9
    for phase in report.phases:
        measured = phase.measured.power
        assert (measured.crossbars > 0).all()
        assert (np.abs(measured.nudge) > 0).all() == (phase is not report.phases[0])
        if name not in ("linear", "ideal"):
            assert (measured.diodes > 0).any()
        np.testing.assert_allclose(measured.dissipated, phase.power.dissipated, rtol=1e-6)  # ideal clamps: a stand-in


def test_every_device_of_the_netlist_is_metered_once():
    layers, options = CASES["diode"]
    network = ResistiveNetwork.dense(layers, 1, **options)
    nudge = Nudge(np.ones((1, 4)), 1e-7)
    circuit = compile_network(network, np.ones((1, 16)), [nudge.injection(None)], "flat")
    found = list(meters(circuit))
    assert len({vectors for _, vectors in found}) == len(found)
    count = {part: sum(name == part for name, _ in found) for part, _ in found}
    resistors = [int(np.count_nonzero(matrix)) for matrix in network.conductances]
    assert count == {
        "input rows": 33,
        "bias rails": 2,
        "bias currents": 16,
        "nudge": 4,
        "nudge's conductances": 4,
        "crossbar 1": resistors[0],
        "crossbar 2": resistors[1],
        "diodes": 12,
        "amplifiers' supply": 3 * 12,
    }


def test_energies_are_power_times_settling_time():
    one, slower = reported("deep", fraction=0.01), reported("deep", capacitance=(1e-11,), fraction=0.01)
    phases = one.phases
    for phase, late in zip(phases, slower.phases, strict=True):
        np.testing.assert_allclose(phase.settling_time, np.log(100) * phase.time_constant)
        passive = phase.power.crossbars.sum(axis=1) + phase.power.diodes + np.maximum(phase.power.nudge_conductances, 0)
        np.testing.assert_allclose(phase.energy, passive * phase.settling_time)
        np.testing.assert_allclose(late.settling_time, 10 * phase.settling_time)
        assert (phase.settling_time <= phase.longest).all()
    np.testing.assert_allclose(one.inference, phases[0].energy)
    np.testing.assert_allclose(one.training, sum(phase.energy for phase in phases))
    squares = [(v**2).sum(axis=1) for v in phases[0].equilibrium.voltages]
    np.testing.assert_allclose(one.stored, 0.5e-12 * sum(squares))


def settling_times(result: Waveforms, fraction: float) -> list[float]:
    """Seconds after which every node stays within ``fraction`` of the largest change of its phase."""
    times = []
    for phase in (result.free, result.nudged):
        within = (result.time >= phase.begin) & (result.time <= phase.end)
        voltages = np.concatenate(result.voltages, axis=1)[within]
        change = np.abs(voltages[-1] - voltages[0]).max()
        times.append(_settling_time(result.time[within] - phase.begin, (voltages,), fraction * change))
    return times


@pytest.mark.parametrize("sign", [1, -1])
def test_one_node_settles_after_its_time_constants(sign: int):
    """RC ln(1/fraction), in ``.tran`` too."""
    network = ResistiveNetwork.dense([2, 1], 0)
    inputs, target, conductance = np.array([[1.0, 0.5]]), np.array([[2.0]]), network.conductances[0].sum()
    beta = 0.3 * sign * conductance
    report = energy_report(network, inputs, target, abs(beta), (2e-12,))
    seconds = [report.phases[k].settling_time.item() for k in (0, 1 if sign > 0 else 2)]
    expected = [np.log(1000) * 2e-12 / g for g in (conductance, conductance + beta)]
    assert seconds == pytest.approx(expected, rel=1e-9)
    assert settling_times(settle(network, inputs, Nudge(target, beta), 2e-12), 1e-3) == pytest.approx(seconds, rel=0.02)


@pytest.mark.parametrize(
    ("sign", "diode"),
    [(1, NgspiceDiode()), (-1, Clamp(rail=0.1, on_resistance=1e4))],
    ids=["plus-ngspice", "minus-clamp"],
)
def test_settling_time_is_that_of_the_transient_where_one_mode_dominates(sign: int, diode: Law):
    network = ResistiveNetwork.dense([16, 12, 4], 1, amplifier_gain=3.0, input_gain=5.0, diode=diode)
    inputs = np.random.default_rng(1).uniform(0, 1, (1, 16))
    nudge = Nudge(np.eye(4)[:1], 0.3 * sign * network.stiffness_bound())
    report = energy_report(network, inputs, nudge.target, abs(nudge.beta))
    expected = [report.phases[k].settling_time.item() for k in (0, 1 if sign > 0 else 2)]
    assert settling_times(settle(network, inputs, nudge), 1e-3) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("name", ["diode", "deep"])
def test_nothing_takes_longer_than_the_bound(name: str):
    """√(Σ γ C ΔV²) from the equilibrium decreases at least as fast as with all diodes blocking, at every time."""
    layers, options = CASES[name]
    network = ResistiveNetwork.dense(layers, 1, input_gain=3.0, **options)
    random = np.random.default_rng(4)
    inputs, target = random.uniform(-1, 1, (1, layers[0])), random.normal(size=(1, layers[-1]))
    nudge = Nudge(target, 0.4 * network.stiffness_bound())
    result = settle(network, inputs, nudge)
    weight = np.sqrt(np.repeat(network.gammas, layers[1:]))
    bounds = [phase.longest / np.log(1000) for phase in energy_report(network, inputs, target, nudge.beta).phases]
    voltages = np.concatenate(result.voltages, axis=1)
    for phase, bound in zip((result.free, result.nudged), bounds, strict=False):
        begin = phase.begin + (result.rise_time if phase is result.nudged else 0)
        during = (result.time >= begin) & (result.time <= phase.end)
        distance = weight * (voltages[during] - np.concatenate(phase.equilibrium.voltages, axis=1))
        left = np.linalg.norm(distance, axis=1)
        time = result.time[during] - result.time[during][0]
        assert (left <= left[0] * (np.exp(-time / bound) + 1e-4)).all()
        assert left[-1] < 1e-3 * left[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"capacitance": (1e-12, 1e-12)}, "one for each of 3 layers"),
        ({"capacitance": (0.0,)}, "positive numbers in farads"),
        ({"fraction": 1.0}, "between 0 and 1"),
    ],
)
def test_bad_values_are_named(change: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        reported("deep", **change)


def test_a_circuit_that_ngspice_does_not_solve_in_time_is_no_result():
    with pytest.raises(UserError, match="did not solve the flat circuit"):
        reported("linear", ngspice=True, time_limit=1e-3)


def test_the_nudges_own_power_follows_from_targets_and_outputs():
    report = reported("linear", ngspice=True)
    random = np.random.default_rng(4)
    random.uniform(-1, 1, (2, 5))
    y = random.normal(size=(2, 3))
    for sign, phase in zip((1, -1), report.phases[1:], strict=True):
        drop, measured = y - phase.equilibrium.outputs, phase.measured.power
        np.testing.assert_allclose(measured.nudge_conductances, sign * report.beta * (drop**2).sum(axis=1), rtol=1e-9)
        np.testing.assert_allclose(measured.nudge, sign * report.beta * (y * drop).sum(axis=1), rtol=1e-9)
