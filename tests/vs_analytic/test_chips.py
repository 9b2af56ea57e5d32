"""Chips against their specification: readings, random draws, mapping, and training, which an ideal chip does not change."""

from dataclasses import fields, replace

import numpy as np
import pytest
from pydantic import BaseModel

from eqprop_analog import Nudge, ResistiveNetwork, SurrogateSolver, UserError
from eqprop_analog.devices import Antiparallel, Clamp, NgspiceDiode, PiecewiseLinear, Shockley
from eqprop_analog.devices.conductance import Technology, Window
from eqprop_analog.experiments.chips.readout import Readout
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.learning.in_situ import InSituLearner
from eqprop_analog.learning.trainer import PhaseLearner, Rule
from eqprop_analog.learning.update import Rates
from eqprop_analog.networks.resistive.chips.chip import Chip
from eqprop_analog.networks.resistive.chips.mapping import mapped, onto, scaled_rule

WINDOW = {"lowest": 0.0, "highest": 1e-4}
RULE = Rule(Rates((1e-12, 1e-12), (1e-12, 1e-12)), beta=1e-7)


def specification(**changes: object) -> Specification:
    return Specification().having({"conductance.window": WINDOW, **changes})


def network(seed: int = 0) -> ResistiveNetwork:
    return ResistiveNetwork.dense([4, 6, 3], seed, amplifier_gain=3.0, input_gain=5.0)


INPUTS = np.random.default_rng(1).uniform(0, 1, (7, 4))
TARGETS = np.eye(3)[np.arange(7) % 3]


def layers(*values: object) -> tuple[np.ndarray, ...]:
    return tuple(np.atleast_2d(np.asarray(value, float)) for value in values)


def test_a_converter_reads_multiples_of_its_step_within_half_of_it_and_clips_at_its_range():
    readout = Readout((np.zeros(5),), bits=4, range=0.8)
    (read,) = readout.read(layers([0.0, 0.04, 0.06, -0.31, 0.12]), np.random.default_rng(0))
    np.testing.assert_allclose(read, [[0.0, 0.0, 0.1, -0.3, 0.1]], atol=1e-15)  # 1.6 V / 16 a step; ties go to even
    (beyond,) = readout.read(layers([5.0, -5.0, 0.75, -0.8, 0.7]), np.random.default_rng(0))
    np.testing.assert_allclose(beyond, [[0.7, -0.8, 0.7, -0.8, 0.7]], atol=1e-15)  # codes -8 ... 7


def test_noise_is_new_at_every_reading_and_offsets_are_not():
    readout = Readout((np.full(50, 0.25),), noise=1e-3)
    random, volts = np.random.default_rng(0), (np.zeros((400, 50)),)
    (first,), (second,) = readout.read(volts, random), readout.read(volts, random)
    assert not np.array_equal(first, second)
    for read in (first, second):
        assert read.mean() == pytest.approx(0.25, abs=5 * 1e-3 / np.sqrt(read.size))
        assert read.std() == pytest.approx(1e-3, rel=5 / np.sqrt(2 * read.size))


def test_an_ideal_read_out_reads_what_is_there():
    volts = layers([1.0, 2.0])
    assert Readout((np.zeros(2),)).read(volts, np.random.default_rng(0)) is volts


def test_a_chip_is_the_same_wherever_it_is_drawn_and_one_imperfection_more_changes_no_other():
    few = specification(**{"diode.saturation_current": 0.3, "readout.offset": 1e-3})
    more = few.having({"amplifier.gain": 0.1, "conductance.spread.factor": 0.2})
    chips = [Chip.drawn(each, network(), 5, 2) for each in (few, few, more)]
    other = Chip.drawn(few, network(), 5, 3)
    drawn = [chip.periphery.saturation_factor[0] for chip in chips]
    assert np.array_equal(drawn[0], drawn[1])
    assert np.array_equal(drawn[0], drawn[2])
    assert np.array_equal(chips[0].readout.offsets[1], chips[2].readout.offsets[1])
    assert not np.array_equal(drawn[0], other.periphery.saturation_factor[0])
    assert not np.array_equal(chips[0].readout.offsets[0], other.readout.offsets[0])


def test_learning_in_situ_on_an_ideal_chip_is_learning():
    taught, chip = network(), Chip.drawn(specification(), network(), 0)
    chip.program(network())
    learners = (
        PhaseLearner(taught, SurrogateSolver(), RULE),
        InSituLearner(chip, chip.solver(), RULE),
    )
    for _ in range(3):
        assert learners[0].learn(INPUTS, TARGETS) == learners[1].learn(INPUTS, TARGETS)
    for name, values in taught.arrays().items():
        assert not np.array_equal(values, network().arrays()[name])
        np.testing.assert_allclose(chip.network.arrays()[name], values, rtol=1e-10, atol=1e-20)


def test_learning_in_situ_corrects_what_the_write_got_wrong():
    chip = Chip.drawn(specification(**{"conductance.spread.factor": 0.3, "amplifier.gain": 0.1}), network(), 0)
    chip.program(network())
    learner = InSituLearner(chip, chip.solver(), replace(RULE, rates=RULE.rates.scaled(0.3)))

    def cost() -> float:
        free = chip.solver().solve(chip.circuit(), INPUTS).require()
        return float(0.5 * ((free.outputs - TARGETS) ** 2).sum(axis=1).mean())

    before = cost()
    for _ in range(30):
        learner.learn(INPUTS, TARGETS)
    assert cost() < 0.9 * before


@pytest.mark.parametrize("diode", [Shockley(2e-9), NgspiceDiode(2e-9), Antiparallel(Shockley(2e-9)), Clamp()])
@pytest.mark.parametrize("k", [1e-2, 37.0])
def test_impedance_scaling_keeps_every_voltage_and_scales_every_update(diode, k):
    net = replace(network(), diode=diode)
    other = mapped(net, Window(0.0, k * 1e-4))
    assert other.conductance_window == (0.0, k * 1e-4)
    rule = scaled_rule(RULE, k)
    for beta, scaled in ((None, None), (RULE.beta, rule.beta)):
        nudges = [None if b is None else Nudge(TARGETS, b) for b in (beta, scaled)]
        ours, theirs = (
            SurrogateSolver().solve(n, INPUTS, nudge) for n, nudge in zip((net, other), nudges, strict=True)
        )
        for v, w in zip(ours.voltages, theirs.voltages, strict=True):
            np.testing.assert_allclose(v, w, atol=1e-12)
    PhaseLearner(net, SurrogateSolver(), RULE).learn(INPUTS, TARGETS)
    PhaseLearner(other, SurrogateSolver(), rule).learn(INPUTS, TARGETS)
    for name, values in net.arrays().items():
        np.testing.assert_allclose(other.arrays()[name], k * values, rtol=1e-6, atol=k * 1e-15)


def test_mapping_refuses_a_diode_that_has_its_own_scale():
    net = replace(network(), diode=PiecewiseLinear(0.2, 1.0, 1e9))
    with pytest.raises(UserError, match="cannot be scaled"):
        mapped(net, Window(0.0, 1e-6))


def test_mapping_refuses_conductances_that_the_networks_own_window_does_not_hold():
    net = network()
    net.conductances[0][0, 0] = 2e-4
    with pytest.raises(UserError, match="outside its conductance_window"):
        mapped(net, Window(0.0, 1e-6))


@pytest.mark.parametrize("diode", [NgspiceDiode(2e-9, celsius=50.0), Clamp(0.1), PiecewiseLinear(0.2, 1.0, 1e9)])
def test_without_scaling_a_network_is_kept_or_refused(diode):
    """Every constant of the user is kept; only the conductance window becomes that of the devices."""
    net = replace(network(), diode=diode, biases=(np.full(6, 1e-9), np.zeros(3)))
    wide = specification(**{"conductance.window": {"lowest": 0.0, "highest": 1e-3}})
    kept = onto(net, wide)
    assert kept.conductance_window == (0.0, 1e-3)
    assert (kept.diode, kept.amplifier_gain, kept.input_gain) == (net.diode, net.amplifier_gain, net.input_gain)
    for name, values in net.arrays().items():
        assert np.array_equal(kept.arrays()[name], values)
    narrow = specification(**{"conductance.window": {"lowest": 1e-6, "highest": 1e-4}})
    words = "cannot be scaled" if isinstance(diode, PiecewiseLinear) else "impedance_scaling = true"
    with pytest.raises(UserError, match=f"lie outside the window of the devices.*{words}"):
        onto(net, narrow)


def test_a_chip_takes_only_networks_of_its_devices_window():
    with pytest.raises(UserError, match="map the network"):
        Chip.drawn(specification(**{"conductance.window": {"lowest": 1e-6, "highest": 1e-4}}), network(), 0)


def test_a_fresh_network_begins_between_levels_at_random_and_right_on_average():
    levels = specification(**{"conductance.window": {**WINDOW, "levels": 5}})
    fresh = replace(
        network(), conductances=(np.full((8, 500), 3e-5), np.full((500, 3), 3e-5)), biases=(np.zeros(500), np.zeros(3))
    )
    chip = Chip.drawn(levels, fresh, 0)
    chip.begin(fresh)
    first = chip.network.conductances[0]
    assert set(np.unique(np.rint(first / 2.5e-5))) == {1, 2}
    assert first.mean() == pytest.approx(3e-5, rel=0.05)


def test_the_example_of_a_specification_has_every_setting_there_is():
    given = Specification.load("everything").model_dump(exclude_unset=True)
    for name, field in Specification.model_fields.items():
        assert name in given, name
        if isinstance(field.default, BaseModel):
            assert set(given[name]) == set(type(field.default).model_fields), name
    assert set(given["conductance"]) == {field.name for field in fields(Technology)}
