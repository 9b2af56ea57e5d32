"""The memristor's law against finite differences and its stated parts, and the invariants of its state."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from eqprop_analog.devices.conductance.yakopcic2011 import Yakopcic2011

LAWS = [Yakopcic2011(), Yakopcic2011(0.2, 0.1, 2.0, 0.5, 0.8, 900.0, 2500.0, 0.2, 0.7, 3.0, 2.0, eta=-1)]
laws = pytest.mark.parametrize("law", LAWS, ids=["Oblea 2010", "other"])
voltages, states = st.floats(-3, 3), st.floats(0, 1)


@laws
def test_conductance_and_state_are_inverse_and_the_slope_at_rest(law: Yakopcic2011) -> None:
    x, h = np.array([0.0, 0.2, 1.0]), np.full(3, 1e-6)
    np.testing.assert_allclose(law.state(law.conductance(x)), x, rtol=1e-15)
    np.testing.assert_allclose(law.conductance(x), law.current(h, x) / h, rtol=1e-9)


@laws
@pytest.mark.parametrize("sign", [1, -1])
def test_the_pulse_law_is_the_differential_equation_over_one_pulse_after_the_other(
    law: Yakopcic2011, sign: int
) -> None:
    volts, states = (0.29, (0.05, 0.95)) if law.eta > 0 else (0.95, (0.1, 0.8))
    pulse = law.pulses(volts, width := 1.5e-4, states)
    x = np.linspace(0.15, 0.75, 5)
    place = (x - states[0]) / np.ptp(states)
    for _ in range(3):
        ramp = 0.01 * width
        for begin, end, volt in ((0, ramp, (0, 1)), (0, width, (1, 1)), (0, ramp, (1, 0))):
            applied = sign * law.eta * volts

            def rate(t: float, s: np.ndarray, end=end, volt=volt, applied=applied) -> np.ndarray:
                return law.rate(np.full(5, applied * np.interp(t, (0, end), volt)), s)

            x = solve_ivp(rate, (begin, end), x, rtol=1e-9, atol=1e-11).y[:, -1]
        pulse.move(place, np.full(5, float(sign)), np.zeros(()), np.ones(()))
        np.testing.assert_allclose(states[0] + np.ptp(states) * place, np.clip(x, *states), atol=2e-4)


def test_pulses_below_a_threshold_make_no_law() -> None:
    with pytest.raises(ValueError, match="thresholds"):
        Yakopcic2011().pulses(0.15, 1e-4, (0.1, 0.9))
    with pytest.raises(ValueError, match="states"):
        Yakopcic2011().pulses(0.3, 1e-4, (0.9, 0.1))


@pytest.mark.parametrize("v", [-0.15, -0.1, 0.0, 0.1, 0.16])
def test_between_the_thresholds_the_state_stays(v: float) -> None:
    assert not Yakopcic2011().rate(np.array(v), np.linspace(0, 1, 9)).any()


def test_the_rate_is_the_papers_written_out() -> None:
    law = Yakopcic2011()
    up, down = 4000 * (np.exp(0.45) - np.exp(0.16)), -4000 * (np.exp(0.4) - np.exp(0.15))
    expected = {
        (0.45, 0.2): up,
        (0.45, 0.3): up,
        (0.45, 0.8): up * np.exp(-0.5) * ((0.3 - 0.8) / (1 - 0.3) + 1),
        (0.45, 1.0): 0.0,
        (-0.4, 0.9): down,
        (-0.4, 0.5): down,
        (-0.4, 0.1): down * np.exp(5 * (0.1 + 0.5 - 1)) * 0.1 / (1 - 0.5),
        (-0.4, 0.0): 0.0,
    }
    v, x = (np.array(column) for column in zip(*expected, strict=True))
    np.testing.assert_allclose(law.rate(v, x), list(expected.values()), rtol=1e-12, atol=1e-12)


@given(st.sampled_from(LAWS), voltages, states)
def test_the_state_moves_with_the_sign_of_the_voltage_and_slows_towards_its_end(law, v: float, x: float) -> None:
    rate = law.rate(np.array(v), np.array([x, (x + (law.eta * v > 0)) / 2]))
    assert (law.eta * v * rate >= 0).all()
    assert abs(rate[1]) <= abs(rate[0]) * (1 + 1e-12)


@given(st.sampled_from(LAWS), voltages, states)
def test_the_state_stays_between_nought_and_one(law, v: float, x: float) -> None:
    solution = solve_ivp(lambda _, s: law.rate(np.array(v), s), (0, 0.02), [x], method="LSODA", rtol=1e-8, atol=1e-10)
    assert solution.y.min() >= -1e-8
    assert solution.y.max() <= 1 + 1e-8


@given(st.sampled_from(LAWS), voltages, states)
def test_it_takes_power_and_never_gives_any(law, v: float, x: float) -> None:
    assert v * law.current(np.array(v), np.array(x)) >= 0


@pytest.mark.parametrize("bad", [{"a1": 0.0}, {"xp": 1.0}, {"eta": 2}, {"vn": -0.1}, {"ap": np.inf}])
def test_what_is_no_memristor_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Yakopcic2011(**bad)  # type: ignore[arg-type]
