"""Constitutive laws against their stated formulas, in 50 digits where rounding is the question."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, localcontext

import numpy as np
import pytest

from eqprop_analog.devices import Clamp, Law, NgspiceDiode

DIODES = [
    NgspiceDiode(),
    NgspiceDiode(saturation_current=1e-14, emission=1.7, rail=0.6, celsius=85.0),
    NgspiceDiode(saturation_current=1e-7, rail=-0.1, gmin=0.0),
]
RESISTIVE_CLAMPS = [Clamp(on_resistance=1e3), Clamp(rail=0.3, on_resistance=1e-6)]
IDEAL_CLAMPS = [Clamp(), Clamp(rail=-0.25)]


def each_of(laws: Sequence[Law]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("law", laws, ids=lambda law: type(law).__name__)


every_diode = each_of(DIODES)
every_ideal_clamp = each_of(IDEAL_CLAMPS)
smooth_law = each_of([*DIODES, *RESISTIVE_CLAMPS])
every_law = each_of([*DIODES, *RESISTIVE_CLAMPS, *IDEAL_CLAMPS])


def knees(law: Law) -> list[float]:
    """Voltages at which the formula of the law changes."""
    return [law.rail, law.rail + 3 * law.thermal_voltage] if isinstance(law, NgspiceDiode) else [law.rail]


def exact_current(law: NgspiceDiode, v: Decimal) -> Decimal:
    """i(v) by the formulas in ``circuits/diode.lib``, in the precision of the decimal context."""
    i_s, v_t, gmin = Decimal(law.saturation_current), Decimal(law.thermal_voltage), Decimal(law.gmin)
    w = Decimal(law.rail) - v
    if w >= -3 * v_t:
        return -(i_s * ((w / v_t).exp() - 1) + gmin * w)
    return i_s * (1 + (3 * v_t / (w * Decimal(1).exp())) ** 3) - gmin * w


def drives(least: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Conductances over 12 decades, from ``least``, with sources that alone would drive the node to 0 V ... ±1000 V."""
    magnitudes = np.concatenate([np.geomspace(1e-3, 1e3, 13), [0.05, 0.2, 0.21, 0.25, 0.278, 0.6, 0.65]])
    volts = np.concatenate([-magnitudes, [0.0], magnitudes])
    decades = np.geomspace(1e-12, 1, 13)
    conductance, open_circuit = np.meshgrid(decades[decades >= least], volts)
    return conductance.ravel(), (conductance * open_circuit).ravel()


@smooth_law
def test_slope_and_current_are_derivatives_of_current_and_cocontent(law: Law):
    """Gauss-Legendre integrals over intervals that no knee divides."""
    ends = np.sort(np.concatenate([np.arange(-0.4, 1.5, 0.02) + law.rail, [-5.0, 50.0], knees(law)]))
    left, right = ends[:-1], ends[1:]
    short = right - left < 0.1
    left, right = left[short], right[short]
    points, weights = np.polynomial.legendre.leggauss(16)
    v = 0.5 * (left + right)[:, None] + 0.5 * (right - left)[:, None] * points
    width = 0.5 * (right - left)
    for integrand, integral in ((law.slope, law.current), (law.current, law.cocontent)):
        growth = integral(right) - integral(left)
        scale = np.abs(integral(right)) + np.abs(integral(left)) + getattr(law, "saturation_current", 1e-9)
        np.testing.assert_array_less(np.abs(width * (integrand(v) @ weights) - growth), 1e-13 * scale)


@smooth_law
def test_current_never_falls_with_voltage_and_no_current_flows_at_the_rail(law: Law):
    v = np.concatenate([-np.geomspace(3, 1e-9, 200), [0.0], np.geomspace(1e-9, 1e3, 200)]) + law.rail
    assert (np.diff(law.current(v)) >= 0).all()
    assert (law.slope(v) >= 0).all()
    assert law.current(np.array(law.rail)) == 0
    assert (law.cocontent(v) >= 0).all()


@smooth_law
def test_law_far_from_the_rail_is_a_number_or_infinite(law: Law):
    """Starting points may be anywhere; an overflow is no warning, and nothing is NaN."""
    v = np.array([-1e4, -50.0, 50.0, 1e4])
    for quantity in (law.current, law.slope, law.cocontent):
        assert not np.isnan(quantity(v)).any()
    assert (law.cocontent(v) > 0).tolist() == (
        [True] * 4 if isinstance(law, NgspiceDiode) else [True, True, False, False]
    )


@every_diode
def test_diode_current_is_the_law_of_its_library_file(law: NgspiceDiode):
    v = np.concatenate([np.linspace(-0.4, 1.2, 33), [-1.0, 5.0, 1e3]]) + law.rail
    with localcontext(prec=50):
        exact = np.array([float(exact_current(law, Decimal(float(x)))) for x in v])
    np.testing.assert_allclose(law.current(v), exact, rtol=1e-14, atol=1e-15 * law.saturation_current)


@every_diode
def test_diode_branches_meet_at_three_thermal_voltages(law: NgspiceDiode):
    """Current, slope and co-content are continuous where the reverse branch begins."""
    knee = law.rail + 3 * law.thermal_voltage
    sides = np.array([knee - 1e-12, knee + 1e-12])
    for quantity in (law.current, law.slope, law.cocontent):
        below, above = quantity(sides)
        assert below == pytest.approx(above, rel=1e-9, abs=0)


@every_diode
def test_diode_solve_finds_the_root_to_rounding(law: NgspiceDiode):
    """The exact equation changes sign within a few roundings of the voltages and currents in it."""
    conductance, source = drives()
    v = law.solve(conductance, source)
    currents = np.abs(source) + law.saturation_current
    width = 4 * np.finfo(float).eps * (np.abs(v) + abs(law.rail) + currents / (conductance + law.slope(v)))
    with localcontext(prec=50):
        for g, s, x, d in zip(conductance.tolist(), source.tolist(), v.tolist(), width.tolist(), strict=True):
            low, high = (
                Decimal(g) * w + exact_current(law, w) - Decimal(s)
                for w in (Decimal(x) - Decimal(d), Decimal(x) + Decimal(d))
            )
            assert low < 0 < high, f"conductance {g}, source {s}: {x} V is not the root"


@every_law
def test_solve_balances_the_node(law: Law):
    """Source = conductance·v + diode current, as the law itself judges it; an error counts by the voltage it stands for."""
    conductance, source = drives()
    v = law.solve(conductance, source)
    slope = law.slope(v)
    left_over = law.mismatch(v, source - conductance * v)
    stiffness = conductance + np.where(np.isfinite(slope), slope, 0)
    np.testing.assert_array_less(np.abs(left_over) / stiffness, 1e-14 * (np.abs(v) + np.abs(source / conductance) + 1))


@every_law
def test_solve_in_single_precision_is_close_to_double(law: Law):
    """Over the conductances that learning uses: a saturated diode is no current source there."""
    conductance, source = drives(10 * getattr(law, "saturation_current", 0))
    v = law.solve(conductance, source)
    single = law.solve(conductance.astype(np.float32), source.astype(np.float32))
    np.testing.assert_allclose(single, v, rtol=1e-5, atol=1e-5)


@every_law
@pytest.mark.parametrize("quantity", ["current", "slope", "cocontent", "solve", "mismatch"])
def test_law_keeps_single_precision(law: Law, quantity: str):
    v = np.array([law.rail + 0.5, law.rail, law.rail - 0.25], np.float32)
    arguments = {"solve": (np.full_like(v, 1e-6), v), "mismatch": (v, v)}.get(quantity, (v,))
    assert getattr(law, quantity)(*arguments).dtype == np.float32


@every_ideal_clamp
def test_ideal_clamp_holds_the_rail_or_carries_nothing(law: Clamp):
    """v >= rail, i <= 0, and one of the two with equality."""
    conductance, source = drives()
    v = law.solve(conductance, source)
    assert (v >= law.rail).all()
    held = v == law.rail
    assert (source[held] <= conductance[held] * law.rail).all()
    np.testing.assert_array_equal(v[~held], (source / conductance)[~held])
    np.testing.assert_array_equal(law.current(v), 0)
    np.testing.assert_array_equal(law.cocontent(v), 0)
    assert law.cocontent(np.array(law.rail - 1e-9)) == np.inf


@every_ideal_clamp
def test_stand_in_of_the_clamp_tends_to_the_clamp(law: Clamp):
    """It differs by the voltage that the clamp's current drops across R_on: less than R_on·|source - G·rail|."""
    conductance, source = drives()
    ideal = law.solve(conductance, source)
    excess = np.maximum(conductance * law.rail - source, 0)
    for on_resistance in (1.0, 1e-3, 1e-6):
        v = replace(law, on_resistance=on_resistance).solve(conductance, source)
        rounding = 1e-15 * (np.abs(ideal) + abs(law.rail))
        assert (ideal - v >= -rounding).all()
        assert (ideal - v <= on_resistance * excess * (1 + 1e-12) + rounding).all()
    assert law.in_spice() == replace(law, on_resistance=1e-6)
    assert law.in_spice().in_spice() == law.in_spice()


def test_diode_is_its_own_model_in_spice():
    assert NgspiceDiode().in_spice() == NgspiceDiode()
