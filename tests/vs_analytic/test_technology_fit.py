"""Readings generated from every pulse law with known parameters are fitted back within the stated uncertainty."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eqprop_analog import UserError
from eqprop_analog.devices.conductance import (
    ChipDevices,
    ExponentialPulses,
    LinearPulses,
    PulseLaw,
    SoftBounds,
    Spread,
    StuckCells,
    TablePulses,
    Technology,
    Window,
)
from eqprop_analog.devices.conductance.fitting import TechnologyFit, fitted, read_pulses
from eqprop_analog.devices.conductance.fitting.levels import levels_of

WINDOW = Window(5e-6, 80e-6)
READING = 0.3e-6
"""Noise of one reading, siemens."""
LINEAR = LinearPulses(60, "stochastic", 0.01)
SOFT = SoftBounds(0.04, 0.06, "stochastic", 0.01)
EXPONENTIAL = ExponentialPulses(2.4, -1.1, 50, 40, "stochastic", 0.02)
_RISE = 0.5 + 0.5 * np.tanh(np.linspace(-1.6, 1.6, 41)) / np.tanh(1.6)
SIGMOID = TablePulses(tuple(_RISE), tuple(_RISE[::-1]), 50, 50, "stochastic", 0.01)
"""Slow at both ends, fast between: no formula here has it."""


def measured(
    path: Path, technology: Technology, devices: int = 1, cycles: int = 4, width: Callable[[int], float] | None = None
) -> Path:
    """A file of readings after every pulse: ``cycles`` of 60 pulses up and 60 down. ``width``: of pulse k, relative."""
    chip = ChipDevices.drawn(technology, [(1, devices)], 7).crossbars[0]
    random = np.random.default_rng(8)
    conductance = chip.within(np.full((1, devices), technology.window.lowest))
    rows = ["pulse,polarity,conductance (uS),device" + (",width (us)" if width else "")]

    def read(pulse: int, sign: int) -> None:
        for k, value in enumerate(conductance[0] + READING * random.standard_normal(devices)):
            rows.append(
                f"{pulse},{sign},{1e6 * max(value, 0):.6f},d{k}" + (f",{10 * width(pulse):.4f}" if width else "")
            )

    read(0, 0)
    for pulse, sign in enumerate(cycles * ([1] * 60 + [-1] * 60), start=1):
        pulses = chip.factor * np.full((1, devices), sign * (width(pulse) ** 0.8 if width else 1.0))
        technology.pulses.apply(conductance, pulses, chip.lowest, chip.highest, random)
        chip.within(conductance)
        read(pulse, sign)
    path.write_text("\n".join(rows) + "\n")
    return path


def require_recovered(fit: TechnologyFit, true: dict[str, float], precision: float = 0.35) -> None:
    """Every true value within 3.5 standard errors, and the standard errors are small enough to be useful."""
    found = {each.key.removeprefix("conductance."): each for each in fit.quantities()}
    for key, value in true.items():
        one = found[key]
        assert one.error is not None, key
        assert abs(one.value - value) < 3.5 * one.error, (key, one.value, value, one.error)
        assert one.error < precision * abs(value), (key, one.error)


@pytest.mark.parametrize(
    ("name", "law", "keys"),
    [
        ("linear", LINEAR, ("pulses", "cycle_noise")),
        ("soft-bounds", SOFT, ("up", "down", "cycle_noise")),
        ("exponential", EXPONENTIAL, ("up", "down", "pulses_up", "pulses_down", "cycle_noise")),
    ],
)
def test_every_formula_is_chosen_and_its_parameters_are_found_again(
    name: str, law: PulseLaw, keys: tuple[str, ...], tmp_path: Path
) -> None:
    fit = fitted(read_pulses(measured(tmp_path / "pulses.csv", Technology(WINDOW, pulses=law))))
    assert fit.law == name
    true = {f"pulses.{key}": getattr(law, key) for key in keys}
    window = {"window.lowest": WINDOW.lowest, "window.highest": WINDOW.highest}
    require_recovered(fit, true | window | {"noise of a single reading": READING})
    assert type(fit.technology().pulses) is type(law)


def test_a_curve_that_no_formula_has_becomes_a_table(tmp_path: Path) -> None:
    fit = fitted(
        read_pulses(measured(tmp_path / "pulses.csv", Technology(WINDOW, pulses=SIGMOID), cycles=2)),
        ["linear", "table"],
    )
    assert fit.law == "table"
    law = fit.technology().pulses
    start = np.array([0.02, 0.3, 0.6, 0.98])
    for pulses in (8.0, -8.0):
        one, other = start.copy(), start.copy()
        for each, moved in ((law, one), (SIGMOID, other)):
            each.move(moved, np.full(4, pulses), np.zeros(()), np.ones(()))
        np.testing.assert_allclose(one, other, atol=0.04)


def test_the_spread_of_devices_and_stuck_ones_are_found(tmp_path: Path) -> None:
    technology = Technology(WINDOW, spread=Spread(0.2, 0.05), stuck=StuckCells(0.1, 0.1), pulses=SOFT)
    path = measured(tmp_path / "pulses.csv", technology, devices=10, cycles=1)
    fit = fitted(read_pulses(path), ["soft-bounds"])
    true = {"spread.factor": 0.2, "spread.window": 0.05, "pulses.up": 0.04, "pulses.down": 0.06}
    require_recovered(fit, true, 0.5)
    chip = ChipDevices.drawn(technology, [(1, 10)], 7).crossbars[0]
    for names, stuck in zip(fit.stuck, (chip.stuck_on, chip.stuck_off), strict=True):
        assert names == tuple(f"d{k}" for k in np.flatnonzero(stuck[0]))
    assert sum(map(len, fit.stuck))
    assert fit.technology().stuck.off == pytest.approx(len(fit.stuck[1]) / 10, rel=1e-5)


def test_pulses_of_other_widths_count_by_a_power_of_the_width(tmp_path: Path) -> None:
    path = measured(tmp_path / "pulses.csv", Technology(WINDOW, pulses=SOFT), width=lambda k: (0.5, 1, 2)[k % 3])
    readings = read_pulses(path)
    assert readings.usual_width == pytest.approx(10e-6)
    fit = fitted(readings, ["soft-bounds"])
    require_recovered(fit, {"exponent of the pulse width": 0.8, "pulses.up": 0.04, "pulses.down": 0.06})
    assert fit.technology().pulses.counting == "exact"


def test_a_window_that_the_pulses_do_not_reach_is_the_range_of_the_readings_and_says_so(tmp_path: Path) -> None:
    slow = LinearPulses(600, "stochastic", 0.002)
    fit = fitted(
        read_pulses(measured(tmp_path / "pulses.csv", Technology(Window(0.0, 600e-6), pulses=slow))), ["linear"]
    )
    low, high = fit.quantities()[:2]
    assert low.error is not None or "not reached" in low.note
    assert high.error is None
    assert "not reached" in high.note
    assert high.value / fit.technology().pulses.pulses == pytest.approx(1e-6, rel=0.1)  # the step is what is known


def test_numbers_that_begin_anew_go_on_after_a_change_of_polarity_and_are_a_new_run_without(tmp_path: Path) -> None:
    path = tmp_path / "pulses.csv"
    up = [f"{k},up,{10 + k}" for k in range(1, 7)]
    down = [f"{2 * k},reset,{16 - 2 * k}" for k in range(1, 4)]
    path.write_text("\n".join(["pulse,polarity,conductance [uS]", *up, *down, *up]))
    readings = read_pulses(path)
    np.testing.assert_array_equal(readings.polarity[readings.there], [1] * 5 + [-2] * 3 + [1] * 6)
    path.write_text("\n".join(["pulse,polarity,conductance [uS]", *up, *up, *down]))
    readings = read_pulses(path)
    np.testing.assert_array_equal(readings.polarity[readings.there], [1] * 5 + [1] * 5 + [-2] * 3)


@pytest.mark.parametrize("spaced", [True, False])
def test_levels_are_found_where_readings_gather_and_only_there(spaced: bool) -> None:
    random = np.random.default_rng(0)
    true = np.array([5.0, 10, 15, 20, 25, 30]) if spaced else np.array([5.0, 8, 15, 21, 24, 30])
    found = levels_of(np.repeat(true, 9) + 0.1 * random.standard_normal(54))
    assert found is not None
    assert (np.abs(found.means - true) < 4 * found.errors).all()
    assert found.equally_spaced == spaced
    assert found.spread == pytest.approx(0.1, rel=0.4)
    assert levels_of(random.uniform(0, 1, 300)) is None


def test_readings_that_say_nothing_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pulses.csv"
    path.write_text("pulse,polarity,conductance (uS)\n" + "".join(f"{k},{(-1) ** k},7\n" for k in range(40)))
    with pytest.raises(UserError, match="conductance of no device changes"):
        fitted(read_pulses(path))


def test_a_device_with_a_few_states_gets_them_as_levels_and_its_window_from_them(tmp_path: Path) -> None:
    random, states = np.random.default_rng(0), np.array([5.0, 9, 16, 22, 40, 61, 80])
    rows, place = ["pulse,polarity,conductance (uS)", "0,0,5"], 0
    for pulse, sign in enumerate(5 * ([1] * 6 + [-1] * 6), start=1):
        place = min(max(place + sign, 0), 6)
        rows.append(f"{pulse},{sign},{states[place] + 0.15 * random.standard_normal():.3f}")
    (tmp_path / "pulses.csv").write_text("\n".join(rows) + "\n")
    fit = fitted(read_pulses(tmp_path / "pulses.csv"), ["linear"])
    window = fit.technology().window
    np.testing.assert_allclose(window.levels, 1e-6 * states, atol=0.25e-6)
    assert (window.lowest, window.highest) == (window.levels[0], window.levels[-1])
    low, high = fit.quantities()[:2]
    assert abs(low.value - 5e-6) < 4 * low.error
    assert abs(high.value - 80e-6) < 4 * high.error
