"""The memristor of Yakopcic et al. 2011 by its law and by its file in ``circuits/``: current, and the state as it is written."""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from eqprop_analog import UserError
from eqprop_analog.devices.conductance.yakopcic2011 import Yakopcic2011
from eqprop_analog.spice.memristors import PulsedCrossbar
from eqprop_analog.spice.netlist import library

RunNgspice = Callable[[str], Any]
OTHER = Yakopcic2011(0.2, 0.1, 0.3, 0.5, 0.8, 900.0, 2500.0, 0.2, 0.7, 3.0, 2.0, eta=-1)
"""No published device: everything differs from the defaults, and the two polarities from each other."""
PARAMETER = re.compile(r"(\w+)=(\S+)")
devices = pytest.mark.parametrize("law", [Yakopcic2011(), OTHER], ids=["Oblea 2010", "other"])


def instance(law: Yakopcic2011) -> str:
    name, parameters = law.spice
    return name + "".join(f" {key}={value!r}" for key, value in parameters.items())


def test_the_files_defaults_are_the_laws() -> None:
    name, parameters = Yakopcic2011().spice
    defaults = dict(PARAMETER.findall(library(name).split("params:")[1].splitlines()[0]))
    assert {key: float(value) for key, value in defaults.items() if key != "x0"} == parameters


@devices
def test_the_current_at_every_state_is_ngspices(law: Yakopcic2011, run_ngspice: RunNgspice) -> None:
    v, x = (grid.ravel() for grid in np.meshgrid([-2.0, -0.45, -1e-3, 1e-4, 0.1, 0.7, 3.0], [1e-3, 0.11, 0.5, 1.0]))
    lines = "\n".join(
        f"V{k} n{k} 0 {volts!r}\nV_sense{k} n{k} m{k} 0\nV_state{k} s{k} 0 {state!r}\nX{k} m{k} 0 s{k} {instance(law)}"
        for k, (volts, state) in enumerate(zip(v.tolist(), x.tolist(), strict=True))
    )
    prints = "\n".join(f"print i(V_sense{k}) i(V_state{k})" for k in range(len(v)))
    done = run_ngspice(
        f"* every voltage at every state\n.options reltol=1e-12 abstol=1e-18\n{library('yakopcic2011')}\n{lines}\n"
        f".control\nset numdgt=16\nop\n{prints}\nquit 0\n.endc\n.end\n"
    )
    currents, rates = (np.array([done.values[f"i(v_{name}{k})"] for k in range(len(v))]) for name in ("sense", "state"))
    np.testing.assert_allclose(currents, law.current(v, x), rtol=1e-9)
    np.testing.assert_allclose(rates, law.rate(v, x), rtol=1e-9, atol=1e-9)
    assert np.count_nonzero(rates) >= 10


@devices
def test_a_train_of_write_pulses_moves_the_state_as_the_differential_equation_does(
    law: Yakopcic2011, run_ngspice: RunNgspice
) -> None:
    ms, ramp = 1e-3, 1e-5
    start = 0.11 if law.eta > 0 else 0.6
    levels = [0.45, 0.0, 0.45, -0.45, 0.1, -0.45] if law.eta > 0 else [-1.2, 0.0, -1.2, 1.0, 0.2, 1.0]
    widths = [0.3 * ms, 0.1 * ms, 0.4 * ms, 0.3 * ms, 0.1 * ms, 0.5 * ms]
    corners = [(0.0, 0.0)]
    for level, width in zip(levels, widths, strict=True):
        corners += [(corners[-1][0] + ramp, level), (corners[-1][0] + ramp + width, level)]
    times, volts = (np.array(column) for column in zip(*corners, strict=True))
    samples = np.linspace(0.05 * ms, times[-1] - 0.01 * ms, 15)

    def rate(time: float, state: np.ndarray) -> np.ndarray:
        return law.rate(np.interp(time, times, volts), state)

    expected, state = [], np.array([start])
    for begin, end in pairwise(times):
        within = samples[(begin < samples) & (samples <= end)]
        solution = solve_ivp(rate, (begin, end), state, t_eval=[*within, end], rtol=1e-10, atol=1e-12)
        expected += solution.y[0, : len(within)].tolist()
        state = solution.y[:, -1]
    assert np.ptp(expected) > 0.3

    wave = " ".join(f"{time!r} {level!r}" for time, level in corners)
    measures = "\n".join(
        f"meas tran x{k} find v(state) at={time!r}\nmeas tran i{k} find i(V_sense) at={time!r}"
        for k, time in enumerate(samples.tolist())
    )
    done = run_ngspice(
        f"* write pulses\n.options reltol=1e-7 vntol=1e-9\n{library('yakopcic2011')}\nVin in 0 pwl({wave})\n"
        f"V_sense in te 0\nX1 te 0 state {instance(law)} x0={start!r}\n"
        f".control\ntran 1u {float(times[-1])!r} 0 1u uic\n{measures}\nquit 0\n.endc\n.end\n"
    )
    found = dict(line.split("=") for line in done.text.splitlines() if line[:1] in "xi" and "e" in line and "=" in line)
    values = {name.strip(): float(text.split()[0]) for name, text in found.items()}
    states = np.array([values[f"x{k}"] for k in range(len(samples))])
    currents = np.array([values[f"i{k}"] for k in range(len(samples))])
    np.testing.assert_allclose(states, expected, rtol=1e-3)
    np.testing.assert_allclose(
        currents, law.current(np.interp(samples, times, volts), np.array(expected)), rtol=1e-3, atol=1e-9
    )


STATES = 0.05, 0.95
VOLTS, WIDTH = 0.29, 1e-4


def followed(crossbar: PulsedCrossbar, writes: list[tuple[int, int, int]]) -> np.ndarray:
    """States after every pulse by the pulse law."""
    law = crossbar.device.pulses(crossbar.volts, crossbar.width, STATES)
    place = (crossbar.states - STATES[0]) / np.ptp(STATES)
    moments = [place.copy()]
    for i, j, sign in writes:
        pulses = np.zeros(place.shape)
        pulses[i, j] = sign
        law.move(place, pulses, np.zeros(()), np.ones(()))
        moments.append(place.copy())
    return STATES[0] + np.ptp(STATES) * np.array(moments)


def test_cells_of_a_crossbar_are_pulsed_one_by_one_as_the_pulse_law_says_and_no_other_cell_moves() -> None:
    random = np.random.default_rng(0)
    crossbar = PulsedCrossbar(Yakopcic2011(), random.uniform(0.2, 0.6, (3, 2)), VOLTS, WIDTH)
    writes = [(int(random.integers(3)), int(random.integers(2)), int(sign)) for sign in random.choice([1, 1, -1], 50)]
    states = crossbar.written(writes)
    np.testing.assert_allclose(states, followed(crossbar, writes), rtol=0, atol=1e-3)
    assert np.ptp(states[-1] - states[0]) > 0.05
    for moment, (i, j, sign) in enumerate(writes):
        change = states[moment + 1] - states[moment]
        assert sign * change[i, j] > 0
        change[i, j] = 0
        assert np.abs(change).max() < 1e-6


def test_lines_with_resistance_write_less() -> None:
    start, writes = np.full((2, 2), 0.3), [(0, 0, 1)] * 10
    ideal, lossy = (PulsedCrossbar(Yakopcic2011(), start, VOLTS, WIDTH, ohms) for ohms in (0.0, 20.0))
    moved = [each.written(writes)[-1, 0, 0] - 0.3 for each in (ideal, lossy)]
    assert 0 < moved[1] < 0.95 * moved[0]


def test_the_netlist_runs_as_it_stands(run_ngspice: RunNgspice) -> None:
    crossbar = PulsedCrossbar(Yakopcic2011(), np.full((1, 2), 0.3), VOLTS, WIDTH)
    netlist = crossbar.netlist([(0, 1, 1)])
    end = crossbar.slot * (1 - 1e-9)
    meas = "".join(f".meas tran found{j} find v(x0_{j}) at={end!r}\n" for j in range(2))
    done = run_ngspice(netlist.replace(".end\n", f"{meas}.end\n"))
    found = [float(re.search(rf"found{j}\s*=\s*(\S+)", done.text)[1]) for j in range(2)]
    np.testing.assert_allclose(found, crossbar.written([(0, 1, 1)])[-1, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"volts": 0.14}, "above 0.16 V"),
        ({"volts": 0.35}, "at most 0.3 V"),
        ({"states": np.ones((2, 2))}, "between 0 and 1"),
        ({"width": 0}, "width"),
        ({"line_resistance": -1}, "line_resistance"),
    ],
)
def test_pulses_that_move_other_cells_or_none_are_refused(changes: dict, words: str) -> None:
    settings = {"states": np.full((2, 2), 0.5), "volts": VOLTS, "width": WIDTH}
    with pytest.raises(UserError, match=words):
        PulsedCrossbar(Yakopcic2011(), **{**settings, **changes})
    with pytest.raises(UserError, match="write 0"):
        PulsedCrossbar(Yakopcic2011(), **settings).netlist([(2, 0, 1)])
