"""Constitutive laws against their stated formulas, with 50 digits where rounding matters."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, localcontext

import numpy as np
import pytest

from eqprop_analog.devices import (
    LAWS,
    Antiparallel,
    Clamp,
    DiodeWithResistance,
    Law,
    NgspiceDiode,
    PiecewiseLinear,
    Shockley,
    law_from,
    table_of,
)

DIODES = [
    NgspiceDiode(),
    NgspiceDiode(saturation_current=1e-14, emission=1.7, rail=0.6, celsius=85.0),
    NgspiceDiode(saturation_current=1e-7, rail=-0.1, gmin=0.0),
]
EXPONENTIAL = [*DIODES, Shockley(), Shockley(1e-14, 1.7, -0.6, -20.0), Shockley(1e-7, rail=0.0)]
RESISTIVE_CLAMPS = [Clamp(on_resistance=1e3), Clamp(rail=0.3, on_resistance=1e-6)]
PIECEWISE = [PiecewiseLinear(), PiecewiseLinear(0.4, 1e3, 1e7, rail=-0.2)]
PAIRS = [
    Antiparallel(law)
    for law in (
        *(NgspiceDiode(), NgspiceDiode(1e-14, 1.7, -0.6, 85.0), NgspiceDiode(1e-7, rail=0.0, gmin=0.0)),
        *(Shockley(), Shockley(1e-12, rail=-0.5), Shockley(1e-7, 1.4, rail=0.0)),
        *(PiecewiseLinear(rail=0.0), PiecewiseLinear(0.4, 1e3, 1e7, rail=0.5), Clamp(-0.513, 1e-6), Clamp(0.2, 1e4)),
    )
]
IDEAL_CLAMPS = [Clamp(), Clamp(rail=-0.25)]
EVERY = [*EXPONENTIAL, *RESISTIVE_CLAMPS, *PIECEWISE, *PAIRS, *IDEAL_CLAMPS, Antiparallel(Clamp(rail=-0.25))]


def name(law: Law) -> str:
    return f"pair of {name(law.law)}" if isinstance(law, Antiparallel) else type(law).__name__


def each_of(laws: Sequence[Law]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("law", laws, ids=name)


every_diode = each_of(DIODES)
every_pair = each_of(PAIRS)
every_ideal_clamp = each_of(IDEAL_CLAMPS)
smooth_law = each_of([*EXPONENTIAL, *RESISTIVE_CLAMPS, *PIECEWISE, *PAIRS])
every_law = each_of(EVERY)


def single(law: Law) -> Law:
    return law.law if isinstance(law, Antiparallel) else law


def knees(law: Law) -> list[float]:
    """Voltages at which the formula of the law changes."""
    one = single(law)
    own = [one.rail, one.rail + 3 * getattr(one, "thermal_voltage", 0), getattr(one, "knee", one.rail)]
    return own if one is law else [*own, *(-knee for knee in own)]


def saturation(law: Law) -> float:
    return float(getattr(single(law), "saturation_current", 0))


def exact_current(law: Law, v: Decimal) -> Decimal:
    """i(v) by the formulas in ``circuits``, in the precision of the decimal context."""
    if isinstance(law, Antiparallel):
        return exact_current(law.law, v) - exact_current(law.law, -v)
    return -exact_diode(law, Decimal(law.rail) - v)


def exact_diode(law: Law, w: Decimal) -> Decimal:
    """I(w) from anode to cathode."""
    if isinstance(law, Clamp):
        return max(w, Decimal(0)) / Decimal(law.on_resistance)
    if isinstance(law, PiecewiseLinear):
        vth, ron, roff = (Decimal(x) for x in (law.threshold, law.on_resistance, law.off_resistance))
        return w / roff if w <= vth else vth / roff + (w - vth) / ron
    i_s, v_t = Decimal(law.saturation_current), Decimal(law.thermal_voltage)
    gmin = Decimal(law.gmin) if isinstance(law, NgspiceDiode) else Decimal(0)
    if isinstance(law, NgspiceDiode) and w < -3 * v_t:
        return -i_s * (1 + (3 * v_t / (w * Decimal(1).exp())) ** 3) + gmin * w
    return i_s * ((w / v_t).exp() - 1) + gmin * w


def drives(least: float = 0.0, most: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
    """Conductances over 12 decades, or part of them, with sources that drive the node to ±1000 V without the diode."""
    magnitudes = np.concatenate([np.geomspace(1e-3, 1e3, 13), [0.05, 0.2, 0.21, 0.25, 0.278, 0.6, 0.65]])
    volts = np.concatenate([-magnitudes, [0.0], magnitudes])
    decades = np.geomspace(1e-12, 1, 13)
    conductance, open_circuit = np.meshgrid(decades[(decades >= least) & (decades <= most)], volts)
    return conductance.ravel(), (conductance * open_circuit).ravel()


@smooth_law
def test_slope_and_current_are_derivatives_of_current_and_cocontent(law: Law):
    """Gauss-Legendre integrals over intervals without a knee."""
    ends = np.sort(np.concatenate([np.arange(-0.8, 1.5, 0.02) + law.rail, [-5.0, 50.0], knees(law)]))
    left, right = ends[:-1], ends[1:]
    short = right - left < 0.1
    left, right = left[short], right[short]
    points, weights = np.polynomial.legendre.leggauss(16)
    v = 0.5 * (left + right)[:, None] + 0.5 * (right - left)[:, None] * points
    width = 0.5 * (right - left)
    for integrand, integral in ((law.slope, law.current), (law.current, law.cocontent)):
        growth = integral(right) - integral(left)
        scale = np.abs(integral(right)) + np.abs(integral(left)) + max(saturation(law), 1e-9)
        np.testing.assert_array_less(np.abs(width * (integrand(v) @ weights) - growth), 1e-13 * scale)


@smooth_law
def test_current_never_falls_with_voltage_and_no_current_flows_at_the_rail(law: Law):
    """A pair has no current at 0 V."""
    rest, most = (0.0, 3) if isinstance(law, Antiparallel) else (law.rail, 1e3)
    v = np.concatenate([-np.geomspace(3, 1e-9, 200), [0.0], np.geomspace(1e-9, most, 200)]) + rest
    assert (np.diff(law.current(v)) >= 0).all()
    assert (law.slope(v) >= 0).all()
    assert law.current(np.array(rest)) == 0
    assert (law.cocontent(v) >= 0).all()


@smooth_law
def test_law_far_from_the_rail_is_a_number_or_infinite(law: Law):
    """Any starting point is allowed; an overflow causes no warning and no NaN."""
    v = np.array([-1e4, -50.0, 50.0, 1e4])
    for quantity in (law.current, law.slope, law.cocontent):
        assert not np.isnan(quantity(v)).any()
    assert (law.cocontent(v) > 0).tolist() == ([True, True, False, False] if type(law) is Clamp else [True] * 4)


@smooth_law
def test_current_is_the_law_of_its_library_file(law: Law):
    v = np.concatenate([np.linspace(-0.4, 1.2, 33), [-1.0, 5.0]]) + law.rail
    with localcontext(prec=50):
        exact = np.array([float(exact_current(law, Decimal(float(x)))) for x in v])
    rounding = 4e-16 * np.abs(v) * law.slope(np.nextafter(v, -np.inf))
    assert (np.abs(law.current(v) - exact) <= 2e-14 * np.abs(exact) + 2e-15 * saturation(law) + rounding).all()


@every_diode
def test_diode_branches_meet_at_three_thermal_voltages(law: NgspiceDiode):
    """Current, slope and co-content are continuous where the reverse branch begins."""
    knee = law.rail + 3 * law.thermal_voltage
    sides = np.array([knee - 1e-12, knee + 1e-12])
    for quantity in (law.current, law.slope, law.cocontent):
        below, above = quantity(sides)
        assert below == pytest.approx(above, rel=1e-9, abs=0)


@smooth_law
def test_solve_finds_the_root_to_rounding(law: Law):
    """The exact equation changes sign within a few roundings of the voltages and currents in it."""
    conductance, source = drives()
    v = law.solve(conductance, source)
    currents = np.abs(source) + saturation(law)
    if isinstance(law, Antiparallel):
        currents += np.abs(law.law.current(v)) + np.abs(law.law.current(-v))
    stiffness = conductance + law.slope(np.nextafter(v, -np.inf))
    width = 4 * np.finfo(float).eps * (np.abs(v) + abs(law.rail) + currents / stiffness) + 1e-17
    with localcontext(prec=50):
        for g, s, x, d in zip(conductance.tolist(), source.tolist(), v.tolist(), width.tolist(), strict=True):
            low, high = (
                Decimal(g) * w + exact_current(law, w) - Decimal(s)
                for w in (Decimal(x) - Decimal(d), Decimal(x) + Decimal(d))
            )
            assert low < 0 < high, f"conductance {g}, source {s}: {x} V is not the root"


@every_law
def test_solve_balances_the_node(law: Law):
    """``source`` = conductance·v + diode current by the law; an error is measured by the corresponding voltage."""
    conductance, source = drives()
    v = law.solve(conductance, source)
    slope = law.slope(v)
    left_over = law.mismatch(v, source - conductance * v)
    stiffness = conductance + np.where(np.isfinite(slope), slope, 0)
    np.testing.assert_array_less(np.abs(left_over) / stiffness, 1e-14 * (np.abs(v) + np.abs(source / conductance) + 1))


@every_law
def test_solve_in_single_precision_is_the_root_rounded(law: Law):
    """Exact to a few roundings of the voltages, even if only the reverse current determines the node."""
    conductance, source = drives(0.9e-9, 1.1e-3)
    single_conductance, single_source = conductance.astype(np.float32), source.astype(np.float32)
    v = law.solve(single_conductance.astype(float), single_source.astype(float))
    scale = max(abs(law.rail), getattr(single(law), "thermal_voltage", 0))
    rounding = np.spacing(np.maximum(np.abs(v), scale).astype(np.float32))
    assert (np.abs(law.solve(single_conductance, single_source) - v) <= 3 * rounding).all()


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


@each_of([*EXPONENTIAL, *PIECEWISE, *PAIRS])
def test_only_ideal_clamps_need_a_stand_in(law: Law):
    assert law.in_spice() == law


def test_a_pair_of_ideal_clamps_becomes_a_pair_of_stand_ins():
    assert Antiparallel(Clamp(-0.25)).in_spice() == Antiparallel(Clamp(-0.25, 1e-6))


@every_pair
def test_a_pair_is_odd_and_the_difference_of_its_two_diodes(law: Antiparallel):
    v = np.linspace(-1, 1, 41)
    np.testing.assert_array_equal(law.current(v), law.law.current(v) - law.law.current(-v))
    np.testing.assert_array_equal(law.current(-v), -law.current(v))
    conductance, source = drives()
    np.testing.assert_array_equal(law.solve(conductance, -source), -law.solve(conductance, source))


def test_a_pair_of_shockley_junctions_is_a_hyperbolic_sine():
    """i(v) = 2 I_S exp(rail/V) sinh(v/V)."""
    law = Shockley(1e-9, 1.3, rail=0.1)
    v, v_t = np.linspace(-0.5, 0.5, 41), law.thermal_voltage
    expected = 2e-9 * np.exp(0.1 / v_t) * np.sinh(v / v_t)
    np.testing.assert_allclose(Antiparallel(law).current(v), expected, rtol=1e-13, atol=1e-21)


def test_a_pair_of_ideal_clamps_clips():
    conductance, source = drives()
    law = Antiparallel(Clamp(rail=-0.25))
    v = law.solve(conductance, source)
    np.testing.assert_array_equal(v, np.clip(source / conductance, -0.25, 0.25))
    np.testing.assert_array_equal(law.mismatch(v, source - conductance * v), 0)


def test_a_pair_of_thresholds_leaves_the_node_alone_between_them():
    law = Antiparallel(PiecewiseLinear(threshold=0.15, rail=0.0))
    v = law.solve(np.full(5, 1e-6), 1e-6 * np.array([-3.0, -0.14, 0.0, 0.14, 3.0]))
    np.testing.assert_allclose(v, [-0.15, -0.14, 0.0, 0.14, 0.15], atol=1e-5)


@pytest.mark.parametrize("rail", [0.0, 0.3])
def test_ideal_clamps_that_leave_nothing_between_them_are_refused(rail: float):
    with pytest.raises(ValueError, match="rail below 0 V"):
        Antiparallel(Clamp(rail))


@each_of(EVERY)
def test_a_table_makes_the_law_again(law: Law):
    assert law_from(table_of(law)) == law


def test_a_table_names_law_and_arrangement():
    assert law_from({"law": "shockley"}) == law_from({"law": "shockley", "arrangement": "single"}) == Shockley()
    assert law_from({"law": "clamp", "rail": -1.0, "arrangement": "antiparallel"}) == Antiparallel(Clamp(-1.0))
    assert [type(law_from({"law": name})) for name in LAWS if name != "table"] == [
        *(Clamp, PiecewiseLinear, Shockley, NgspiceDiode),
        DiodeWithResistance,
    ]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, 'law "None" is unknown; there are clamp, piecewise-linear, shockley, ngspice'),
        (
            {"law": "shockley", "arrangement": "parallel"},
            'arrangement "parallel" is unknown; there are single, antipar',
        ),
        ({"law": "shockley", "gmin": 1e-12}, "parameters of law shockley: .*gmin"),
        ({"law": "shockley", "saturation_current": 0}, "saturation_current must be between"),
        ({"law": "piecewise-linear", "off_resistance": 0.5}, "off_resistance must not be below on_resistance"),
        ({"law": "piecewise-linear", "on_resistance": "1"}, "on_resistance: expected a finite number"),
        ({"law": "clamp", "arrangement": "antiparallel"}, "parameters of law clamp: .* rail below 0 V"),
    ],
)
def test_a_table_that_describes_no_law_is_refused(table: dict, words: str):
    with pytest.raises(ValueError, match=words):
        law_from(table)
