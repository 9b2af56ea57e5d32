"""One diode's current by its law and by its file in ``circuits/``: the junction's is ngspice's own, constants included."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from eqprop_analog.devices import Clamp, Law, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.spice.netlist import library

Array = np.ndarray
RunNgspice = Callable[[str], Any]
RELATIVE = 1e-12


def currents(run_ngspice: RunNgspice, model: str, parameters: dict[str, float], options: dict, across: Array) -> Array:
    """Current through one device of ``circuits/<model>.lib`` at each of the voltages ``across`` it, A."""
    devices = "\n".join(f"V{k} n{k} 0 {w!r}\nV_sense{k} n{k} m{k} 0\nX{k} m{k} 0 {model} " + " ".join(
        f"{name}={value!r}" for name, value in parameters.items()
    ) for k, w in enumerate(across.tolist()))  # fmt: skip
    prints = "\n".join(f"print i(V_sense{k})" for k in range(len(across)))
    settings = " ".join(f"{name}={value!r}" for name, value in options.items())
    done = run_ngspice(
        f"* one device at every voltage\n.options {settings} reltol=1e-12 abstol=1e-18\n{library(model)}\n{devices}\n"
        f".control\nset numdgt=16\nop\n{prints}\nquit 0\n.endc\n.end\n"
    )
    assert len(done.values) == len(across), done.text
    return np.array([done.values[f"i(v_sense{k})"] for k in range(len(across))])


def law_currents(law: Law, across: Array) -> Array:
    """The same by the law, which gives the current that leaves the node of a diode from the rail: i(v) = -I(rail - v)."""
    return -law.current(law.rail - across)


@pytest.mark.parametrize("celsius", [-40.0, 0.0, 27.0, 85.0, 125.0])
@pytest.mark.parametrize(("saturation", "emission"), [(1e-9, 1.0), (1e-14, 1.0), (3e-7, 2.0)])
def test_the_junction_carries_ngspices_current_forward_reverse_and_deep_in_reverse(
    saturation: float, emission: float, celsius: float, run_ngspice: RunNgspice
) -> None:
    law = NgspiceDiode(saturation, emission, rail=0.0, celsius=celsius)
    thermal = law.thermal_voltage
    forward = thermal * np.array([1e-3, 0.1, 1, 5, 15, 25])
    knee = -3 * thermal * np.array([0.01, 0.5, 0.999, 1.001, 1.5])
    deep = -np.array([0.5, 1.0, 10.0, 100.0])
    across = np.concatenate([forward, knee, deep])
    measured = currents(run_ngspice, *law.spice, law.options, across)
    np.testing.assert_allclose(measured, law_currents(law, across), rtol=RELATIVE, atol=1e-14 * saturation)


@pytest.mark.parametrize("gmin", [1e-12, 1e-9])
def test_gmin_sits_across_the_junction(gmin: float, run_ngspice: RunNgspice) -> None:
    law, across = NgspiceDiode(1e-15, rail=0.0, gmin=gmin), np.array([-50.0, -5.0])
    measured = currents(run_ngspice, *law.spice, law.options, across)
    np.testing.assert_allclose(measured, law_currents(law, across), rtol=1e-9)
    assert (np.abs(measured) > 0.99 * gmin * np.abs(across)).all()


def test_the_constants_of_2019_would_miss_what_the_law_meets(run_ngspice: RunNgspice) -> None:
    law, across = NgspiceDiode(rail=0.0), np.array([0.5])
    measured = currents(run_ngspice, *law.spice, law.options, across)
    newer = 1.380649e-23 * 300.15 / 1.602176634e-19
    wrong = law.saturation_current * np.expm1(across / newer) + law.gmin * across
    assert np.abs(law_currents(law, across) / measured - 1).max() < RELATIVE
    assert np.abs(wrong / measured - 1).max() > 1e-6


@pytest.mark.parametrize("on_resistance", [1e-6, 1.0, 1e4])
def test_the_clamp_is_open_below_zero_and_a_resistance_above(on_resistance: float, run_ngspice: RunNgspice) -> None:
    law, across = Clamp(rail=0.0, on_resistance=on_resistance), np.array([-10.0, -1e-9, 0.0, 1e-9, 1e-3, 0.7])
    measured = currents(run_ngspice, *law.spice, {"gmin": 1e-12}, across)
    np.testing.assert_allclose(measured, law_currents(law, across), rtol=1e-12, atol=0)


@pytest.mark.parametrize("celsius", [-40.0, 27.0, 125.0])
@pytest.mark.parametrize(("saturation", "emission"), [(1e-9, 1.0), (1e-14, 1.7), (3e-7, 2.0)])
def test_the_shockley_junction_is_exponential_in_both_directions(
    saturation: float, emission: float, celsius: float, run_ngspice: RunNgspice
) -> None:
    law = Shockley(saturation, emission, rail=0.0, celsius=celsius)
    thermal = law.thermal_voltage
    across = np.concatenate([thermal * np.array([-3.001, -2.999, -1, -1e-3, 1e-3, 1, 15, 25]), [-0.2, -1, -10, -100]])
    measured = currents(run_ngspice, *law.spice, law.options, across)
    np.testing.assert_allclose(measured, law_currents(law, across), rtol=RELATIVE, atol=1e-14 * saturation)


def test_the_shockley_junction_has_neither_ngspices_reverse_branch_nor_its_gmin(run_ngspice: RunNgspice) -> None:
    across = np.array([-0.1, -100.0])
    shockley, ngspice = Shockley(1e-14, rail=0.0), NgspiceDiode(1e-14, rail=0.0)
    measured = currents(run_ngspice, *shockley.spice, shockley.options, across)
    assert np.abs(measured / law_currents(ngspice, across) - 1).min() > 0.02
    np.testing.assert_allclose(measured[1], -1e-14, rtol=1e-11)


@pytest.mark.parametrize(
    "law", [PiecewiseLinear(rail=0.0), PiecewiseLinear(0.7, 1e4, 1e9, rail=0.0), PiecewiseLinear(0.0, 1e-6, 1e6, 0.0)]
)
def test_the_piecewise_linear_diode_has_its_two_resistances(law: PiecewiseLinear, run_ngspice: RunNgspice) -> None:
    across = np.concatenate([[-10.0, 0.0, 0.05, 5.0], law.threshold + np.array([-1e-9, 1e-9, 1e-3])])
    measured = currents(run_ngspice, *law.spice, {"gmin": 1e-12}, across)
    # Above the threshold, 1 A is the difference of voltages rounded to 1e-16 V over R_on.
    np.testing.assert_allclose(measured, law_currents(law, across), rtol=1e-12, atol=2e-16 / law.on_resistance)
