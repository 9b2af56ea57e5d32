"""Laws of the pulses that change a conductance: they return, they stop at bounds, they compose, they are counted."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqprop_analog.devices.conductance import ExponentialPulses, LinearPulses, PulseLaw, SoftBounds, TablePulses

LOW, HIGH = np.array(1e-6), np.array(9e-5)
SPAN = float(HIGH - LOW)
RANDOM = np.random.default_rng(0)
"""For laws that draw nothing."""
linear = st.builds(LinearPulses, st.floats(10, 1e4))
soft = st.builds(SoftBounds, st.floats(1e-4, 0.5), st.floats(1e-4, 0.5), st.just("exact"))
nonlinearities = st.floats(0.01, 8) | st.floats(-8, -0.01)
exponential = st.builds(
    ExponentialPulses, nonlinearities, nonlinearities, st.floats(10, 500), st.floats(10, 500), st.just("exact")
)
inner = st.lists(st.floats(0.01, 0.99), min_size=1, max_size=6, unique_by=lambda value: round(value, 3)).map(sorted)
tables = st.builds(
    lambda up, down, count: TablePulses((0.0, *up, 1.0), (1.0, *reversed(down), 0.0), count, 2 * count, "exact"),
    inner,
    inner,
    st.floats(10, 500),
)
laws = st.one_of(linear, soft, exponential, tables)
bounded = st.one_of(soft, exponential)
places = st.floats(0, 1)


def at(*fractions: float) -> np.ndarray:
    return LOW + SPAN * np.array(fractions)


def after(law: PulseLaw, start: np.ndarray, *pulses: float) -> np.ndarray:
    conductance = start.copy()
    for n in pulses:
        law.apply(conductance, np.full_like(conductance, n), LOW, HIGH, RANDOM)
    return conductance


def symmetric_point(law: SoftBounds | ExponentialPulses) -> float:
    """Where the moves up, u (U - G), and down, d (G - L), are equal: a pulse moves by these parts of both distances."""
    if isinstance(law, SoftBounds):
        u, d, upper, lower = law.up, law.down, HIGH, LOW
    else:
        u, d = (-np.expm1(-nu / pulses) for nu, pulses in ((law.up, law.pulses_up), (law.down, law.pulses_down)))
        upper, lower = LOW - SPAN / np.expm1(-law.up), HIGH + SPAN / np.expm1(-law.down)
    return float((u * upper + d * lower) / (u + d))


@given(linear, places, st.floats(0, 1))
def test_linear_pulses_up_then_down_return(law: LinearPulses, place: float, part: float) -> None:
    n = part * (1 - place) * law.pulses
    np.testing.assert_allclose(after(law, at(place), n, -n), at(place), rtol=0, atol=1e-14 * SPAN)


@given(laws, places, st.floats(0, 200))
def test_a_train_of_pulses_is_its_pulses_one_after_the_other(law: PulseLaw, place: float, n: float) -> None:
    for sign in (1, -1):
        whole = after(law, at(place), sign * n)
        parts = after(law, at(place), 0.25 * sign * n, 0.75 * sign * n)
        np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-9 * SPAN)


@given(laws, places, st.floats(-1e4, 1e4))
def test_no_law_leaves_the_window_and_pulses_up_never_lower(law: PulseLaw, place: float, n: float) -> None:
    start = at(place)
    moved = after(law, start, n)
    assert LOW <= moved <= HIGH
    assert np.sign(n) * (moved - start) >= 0


@given(laws, places)
def test_no_pulse_is_no_change_to_the_last_bit(law: PulseLaw, place: float) -> None:
    np.testing.assert_array_equal(after(law, at(place), 0.0), at(place))


@given(soft, st.integers(1, 40))
def test_soft_bounds_leave_a_power_of_the_distance(law: SoftBounds, n: int) -> None:
    stepped = at(0.1, 0.5, 0.9)
    for _ in range(n):
        stepped += law.up * (HIGH - stepped)
    np.testing.assert_allclose(after(law, at(0.1, 0.5, 0.9), n), stepped, rtol=1e-12)
    stepped = at(0.1, 0.5, 0.9)
    for _ in range(n):
        stepped -= law.down * (stepped - LOW)
    np.testing.assert_allclose(after(law, at(0.1, 0.5, 0.9), -n), stepped, rtol=1e-12)


@given(exponential, places)
def test_exponential_pulses_follow_the_papers_curves_from_end_to_end(law: ExponentialPulses, part: float) -> None:
    for nonlinearity, pulses, start, sign in (
        (law.up, law.pulses_up, at(0.0), 1),
        (law.down, law.pulses_down, at(1.0), -1),
    ):
        scale = pulses / nonlinearity  # A in the paper
        width = SPAN / (1 - np.exp(-pulses / scale))  # B in the paper
        p = part * pulses
        expected = start + sign * width * (1 - np.exp(-p / scale))
        np.testing.assert_allclose(after(law, start, sign * p), expected, rtol=0, atol=1e-9 * SPAN)
        np.testing.assert_allclose(after(law, start, sign * pulses), at(0.5 + 0.5 * sign), rtol=0, atol=1e-9 * SPAN)


@given(places, st.floats(-40, 40))
def test_a_vanishing_nonlinearity_is_the_linear_law(place: float, n: float) -> None:
    np.testing.assert_allclose(
        after(ExponentialPulses(1e-6, -1e-6), at(place), n),
        after(LinearPulses(100), at(place), n),
        rtol=0,
        atol=1e-6 * SPAN,
    )


@given(bounded)
def test_a_pulse_up_and_a_pulse_down_cancel_at_the_symmetric_point_alone(law: SoftBounds | ExponentialPulses) -> None:
    point = symmetric_point(law)
    for offset in (-0.05, 0.0, 0.05):
        start = np.array([point + offset * SPAN])
        ends = after(law, start, 1), after(law, start, -1)
        if all(LOW < end < HIGH for end in (start, *ends)):
            imbalance = (ends[0] - start) + (ends[1] - start)
            if offset == 0:
                assert abs(imbalance) < 1e-12 * SPAN
            elif isinstance(law, SoftBounds):
                assert imbalance * offset < 0  # and so they are driven to it


@given(st.floats(1e-4, 0.3), st.floats(1e-4, 0.3))
def test_trains_of_ups_and_downs_end_at_the_symmetric_point(up: float, down: float) -> None:
    law = SoftBounds(up, down, "exact")
    point = symmetric_point(law)
    pairs = np.ceil(40 / (up + down)).astype(int)
    conductance = at(0.0, 1.0)
    kept = (1 - up) * (1 - down)
    settled = (HIGH * up * (1 - down) + LOW * down) / (1 - kept)  # of an up and a down, exactly
    for _ in range(min(pairs, 50)):
        after_pair = after(law, conductance, 1, -1)
        np.testing.assert_allclose(after_pair - settled, kept * (conductance - settled), atol=1e-12 * SPAN)
        conductance = after_pair
    assert abs(settled - point) <= max(up, down) * SPAN  # within a pulse of it


@pytest.mark.parametrize("law", [LinearPulses(100), SoftBounds(0.01, 0.02), ExponentialPulses(3.0, 2.0, 80, 50)])
def test_a_pulse_is_worth_the_same_to_the_programmer_wherever_the_device_stands(law: PulseLaw) -> None:
    worth = {LinearPulses: (0.01, 0.01), SoftBounds: (0.01, 0.02), ExponentialPulses: (1 / 80, 1 / 50)}[type(law)]
    change = np.array([1, -1]) * worth * SPAN * (1 + 1e-9)
    np.testing.assert_allclose(law.count(7 * change, SPAN, np.random.default_rng(0)), [7, -7], rtol=1e-6)


@given(laws, st.integers(0, 1000))
def test_exact_pulses_are_the_change_over_what_one_is_worth_in_its_direction(law: PulseLaw, seed: int) -> None:
    change = np.random.default_rng(seed).normal(0, 1e-6, 30)
    up, down = law.worth(SPAN)
    exact = replace(law, counting="exact")  # type: ignore[type-var]
    random = np.random.default_rng(0)
    np.testing.assert_array_equal(
        exact.count(change.copy(), SPAN, random), np.where(change > 0, change * up, change * down)
    )
    assert random.bit_generator.state == np.random.default_rng(0).bit_generator.state


@given(laws, st.integers(0, 1000))
def test_devices_in_a_crossbar_move_as_each_would_alone(law: PulseLaw, seed: int) -> None:
    random = np.random.default_rng(seed)
    start, pulses = at(*random.uniform(0, 1, 12)), random.normal(0, 20, 12)
    together = start.copy()
    law.apply(together, pulses, np.full(12, LOW), np.full(12, HIGH), RANDOM)
    for i in range(12):
        assert after(law, start[i : i + 1], pulses[i]) == pytest.approx(together[i], rel=1e-12)


@given(st.floats(-30, 30), st.integers(0, 1000))
def test_truncated_pulses_are_whole_and_never_too_many(n: float, seed: int) -> None:
    counted = LinearPulses(100, "truncated").count(np.array([n * SPAN / 100]), SPAN, np.random.default_rng(seed))
    assert counted == np.trunc(counted)
    assert abs(abs(n) - abs(counted[0]) - 0.5) <= 0.5 + 1e-9


@pytest.mark.parametrize("n", [0.3, -0.3, 2.75, -2.75, 4.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_stochastic_rounding_is_whole_within_one_and_right_on_average(n: float, dtype: type) -> None:
    samples = 40_000
    change = np.full(samples, n * SPAN / 100, dtype)
    counted = LinearPulses(100, "stochastic").count(change, SPAN, np.random.default_rng(1))
    assert counted is change
    assert counted.dtype == dtype
    assert (counted == np.rint(counted)).all()
    assert np.abs(counted - n).max() < 1 + 1e-5
    fraction = n - np.floor(n)
    error = np.sqrt(max(fraction * (1 - fraction), 1e-6) / samples)
    assert counted.mean() == pytest.approx(n, abs=5 * error)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1.0, -9.0])
def test_cycle_to_cycle_noise_grows_as_the_root_of_the_pulses(n: float, dtype: type) -> None:
    samples, sigma = 40_000, 0.01
    law = LinearPulses(100, cycle_noise=sigma)
    low, high = LOW.astype(dtype), HIGH.astype(dtype)
    conductance = np.full(samples, at(0.5), dtype)
    law.apply(conductance, np.full(samples, n, dtype), low, high, np.random.default_rng(2))
    assert conductance.dtype == dtype
    expected = sigma * SPAN * np.sqrt(abs(n))
    assert conductance.mean() == pytest.approx(at(0.5 + n / 100)[0], abs=5 * expected / np.sqrt(samples))
    assert conductance.std() == pytest.approx(expected, rel=5 / np.sqrt(2 * samples))


def test_a_device_without_pulses_gets_no_noise() -> None:
    law = SoftBounds(0.1, 0.1, cycle_noise=0.5)
    conductance = at(*np.linspace(0, 1, 50))
    law.apply(conductance, np.zeros(50), LOW, HIGH, np.random.default_rng(0))
    np.testing.assert_array_equal(conductance, at(*np.linspace(0, 1, 50)))


def test_a_table_of_a_formula_is_the_formula_at_its_points() -> None:
    law = ExponentialPulses(2.0, 1.0, 40, 80, "exact")
    place = np.linspace(0, 1, 41)
    rise, fall = (np.expm1(-nu * place) / np.expm1(-nu) for nu in (law.up, law.down))
    table = TablePulses(tuple(rise), tuple(1 - fall), 40, 80, "exact")
    for start, step in ((0.0, 5.0), (1.0, -10.0)):
        one = [float(after(law, at(start), k * step)[0]) for k in range(9)]
        other = [float(after(table, at(start), k * step)[0]) for k in range(9)]
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-12 * SPAN)
