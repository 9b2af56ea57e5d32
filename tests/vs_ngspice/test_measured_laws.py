"""Laws made from measurements in ngspice: one device at every voltage, and networks of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from eqprop_analog import NgspiceSolver, Nudge, ResistiveNetwork, SurrogateSolver
from eqprop_analog.devices import Antiparallel, DiodeWithResistance, Law, Tabulated
from eqprop_analog.spice.netlist import library

Array = np.ndarray
RunNgspice = Callable[[str], Any]


def table(seed: int, knots: int) -> Tabulated:
    random = np.random.default_rng(seed)
    v = np.cumsum(random.uniform(0.005, 0.05, knots)) - 1
    i = np.cumsum(10 ** random.uniform(-13, -5, knots))
    return Tabulated(tuple(v.tolist()), tuple((i - np.interp(0, v, i)).tolist()), 0.3)


LAWS = [
    DiodeWithResistance(1e-9, 1.3, 2e3, 0.3),
    DiodeWithResistance(1e-14, 1.0, 0.5, 0.6, 85.0),
    table(0, 60),
    table(1, 9),
    Tabulated((-1.0, 0.0, 1.0), (0.0, 0.0, 1e-3), 0.1),
]
each_law = pytest.mark.parametrize("law", LAWS, ids=lambda law: f"{type(law).__name__}")


@each_law
def test_one_device_carries_the_laws_current(law: Any, run_ngspice: RunNgspice) -> None:
    across = np.array([-3.0, -1.2, -0.7, -0.1, -1e-3, 1e-3, 0.1, 0.45, 0.8, 1.3])
    model, parameters = law.spice
    text = law.subcircuit_text() if isinstance(law, Tabulated) else library(model)
    given = " ".join(f"{name}={value!r}" for name, value in parameters.items())
    lines = [
        f"V{k} n{k} 0 {w!r}\nVs{k} n{k} m{k} 0\nX{k} m{k} 0 {model} {given}" for k, w in enumerate(across.tolist())
    ]
    settings = " ".join(f"{name}={value!r}" for name, value in law.options.items() if name != "abstol")
    prints = "\n".join(f"print i(Vs{k})" for k in range(len(across)))
    done = run_ngspice(
        f"* devices\n.options {settings} reltol=1e-12 abstol=1e-18\n{text}\n" + "\n".join(lines) + "\n"
        f".control\nset numdgt=16\nop\n{prints}\nquit 0\n.endc\n.end\n"
    )
    measured = np.array([done.values[f"i(vs{k})"] for k in range(len(across))])
    np.testing.assert_allclose(measured, -law.current(law.rail - across), rtol=1e-10, atol=1e-21)


@each_law
@pytest.mark.parametrize("paired", [False, True])
def test_networks_of_them_are_the_same_in_both_solvers(law: Law, paired: bool) -> None:
    random = np.random.default_rng(0)
    network = ResistiveNetwork.dense(
        [3, 6, 5, 2],
        seed=0,
        diode=Antiparallel(law) if paired else law,
        amplifier_gain=2.0,
        conductance_window=(1e-7, 1e-5),
    )
    x, target = random.uniform(-1, 1, (4, 3)), random.uniform(0, 1, (4, 2))
    nudges = [Nudge(target, 1e-7), Nudge(target, -1e-7)]
    computed = SurrogateSolver().solve_phases(network, x, nudges)
    measured = NgspiceSolver().solve_phases(network, x, nudges)
    for one, other in zip(computed, measured, strict=True):
        one.require()
        other.require()
        assert max(np.abs(a - b).max() for a, b in zip(one.voltages, other.voltages, strict=True)) < 1e-9


@pytest.mark.parametrize("resistance", [1e-3, 1.0, 15.0])
def test_milliamperes_through_a_series_resistance_converge_at_once(
    resistance: float, caplog: pytest.LogCaptureFixture
) -> None:
    network = ResistiveNetwork.dense(
        [16, 16, 4],
        seed=2,
        diode=DiodeWithResistance(2e-9, 1.8, resistance, 0.29),
        conductance_window=(5e-6, 8e-5),
        input_gain=30.0,
    )
    x = np.random.default_rng(2).uniform(0, 1, (20, 16))
    computed, measured = SurrogateSolver().solve(network, x).require(), NgspiceSolver().solve(network, x).require()
    assert not caplog.records
    assert max(np.abs(a - b).max() for a, b in zip(computed.voltages, measured.voltages, strict=True)) < 1e-11
