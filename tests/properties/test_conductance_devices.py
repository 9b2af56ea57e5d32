"""Laws that every chip of every technology obeys with any imperfections."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqprop_analog import UserError
from eqprop_analog.devices.conductance import (
    ChipDevices,
    Drift,
    ExponentialPulses,
    Falcone2025Relaxation,
    GaussianNoise,
    Joshi2020Drift,
    LinearPulses,
    LogNormalNoise,
    PowerLawDrift,
    ProgrammingNoise,
    PulseLaw,
    SoftBounds,
    Spread,
    StuckCells,
    Technology,
    Window,
)
from eqprop_analog.experiments.chips.specification import Specification

CMO_HFOX_FALCONE2025, PCM_JOSHI2020 = (
    Specification.load(name).technology for name in ("cmo-hfox-falcone2025", "pcm-joshi2020")
)
SHAPES = [(5, 3), (3, 4)]
NOISES: list[ProgrammingNoise | None] = [None, GaussianNoise(2e-6, 0.1, -500.0), LogNormalNoise(0.4)]
DRIFTS: list[Drift | None] = [None, PowerLawDrift(0.05, 0.02), Joshi2020Drift(), Falcone2025Relaxation()]
PULSES: list[PulseLaw] = [
    LinearPulses(),
    LinearPulses(50, "truncated"),
    LinearPulses(200, "stochastic", cycle_noise=0.05),
    SoftBounds(0.02, 0.05, cycle_noise=0.02),
    ExponentialPulses(3.0, 2.0),
    ExponentialPulses(-2.0, 5.0, 64, 32, "stochastic", 0.03),
]
windows = st.builds(
    lambda low, span, levels: Window(low, low + span, levels),
    st.sampled_from([0.0, 1e-7, 8e-6]),
    st.floats(1e-6, 1e-4),
    st.none() | st.integers(2, 300),
)
technologies = st.builds(
    Technology,
    windows,
    st.sampled_from(NOISES),
    st.builds(Spread, st.sampled_from([0.0, 0.1, 0.8]), st.sampled_from([0.0, 0.2, 1.0])),
    st.builds(StuckCells, st.floats(0, 0.5), st.floats(0, 0.5)),
    st.sampled_from(DRIFTS),
    st.sampled_from(PULSES),
)
seeds = st.integers(0, 2**32)
IMPERFECT = Technology(
    Window(1e-6, 1e-4, 32),
    LogNormalNoise(0.1),
    Spread(0.3, 0.1),
    StuckCells(0.1, 0.1),
    PowerLawDrift(0.05, 0.01),
    SoftBounds(0.01, 0.02),
)


def wanted(seed: int, window: Window, beyond: float = 0.2, shapes: list[tuple[int, int]] = SHAPES) -> list[np.ndarray]:
    """Conductances in the window and a little beyond it."""
    random = np.random.default_rng(seed)
    low, high = window.lowest - beyond * window.span, window.highest + beyond * window.span
    return [random.uniform(low, high, shape) for shape in shapes]


@given(technologies, seeds)
def test_every_write_stays_in_the_devices_own_window(technology: Technology, seed: int) -> None:
    chip = ChipDevices.drawn(technology, SHAPES, seed)
    for devices, delivered in zip(chip.crossbars, chip.programmed(wanted(seed, technology.window)), strict=True):
        assert (devices.lowest >= 0).all()
        assert (devices.lowest <= delivered).all()
        assert (delivered <= devices.highest).all()


@given(technologies, seeds)
def test_without_spread_of_the_window_it_is_the_technologys(technology: Technology, seed: int) -> None:
    technology = replace(technology, spread=replace(technology.spread, window=0.0))
    for delivered in ChipDevices.drawn(technology, SHAPES, seed).programmed(wanted(seed, technology.window)):
        assert technology.window.lowest <= delivered.min()
        assert delivered.max() <= technology.window.highest


@given(windows, seeds)
def test_levels_are_idempotent_equally_spaced_and_within_half_a_step(window: Window, seed: int) -> None:
    aim = wanted(seed, window, beyond=0.0)[0]
    once = window.nearest(aim)
    np.testing.assert_array_equal(window.nearest(once), once)
    if window.levels is None:
        np.testing.assert_array_equal(once, aim)
        return
    step = window.span / (window.levels - 1)
    assert np.abs(once - aim).max() <= step / 2 * (1 + 1e-9)
    numbers = (once - window.lowest) / step
    np.testing.assert_allclose(numbers, np.rint(numbers), atol=1e-9)


@pytest.mark.parametrize("levels", [2, 3, 16, 256])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_there_are_as_many_levels_as_said_and_both_ends_are_levels(levels: int, dtype: type) -> None:
    window = Window(3e-7, 7.7e-5, levels)
    reached = np.unique(window.nearest(np.linspace(0, 1e-4, 20_001, dtype=dtype)))
    assert len(reached) == levels
    assert reached[[0, -1]].tolist() == [dtype(window.lowest), dtype(window.highest)]


@given(seeds, st.sampled_from([np.float32, np.float64]))
def test_the_ideal_chip_is_the_identity_and_takes_every_change(seed: int, dtype: type) -> None:
    technology = Technology()
    chip = ChipDevices.drawn(technology, SHAPES, seed, dtype=dtype)
    aims = [aim.astype(dtype) for aim in wanted(seed, technology.window, beyond=-0.1)]
    delivered = chip.programmed(aims, write=7)
    random = np.random.default_rng(0)
    for devices, aim, now, later in zip(chip.crossbars, aims, delivered, chip.after(1e9, delivered), strict=True):
        assert now.dtype == dtype
        np.testing.assert_array_equal(now, aim)
        np.testing.assert_array_equal(later, aim)
        change = random.uniform(-1e-6, 1e-6, aim.shape).astype(dtype)
        expected = aim + change
        assert devices.update(now, change, random) is now
        np.testing.assert_allclose(now, expected, rtol=8 * np.finfo(dtype).eps)


@given(technologies, seeds)
def test_stuck_cells_do_not_move(technology: Technology, seed: int) -> None:
    chip = ChipDevices.drawn(technology, SHAPES, seed)
    random = np.random.default_rng(seed)
    delivered = chip.programmed(wanted(seed, technology.window))
    again = chip.programmed(wanted(seed + 1, technology.window), write=1)
    later = chip.after(1e7, delivered)
    for devices, first, second, third in zip(chip.crossbars, delivered, again, later, strict=True):
        stuck = np.broadcast_to(devices.stuck_on | devices.stuck_off, first.shape)
        before = first.copy()
        devices.update(first, random.normal(0, 1e-5, first.shape), random)
        for moved in (second, third, first):
            np.testing.assert_array_equal(moved[stuck], before[stuck])
        on = np.broadcast_to(devices.stuck_on, first.shape)
        np.testing.assert_array_equal(before[on], np.broadcast_to(devices.highest, before.shape)[on])
        off = np.broadcast_to(devices.stuck_off, first.shape)
        np.testing.assert_array_equal(before[off], np.broadcast_to(devices.lowest, before.shape)[off])


@given(technologies, seeds)
def test_training_keeps_every_device_in_its_own_window(technology: Technology, seed: int) -> None:
    devices = ChipDevices.drawn(technology, SHAPES, seed).crossbars[0]
    random = np.random.default_rng(seed)
    conductance = devices.programmed(wanted(seed, technology.window)[0])
    for scale in (0.01, 0.3, 10.0):
        devices.update(conductance, scale * technology.window.span * random.normal(size=conductance.shape), random)
        assert (devices.lowest <= conductance).all()
        assert (conductance <= devices.highest).all()


@given(technologies, seeds)
def test_given_conductances_are_kept_within_own_windows_and_stuck_cells_in_place(
    technology: Technology, seed: int
) -> None:
    for devices, given_values in zip(
        ChipDevices.drawn(technology, SHAPES, seed).crossbars, wanted(seed, technology.window), strict=True
    ):
        kept = given_values.copy()
        assert devices.within(kept) is kept
        on, off, low, high = (
            np.broadcast_to(values, kept.shape)
            for values in (devices.stuck_on, devices.stuck_off, devices.lowest, devices.highest)
        )
        np.testing.assert_array_equal(kept[on], high[on])
        np.testing.assert_array_equal(kept[off], low[off])
        free = ~(on | off)
        np.testing.assert_array_equal(kept[free], np.minimum(np.maximum(given_values, low), high)[free])
        np.testing.assert_array_equal(devices.within(kept.copy()), kept)


@given(technologies, seeds)
def test_updates_draw_for_rounding_and_for_the_noise_of_devices_with_pulses_and_nothing_else(
    technology: Technology, seed: int
) -> None:
    law = technology.pulses
    devices = ChipDevices.drawn(technology, SHAPES, seed).crossbars[0]
    conductance = devices.programmed(wanted(seed, technology.window)[0])
    change = np.random.default_rng(seed).normal(0, technology.window.span / 200, conductance.shape)
    random, shadow = np.random.default_rng(seed), np.random.default_rng(seed)
    pulses = law.count(change.copy(), technology.window.span, shadow) * devices.factor
    if law.cycle_noise:
        shadow.standard_normal(np.count_nonzero(pulses))
    devices.update(conductance, change, random)
    assert random.bit_generator.state == shadow.bit_generator.state
    if law.counting != "stochastic" and not law.cycle_noise:
        assert random.bit_generator.state == np.random.default_rng(seed).bit_generator.state


@given(technologies, seeds)
def test_nothing_drifts_at_once_and_nothing_becomes_negative(technology: Technology, seed: int) -> None:
    chip = ChipDevices.drawn(technology, SHAPES, seed)
    delivered = chip.programmed(wanted(seed, technology.window))
    for now, before in zip(chip.after(0.0, delivered), delivered, strict=True):
        np.testing.assert_array_equal(now, before)
        assert now is not before
    for later in chip.after(3e8, delivered):
        assert (later >= 0).all()


@given(technologies, seeds, st.integers(0, 1000))
def test_a_chip_is_the_same_whatever_was_drawn_before_it(technology: Technology, seed: int, number: int) -> None:
    aims = wanted(seed, technology.window)
    alone = ChipDevices.drawn(technology, SHAPES, seed, number).programmed(aims, write=3)
    chips = {other: ChipDevices.drawn(technology, SHAPES, seed, other) for other in (number + 2, number, number + 1)}
    chips[number + 1].programmed(aims)
    chips[number].programmed(aims, write=9)
    for first, second in zip(alone, chips[number].programmed(aims, write=3), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_chip_is_the_same_in_another_process() -> None:
    line = (
        "from eqprop_analog.devices.conductance import *; import numpy as np; "
        f"t = {IMPERFECT!r}; c = ChipDevices.drawn(t, {SHAPES!r}, 11, 5); "
        f"g = c.programmed([np.full(s, 4e-5) for s in {SHAPES!r}], 2); "
        "print(*(x.tobytes().hex() for x in (*g, *c.after(1e5, g))))"
    )
    told = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True).stdout.split()
    chip = ChipDevices.drawn(IMPERFECT, SHAPES, 11, 5)
    delivered = chip.programmed([np.full(shape, 4e-5) for shape in SHAPES], 2)
    assert told == [x.tobytes().hex() for x in (*delivered, *chip.after(1e5, delivered))]


def test_a_chip_is_the_same_as_ever() -> None:
    delivered = ChipDevices.drawn(IMPERFECT, [(1, 4)], 0).programmed([np.full((1, 4), 4e-5)])[0]
    np.testing.assert_allclose(delivered, PINNED, rtol=1e-12)


PINNED = [[2.6330173246987655e-05, 3.7126658083538574e-05, 0.0001053617224422627, 7.306298205729039e-05]]
"""Siemens; if this changes, every published result of a chip number changes."""


def test_chips_crossbars_and_writes_differ_from_each_other() -> None:
    noisy = Technology(noise=LogNormalNoise(0.1), spread=Spread(0.1))
    aims = [np.full((4, 4), 4e-5)] * 2
    chips = [ChipDevices.drawn(noisy, [(4, 4)] * 2, seed, number) for seed, number in ((0, 0), (0, 1), (1, 0))]
    seen = [delivered for chip in chips for write in (0, 1) for delivered in chip.programmed(aims, write)]
    assert len(np.unique(np.concatenate(seen, axis=None))) == 16 * len(seen)


def test_one_imperfection_more_leaves_the_draws_of_the_others_as_they_are() -> None:
    some = replace(IMPERFECT, stuck=StuckCells(), noise=None, spread=Spread(0.3))
    more = replace(IMPERFECT, stuck=StuckCells(0.3, 0.1), noise=LogNormalNoise(0.1), spread=Spread(0.3, 0.2))
    first, second = (ChipDevices.drawn(technology, SHAPES, 2).crossbars[0] for technology in (some, more))
    np.testing.assert_array_equal(first.factor, second.factor)
    wider = ChipDevices.drawn(replace(some, spread=Spread(0.6)), SHAPES, 2).crossbars[0]
    np.testing.assert_allclose(np.log(wider.factor), 2 * np.log(first.factor), rtol=1e-12)


def test_more_stuck_cells_are_the_same_ones_and_further_ones() -> None:
    few, many = (
        ChipDevices.drawn(Technology(stuck=StuckCells(on, off)), [(40, 40)], 4).crossbars[0]
        for on, off in ((0.02, 0.03), (0.1, 0.05))
    )
    assert (few.stuck_on <= many.stuck_on).all()
    assert (few.stuck_off <= many.stuck_off).all()
    assert few.stuck_on.any()
    assert not (many.stuck_on & many.stuck_off).any()


def test_a_chip_in_single_precision_is_the_same_chip() -> None:
    aims = wanted(0, IMPERFECT.window)
    double = ChipDevices.drawn(IMPERFECT, SHAPES, 3).programmed(aims)
    single = ChipDevices.drawn(IMPERFECT, SHAPES, 3, dtype=np.float32).programmed(
        [aim.astype(np.float32) for aim in aims]
    )
    for wide, narrow in zip(double, single, strict=True):
        assert narrow.dtype == np.float32
        np.testing.assert_allclose(narrow, wide, rtol=2e-6)


@pytest.mark.parametrize("technology", [PCM_JOSHI2020, CMO_HFOX_FALCONE2025])
def test_published_technologies_deliver_what_is_wanted_within_a_few_of_their_sigmas(technology: Technology) -> None:
    aims = wanted(1, technology.window, beyond=0.0)
    chip = ChipDevices.drawn(technology, SHAPES, 1)
    assert isinstance(technology.noise, GaussianNoise)
    for aim, delivered in zip(aims, chip.programmed(aims), strict=True):
        assert (np.abs(delivered - aim) < 4 * technology.noise.sigma(aim)).all()
        assert not np.array_equal(delivered, aim)


def test_bad_input_is_named() -> None:
    chip = ChipDevices.drawn(Technology(), SHAPES, 0)
    with pytest.raises(UserError, match=r"crossbar 2: expected shape \(3, 4\), got \(2, 4\)"):
        chip.programmed([np.zeros((5, 3)), np.zeros((2, 4))])
    with pytest.raises(UserError, match=r"crossbar 1: .*NaN or infinite"):
        chip.programmed([np.full((5, 3), np.nan), np.zeros((3, 4))])
    with pytest.raises(UserError, match="seconds: expected a finite time"):
        chip.crossbars[0].after(-1.0, np.zeros((5, 3)))
    with pytest.raises(UserError, match="chip number: expected an integer"):
        ChipDevices.drawn(Technology(), SHAPES, 0, -1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Window(2e-6, 1e-6), "lowest < highest"),
        (lambda: Window(-1e-6, 1e-6), "0 <= lowest"),
        (lambda: Window(levels=1), "at least 2"),
        (lambda: Spread(-0.1), "spread of factor"),
        (lambda: StuckCells(0.7, 0.7), "together at most 1"),
        (lambda: LogNormalNoise(-1.0), "sigma must not be negative"),
        (lambda: GaussianNoise(np.nan), "absolute: expected a finite number"),
        (lambda: PowerLawDrift(-0.1), "must not be negative"),
        (lambda: Joshi2020Drift(0.0), "highest must be positive"),
        (lambda: Falcone2025Relaxation(-1e-9), "must not be negative"),
        (lambda: LinearPulses(0), "pulses must be positive"),
        (lambda: LinearPulses(counting="often"), 'counting "often" is unknown'),  # type: ignore[arg-type]
        (lambda: SoftBounds(1.0, 0.1), "between 0 and 1"),
        (lambda: SoftBounds(0.1, 0.1, cycle_noise=-1.0), "cycle_noise"),
        (lambda: ExponentialPulses(0.0, 1.0), "nonlinearity"),
    ],
)
def test_what_is_no_device_is_refused(make, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
