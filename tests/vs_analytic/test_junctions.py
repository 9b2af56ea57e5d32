"""The junctions of one chip: laws of arrays against laws of numbers, and I_S(T) against its derivation."""

import numpy as np
import pytest

from eqprop_analog import Antiparallel, NgspiceDiode, Shockley
from eqprop_analog.devices import Law
from eqprop_analog.devices.junctions import Junctions

LAWS = [NgspiceDiode(rail=0.2), NgspiceDiode(1e-14, 1.6, 0.6, 40.0), Shockley(1e-10, 1.2, 0.1)]


def drawn(law: NgspiceDiode | Shockley, celsius: float = 60.0) -> Junctions:
    random = np.random.default_rng(0)
    return Junctions(law, np.exp(random.normal(size=5)), random.normal(1, 0.05, 5), celsius, random.normal(0, 4, 5))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("pair", [False, True])
def test_every_node_has_a_law_of_its_own(law, pair):
    junctions = drawn(law)
    together: Law = Antiparallel(junctions.law) if pair else junctions.law
    v = np.random.default_rng(1).normal(0, 0.3, (20, 5))
    conductance, source = np.full(5, 1e-6), np.random.default_rng(2).normal(0, 1e-6, (20, 5))
    for node in range(5):
        at = junctions.law
        alone: Law = type(law)(
            float(at.saturation_current[node]), float(at.emission[node]), law.rail, float(at.celsius[node])
        )
        alone = Antiparallel(alone) if pair else alone
        for name in ("current", "slope", "cocontent"):
            ours, own = getattr(together, name)(v)[:, node], getattr(alone, name)(v[:, node])
            np.testing.assert_allclose(ours, own, rtol=1e-13)
        ours, own = (
            together.solve(conductance, source)[:, node],
            alone.solve(conductance[node : node + 1], source[:, node]),
        )
        np.testing.assert_allclose(ours, own, rtol=0, atol=1e-14)


@pytest.mark.parametrize("law", LAWS)
def test_at_the_temperature_of_its_parameters_a_junction_is_its_nominal_law(law):
    one = np.ones(3)
    junctions = Junctions(law, one, one, law.celsius, 0 * one)
    assert (junctions.law.saturation_current == law.saturation_current).all()
    name, parameters = law.spice
    assert junctions.spice[0] == name
    assert {key: values.tolist() for key, values in junctions.spice[1].items()} == {
        key: [value] * 3 for key, value in parameters.items()
    }
    assert junctions.options == law.options


@pytest.mark.parametrize("law", LAWS)
def test_saturation_current_grows_with_temperature_as_its_band_gap_says(law):
    """d ln I_S/dT = (XTI + EG/V_T)/(n T): with n = 1, that of T³ exp(-EG/V_T), silicon's."""
    step, one = 1e-3, np.ones(1)
    below, above = (Junctions(law, one, one, 60.0 + by, 0 * one).law.saturation_current for by in (-step, step))
    kelvin = 60 + 273.15
    volts = 1.38064852e-23 * kelvin / 1.6021766208e-19
    slope = np.log(above / below) / (2 * step)
    assert slope == pytest.approx((3 + 1.11 / volts) / (law.emission * kelvin), rel=1e-6)


def test_a_mismatch_is_added_to_the_chips_temperature():
    one = np.ones(1)
    for law in LAWS:
        a, b = Junctions(law, one, one, 50.0, 3 * one).law, Junctions(law, one, one, 53.0, 0 * one).law
        assert a.celsius == b.celsius
        assert a.saturation_current == b.saturation_current
